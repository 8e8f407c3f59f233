//! `dramatis viewers`: credentials for dashboards outside the house, which may look and nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use events::{Clock as _, SystemClock, SystemIds};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use crate::config::Config;
use crate::exit::CommandError;
use crate::nats_child::write_private;
use crate::output::{Format, Out, table};
use crate::run_file::RunFile;
use crate::viewers::{Viewer, Viewers};

/// How long the running nats-server may take to know of a change.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);
/// The longest a credential may last.
const EXPIRES_MAX: Duration = Duration::from_hours(24 * 366);

/// Credentials for dashboards outside, over NATS: live feed, alarms, jobs and queries, and nothing else
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum ViewersCommand {
    /// Make one
    ///
    /// A running server knows of it within seconds. With a server of one's own (`--nats`) nothing is stored: the entry
    /// for its configuration is printed instead, and taking it out again at its expiry is up to whoever runs that server.
    Create {
        /// Its name; made up when not given
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// How long it lasts: 30m, 24h, 7d
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_time)]
        expires: Duration,
        /// Write the credential to this file, readable by this user only, instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List them, without their passwords
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End one before its time; a connection of it is cut within seconds
    Revoke {
        /// Its name
        name: String,
    },
}

impl ViewersCommand {
    pub(crate) fn wants_json(&self) -> bool {
        matches!(self, Self::Create { json: true, .. } | Self::List { json: true })
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let usage = || "such as 30m, 24h or 7d, at most 366d".to_owned();
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(usage)?;
    let number: u64 = number.parse().map_err(|_| usage())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(usage()),
    };
    let time = Duration::from_secs(number.checked_mul(seconds).ok_or_else(usage)?);
    if time.is_zero() || time > EXPIRES_MAX {
        return Err(usage());
    }
    Ok(time)
}

/// Runs the command.
///
/// # Errors
/// [`CommandError::Usage`] for a name that cannot be one, [`CommandError::NotFound`] for a viewer that is not there,
/// [`CommandError::Unavailable`] when the running server does not take the change.
pub(crate) async fn run(
    command: &ViewersCommand,
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    let running = RunFile::find(config);
    if let Some(run) = &running {
        // The server may have lived virtual days; credentials end by its clock.
        let ahead = SignedDuration::from_millis(run.ahead_ms);
        clock.set(clock.now().saturating_add(ahead).unwrap_or(Timestamp::MAX));
    }
    let now = clock.now();
    let dir = config.nats_dir();
    match command {
        ViewersCommand::Create {
            name,
            expires,
            out: file,
            ..
        } => {
            let expires_at = SignedDuration::try_from(*expires)
                .ok()
                .and_then(|expires| now.checked_add(expires).ok())
                .ok_or_else(|| CommandError::Usage("--expires is too long".to_owned()))?;
            if config.nats.is_some() {
                let viewer = Viewers::default().add(name.as_deref(), now, expires_at, &SystemIds)?;
                return print_for_another_server(&viewer, out);
            }
            std::fs::create_dir_all(&dir)
                .map_err(|error| CommandError::Failed(format!("cannot use {}: {error}", dir.display())))?;
            let mut viewers = Viewers::read(&dir)?;
            let viewer = viewers.add(name.as_deref(), now, expires_at, &SystemIds)?;
            viewers.write(&dir)?;
            if let Some(run) = &running {
                wait_until_known(run, &viewer, true, &clock).await?;
            }
            print_credential(&viewer, running.as_ref(), file.as_ref(), out)
        }
        ViewersCommand::List { .. } => list(&Viewers::read(&dir)?, now, out),
        ViewersCommand::Revoke { name } => {
            let mut viewers = Viewers::read(&dir)?;
            let viewer = viewers.all().iter().find(|viewer| viewer.name == *name).cloned();
            let viewer = viewer.ok_or_else(|| {
                CommandError::NotFound(format!(
                    "there is no viewer {name}; `dramatis viewers list` names them"
                ))
            })?;
            viewers.remove(name);
            viewers.write(&dir)?;
            if let Some(run) = &running {
                wait_until_known(run, &viewer, false, &clock).await?;
            }
            out.text(format!("{name} may not look any more"))
        }
    }
}

/// Tries the credential until the running server answers as it should.
async fn wait_until_known(
    run: &RunFile,
    viewer: &Viewer,
    should_work: bool,
    clock: &SystemClock,
) -> Result<(), CommandError> {
    let begin = clock.monotonic();
    loop {
        let options = async_nats::ConnectOptions::new()
            .user_and_password(viewer.name.clone(), viewer.password.clone())
            .connection_timeout(Duration::from_secs(2));
        // What the library has to say of being refused is what is waited for here, or the end of waiting.
        let connecting = options
            .connect(address(run))
            .with_subscriber(NoSubscriber::default());
        if connecting.await.is_ok() == should_work {
            return Ok(());
        }
        if clock.monotonic().saturating_sub(begin) > KNOWN_WITHIN {
            return Err(CommandError::Unavailable(
                "the running server does not take the change; its log says why".to_owned(),
            ));
        }
        clock.sleep(Duration::from_millis(100)).await;
    }
}

/// Where the running server's NATS is, without the house's own credentials.
fn address(run: &RunFile) -> String {
    let (scheme, rest) = run.nats.split_once("://").unwrap_or(("nats", &run.nats));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{host}")
}

fn print_credential(
    viewer: &Viewer,
    running: Option<&RunFile>,
    file: Option<&PathBuf>,
    out: &mut Out,
) -> Result<(), CommandError> {
    let credential = json!({
        "name": viewer.name,
        "url": running.map(address),
        "user": viewer.name,
        "password": viewer.password,
        "inbox_prefix": viewer.inbox_prefix(),
        "created_at": viewer.created_at,
        "expires_at": viewer.expires_at,
        "permissions": viewer.permissions(),
    });
    if let Some(file) = file {
        write_private(file, &credential.to_string())?;
        return out.text(format!(
            "{} may look until {}; the credential is in {}",
            viewer.name,
            viewer.expires_at,
            file.display()
        ));
    }
    if out.format() == Format::Json {
        return out.json(&credential);
    }
    let url = running.map_or_else(
        || "(the server is not running; its address is in `run.json` once it is)".to_owned(),
        address,
    );
    out.text(format!(
        "address       {url}\nuser          {}\npassword      {}\ninbox prefix  {}\nuntil         {}\n\n\
         Keep the password out of command lines: NATS_USER and NATS_PASSWORD in the environment, then\n  \
         nats --inbox-prefix {} sub 'dramatis.live.>'\n  \
         nats --inbox-prefix {} req dramatis.query.personas.list ''",
        viewer.name,
        viewer.password,
        viewer.inbox_prefix(),
        viewer.expires_at,
        viewer.inbox_prefix(),
        viewer.inbox_prefix(),
    ))
}

fn print_for_another_server(viewer: &Viewer, out: &mut Out) -> Result<(), CommandError> {
    if out.format() == Format::Json {
        return out.json(&json!({
            "name": viewer.name,
            "user": viewer.name,
            "password": viewer.password,
            "inbox_prefix": viewer.inbox_prefix(),
            "expires_at": viewer.expires_at,
            "permissions": viewer.permissions(),
            "nats_server_user": viewer.for_nats_server(),
        }));
    }
    out.text(format!(
        "# Into `users` of the account that Dramatis is in; take it out again at {}.\n{}",
        viewer.expires_at,
        viewer.for_nats_server()
    ))
}

fn list(viewers: &Viewers, now: Timestamp, out: &mut Out) -> Result<(), CommandError> {
    let expired = |viewer: &Viewer| viewer.expires_at <= now;
    if out.format() == Format::Json {
        let all: Vec<_> = viewers
            .all()
            .iter()
            .map(|viewer| {
                json!({
                    "name": viewer.name,
                    "created_at": viewer.created_at,
                    "expires_at": viewer.expires_at,
                    "expired": expired(viewer),
                })
            })
            .collect();
        return out.json(&json!({ "viewers": all }));
    }
    if viewers.all().is_empty() {
        return out.text("there are no viewers; `dramatis viewers create` makes one");
    }
    let mut rows = table(&["viewer", "made", "until", ""], &[], out.width(), out.paint());
    for viewer in viewers.all() {
        rows.add_row([
            viewer.name.clone(),
            viewer.created_at.to_string(),
            viewer.expires_at.to_string(),
            if expired(viewer) { "expired" } else { "" }.to_owned(),
        ]);
    }
    out.text(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        assert_eq!(parse_time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_time("7d"), Ok(Duration::from_hours(24 * 7)));
        for odd in [
            "",
            "h",
            "0h",
            "7",
            "7w",
            "-1h",
            "367d",
            "99999999999999999999d",
            "1é",
        ] {
            assert!(parse_time(odd).is_err(), "{odd}");
        }
    }
}
