//! `dramatis events cat|tail`: the log, one event a line as JSON.

use std::sync::Arc;

use events::{Delivery, PersonaId, RecordedCommit, StreamSeq, Subject, SystemClock};
use futures::StreamExt as _;
use projections::Until;
use serde_json::json;

use super::until::parse_until;
use crate::config::Config;
use crate::exit::CommandError;
use crate::house::{Signals, open_tables};
use crate::log_access::LogAccess;
use crate::output::Out;

/// Read the log
#[derive(Debug, clap::Subcommand)]
pub(crate) enum EventsCommand {
    /// Print what is in the log and end
    Cat(Filter),
    /// Print what is yet to come, until interrupted
    Tail(Filter),
}

/// Which events to print
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Filter {
    /// Only those of this persona (email or id)
    #[arg(long, value_name = "EMAIL")]
    persona: Option<String>,
    /// Only those of this type, such as `ToolCalled`
    #[arg(long = "type", value_name = "TYPE")]
    type_name: Option<String>,
    /// From this sequence on
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// Up to and with this sequence, or up to this time (such as 2026-01-05T08:00:00Z)
    #[arg(long, value_name = "SEQ|TIME", value_parser = parse_until)]
    until: Option<Until>,
}

/// Runs the command.
///
/// # Errors
/// [`CommandError::NotFound`] for an unknown persona, [`CommandError::Unavailable`] when the log does not answer.
pub(crate) async fn run(
    command: &EventsCommand,
    config: &Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    let (filter, is_tail) = match command {
        EventsCommand::Cat(filter) => (filter, false),
        EventsCommand::Tail(filter) => (filter, true),
    };
    let selection = Selection::resolve(filter, config).await?;
    let access = LogAccess::open(config, clock).await?;
    let mut signals = Signals::listen()?;
    let printed = tokio::select! {
        printed = print(&access, filter, &selection, is_tail, out) => printed,
        // Half a line is never printed: printing does not yield.
        () = signals.next() => if is_tail { Ok(()) } else { Err(CommandError::Interrupted) },
    };
    access.close().await;
    printed
}

async fn print(
    access: &LogAccess,
    filter: &Filter,
    selection: &Selection,
    is_tail: bool,
    out: &mut Out,
) -> Result<(), CommandError> {
    let log = access.log();
    let end = log.state().await?.last_seq;
    let from = filter.from.map(|from| StreamSeq(from.saturating_sub(1)));
    let after = from.unwrap_or(if is_tail { end } else { StreamSeq::ZERO });
    if !is_tail && after >= end {
        return Ok(());
    }
    let mut deliveries = log.follow(after).await?;
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        let seq = delivery.seq();
        if selection.is_past(&delivery) {
            break;
        }
        match &delivery {
            Delivery::Commit(recorded) => print_commit(recorded, selection, out)?,
            Delivery::Undecodable(message) => out.json_line(&json!({
                "seq": seq, "subject": message.subject, "undecodable": message.error.to_string(),
            }))?,
        }
        if (!is_tail && seq >= end) || out.is_closed() {
            break;
        }
    }
    Ok(())
}

fn print_commit(recorded: &RecordedCommit, selection: &Selection, out: &mut Out) -> Result<(), CommandError> {
    let commit = &recorded.commit;
    if selection
        .subject
        .as_ref()
        .is_some_and(|subject| *subject != commit.subject)
    {
        return Ok(());
    }
    for (ordinal, event) in recorded.events() {
        if selection
            .type_name
            .as_ref()
            .is_some_and(|type_name| type_name != event.type_name())
        {
            continue;
        }
        let mut line = json!({
            "seq": recorded.seq, "ordinal": ordinal, "subject": commit.subject.to_string(),
            "time": commit.time, "commit": commit.id, "correlation": commit.correlation,
        });
        let event = serde_json::to_value(event).map_err(|error| CommandError::Failed(error.to_string()))?;
        if let (Some(line), Some(event)) = (line.as_object_mut(), event.as_object()) {
            line.extend(event.clone());
        }
        out.json_line(&line)?;
    }
    Ok(())
}

/// A filter with its persona looked up.
#[derive(Debug)]
struct Selection {
    subject: Option<Subject>,
    type_name: Option<String>,
    until: Option<Until>,
}

impl Selection {
    async fn resolve(filter: &Filter, config: &Config) -> Result<Self, CommandError> {
        if let Some(type_name) = &filter.type_name
            && !events::Event::TYPES.iter().any(|(known, _)| known == type_name)
        {
            let known: Vec<&str> = events::Event::TYPES.iter().map(|(name, _)| *name).collect();
            return Err(CommandError::Usage(format!(
                "--type {type_name}: not one of {}",
                known.join(", ")
            )));
        }
        let subject = match &filter.persona {
            Some(persona) => Some(Subject::Persona(persona_id(persona, config).await?)),
            None => None,
        };
        Ok(Self {
            subject,
            type_name: filter.type_name.clone(),
            until: filter.until,
        })
    }

    fn is_past(&self, delivery: &Delivery) -> bool {
        match (self.until, delivery) {
            (Some(Until::Seq(until)), delivery) => delivery.seq() > until,
            (Some(Until::Time(until)), Delivery::Commit(recorded)) => recorded.commit.time > until,
            _ => false,
        }
    }
}

async fn persona_id(persona: &str, config: &Config) -> Result<PersonaId, CommandError> {
    if !persona.contains('@') {
        return PersonaId::try_new(persona)
            .map_err(|error| CommandError::Usage(format!("--persona: {error}")));
    }
    let tables = open_tables(config).await?;
    let found = tables.persona_by_email(persona).await?;
    found
        .map(|row| row.persona_id)
        .ok_or_else(|| CommandError::NotFound(format!("no persona has the email {persona}")))
}
