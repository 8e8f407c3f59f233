//! `dramatis mounts list|approve`: the tools of mounted servers as they were seen, and which of them are approved.

use std::time::Duration;

use gateway::{Pin, PinsError};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::exit::CommandError;
use crate::house::pin_stores;
use crate::output::{Format, Out, count_of, printable, table};
use crate::run_file::RunFile;

/// How long a running server may take to say how its mounts are.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// Characters of a description shown in the table.
const DESCRIPTION_CHARS_MAX: usize = 60;

/// Servers mounted behind the gateway, and their tools
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum MountsCommand {
    /// List their tools, and which of them wait for approval
    List {
        /// As JSON, with the definitions
        #[arg(long)]
        json: bool,
    },
    /// Approve the tools of a server as they were seen last; a running server offers them within seconds
    Approve {
        /// The mount
        name: String,
        /// This tool alone, by the server's own name
        #[arg(long, value_name = "NAME")]
        tool: Option<String>,
    },
}

impl MountsCommand {
    pub(crate) fn wants_json(&self) -> bool {
        matches!(self, Self::List { json: true })
    }
}

#[derive(Debug, Serialize)]
struct Seen {
    mount: String,
    tool: String,
    #[serde(flatten)]
    pin: Pin,
    quarantined: bool,
    /// Whether the running server says that the mount answers; nothing when none runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    up: Option<bool>,
}

/// How a mount is, as the running server says.
#[derive(Debug, Deserialize)]
struct Told {
    name: String,
    up: bool,
    resting: bool,
    tools: u64,
    quarantined: u64,
}

#[derive(Debug, Deserialize)]
struct Health {
    mounts: Vec<Told>,
}

/// Runs the command.
///
/// # Errors
/// [`CommandError::NotFound`] for a mount that is not configured, [`CommandError::Failed`] when what is known of a mount
/// cannot be read.
pub(crate) async fn run(command: &MountsCommand, config: &Config, out: &mut Out) -> Result<(), CommandError> {
    match command {
        MountsCommand::List { .. } => {
            let told = told(config).await;
            list(&seen(config, &told).await?, &told, config, out)
        }
        MountsCommand::Approve { name, tool } => approve(name, tool.as_deref(), config, out).await,
    }
}

/// What the server that runs on this data folder says of its mounts; nothing where none does, or none answers.
async fn told(config: &Config) -> Vec<Told> {
    let Some(run) = RunFile::find(config) else {
        return Vec::new();
    };
    let asked = async {
        let client = reqwest::Client::builder()
            .timeout(ASK_WITHIN)
            .no_proxy()
            .build()?;
        let answer = client.get(format!("{}/health", run.api)).send().await?;
        answer.json::<Health>().await
    };
    asked.await.map(|health| health.mounts).unwrap_or_default()
}

async fn seen(config: &Config, told: &[Told]) -> Result<Vec<Seen>, CommandError> {
    let mut seen = Vec::new();
    for (mount, store) in pin_stores(config).await? {
        let pins = store.read().await.map_err(|error| unknown(&mount, &error))?;
        let up = told.iter().find(|told| told.name == mount).map(|told| told.up);
        seen.extend(pins.into_iter().map(|(tool, pin)| Seen {
            mount: mount.clone(),
            tool,
            quarantined: pin.is_quarantined(),
            pin,
            up,
        }));
    }
    Ok(seen)
}

fn list(seen: &[Seen], told: &[Told], config: &Config, out: &mut Out) -> Result<(), CommandError> {
    if out.format() == Format::Json {
        return out.json(&seen);
    }
    if config.mounts.is_empty() {
        return out.text("no server is mounted; [mounts.NAME] of the configuration file declares one");
    }
    for mount in told {
        out.text(mount.in_words())?;
    }
    if seen.is_empty() {
        return out.text("no mounted server was seen yet; they are asked when `dramatis up` runs");
    }
    let mut rows = table(
        &["mount", "tool", "state", "description"],
        &[],
        out.width(),
        out.paint(),
    );
    for one in seen {
        let state = match (one.quarantined, &one.pin.approved) {
            (false, _) => "approved",
            (true, Some(_)) => "changed",
            (true, None) => "new",
        };
        let description = one.pin.definition["description"].as_str().unwrap_or_default();
        rows.add_row([
            printable(&one.mount),
            printable(&one.tool),
            state.to_owned(),
            printable(&events::capped(description, DESCRIPTION_CHARS_MAX)),
        ]);
    }
    out.text(rows)?;
    let waiting = seen.iter().filter(|one| one.quarantined).count() as u64;
    if waiting == 0 {
        return Ok(());
    }
    let waiting = count_of(waiting, "tool");
    out.text(format!(
        "{waiting} not offered: read what they say with --json, then `dramatis mounts approve MOUNT`"
    ))
}

impl Told {
    fn in_words(&self) -> String {
        let how = match (self.up, self.resting) {
            (true, false) => "up",
            (true, true) => "left alone for a while after calls without an answer",
            (false, _) => "away; the server's log says why",
        };
        let waiting = match self.quarantined {
            0 => String::new(),
            waiting => format!(", {waiting} waiting for approval"),
        };
        let offered = count_of(self.tools, "tool");
        format!("{}: {how}; {offered} offered{waiting}", printable(&self.name))
    }
}

async fn approve(name: &str, tool: Option<&str>, config: &Config, out: &mut Out) -> Result<(), CommandError> {
    let stores = pin_stores(config).await?;
    let Some((_, store)) = stores.into_iter().find(|(mount, _)| mount == name) else {
        return Err(CommandError::NotFound(format!(
            "no mount is named {name}; `dramatis mounts list` shows them"
        )));
    };
    let failed = |error: PinsError| unknown(name, &error);
    if let Some(tool) = tool
        && !store.read().await.map_err(failed)?.contains_key(tool)
    {
        return Err(CommandError::NotFound(format!("{name} has no tool {tool}")));
    }
    let approved = store.approve(tool).await.map_err(failed)?;
    if approved.is_empty() {
        return out.text("nothing was waiting");
    }
    out.text(format!("approved: {}", approved.join(", ")))
}

fn unknown(mount: &str, error: &PinsError) -> CommandError {
    let told = format!("mount {mount}: {error}");
    match error {
        PinsError::Shared(_) => CommandError::Unavailable(told),
        _ => CommandError::Failed(told),
    }
}
