//! What decides: a [`Brain`] is shown a tick so far and answers with the next calls, or that it is done.
//!
//! A brain carries out nothing. The actor asks, appends, sends, and asks again with the results in
//! [`TickView::past`], so that a brain needs no memory between two questions and two brains differ in their
//! choices alone. [`SimulatedBrain`] needs no key and no network; [`crate::ModelBrain`] asks a language model.

mod arguments;
mod chaos;
mod dice;
mod habits;
mod harvest;
mod look;
mod machine;
mod mistakes;
mod remember;
mod schema;
mod simulated;
mod temper;
mod words;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use events::{CallId, Cause, Intent, PersonaId, RatingAnswers, RatingSource, TickOutcome};
use jiff::Timestamp;
use serde_json::Value;

use crate::diary::Diary;
use crate::digest::ModuleDigest;
use crate::model::{Conversation, ModelRequest};
pub(crate) use arguments::is_id;
#[cfg(test)]
pub(crate) use chaos::EdgeClass;
pub(crate) use chaos::{EdgeCall, edges, is_chaotic};
pub(crate) use look::{Look, look};
pub use remember::remember;
pub use simulated::SimulatedBrain;

/// Which brain acts, as `TickStarted` records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrainIdentity {
    /// `simulated`, or the name of a model provider.
    pub name: &'static str,
    /// The model, where there is one.
    pub model: Option<String>,
    /// Version of the prompt or, for the simulated brain, of its rules. Results of two versions never share a
    /// trend.
    pub prompt_version: u32,
}

/// A tool as `tools/list` describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolInfo {
    /// Its MCP name.
    pub name: String,
    /// The module it belongs to: the name's text before the first `.`.
    pub module: String,
    /// What it says it does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
    /// It says it changes nothing (`readOnlyHint`).
    pub read_only: bool,
    /// It says it can destroy (`destructiveHint`).
    pub destructive: bool,
}

/// What a brain knows of the persona it acts for.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonaView {
    /// The persona.
    pub persona_id: PersonaId,
    /// Its name.
    pub name: String,
    /// Its archetype; one that a brain does not know is treated as an ordinary user.
    pub archetype: String,
    /// What a model is told to be.
    pub system_prompt: String,
    /// Module name to weight.
    pub module_mix: BTreeMap<String, f64>,
}

/// What a brain knows of a space that its persona shares with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceView {
    /// Its name.
    pub name: String,
    /// What sort of group it is for.
    pub space_type: String,
    /// Names of the other members.
    pub others: Vec<String>,
}

/// A call the brain wants made.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedCall {
    /// The tool's MCP name.
    pub tool: String,
    /// Its arguments, a JSON object.
    pub arguments: Value,
    /// What it is meant to be; recorded before it is sent.
    pub intent: Intent,
    /// Which mistake, when it is meant to be one.
    pub mistake: Option<String>,
    /// The failed call of this tick that it tries again.
    pub retry_of: Option<CallId>,
    /// Why it is not sent, when it cannot be: it is recorded and answered with this.
    pub unsent: Option<Unsent>,
}

/// A call that a brain wanted and that nobody can make: a tool that does not exist, arguments that are not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// What the brain is told.
    pub message: String,
    /// Whose fault it is.
    pub cause: Cause,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub enum CallOutcome {
    /// The tool answered.
    Ok {
        /// The structured content of its answer.
        structured: Value,
        /// Milliseconds from sending to answer.
        latency_ms: u64,
    },
    /// The tool, the gateway or the way there said no.
    Error {
        /// What the caller was told.
        message: String,
        /// Milliseconds from sending to answer.
        latency_ms: u64,
        /// Whose fault it is.
        cause: Cause,
    },
}

impl CallOutcome {
    /// The error's text, when it is one.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Ok { .. } => None,
            Self::Error { message, .. } => Some(message),
        }
    }

    /// Milliseconds from sending to answer.
    pub fn latency_ms(&self) -> u64 {
        match self {
            Self::Ok { latency_ms, .. } | Self::Error { latency_ms, .. } => *latency_ms,
        }
    }
}

/// A call of this tick that was made, with its outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct PastCall {
    /// The call.
    pub call_id: CallId,
    /// The tool's MCP name.
    pub tool: String,
    /// The module it belongs to.
    pub module: String,
    /// What was sent.
    pub arguments: Value,
    /// What it was meant to be.
    pub intent: Intent,
    /// Which mistake, when it was meant to be one.
    pub mistake: Option<String>,
    /// The failed call it tried again.
    pub retry_of: Option<CallId>,
    /// It went out to the app; see [`PlannedCall::unsent`].
    pub was_sent: bool,
    /// How it ended.
    pub outcome: CallOutcome,
}

impl PastCall {
    /// Leaves out how long it took.
    pub(crate) fn forget_latency(&mut self) {
        match &mut self.outcome {
            CallOutcome::Ok { latency_ms, .. } | CallOutcome::Error { latency_ms, .. } => *latency_ms = 0,
        }
    }
}

/// A tick so far: all a brain may base its answer on.
#[derive(Debug, Clone, Copy)]
pub struct TickView<'a> {
    /// Who acts.
    pub persona: &'a PersonaView,
    /// 1 for the persona's first tick, then counting up.
    pub tick_number: u64,
    /// What random choices follow from.
    pub seed: u64,
    /// When the tick was due, or when it began if that was much later; the only present a brain knows.
    pub started_at: Timestamp,
    /// The tools on offer, in the gateway's order.
    pub tools: &'a [ToolInfo],
    /// The calls so far, in the order they were planned.
    pub past: &'a [PastCall],
    /// How many more calls this tick may make.
    pub calls_left: u32,
    /// What the persona remembers of earlier ticks; empty before the first.
    pub diary: &'a Diary,
    /// The space it acts in, where that is shared with others; `None` in its own.
    pub space: Option<&'a SpaceView>,
}

/// A brain's answer.
#[derive(Debug)]
pub enum Step {
    /// Make these calls. They are sent together and may return in any order; never empty.
    Calls(Vec<PlannedCall>),
    /// Ask a model, and then me again.
    Ask(Box<ModelRequest>),
    /// Nothing more this tick.
    Done {
        /// How it ended.
        outcome: TickOutcome,
        /// Why, where the outcome alone does not say.
        note: Option<String>,
    },
}

/// A rating with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stars {
    /// 1 to 5.
    pub rating: u8,
    /// Why.
    pub notes: String,
    /// The calls it rests on.
    pub evidence: Vec<CallId>,
    /// What it claims of them, where it has an opinion; checked before it counts.
    pub claims: Option<Claims>,
}

/// What an opinion says it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Calls that went well.
    pub went_well: Vec<CallId>,
    /// Calls that were in the way.
    pub friction: Vec<CallId>,
    /// Evidence that names no call of this tick.
    pub unknown: Vec<String>,
    /// What was answered before the stars.
    pub answers: RatingAnswers,
}

/// A brain's answer when it is asked for ratings.
#[derive(Debug)]
pub enum RateStep {
    /// Ask a model, and then me again.
    Ask(Box<ModelRequest>),
    /// What it says.
    Drafts(Vec<RatingDraft>),
}

/// What a brain says of one module it used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatingDraft {
    /// The module.
    pub module: String,
    /// The stars, or why there are none. No number is ever made up.
    pub verdict: Result<Stars, String>,
}

/// A brain that could not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrainError {
    /// It could not be asked, or its answer was of no use.
    #[error("the brain gave no usable answer: {reason}")]
    Unusable {
        /// What was wrong.
        reason: String,
    },
}

/// Decides what a persona does next and how it rates what it used.
///
/// A brain asks no model itself: it says what to ask, and the tick puts the money aside, records, sends, waits where
/// it has to, and comes back with the answer in the [`Conversation`].
#[async_trait]
pub trait Brain: fmt::Debug + Send + Sync + 'static {
    /// Which brain this is.
    fn identity(&self) -> BrainIdentity;

    /// The next calls of the tick, or its end. Asked again with the results until it is done. `conversation` is the
    /// tick's own, and empty at its beginning.
    async fn step(&self, tick: &TickView<'_>, conversation: &mut Conversation) -> Result<Step, BrainError>;

    /// Rates each module in `used` exactly once, from what happened in this tick and in the same conversation.
    async fn rate(
        &self,
        tick: &TickView<'_>,
        used: &[ModuleDigest],
        conversation: &mut Conversation,
    ) -> Result<RateStep, BrainError>;

    /// How its ratings are marked; sources never share a trend.
    fn source(&self) -> RatingSource;
}
