//! The memory: every table about what happened is a fold of the log and can be made again from it.
//!
//! ```text
//!             follow(checkpoint)          one transaction                                  read snapshots
//! EventLog ──────────────────────▶ batch ─────────────────▶ rows + checkpoint ──────────────────▶ queries
//!             fork check, watchdog         │ move the checkpoint (compare-and-set)
//!                                          │ load the rows the batch needs   working_set/
//!                                          │ fold it in memory               fold/, pure functions
//!                                          ▼ write what changed, in bulk     database/
//!
//! rebuild:  log from 1 ──▶ copy beside the tables ──▶ what differs and the checkpoint replaced in one transaction
//! verify:   log from 1 ──▶ copy beside the tables ──▶ checksums compared at the live checkpoint, differing rows named
//!                                                     seals compared, changed or missing commits named
//! ```
//!
//! The tables are in a SQLite file ([`Tables::open`]) or in a Postgres schema ([`Tables::connect`]): the same rows, and
//! the same checksums, from the same log.
//!
//! What holds, whatever is killed when:
//! * Rows and checkpoint move in one transaction, and the checkpoint moves only from the value its folder read.
//!   So nothing is folded twice. Of several [`Projector`]s on one database one folds; the others follow it, answer
//!   whoever waits, and take over when it stops.
//! * The checkpoint names the commit it stands on. A log that lost its end and used the numbers again, or was made
//!   anew, is refused ([`FoldError::Halt`]) instead of being read on in silence.
//! * A fold reads no clock and no chance: the same log gives the same rows, which is what `verify` compares.
//! * What cannot be read or folded is parked with its reason and counted, and can be folded again
//!   ([`retry_parked`]). Too much of it, and what is newer than this program, stops it.
//!
//! # To add a projection
//! 1. Write a migration for each database (next number; unit and origin of every column).
//! 2. Declare its row in `schema.rs`: loading, writing, rebuild, verify and checksums follow from that (a test compares
//!    the list with the database). Give it a place in `working_set.rs`.
//! 3. Name the keys its events need in `working_set/wanted.rs`, and fold them: a file in `fold/` with a pure function
//!    of rows, place and event, called from `fold.rs`. Raise `FOLD_VERSION`.
//! 4. Say in `working_set.rs` what erasing a persona takes out of it.
//! 5. Read it: a file in `queries/`, one story each, SQL beside its function.
//! 6. Operators run `dramatis rebuild` once: rows of events already folded come from there.

mod batch;
mod chain;
mod checkpoint;
mod checksum;
mod column;
mod database;
mod error;
pub mod findings;
mod fold;
mod fork;
mod location;
mod projector;
mod queries;
mod rebuild;
mod retry;
mod row;
mod schema;
mod scratch;
mod scrub;
mod seals;
mod swap;
mod tables;
mod verify;
mod waiting;
mod working_set;

pub use chain::{BreakKind, ChainBreakAt, ChainReport};
pub use checkpoint::Checkpoint;
pub use checksum::TableChecksum;
pub use error::{FoldError, HaltCause, Stage};
pub use projector::{FoldedBatch, Projector, ProjectorHandle, ProjectorState, ProjectorStatus, WaitTimeout};
pub use queries::{
    ActionFilter, ActionRow, CallAgreement, CallDifference, CallResult, CastLine, ChangePlace, ChangedField,
    ChangedRecord, Cursor, DayReport, DeployRow, EdgeLedger, EdgeRow, ExpectationRow, GatewayStats, Heatmap,
    HeatmapCell, InvalidCursor, ModuleDay, ModuleFeedback, ModuleScore, ModuleScores, ModuleStars,
    OutcomeCount, PAGE_MAX, Page, PageRequest, ParkedRow, PersonaDay, PersonaRow, RatingFilter, RatingRow,
    RecentAction, RecordRow, RefusalRow, RuleCount, ScoreDay, SessionRow, SourceCount, Spend, SpendDay,
    SpendPersona, StoredPlace, StoredRecord, StoryTick, Stumble, TableCounts, TakenCall, ToolFailures,
    ToolStats, ToolStatsReport, Trace, TraceCall, UnfinishedCall,
};
pub use rebuild::{Progress, RebuildOptions, RebuildReport, Until, rebuild, rebuild_with};
pub use retry::{Retried, RetryOutcome, retry_parked};
pub use tables::{Tables, TablesError};
pub use verify::{TableComparison, VerifyReport, verify};
