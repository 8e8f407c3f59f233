//! Whether the log and the tables folded from it count the same things.

use std::fmt;

use projections::{CallAgreement, TableCounts};
use serde::Serialize;

use super::LogCounts;

/// One thing counted on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Agreement {
    /// What was counted.
    pub(crate) what: &'static str,
    /// Events in the log.
    pub(crate) log: u64,
    /// Rows in the table.
    pub(crate) table: u64,
    /// Whether that is as it should be.
    pub(crate) agrees: bool,
    /// What explains a difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

impl Agreement {
    /// Personas' calls on one side, those among them that the gateway tells alike on the other.
    pub(crate) fn of_calls(calls: &CallAgreement) -> Self {
        let agrees = calls.agrees();
        Self {
            what: "calls seen alike by personas and gateway",
            log: calls.compared,
            table: calls.compared.saturating_sub(calls.differing),
            agrees,
            note: (!agrees).then(|| "`dramatis audit calls` says which differ".to_owned()),
        }
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} and {})", self.what, self.table, self.log)
    }
}

/// Holds the events of `log` against the rows of `counts`.
///
/// A persona that is erased loses its rows first and its events a moment later, or whenever an erasure that broke off
/// is finished. So with erasures in the log, fewer rows than events are no disagreement; more rows always are.
pub(crate) fn agreement(log: &LogCounts, counts: &TableCounts) -> Vec<Agreement> {
    let erased = log.of(&["PersonaErased"]);
    let answered = counts
        .actions
        .saturating_sub(counts.actions_pending + counts.actions_unknown);
    let line = |what, log: u64, table: u64| {
        let agrees = log == table || (erased > 0 && table < log);
        let note = (agrees && log != table).then(|| erased_note(erased));
        Agreement {
            what,
            log,
            table,
            agrees,
            note,
        }
    };
    let mut personas = line("personas", log.personas, counts.personas);
    personas.agrees = personas.log == personas.table;
    personas.note = (erased > 0).then(|| format!("{erased} more erased"));
    let mut lines = vec![
        personas,
        line("ticks", log.of(&["TickStarted"]), counts.ticks),
        line(
            "ticks interrupted",
            log.of(&["TickInterrupted"]),
            counts.ticks_interrupted,
        ),
        line("tool calls", log.of(&["ToolCalled"]), counts.actions),
        line(
            "outcomes of calls",
            log.of(&["ToolReturned", "ToolFailed"]),
            answered,
        ),
        line("ratings", log.of(&["Rated", "RatingFailed"]), counts.feedback),
        line("sessions", log.of(&["SessionOpened"]), counts.sessions),
        line("refused calls", log.of(&["CallRefused"]), counts.refusals),
        line("calls at the gateway", log.of(&["CallStarted"]), counts.calls),
    ];
    if counts.parked > 0 {
        for line in lines
            .iter_mut()
            .filter(|line| !line.agrees && line.table < line.log)
        {
            line.note = Some(format!(
                "{} commits could not be folded and are parked",
                counts.parked
            ));
        }
    }
    lines
}

fn erased_note(erased: u64) -> String {
    format!(
        "the rows of {erased} erased persona{} are gone",
        if erased == 1 { "" } else { "s" }
    )
}
