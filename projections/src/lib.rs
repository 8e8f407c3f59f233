//! The memory: every table about what happened is a fold of the log and can be made again from it.
//!
//! ```text
//!             follow(checkpoint)            one transaction                    read snapshots
//! EventLog ──────────────────────▶ batch ──────────────────▶ rows + checkpoint ──────────────▶ queries
//!             fork check, watchdog          fold::fold_batch  (compare-and-set)
//!
//! rebuild:  log from 1 ──▶ scratch file ──▶ all tables and the checkpoint replaced in one transaction
//! verify:   log from 1 ──▶ scratch file ──▶ checksums compared at the live checkpoint, differing rows named
//! ```
//!
//! What holds, whatever is killed when:
//! * Rows and checkpoint move in one transaction, and the checkpoint moves only from the value its folder read.
//!   So nothing is folded twice, and of two [`Projector`]s on one database one folds each commit.
//! * The checkpoint names the commit it stands on. A log that lost its end and used the numbers again, or was made
//!   anew, is refused ([`FoldError::Halt`]) instead of being read on in silence.
//! * A fold reads no clock and no chance: the same log gives the same rows, which is what `verify` compares.
//! * What cannot be read or folded is parked with its reason and counted. What is newer than this program stops it.
//!
//! # To add a projection
//! 1. Write a migration in `migrations/sqlite/projections/` (next number; unit and origin of every column).
//! 2. List the table in `schema.rs`; rebuild, verify and checksums cover it from then on (a test compares the list
//!    with the database).
//! 3. Fold it: a file in `fold/` with a function of commit and event, called from `fold.rs`.
//! 4. Say in `fold/personas.rs` what erasing a persona takes out of it.
//! 5. Read it: a file in `queries/`, one story each, SQL beside its function.
//! 6. Operators run `dramatis rebuild` once: rows of events already folded come from there.

mod batch;
mod chain;
mod checkpoint;
mod checksum;
mod column;
mod database;
mod error;
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
mod swap;
mod tables;
mod verify;
mod working_set;

pub use chain::{ChainBreakAt, ChainReport};
pub use checkpoint::Checkpoint;
pub use checksum::TableChecksum;
pub use error::{FoldError, Stage};
pub use projector::{Projector, ProjectorHandle, ProjectorState, ProjectorStatus, WaitTimeout};
pub use queries::{
    ActionRow, CallResult, DayReport, ModuleDay, ModuleFeedback, ModuleStars, ParkedRow, PersonaDay,
    PersonaRow, RecordRow, Stumble, TableCounts, ToolFailures,
};
pub use rebuild::{Progress, RebuildOptions, RebuildReport, Until, rebuild, rebuild_with};
pub use retry::{Retried, RetryOutcome, retry_parked};
pub use tables::{Tables, TablesError};
pub use verify::{TableComparison, VerifyReport, verify};
