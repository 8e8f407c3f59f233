//! `dramatis mark deploy NAME`: what happened to the app itself, so that findings can say what came before and after.

use std::sync::Arc;

use events::{
    Clock as _, Commit, CommitId, DeployMarked, DeployName, Event, EventLog, ExpectedSeq, NOTES_CHARS_MAX,
    Rejection, StreamSeq, Subject, SystemClock,
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::config::Config;
use crate::exit::CommandError;
use crate::log_access::LogAccess;
use crate::output::{Format, Out, printable};
use crate::run_file::RunFile;

/// Characters a deployment's name may have: it stands in tables and on axes.
const NAME_CHARS_MAX: usize = 80;

/// Mark what happened to the app
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum MarkCommand {
    /// Mark that the app was deployed anew; `dramatis findings` says what changed since
    Deploy(DeployArgs),
}

/// Which deployment
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DeployArgs {
    /// What it is called, such as a version; each name marks one deployment
    #[arg(value_parser = deploy_name)]
    name: DeployName,
    /// What it brought
    #[arg(long, value_parser = note)]
    note: Option<String>,
    /// When it went live, such as 2026-01-05T08:00:00Z; now, unless it is said
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A deployment that is marked now.
#[derive(Debug, Serialize)]
struct Marked {
    name: DeployName,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    deployed_at: Timestamp,
    /// Where it stands in the log.
    seq: StreamSeq,
}

impl MarkCommand {
    pub(crate) fn wants_json(&self) -> bool {
        let Self::Deploy(args) = self;
        args.json
    }
}

fn deploy_name(text: &str) -> Result<DeployName, String> {
    let name = text.trim();
    if name.is_empty() {
        return Err("a deployment needs a name, such as a version".to_owned());
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(format!(
            "a deployment's name has at most {NAME_CHARS_MAX} characters; --note takes more"
        ));
    }
    DeployName::try_new(name).map_err(|error| error.to_string())
}

fn note(text: &str) -> Result<String, String> {
    if text.chars().count() > NOTES_CHARS_MAX {
        return Err(format!("a note has at most {NOTES_CHARS_MAX} characters"));
    }
    Ok(text.to_owned())
}

/// Runs the command, beside a running server or without one.
///
/// # Errors
/// [`CommandError::Failed`] when a deployment of that name is marked already, [`CommandError::Usage`] for a time that has
/// not come yet, and what [`LogAccess::open`] says.
pub(crate) async fn run(
    command: &MarkCommand,
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    let MarkCommand::Deploy(args) = command;
    if let Some(run) = RunFile::find(config) {
        // The server may have lived virtual days; what it did is dated by its clock.
        let ahead = SignedDuration::from_millis(run.ahead_ms);
        clock.set(clock.now().saturating_add(ahead).unwrap_or(Timestamp::MAX));
    }
    let access = LogAccess::open(config, clock.clone()).await?;
    let marked = mark(access.log(), args, clock.now()).await;
    access.close().await;
    let marked = marked?;
    if out.format() == Format::Json {
        return out.json(&marked);
    }
    out.text(format!(
        "marked {} at {}; `dramatis findings` says what changed since",
        printable(marked.name.as_str()),
        marked.deployed_at
    ))
}

/// Writes the mark under the guard that nothing was ever written about a deployment of that name: of two at once one
/// is told so.
async fn mark(log: &dyn EventLog, args: &DeployArgs, now: Timestamp) -> Result<Marked, CommandError> {
    let deployed_at = args.at.unwrap_or(now);
    if deployed_at > now {
        return Err(CommandError::Usage(format!(
            "--at {deployed_at} has not come yet; mark a deployment when it is live"
        )));
    }
    let subject = Subject::Deploy(args.name.clone());
    let id = CommitId::derived(&["deploy", args.name.as_str(), &now.to_string()]);
    let event: Event = DeployMarked {
        name: args.name.clone(),
        note: args.note.clone(),
        deployed_at,
    }
    .into();
    let commit = Commit::new(id, subject.clone(), now, vec![event]);
    match log.append(&commit, ExpectedSeq::Exactly(StreamSeq::ZERO)).await? {
        Ok(appended) => Ok(Marked {
            name: args.name.clone(),
            note: args.note.clone(),
            deployed_at,
            seq: appended.seq,
        }),
        Err(Rejection::WrongSequence { .. }) => {
            let earlier = log.last(&subject).await?;
            let when = earlier
                .and_then(|recorded| recorded.commit.events.first().cloned())
                .and_then(|event| match event {
                    Event::DeployMarked(marked) => Some(format!(" at {}", marked.deployed_at)),
                    _ => None,
                })
                .unwrap_or_default();
            Err(CommandError::Failed(format!(
                "a deployment {:?} is marked already{when}; each has a name of its own",
                args.name.as_str()
            )))
        }
        Err(rejection) => Err(CommandError::Failed(rejection.to_string())),
    }
}

#[cfg(test)]
mod tests;
