//! The cast: supervision, cadence, one actor per persona, ticks and brains.
//!
//! A persona has no way into the app that a person does not have: in a tick it logs in as itself, opens its own
//! MCP session at the public door, and everything it does is an event on its own subject. This room appends to
//! persona subjects, reads the log, and talks MCP; it sees no table.
//!
//! ```text
//! Supervisor ─┬─ RosterActor    folds persona subjects: who exists, when each is due next, what lies unfinished
//!             ├─ Scheduler      asks the roster who is due, hands them to the cast; never runs a tick
//!             └─ CastActor ─ PersonaActor × n    admits n at a time; one mailbox, one tick, then gone again
//!                                 │
//!   fold own subject ─▶ TickStarted (guarded) ─▶ login ─▶ MCP session ─▶ brain.step ⇄ calls ─▶ ratings ─▶ TickFinished
//! ```
//!
//! [`Cast::start`] builds the tree; [`CastHandle`] is how the rest of the house talks to it. Rules are pure
//! functions ([`next_due`], the roster's fold, attribution, budgets); actors carry out effects. ractor's mailboxes
//! are unbounded, so admission happens before a message is cast: the cast holds at most one waiting tick per
//! persona.
//!
//! **To add a brain**: implement [`Brain`] (`step` answers with the next calls or `Done`, `rate` judges the modules
//! that were used), keep no state between two questions that a crash may not lose, and hand it to [`Cast::start`].
//! The runtime does the rest: it appends before it sends, attributes every outcome by call id, checks evidence and
//! range of ratings, and ends the tick at its limits.

mod address;
mod attribution;
mod behaviour;
mod brain;
mod brains;
mod budget;
mod cadence;
mod cast;
mod diary;
mod digest;
mod error;
mod expectations;
mod friction;
mod handle;
mod login;
mod mcp_client;
mod model;
mod passes;
mod persona;
mod purse;
mod recall;
mod report;
mod roster;
mod roster_actor;
mod scheduler;
mod settings;
mod sights;
mod snapshot;
mod spaces;
mod stage;
mod supervisor;
mod taker;
mod tick;

pub use behaviour::{Behaviour, BehaviourDigest};
pub use brain::{
    Brain, BrainError, BrainIdentity, CallOutcome, Claims, PastCall, PersonaView, PlannedCall, RateStep,
    RatingDraft, SimulatedBrain, SpaceView, Stars, Step, TickView, ToolInfo, Unsent, remember,
};
pub use brains::Brains;
pub use cadence::{Slot, next_due};
pub use diary::Diary;
pub use digest::{ModuleDigest, digest};
pub use error::CastError;
pub use friction::{RUBRIC_VERSION, friction, stars_for};
pub use handle::{Cast, CastHandle};
pub use model::{
    Api, Cassette, CassetteError, CassetteMode, Conversation, Endpoint, EndpointError, Endpoints, ModelBrain,
    ModelRequest, ModelSettings, PriceError, Prices,
};
pub use purse::SpendLimits;
pub use report::{TickProgress, TickReport, Who};
pub use roster::{Roster, RosterEntry, UnfinishedTick};
pub use settings::{CastSettings, ModelLimits};
pub use snapshot::{
    CastSnapshot, PersonaSnapshot, RosterLine, RosterSnapshot, SchedulerSnapshot, SupervisorSnapshot,
};
