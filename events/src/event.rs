//! What can have happened. Past tense, versioned, one struct each.
//!
//! Times inside an event are the writer's clock; a fold never reads a clock of its own. Text that came from
//! outside (errors, notes, prompts) is capped by its writer, see the `*_CHARS_MAX` constants.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{CallId, DeployName, PersonaId, RecordId, RequestId, SessionId, SpaceId, TickId, UserId};

/// Characters of an error text kept in [`ToolFailed`] and [`TickInterrupted`].
pub const ERROR_CHARS_MAX: usize = 500;
/// Characters of a rating's notes kept in [`Rated`].
pub const NOTES_CHARS_MAX: usize = 1_000;

macro_rules! event_types {
    ($($(#[$doc:meta])* $name:ident v $version:literal;)*) => {
        /// Something that happened.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event {
            $($(#[$doc])* $name($name),)*
            /// A type this binary does not know. It survives a read unchanged and is folded by nobody.
            Unknown(UnknownEvent),
        }

        impl Event {
            /// Every known type with its present version, in the order of `docs/events.md`.
            pub const TYPES: &'static [(&'static str, u32)] = &[$((stringify!($name), $version),)*];

            /// The type's stable name on the wire.
            pub fn type_name(&self) -> &str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                    Self::Unknown(unknown) => &unknown.type_name,
                }
            }

            /// The version of the type's data on the wire.
            pub fn version(&self) -> u32 {
                match self {
                    $(Self::$name(_) => $version,)*
                    Self::Unknown(unknown) => unknown.version,
                }
            }

            /// Writes the data alone, at [`Event::version`].
            pub(crate) fn serialize_data<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$name(data) => data.serialize(serializer),)*
                    Self::Unknown(unknown) => unknown.data.serialize(serializer),
                }
            }

            /// As [`Event::from_value`], from JSON text.
            pub(crate) fn from_text(type_name: &str, version: u32, data: &str) -> serde_json::Result<Self> {
                match type_name {
                    $(stringify!($name) => serde_json::from_str(data).map(Self::$name),)*
                    _ => {
                        let (type_name, data) = (type_name.to_owned(), serde_json::from_str(data)?);
                        Ok(Self::Unknown(UnknownEvent { type_name, version, data }))
                    }
                }
            }

            /// Reads data that is already at the present version; an unknown type is kept as it is.
            pub(crate) fn from_value(type_name: &str, version: u32, data: Value) -> serde_json::Result<Self> {
                match type_name {
                    $(stringify!($name) => serde_json::from_value(data).map(Self::$name),)*
                    _ => Ok(Self::Unknown(UnknownEvent { type_name: type_name.to_owned(), version, data })),
                }
            }
        }

        $(impl From<$name> for Event {
            fn from(data: $name) -> Self {
                Self::$name(data)
            }
        })*
    };
}

event_types! {
    /// A persona was created.
    PersonaEnrolled v 1;
    /// A persona's description changed.
    PersonaRevised v 1;
    /// A persona was deleted.
    PersonaErased v 1;
    /// A persona's actor failed more often than its restart budget allows and stays down.
    PersonaHalted v 1;
    /// A tick began; written before anything else in it.
    TickStarted v 1;
    /// A tick acts in a space that is shared with others.
    SpaceEntered v 1;
    /// A tool call is about to be sent.
    ToolCalled v 2;
    /// The call with that id succeeded.
    ToolReturned v 1;
    /// The call with that id failed.
    ToolFailed v 1;
    /// A model is about to be asked; what it may cost is put aside.
    ModelAsked v 1;
    /// One model request ended.
    ModelCalled v 2;
    /// A module was rated.
    Rated v 2;
    /// The rating turn gave nothing usable for a module.
    RatingFailed v 1;
    /// A calibration twin was used and rated.
    TwinRated v 1;
    /// A tool field was given edge input on purpose.
    EdgeTried v 1;
    /// What a tick leaves to be remembered.
    DiaryWritten v 1;
    /// Something was put into a shared space, and others ought to find it there.
    ExpectationRaised v 1;
    /// What another put into a shared space was looked for.
    ExpectationChecked v 1;
    /// A tick ended.
    TickFinished v 2;
    /// A tick was found unfinished after a crash.
    TickInterrupted v 1;
    /// An MCP session began.
    SessionOpened v 1;
    /// An MCP session ended.
    SessionClosed v 1;
    /// Policy refused a call, or would have in log-only mode.
    CallRefused v 1;
    /// The gateway took a tool call; written before the tool runs.
    CallStarted v 1;
    /// A call the gateway took came to its end.
    CallEnded v 1;
    /// App data was written through a tool or the sync protocol.
    RecordChanged v 1;
    /// A space was deleted.
    SpaceErased v 1;
    /// The app was deployed anew.
    DeployMarked v 1;
}

/// An event of a type this binary does not know.
#[derive(Debug, Clone, PartialEq)]
pub struct UnknownEvent {
    /// Its type on the wire.
    pub type_name: String,
    /// Its version on the wire.
    pub version: u32,
    /// Its data, unread.
    pub data: Value,
}

/// How often a persona acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cadence {
    /// Once a calendar day of the persona's own time zone.
    Daily,
    /// Once a day, Monday to Friday, in the persona's own time zone.
    Weekdays,
    /// Once an hour.
    Hourly,
}

/// Who a persona is, as of its enrolment or latest revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PersonaDescription {
    /// The persona.
    pub persona_id: PersonaId,
    /// The email of its account, in the reserved test domain.
    pub email: String,
    /// Its name.
    pub name: String,
    /// One of the catalog's archetypes.
    pub archetype: String,
    /// What a model is told to be; in the persona's own language.
    pub system_prompt: String,
    /// Module name to weight; weights are non-negative and not all zero.
    pub module_mix: BTreeMap<String, f64>,
    /// How often it acts.
    pub cadence: Cadence,
    /// IANA time zone its days are counted in.
    pub time_zone: String,
    /// Emails of the personas it shares a space with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partners: Vec<String>,
}

/// See [`Event::PersonaEnrolled`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonaEnrolled(pub PersonaDescription);

/// See [`Event::PersonaRevised`]. Holds the whole new description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonaRevised(pub PersonaDescription);

/// See [`Event::PersonaErased`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PersonaErased {
    /// The persona that is gone.
    pub persona_id: PersonaId,
    /// The spaces that were its alone, whose records go with it.
    pub spaces: Vec<SpaceId>,
}

/// See [`Event::PersonaHalted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PersonaHalted {
    /// The persona whose actor stays down.
    pub persona_id: PersonaId,
    /// Restarts that were tried within the budget's window.
    pub restarts: u32,
    /// The last failure, at most [`ERROR_CHARS_MAX`] characters.
    pub reason: String,
}

/// Why a tick began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TickTrigger {
    /// Its cadence said so.
    Schedule,
    /// Somebody asked for it.
    Manual,
    /// A runner outside this program reported it after the fact.
    External,
}

/// See [`Event::TickStarted`]. Written before the first model call, so that an idle tick is still a tick.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TickStarted {
    /// The tick.
    pub tick_id: TickId,
    /// The persona.
    pub persona_id: PersonaId,
    /// 1 for a persona's first tick, then counting up.
    pub number: u64,
    /// When it was due.
    pub due_at: Timestamp,
    /// When it began.
    pub started_at: Timestamp,
    /// Why it began.
    pub trigger: TickTrigger,
    /// Which brain acts: `simulated`, `anthropic`, …
    pub brain: String,
    /// The brain's model, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Version of the prompt or, for the simulated brain, of its rules.
    pub prompt_version: u32,
    /// What the brain's random choices follow from.
    pub seed: u64,
}

/// See [`Event::SpaceEntered`]. A tick without it acts in the persona's own space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceEntered {
    /// The tick.
    pub tick_id: TickId,
    /// The space.
    pub space_id: SpaceId,
    /// What sort of group it is for: `family`, `team`, `practice`, `brand` or `club`. Not its name, which may be
    /// made of somebody's.
    pub space_type: String,
}

/// What a call was meant to be, marked before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Intent {
    /// An ordinary call that ought to succeed.
    Valid,
    /// A newcomer's mistake, made on purpose: refusing it well is the app working.
    Mistake,
    /// Hostile or absurd input, sent on purpose.
    Chaos,
}

impl Intent {
    /// The word used on the wire and in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Mistake => "mistake",
            Self::Chaos => "chaos",
        }
    }
}

/// See [`Event::ToolCalled`]. Written **before** the call is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCalled {
    /// The tick.
    pub tick_id: TickId,
    /// The call.
    pub call_id: CallId,
    /// 0 for the tick's first call, then counting up.
    pub index: u32,
    /// The tool's MCP name.
    pub tool: String,
    /// The module the tool belongs to.
    pub module: String,
    /// SHA-256 of the canonical arguments, lower-case hexadecimal.
    pub input_hash: String,
    /// The same of the arguments with each id replaced by where the persona saw it first in this tick. Two runs that
    /// did the same to things whose ids the app made up anew have the same; an external runner has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act_hash: Option<String>,
    /// What the call is meant to be.
    pub intent: Intent,
    /// Which mistake or edge class, when it is meant to be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mistake: Option<String>,
    /// The call this one tries again, after an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<CallId>,
    /// When it was decided.
    pub called_at: Timestamp,
}

/// See [`Event::ToolReturned`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolReturned {
    /// The tick.
    pub tick_id: TickId,
    /// The call this is the outcome of.
    pub call_id: CallId,
    /// Milliseconds from sending to answer; absent where an external runner did not measure it.
    pub latency_ms: Option<u64>,
    /// Bytes of the answer's content.
    pub result_bytes: u64,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The app refused or broke on a call that ought to have worked.
    App,
    /// The persona erred, on purpose or not, and the app said so.
    Persona,
    /// The call did not reach the app or its answer did not come back.
    Infra,
}

impl Cause {
    /// The word used on the wire and in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Persona => "persona",
            Self::Infra => "infra",
        }
    }
}

/// See [`Event::ToolFailed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolFailed {
    /// The tick.
    pub tick_id: TickId,
    /// The call this is the outcome of.
    pub call_id: CallId,
    /// What the caller was told, at most [`ERROR_CHARS_MAX`] characters.
    pub error: String,
    /// Milliseconds from sending to answer; absent where an external runner did not measure it.
    pub latency_ms: Option<u64>,
    /// Whose fault it is.
    pub cause: Cause,
}

/// What a model is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// What the persona does next.
    Act,
    /// How it rates what it used.
    Rate,
}

/// See [`Event::ModelAsked`]. Written **before** the request is sent, so that a crash forgets no spending: a request
/// without its [`ModelCalled`] counts with all that was put aside for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelAsked {
    /// The tick.
    pub tick_id: TickId,
    /// The request; every attempt is one of its own.
    pub request_id: RequestId,
    /// Which brain asks: `anthropic`, `openai`.
    pub brain: String,
    /// The model that is asked.
    pub model: String,
    /// What for.
    pub purpose: Purpose,
    /// The most this request can cost, in millionths of a dollar.
    pub reserved_micro_usd: u64,
    /// When; the budgets' days and months go by it.
    pub asked_at: Timestamp,
}

/// See [`Event::ModelCalled`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCalled {
    /// The tick.
    pub tick_id: TickId,
    /// The request this is the end of; absent in version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// The model that answered.
    pub model: String,
    /// Tokens read, without those from a cache; absent when the server did not say.
    pub input_tokens: Option<u64>,
    /// Tokens read from a cache.
    pub cached_tokens: Option<u64>,
    /// Tokens read and written to a cache, where that has a price of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// Cost in millionths of a dollar; absent when the usage is not known. It counts as what was put aside then.
    pub cost_micro_usd: Option<u64>,
    /// Attempts before this one.
    pub retries: u32,
    /// Why the model stopped, in its server's own word; `error` when there was no usable answer.
    pub stop_reason: String,
    /// What was wrong, when there was no usable answer; at most [`ERROR_CHARS_MAX`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Milliseconds from request to answer.
    pub latency_ms: u64,
}

/// Where a rating came from. Ratings of different sources never share a trend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RatingSource {
    /// A language model's opinion.
    Model,
    /// The published formula over friction: an index, not an opinion.
    Simulated,
    /// Reported by a runner outside this program.
    External,
}

impl RatingSource {
    /// The word used on the wire and in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Simulated => "simulated",
            Self::External => "external",
        }
    }
}

/// See [`Event::Rated`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rated {
    /// The tick.
    pub tick_id: TickId,
    /// The module.
    pub module: String,
    /// Stars, 1 to 5.
    pub rating: u8,
    /// Why, at most [`NOTES_CHARS_MAX`] characters.
    pub notes: String,
    /// The calls the rating rests on.
    pub evidence: Vec<CallId>,
    /// Where it came from.
    pub source: RatingSource,
    /// Our own friction score of the module in this tick, 0 (smooth) to 1 (hopeless).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub friction: Option<f64>,
    /// Version of the rules the stars were given by.
    pub rubric_version: u32,
    /// Why the stars do not rest on what happened, when they do not: they are kept and enter no trend. At most
    /// [`ERROR_CHARS_MAX`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsupported: Option<String>,
    /// Which brain rated; absent in version 1 and for runners outside this program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brain: Option<String>,
    /// The brain's model, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Version of the prompt or, for the simulated brain, of its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<u32>,
    /// What was said before the stars, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<RatingAnswers>,
}

/// What a rater answers before it gives stars, each in the questionnaire's own word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatingAnswers {
    /// `yes`, `partly` or `no`.
    pub could_finish: String,
    /// `yes`, `maybe` or `no`.
    pub would_return: String,
    /// `better`, `same`, `worse` or `first`.
    pub vs_last_time: String,
}

/// See [`Event::RatingFailed`]: no number is ever made up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RatingFailed {
    /// The tick.
    pub tick_id: TickId,
    /// The module that was to be rated.
    pub module: String,
    /// Why there is no rating.
    pub reason: String,
}

/// One of the two calibration toolsets: the same tools, known to be good and known to be bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Twin {
    /// It does what it says.
    Good,
    /// It refuses a choice that it offers, says that it kept what it did not, and keeps its callers waiting.
    Bad,
}

impl Twin {
    /// The word used on the wire, in the tables and in the twin's path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }
}

/// See [`Event::TwinRated`]. The twins are no part of the app: their calls are counted here and stand nowhere else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TwinRated {
    /// The tick.
    pub tick_id: TickId,
    /// Which of the two.
    pub twin: Twin,
    /// Stars, 1 to 5; absent where nothing usable came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<u8>,
    /// Why there are none, at most [`ERROR_CHARS_MAX`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Calls made to it.
    pub calls: u32,
    /// Calls that failed.
    pub errors: u32,
    /// Our own friction score of the visit, 0 (smooth) to 1 (hopeless).
    pub friction: f64,
    /// Where the stars came from.
    pub source: RatingSource,
    /// Version of the rules the stars were given by.
    pub rubric_version: u32,
    /// Which brain rated.
    pub brain: String,
    /// Its model, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Version of its prompt or rules.
    pub prompt_version: u32,
    /// When the tick was due; the next calibration counts from it.
    pub rated_at: Timestamp,
}

/// How a tool stood edge input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EdgeVerdict {
    /// It took it, and read it back as it was sent where that could be seen.
    Accepted,
    /// It refused it cleanly.
    Refused,
    /// It took it and read it back otherwise.
    Altered,
    /// It broke: an internal error, an error that shows its insides, or a list that fails since.
    Broke,
    /// There was no answer.
    Unanswered,
}

impl EdgeVerdict {
    /// The word used on the wire and in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Altered => "altered",
            Self::Broke => "broke",
            Self::Unanswered => "unanswered",
        }
    }

    /// Whether it is as it should be.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Accepted | Self::Refused)
    }
}

/// See [`Event::EdgeTried`]. The call itself is a `ToolCalled` with intent `chaos`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeTried {
    /// The tick.
    pub tick_id: TickId,
    /// The call.
    pub call_id: CallId,
    /// The tool's MCP name.
    pub tool: String,
    /// The field that was given the edge; `*` for the call as a whole.
    pub field: String,
    /// The edge class, such as `zero-width`.
    pub class: String,
    /// How it stood it.
    pub verdict: EdgeVerdict,
    /// What was wrong, at most [`ERROR_CHARS_MAX`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A thing in the app, by its id. Nothing that it says is kept: that may be encrypted where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownObject {
    /// The module whose tool showed it.
    pub module: String,
    /// What it is, such as `task`.
    pub kind: String,
    /// Its id.
    pub id: String,
}

/// See [`Event::DiaryWritten`]. A persona's diary is the fold of these and of its calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiaryWritten {
    /// The tick.
    pub tick_id: TickId,
    /// Things that were made and left open, at most 20.
    pub made: Vec<KnownObject>,
    /// Ids of things that were changed, completed or removed, at most 20.
    pub closed: Vec<String>,
}

/// See [`Event::ExpectationRaised`]. From now on each of `partners` ought to find the thing in the space at its next
/// tick there, until somebody changes or removes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectationRaised {
    /// The tick of whoever put it there.
    pub tick_id: TickId,
    /// The space.
    pub space_id: SpaceId,
    /// The thing.
    pub thing: KnownObject,
    /// The call that made it.
    pub call_id: CallId,
    /// The personas who ought to find it.
    pub partners: Vec<PersonaId>,
}

/// What came of looking for a thing that another had put into a shared space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectationOutcome {
    /// It was there.
    Kept,
    /// The app answered, and it was not there.
    Broken,
    /// It had been changed or removed before anybody looked; nobody looked.
    Void,
}

impl ExpectationOutcome {
    /// The word used on the wire and in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broken => "broken",
            Self::Void => "void",
        }
    }
}

/// See [`Event::ExpectationChecked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectationChecked {
    /// The tick of whoever looked.
    pub tick_id: TickId,
    /// The space.
    pub space_id: SpaceId,
    /// The thing that was looked for.
    pub thing: KnownObject,
    /// What came of it.
    pub outcome: ExpectationOutcome,
    /// The call that looked; absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<CallId>,
}

/// How a tick ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TickOutcome {
    /// The brain was done.
    Completed,
    /// The brain gave up after errors, as people do.
    Abandoned,
    /// A limit of time, calls, turns or money ended it; its part is kept.
    Limit,
    /// It could not go on: login, session or brain failed.
    Failed,
    /// It could not begin in earnest: the model's server or a budget said not now. Nothing was called.
    Deferred,
    /// The model refused to act the part.
    Refused,
}

impl TickOutcome {
    /// The word used on the wire and in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Abandoned => "abandoned",
            Self::Limit => "limit",
            Self::Failed => "failed",
            Self::Deferred => "deferred",
            Self::Refused => "refused",
        }
    }
}

/// See [`Event::TickFinished`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TickFinished {
    /// The tick.
    pub tick_id: TickId,
    /// How it ended.
    pub outcome: TickOutcome,
    /// Why, where the outcome alone does not say; at most [`ERROR_CHARS_MAX`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Calls made.
    pub calls: u32,
    /// Calls that failed.
    pub errors: u32,
    /// Calls that tried an earlier one again.
    pub retries: u32,
    /// Cost in millionths of a dollar; absent where it is not known, 0 for the simulated brain.
    pub cost_micro_usd: Option<u64>,
    /// For a deferred tick, when the persona is due again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// See [`Event::TickInterrupted`]. Calls of the tick without an outcome stay `unknown` and are not sent again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TickInterrupted {
    /// The tick.
    pub tick_id: TickId,
    /// How it came to be unfinished, as far as known.
    pub reason: String,
    /// When it was found.
    pub found_at: Timestamp,
}

/// See [`Event::SessionOpened`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionOpened {
    /// The session, named for the record; not the bearer handle.
    pub session_id: SessionId,
    /// Its one owner.
    pub user_id: UserId,
    /// The space it acts in.
    pub space_id: SpaceId,
    /// What the client calls itself; never trusted.
    pub client: String,
    /// Negotiated protocol revision.
    pub protocol: String,
    /// When it began.
    pub opened_at: Timestamp,
}

/// See [`Event::SessionClosed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionClosed {
    /// The session.
    pub session_id: SessionId,
    /// `client`, `idle`, `shutdown` or `restart`.
    pub reason: String,
    /// When it ended.
    pub closed_at: Timestamp,
}

/// See [`Event::CallRefused`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRefused {
    /// The caller.
    pub user_id: UserId,
    /// The space the call was for.
    pub space_id: SpaceId,
    /// The tool.
    pub tool: String,
    /// The caller's own id of the call, where it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<CallId>,
    /// The rule that decided: its id in the policy file, or `admin-scope`, `not-granted`, `destructive`, `arguments`.
    pub rule: String,
    /// Version of the rules.
    pub policy_version: u32,
    /// Whether it was carried out: `enforce` refused, `log-only` did not.
    pub mode: String,
    /// When.
    pub refused_at: Timestamp,
}

/// See [`Event::CallStarted`]. Written **before** the tool runs; whoever reads it without a [`CallEnded`] sees a call
/// under way, or one that a crash cut off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallStarted {
    /// The gateway's own name of this call; no two calls share one, also when a caller sends its own id twice.
    pub call_id: CallId,
    /// The caller's own id of the call, where it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_call_id: Option<CallId>,
    /// The session it came in, where it came in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The caller.
    pub user_id: UserId,
    /// The space it acts in.
    pub space_id: SpaceId,
    /// The name that was called, whether or not there is such a tool.
    pub tool: String,
    /// SHA-256 of the canonical arguments, lower-case hexadecimal.
    pub input_hash: String,
    /// The arguments, sealed with the caller's own key; only where the operator asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    /// Version of the rules it was let through or refused by.
    pub policy_version: u32,
    /// When it was taken.
    pub started_at: Timestamp,
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CallOutcome {
    /// It was answered.
    Ok,
    /// It was carried out, or was to be, and ended in an error.
    Error,
    /// It was never carried out: a rule refused it, or there is no such tool.
    Refused,
    /// Its caller gave it up; it may have done part of its work.
    Cancelled,
    /// The gateway went down before it ended; it may or may not have done its work.
    Unknown,
}

impl CallOutcome {
    /// The word used on the wire and in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}

/// See [`Event::CallEnded`]. A later outcome takes the place of `unknown` alone: whoever said that did not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallEnded {
    /// The gateway's own name of the call.
    pub call_id: CallId,
    /// What came of it.
    pub outcome: CallOutcome,
    /// Why it ended in an error: `invalid` arguments, `rejected` by the tool, `failed` in the house, `panicked`, or
    /// `unrecorded` when its start could not be written down and it was not carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Milliseconds from taking it to its answer; absent where nobody measured.
    pub duration_ms: Option<u64>,
    /// When it ended, or was found without an end.
    pub ended_at: Timestamp,
}

/// What was done to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordOp {
    /// Fields were set.
    Put,
    /// The record was deleted; a tombstone stays.
    Delete,
}

/// One field's new value with the time that decides who wrote last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldWrite {
    /// The value; ciphertext where the registry says so.
    pub value: Value,
    /// The writer's time.
    pub at: Timestamp,
}

/// See [`Event::RecordChanged`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordChanged {
    /// The space.
    pub space_id: SpaceId,
    /// The table of app data, such as `tasks`.
    pub table: String,
    /// The record.
    pub record_id: RecordId,
    /// What was done.
    pub op: RecordOp,
    /// The fields written.
    pub fields: BTreeMap<String, FieldWrite>,
    /// Who wrote.
    pub actor: UserId,
    /// The tool, where one was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The caller's own id of the call, where it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<CallId>,
    /// Where it came from, where a client sent it through the sync protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<Synced>,
    /// When; of a deletion the time that decides which of several counts.
    pub changed_at: Timestamp,
}

/// See [`Event::SpaceErased`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceErased {
    /// The space that is gone, and all its records with it.
    pub space_id: SpaceId,
}

/// Which client of the sync protocol sent a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// The app it syncs.
    pub app: String,
    /// The client, by a name that follows from its account and its own id: a client does not get its own changes back.
    pub client: String,
    /// Fields the client sent as plaintext and the gateway sealed: what goes back out to clients is opened again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealed: Vec<String>,
}

/// See [`Event::DeployMarked`]. One name marks one deployment: it has a subject of its own, and the log's guard refuses
/// a second one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployMarked {
    /// What the operator calls it, such as a version.
    pub name: DeployName,
    /// What it brought, at most [`NOTES_CHARS_MAX`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it went live.
    pub deployed_at: Timestamp,
}

/// `text` cut to at most `chars_max` characters, marked with `…` when something is missing.
pub fn capped(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars()
        .take(chars_max.saturating_sub(1))
        .chain(['…'])
        .collect()
}
