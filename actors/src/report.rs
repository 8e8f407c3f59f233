//! What a tick tells those who asked for it or look on.

use events::{Cause, PersonaId, TickId};
use schemars::JsonSchema;
use serde::Serialize;

/// Whom to let act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Everybody on the roster who is not halted.
    All,
    /// Those whose cadence says so at this moment.
    Due,
    /// Of those the one that waited longest.
    FirstDue,
    /// One persona, halted or not due as it may be.
    Persona(PersonaId),
}

/// How one requested tick went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TickReport {
    /// The persona.
    pub persona_id: PersonaId,
    /// Its account's email.
    pub email: String,
    /// Its name.
    pub name: String,
    /// The tick, when one began.
    pub tick_id: Option<TickId>,
    /// `completed`, `abandoned`, `limit` or `failed` as the tick's own outcome; `busy` when the persona was acting
    /// already, `stood-down` when no tick began, `cut` when the runner's stop ended it unfinished.
    pub outcome: String,
    /// Why, where the outcome alone does not say.
    pub reason: Option<String>,
    /// Calls made.
    pub calls: u32,
    /// Calls that failed.
    pub errors: u32,
    /// Modules rated.
    pub ratings: u32,
    /// Milliseconds from admission to the end.
    pub duration_ms: u64,
}

impl TickReport {
    /// Whether a tick ran and ended in its own right.
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome.as_str(), "completed" | "abandoned" | "limit")
    }
}

/// One step of a tick, for displays that follow along. Slow readers miss lines; the log misses none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "step", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum TickProgress {
    /// A tick began.
    Started {
        /// The persona.
        persona_id: PersonaId,
        /// Its name.
        name: String,
        /// The tick.
        tick_id: TickId,
        /// Its number.
        number: u64,
    },
    /// A call is about to be sent.
    Called {
        /// The persona.
        persona_id: PersonaId,
        /// Its name.
        name: String,
        /// The tool.
        tool: String,
    },
    /// A call succeeded.
    Returned {
        /// The persona.
        persona_id: PersonaId,
        /// Its name.
        name: String,
        /// The tool.
        tool: String,
        /// Milliseconds from sending to answer.
        latency_ms: u64,
    },
    /// A call failed.
    Failed {
        /// The persona.
        persona_id: PersonaId,
        /// Its name.
        name: String,
        /// The tool.
        tool: String,
        /// Whose fault it is.
        cause: Cause,
        /// What the caller was told.
        error: String,
    },
    /// A module was rated.
    Rated {
        /// The persona.
        persona_id: PersonaId,
        /// Its name.
        name: String,
        /// The module.
        module: String,
        /// The stars; absent when the rating failed.
        rating: Option<u8>,
    },
    /// A tick ended, or did not begin.
    Finished(TickReport),
}
