//! `dramatis mounts list|approve`: the tools of mounted servers as they were seen, and which of them are approved.

use gateway::{Pin, PinFile};
use serde::Serialize;

use crate::config::Config;
use crate::exit::CommandError;
use crate::output::{Format, Out, count_of, printable, table};

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
}

/// Runs the command.
///
/// # Errors
/// [`CommandError::NotFound`] for a mount that is not configured, [`CommandError::Failed`] when what is known of a mount
/// cannot be read.
pub(crate) fn run(command: &MountsCommand, config: &Config, out: &mut Out) -> Result<(), CommandError> {
    match command {
        MountsCommand::List { .. } => list(&seen(config)?, config, out),
        MountsCommand::Approve { name, tool } => approve(name, tool.as_deref(), config, out),
    }
}

fn seen(config: &Config) -> Result<Vec<Seen>, CommandError> {
    let mut seen = Vec::new();
    for mount in config.mounts.keys() {
        let pins = PinFile::of(&config.mounts_dir(), mount)
            .read()
            .map_err(|error| CommandError::Failed(format!("mount {mount}: {error}")))?;
        seen.extend(pins.into_iter().map(|(tool, pin)| Seen {
            mount: mount.clone(),
            tool,
            quarantined: pin.is_quarantined(),
            pin,
        }));
    }
    Ok(seen)
}

fn list(seen: &[Seen], config: &Config, out: &mut Out) -> Result<(), CommandError> {
    if out.format() == Format::Json {
        return out.json(&seen);
    }
    if config.mounts.is_empty() {
        return out.text("no server is mounted; [mounts.NAME] of the configuration file declares one");
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

fn approve(name: &str, tool: Option<&str>, config: &Config, out: &mut Out) -> Result<(), CommandError> {
    if !config.mounts.contains_key(name) {
        return Err(CommandError::NotFound(format!(
            "no mount is named {name}; `dramatis mounts list` shows them"
        )));
    }
    let file = PinFile::of(&config.mounts_dir(), name);
    let failed = |error: std::io::Error| CommandError::Failed(format!("mount {name}: {error}"));
    if let Some(tool) = tool
        && !file.read().map_err(failed)?.contains_key(tool)
    {
        return Err(CommandError::NotFound(format!("{name} has no tool {tool}")));
    }
    let approved = file.approve(tool).map_err(failed)?;
    if approved.is_empty() {
        return out.text("nothing was waiting");
    }
    out.text(format!("approved: {}", approved.join(", ")))
}
