//! The language and the log.
//!
//! What happened is an [`Event`]; what one decision made happen is a [`Commit`] of one or more events, stored
//! as one message: whole or not at all, with one id and one guard. Commits go to an [`EventLog`] under the
//! [`Subject`] of the entity they are about, and come back as [`RecordedCommit`]s with their sequence.
//!
//! ```text
//! Event ── codec ──▶ Commit ── EventLog::append(expected) ──▶ JetStream
//!                                                                │
//! tables ◀── fold ── RecordedCommit ◀── EventLog::follow ────────┘
//! ```
//!
//! The port is [`EventLog`]; [`JetStreamLog`] is the driver that counts, [`MemoryLog`] the one for tests. One
//! conformance suite (`tests/conformance.rs`) holds both to the same behaviour, refusals included.
//!
//! **To add an event type**: write its struct in `event.rs`, add one line to the `event_types!` list there,
//! run the golden test once with `DRAMATIS_WRITE_GOLDEN=1`, add the row to `docs/events.md` (a test compares).
//! **To change one**: raise its version in the list, write the upcaster in `upcast.rs`, keep the old golden file.

mod canonical;
mod chain;
mod clock;
mod codec;
mod commit;
mod documents;
mod event;
mod ids;
mod jetstream;
mod log;
mod memory;
mod moment;
mod seal;
pub mod spans;
mod stored;
mod subject;
pub mod testing;
mod ticks;
mod upcast;

pub use canonical::input_hash;
pub use chain::{
    AuditReport, ChainAudit, ChainBreak, ChainHash, ChainStamp, ChainStart, ChainVerifier, ContentHash,
    InvalidChainHash, Link, verify_chain,
};
pub use clock::{Clock, Ids, ManualClock, SeededIds, SystemClock, SystemIds};
pub use codec::{COMMIT_TYPE, CodecError};
pub use commit::{Commit, RecordedCommit, StreamSeq};
pub use documents::{Document, Documents, MemoryDocuments};
pub use event::*;
pub use ids::{
    CallId, CommitId, DeployName, InvalidId, InvitationId, PersonaId, RecordId, RequestId, SessionId,
    SpaceId, TickId, UserId,
};
pub use jetstream::{
    DOCUMENTS_BUCKET, Durability, Imported, Importer, JetStreamDocuments, JetStreamLog, JetStreamSettings,
    JetStreamTicks, STREAM_NAME, ServerReport, TICKS_STREAM_NAME, VERSION_FLOOR, version_is_at_least_floor,
};
pub use log::{
    Appended, CommitStream, Delivery, EventLog, ExpectedSeq, LogError, LogState, Rejection, StreamIdentity,
    Undecodable, read_to_end,
};
pub use memory::{MemoryLog, MemoryMessage};
pub use moment::Moment;
pub use seal::{InvalidSeal, Seal, SubjectTag};
pub use subject::{
    ALARM_PREFIX, CONTROL_PREFIX, JOB_PREFIX, LIVE_PREFIX, QUERY_PREFIX, Subject, SubjectError,
};
pub use ticks::{Claim, DueTick, TakenTick, TickQueue};
