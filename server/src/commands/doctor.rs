//! `dramatis doctor`: what is not as it should be, and how to mend it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use catalog::Catalog;
use events::{Clock as _, EventLog as _, SystemClock, SystemIds};
use identity::AccountKind;
use jiff::Timestamp;
use jiff::civil::date;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::config::{Config, DEVELOPMENT_SERVICE_KEY, weaknesses};
use crate::exit::CommandError;
use crate::house::{accounts_place, open_identity, open_log, open_tables};
use crate::keys::key_ring;
use crate::nats_child::{find_program, version_of};
use crate::output::{Format, Out};
use crate::run_file::RunFile;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    Warn,
    Bad,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Check {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            what,
            verdict: Verdict::Good,
            found: found.into(),
            mend: None,
        }
    }

    fn warn(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            what,
            verdict: Verdict::Warn,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }

    fn bad(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            what,
            verdict: Verdict::Bad,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }
}

/// Runs every check and prints what it found.
///
/// # Errors
/// [`CommandError::Failed`] when something is bad.
pub(crate) async fn run(config: &Config, clock: Arc<SystemClock>, out: &mut Out) -> Result<(), CommandError> {
    let running = RunFile::find(config);
    let mut checks = secrets(config);
    checks.extend([
        key_file(config),
        nats_program(config).await,
        log(config, running.as_ref()).await,
        accounts(config, &clock).await,
        tables(config).await,
        time(clock.now()),
        persona_catalog(),
        address(config, running.is_some()),
    ]);
    if out.format() == Format::Json {
        out.json(&checks)?;
    } else {
        for check in &checks {
            let mark = match check.verdict {
                Verdict::Good => out.paint().green("✓"),
                Verdict::Warn => out.paint().yellow("!"),
                Verdict::Bad => out.paint().red("✗"),
            };
            out.text(format!("{mark} {:<22} {}", check.what, check.found))?;
            if let Some(mend) = &check.mend {
                out.text(format!("  {:<22} {}", "", out.paint().dim(format!("→ {mend}"))))?;
            }
        }
    }
    let bad = checks
        .iter()
        .filter(|check| check.verdict == Verdict::Bad)
        .count();
    if bad == 0 {
        Ok(())
    } else {
        Err(CommandError::Failed(format!(
            "{bad} of {} checks are bad",
            checks.len()
        )))
    }
}

/// Weak secrets are fine on a laptop; configuration refuses them in production before this runs.
fn secrets(config: &Config) -> Vec<Check> {
    let weak = weaknesses(config);
    let judge = |what, key, name, secret: Option<&SecretString>, none| {
        let mend = |found: &str| format!("{found}; set {name} or {name}_FILE before others can reach this");
        let Some(secret) = secret else {
            return Check::good(what, none);
        };
        if matches!(
            secret.expose_secret(),
            catalog::DEVELOPMENT_SEED_SECRET | DEVELOPMENT_SERVICE_KEY
        ) {
            return Check::warn(what, "the well-known development one", mend("everybody knows it"));
        }
        match weak.iter().find(|(weak, _)| *weak == key) {
            Some((_, reason)) => Check::warn(
                what,
                reason.clone(),
                mend("`openssl rand -base64 32` makes a good one"),
            ),
            None => Check::good(what, "set"),
        }
    };
    let none = "none; external runners are refused";
    let mut checks = vec![
        judge(
            "seed secret",
            "seed_secret",
            "PERSONA_SEED_SECRET",
            Some(&config.seed_secret),
            none,
        ),
        judge(
            "service key",
            "service_key",
            "MANA_SERVICE_KEY",
            config.service_key.as_ref(),
            none,
        ),
    ];
    checks.extend(
        key_files(config)
            .iter()
            .filter_map(|file| readable_to_others(file)),
    );
    checks
}

fn key_files(config: &Config) -> Vec<PathBuf> {
    let own = config.kek_file.clone();
    let own = own.unwrap_or_else(|| config.data.join("kek.key"));
    std::iter::once(own)
        .chain(config.kek_older_files.iter().cloned())
        .filter(|file| file.exists())
        .collect()
}

fn readable_to_others(file: &Path) -> Option<Check> {
    let mode = std::fs::metadata(file).ok()?.permissions().mode();
    (mode & 0o077 != 0).then(|| {
        Check::warn(
            "key file",
            format!("{} is readable to others", file.display()),
            "chmod 600 it",
        )
    })
}

fn key_file(config: &Config) -> Check {
    let what = "key-encryption keys";
    let is_made_later = config.kek.is_none() && config.kek_file.is_none() && key_files(config).is_empty();
    if is_made_later && !config.identity_file().exists() {
        return Check::good(what, "none yet; made at the first start");
    }
    match key_ring(config, &SystemIds) {
        Ok(ring) => match ring.ids().as_slice() {
            [active] => Check::good(what, format!("{active} seals")),
            [active, older @ ..] => Check::warn(
                what,
                format!("{active} seals, {} open what they sealed", older.join(", ")),
                "run `dramatis vault rewrap`, then take the older ones out",
            ),
            [] => Check::bad(what, "none", "restore the file from your backup"),
        },
        Err(error) => Check::bad(what, error.to_string(), "restore the file from your backup"),
    }
}

/// Accounts in Postgres; those in a file are looked at with the key that opens them.
async fn accounts(config: &Config, clock: &Arc<SystemClock>) -> Check {
    let what = "accounts";
    if config.database.is_none() {
        return Check::good(
            what,
            format!("in {}, for one process", config.identity_file().display()),
        );
    }
    if let Err(error) = accounts_place(config) {
        return Check::bad(
            what,
            error.to_string(),
            "stop the server and run `dramatis accounts move`",
        );
    }
    if config.kek.is_none() && config.kek_file.is_none() && key_files(config).is_empty() {
        return Check::good(
            what,
            format!("none yet in {}; made at the first start", config.tables_place()),
        );
    }
    match open_identity(config, "", clock.clone(), Arc::new(SystemIds)).await {
        Ok(identity) => {
            let counted = identity
                .count_accounts(&[AccountKind::Human, AccountKind::Persona])
                .await;
            identity.close().await;
            match counted {
                Ok(counted) => Check::good(what, format!("{counted} in {}", config.tables_place())),
                Err(error) => Check::bad(what, error.to_string(), "is the database there?"),
            }
        }
        Err(error) => Check::bad(
            what,
            error.to_string(),
            "is the database there, and the key-encryption key the one its accounts are sealed with?",
        ),
    }
}

async fn nats_program(config: &Config) -> Check {
    if config.nats.is_some() {
        return Check::good("nats-server program", "not needed: --nats is set");
    }
    match find_program(config).await {
        Ok(program) => {
            let version = version_of(&program).await.unwrap_or_default();
            Check::good(
                "nats-server program",
                format!("{version} at {}", program.display()),
            )
        }
        Err(error) => Check::bad(
            "nats-server program",
            error.to_string(),
            "run ./deploy/install-nats",
        ),
    }
}

async fn log(config: &Config, running: Option<&RunFile>) -> Check {
    let what = "log";
    let Some(url) = config.nats.clone().or(running.map(|run| run.nats.clone())) else {
        return Check::good(what, "no server running; nothing to ask");
    };
    let opened = match open_log(config, &SecretString::from(url)).await {
        Ok(log) => log.state().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match opened {
        Ok(state) if config.nats.is_some() && config.unsafe_nats_durability_unchecked => Check::warn(
            what,
            format!(
                "{} commits; nobody checked when that server writes to disk",
                state.messages
            ),
            "name its monitoring address as nats_monitor instead of unsafe_nats_durability_unchecked",
        ),
        Ok(state) => Check::good(
            what,
            format!(
                "{} commits, {} bytes, on disk within a second",
                state.messages, state.bytes
            ),
        ),
        Err(error) => Check::bad(what, error, "is the server there, and is it new enough?"),
    }
}

async fn tables(config: &Config) -> Check {
    let what = "tables";
    if config.database.is_none() && !config.tables_file().exists() {
        return Check::good(what, "none yet; made at the first start");
    }
    let counted = match open_tables(config).await {
        Ok(tables) => tables.counts().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match counted {
        Ok(counts) if counts.parked > 0 => Check::warn(
            what,
            format!("{} events are parked", counts.parked),
            "see the reasons in table parked_events",
        ),
        Ok(counts) => Check::good(
            what,
            format!(
                "{} personas, {} actions, at sequence {}",
                counts.personas, counts.actions, counts.as_of_seq
            ),
        ),
        Err(error) => Check::bad(
            what,
            error,
            "`dramatis rebuild` makes the tables again from the log",
        ),
    }
}

/// A clock before this program was written is wrong, and tokens and cadences with it.
fn time(now: Timestamp) -> Check {
    let written = date(2026, 1, 1)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .map_or(Timestamp::UNIX_EPOCH, |at| at.timestamp());
    if now < written {
        Check::bad("clock", now.to_string(), "set the machine's clock")
    } else {
        Check::good("clock", now.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
    }
}

fn persona_catalog() -> Check {
    match Catalog::parse(
        "personas.json",
        Catalog::embedded_text(),
        &gateway::module_names(),
    ) {
        Ok(catalog) => Check::good("catalog", format!("{} personas", catalog.personas.len())),
        Err(error) => Check::bad("catalog", error.to_string(), "this build is broken; use another"),
    }
}

fn address(config: &Config, is_running: bool) -> Check {
    let what = "address";
    if is_running {
        return Check::good(what, "a server is running on this data folder");
    }
    match TcpListener::bind(config.listen) {
        Ok(_) => Check::good(what, format!("{} is free", config.listen)),
        Err(error) => Check::bad(
            what,
            format!("{}: {error}", config.listen),
            "choose another with --listen",
        ),
    }
}
