//! What each actor answers to `Observe`. Dashboard, endpoints and tests read the same.

use events::{Cadence, PersonaId, StreamSeq, TickId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// The whole tree at one moment, near enough: each part is its own actor's answer. A part is absent while its
/// actor is being restarted.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CastSnapshot {
    /// Whether scheduled ticks are held back.
    pub paused: bool,
    /// Ticks that may run at once.
    pub concurrency: usize,
    /// Who acts now.
    pub acting: Vec<PersonaSnapshot>,
    /// Who waits to be admitted, in order.
    pub waiting: Vec<PersonaId>,
    /// No new ticks are taken any more.
    pub stopping: bool,
    /// The scheduler.
    pub scheduler: Option<SchedulerSnapshot>,
    /// The roster.
    pub roster: Option<RosterSnapshot>,
    /// The supervisor.
    pub supervisor: Option<SupervisorSnapshot>,
}

/// One persona actor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonaSnapshot {
    /// The persona.
    pub persona_id: Option<PersonaId>,
    /// Its name.
    pub name: String,
    /// The tick in progress.
    pub tick_id: Option<TickId>,
    /// Its number.
    pub number: u64,
    /// `resting`, `folding`, `logging in`, `thinking`, `calling`, `rating`.
    pub doing: &'static str,
    /// Calls so far.
    pub calls: u32,
    /// Calls so far that failed.
    pub errors: u32,
    /// Calls without an outcome yet.
    pub in_flight: u32,
}

/// The scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchedulerSnapshot {
    /// Whether scheduled ticks are held back.
    pub paused: bool,
    /// Looks taken since start.
    pub polls: u64,
    /// When the last one was.
    #[schemars(with = "Option<events::Moment>")]
    pub last_poll: Option<Timestamp>,
    /// Ticks handed to the cast since start; the cast may have had them already.
    pub armed: u64,
}

/// The roster.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RosterSnapshot {
    /// Folded up to here.
    pub seq: StreamSeq,
    /// Everybody, by email.
    pub personas: Vec<RosterLine>,
}

/// One persona on the roster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RosterLine {
    /// The persona.
    pub persona_id: PersonaId,
    /// Its account's email.
    pub email: String,
    /// Its name.
    pub name: String,
    /// How often it acts.
    pub cadence: Cadence,
    /// The zone its days are counted in.
    pub time_zone: String,
    /// Its last tick's number, 0 before the first.
    pub last_number: u64,
    /// When its last tick began.
    #[schemars(with = "Option<events::Moment>")]
    pub last_started_at: Option<Timestamp>,
    /// When it is due next.
    #[schemars(with = "events::Moment")]
    pub next_due: Timestamp,
    /// Why it stays down, when it does.
    pub halted: Option<String>,
}

/// The supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SupervisorSnapshot {
    /// Restarts of roster, scheduler and cast since start.
    pub restarts: u64,
    /// Why the budget is spent, when it is.
    pub spent: Option<String>,
}
