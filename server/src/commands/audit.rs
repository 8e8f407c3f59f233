//! `dramatis audit`: what is on record held against what should be.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use events::{Clock as _, SystemClock, SystemIds, UserId};
use gateway::{EncryptionFinding, RegistryFile, audit_encryption};
use projections::CallAgreement;

use crate::commands::behaviour;
use crate::config::Config;
use crate::exit::CommandError;
use crate::house::{open_identity, open_tables};
use crate::output::{Format, Out, count_of, printable, table};

/// How long after its answer a call may not be in the tables yet.
const RECORDED_WITHIN: Duration = Duration::from_secs(2);

/// Checks of what is on record
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum AuditCommand {
    /// Hold what personas say of their calls against the gateway's record of the same calls
    Calls {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Hold the fields that tools say they encrypt against the registry, and the registry against another program's
    ///
    /// Fails on a table that one side does not know and on fields that differ. A table the other program does not
    /// encrypt is told as advice.
    Encryption {
        /// The other program's registry, a JSON object of tables with `enabled` and `fields`
        #[arg(long, value_name = "FILE")]
        registry: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// What each persona decided and what came of it, as one number: the same for the same seed in any fresh folder
    Behaviour {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show sensitive acts on accounts and keys, the latest first
    Acts {
        /// Of the account with this id
        #[arg(long, value_name = "ID")]
        user: Option<String>,
        /// How many at most
        #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

impl AuditCommand {
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Calls { json }
            | Self::Behaviour { json }
            | Self::Encryption { json, .. }
            | Self::Acts { json, .. } => *json,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`CommandError::NotFound`] when there is nothing on record yet, [`CommandError::Failed`] when what should agree does
/// not.
pub(crate) async fn run(
    command: &AuditCommand,
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    match command {
        AuditCommand::Calls { .. } => calls(config, &clock, out).await,
        AuditCommand::Behaviour { .. } => behaviour::run(config, clock, out).await,
        AuditCommand::Encryption { registry, .. } => encryption(registry.as_deref(), out),
        AuditCommand::Acts { user, limit, .. } => acts(user.as_deref(), *limit, config, clock, out).await,
    }
}

/// Reads the tables alone, beside a running server or without one.
async fn calls(config: &Config, clock: &SystemClock, out: &mut Out) -> Result<(), CommandError> {
    if config.database.is_none() && !config.tables_file().exists() {
        return Err(CommandError::NotFound(format!(
            "there are no tables in {} yet; start with `dramatis up` or `dramatis demo`, or name a folder with --data",
            config.data.display()
        )));
    }
    let tables = open_tables(config).await?;
    let mut agreement = tables.call_agreement().await?;
    if !agreement.agrees() {
        clock.sleep(RECORDED_WITHIN).await;
        agreement = tables.call_agreement().await?.still(&agreement);
    }
    print(&agreement, out)?;
    if agreement.agrees() {
        return Ok(());
    }
    Err(CommandError::Failed(format!(
        "personas and gateway tell {} differently",
        count_of(agreement.differing, "call")
    )))
}

/// Needs nothing but this program, and the file that is named.
fn encryption(registry: Option<&Path>, out: &mut Out) -> Result<(), CommandError> {
    let other = registry.map(read_registry).transpose()?;
    let findings = audit_encryption(other.as_ref());
    if out.format() == Format::Json {
        out.json(&findings)?;
    } else if findings.is_empty() {
        out.text("tools and registry encrypt the same fields")?;
    } else {
        for finding in &findings {
            out.text(printable(&finding.to_string()))?;
        }
    }
    let is_fault = |finding: &&EncryptionFinding| !finding.kind.is_advice();
    match findings.iter().filter(is_fault).count() {
        0 => Ok(()),
        faults => Err(CommandError::Failed(format!(
            "{} in what is encrypted",
            count_of(faults as u64, "disagreement")
        ))),
    }
}

fn read_registry(file: &Path) -> Result<RegistryFile, CommandError> {
    let unusable = |reason: String| CommandError::Usage(format!("--registry {}: {reason}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    serde_json::from_str(&text).map_err(|_| {
        unusable("must be JSON like {\"tasks\": {\"enabled\": true, \"fields\": [\"title\"]}}".to_owned())
    })
}

async fn acts(
    user: Option<&str>,
    limit: u32,
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    if !config.has_accounts() {
        return Err(CommandError::NotFound(format!(
            "there are no accounts in {} yet; start with `dramatis up`, or name a folder with --data",
            config.data.display()
        )));
    }
    let user = user
        .map(UserId::try_new)
        .transpose()
        .map_err(|error| CommandError::Usage(format!("--user: {error}")))?;
    let identity = open_identity(config, "", clock, Arc::new(SystemIds)).await?;
    let acts = identity
        .acts(user.as_ref(), None, limit)
        .await
        .map_err(|error| CommandError::Failed(error.to_string()))?;
    if out.format() == Format::Json {
        return out.json(&acts);
    }
    let headings = ["when", "act", "account", "by", "detail"];
    let mut rows = table(&headings, &[], out.width(), out.paint());
    for act in &acts {
        rows.add_row([
            act.at.to_string(),
            act.act.to_string(),
            printable(act.user_id.as_deref().unwrap_or("–")),
            printable(act.by_id.as_deref().unwrap_or("–")),
            printable(act.detail.as_deref().unwrap_or("")),
        ]);
    }
    out.text(rows)
}

fn print(agreement: &CallAgreement, out: &mut Out) -> Result<(), CommandError> {
    if out.format() == Format::Json {
        return out.json(agreement);
    }
    if agreement.agrees() {
        let compared = count_of(agreement.compared, "call");
        return out.text(format!("{compared} compared: personas and gateway tell the same"));
    }
    let headings = ["persona", "call", "differs in", "persona says", "gateway says"];
    let mut rows = table(&headings, &[], out.width(), out.paint());
    for difference in &agreement.differences {
        rows.add_row([
            printable(&difference.persona_id),
            printable(&difference.call_id),
            difference.what.clone(),
            printable(difference.persona.as_deref().unwrap_or("–")),
            printable(difference.gateway.as_deref().unwrap_or("–")),
        ]);
    }
    out.text(rows)
}
