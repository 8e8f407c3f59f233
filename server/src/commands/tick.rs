//! `dramatis tick`: let personas act now, and say what came of it.

use super::personas::no_such_persona;
use crate::api_client::{ApiArgs, ApiClient, TickAnswer, TickLine, TickWho};
use crate::exit::CommandError;
use crate::output::{Format, Out, printable, seconds_text, table};

/// Let personas act now: those that are due, one of them, or all.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TickArgs {
    #[command(flatten)]
    pub(crate) api: ApiArgs,

    /// Let this persona act, due or not
    #[arg(long, value_name = "EMAIL", conflicts_with = "all")]
    pub(crate) persona: Option<String>,

    /// Let every persona act, due or not
    #[arg(long)]
    pub(crate) all: bool,
}

/// Lets personas act, waits for them and prints what came of it.
///
/// # Errors
/// [`CommandError::NotFound`] when there is no such persona, [`CommandError::Failed`] when any tick failed.
pub(crate) async fn run(args: &TickArgs, api: &ApiClient, out: &mut Out) -> Result<(), CommandError> {
    let who = TickWho {
        persona: args.persona.clone(),
        all: args.all,
    };
    let (answer, raw) =
        api.tick(&who)
            .await
            .map_err(|error| match (CommandError::from(error), &who.persona) {
                (CommandError::NotFound(_), Some(email)) => no_such_persona(email),
                (error, _) => error,
            })?;
    match out.format() {
        Format::Json => out.json(&raw)?,
        Format::Text => print_table(&answer, out)?,
    }
    if answer.failed == 0 {
        return Ok(());
    }
    let failed = answer.ticks.iter().filter(|tick| tick.is_failed());
    let failed = failed.map(|tick| format!("{}: {}", printable(&tick.email), printable(tick.reason_text())));
    Err(CommandError::failed_each(
        format!("{} of {} ticks failed:", answer.failed, answer.due),
        failed,
    ))
}

impl TickLine {
    fn is_failed(&self) -> bool {
        !matches!(
            self.outcome.as_str(),
            "completed" | "abandoned" | "limit" | "busy" | "stood-down"
        )
    }

    fn reason_text(&self) -> &str {
        self.reason.as_deref().unwrap_or("no reason given")
    }
}

fn print_table(answer: &TickAnswer, out: &mut Out) -> Result<(), CommandError> {
    if !answer.ticks.is_empty() {
        let header = ["persona", "ended", "calls", "errors", "rated", "took", "why"];
        let mut rows = table(&header, &[2, 3, 4, 5], out.width(), out.paint());
        for tick in &answer.ticks {
            let name = if tick.name.is_empty() {
                &tick.email
            } else {
                &tick.name
            };
            rows.add_row([
                printable(name),
                printable(&tick.outcome),
                tick.calls.to_string(),
                tick.errors.to_string(),
                tick.ratings.to_string(),
                seconds_text(tick.duration_ms),
                printable(tick.reason.as_deref().unwrap_or_default()),
            ]);
        }
        out.text(rows.trim_fmt())?;
        out.text("")?;
    }
    let skipped = if answer.skipped == 0 {
        String::new()
    } else {
        format!(", {} skipped", answer.skipped)
    };
    out.text(format!(
        "{} due, {} succeeded, {} failed{skipped} in {}",
        answer.due,
        answer.succeeded,
        answer.failed,
        seconds_text(answer.duration_ms)
    ))
}

#[cfg(test)]
mod tests;
