//! The sync protocol: clients that work offline send what they wrote and get what others wrote.
//!
//! ```text
//! push ─ all changes checked, or none taken ─ plaintext sealed ─▶ log ─ fold ─▶ tables
//! pull ─ cursor ─▶ records in the order of their changes, without what this client wrote ─▶ next cursor
//! stream ─ pull, again whenever the tables move on
//! ```
//!
//! A write is an event like every other, so that what clients converge to is the fold of the log: of two writes of a
//! field the later one stands, by the writers' own times. Those times are bounded: a clock that runs ahead would win
//! for as long as it does.

mod cursor;
mod page;
mod push;
mod stream;

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use events::{FieldWrite, LogError, RecordId, Rejection, SpaceId, UserId};
use identity::IdentityError;
use jiff::Timestamp;
use projections::TablesError;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

pub use stream::{StillMay, SyncTold};

/// How far a client's clock may run ahead of ours. Within it the client's own time stands.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_mins(5);

/// A client, and what of it a request is about.
#[derive(Debug, Clone)]
pub struct SyncClient {
    /// Whose it is.
    pub user_id: UserId,
    /// The app it syncs.
    pub app: String,
    /// Its name in the log; `None` for a reader that says no name and is shown everything.
    client: Option<String>,
    /// The one space it asks for; all of its account's without one.
    pub space: Option<SpaceId>,
}

impl SyncClient {
    /// The client that calls itself `client_id`. Another account's client of the same name is another client.
    pub fn new(user_id: UserId, app: String, client_id: Option<&str>, space: Option<SpaceId>) -> Self {
        let client = client_id.map(|client_id| {
            let mut hasher = Sha256::new();
            hasher.update((user_id.as_str().len() as u64).to_be_bytes());
            hasher.update(user_id.as_str());
            hasher.update(client_id);
            hex::encode(&hasher.finalize()[..8])
        });
        Self {
            user_id,
            app,
            client,
            space,
        }
    }
}

/// A change on its way in.
#[derive(Debug, Clone)]
pub struct SyncChange {
    /// The table.
    pub table: String,
    /// The record.
    pub record_id: RecordId,
    /// Its space; without one the request's, else the account's personal one.
    pub space: Option<SpaceId>,
    /// What was written, each with the client's own time.
    pub fields: BTreeMap<String, FieldWrite>,
    /// When the record was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

/// A change on its way out.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerChange {
    /// Its space.
    pub space: SpaceId,
    /// The table.
    pub table: String,
    /// The record.
    pub record_id: RecordId,
    /// What others wrote; empty when it was deleted.
    pub fields: BTreeMap<String, FieldWrite>,
    /// When the record was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

/// What a client is answered with.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncPage {
    /// What is new to it.
    pub changes: Vec<ServerChange>,
    /// Where to go on.
    pub synced_until: String,
    /// Whether there is more now.
    pub has_more: bool,
}

/// Why a sync request is not carried out. Those that name a change took nothing at all.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The account is being erased.
    #[error("this account is not served any more")]
    Gone,
    /// The account is no member of the space, or there is none. Nobody tells the two apart.
    #[error("you are not a member of this space")]
    NotAMember {
        /// Which change names it; `None` for the request's own.
        change: Option<usize>,
    },
    /// The cursor is none of ours.
    #[error("is no cursor of this server; begin anew without one")]
    BadCursor,
    /// The client's clock runs ahead.
    #[error(
        "is {ahead_s} s ahead of this server's clock, at most {} s are taken; set the clock",
        CLOCK_AHEAD_MAX.as_secs()
    )]
    ClockAhead {
        /// Which change.
        change: usize,
        /// Its field; `None` for the time of its deletion.
        field: Option<String>,
        /// By how much, in seconds.
        ahead_s: i64,
    },
    /// A change is larger than the log takes.
    #[error("has {bytes} bytes, a change may have {bytes_max}")]
    TooLarge {
        /// Which change.
        change: usize,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A field that is stored sealed came as plaintext, and there is no key to seal it with.
    #[error("is stored encrypted here and its space's key cannot be had; send it encrypted")]
    NoKey {
        /// Which change.
        change: usize,
        /// Its field.
        field: String,
    },
    /// It is stored, and not yet in the tables. Sending it again is safe and gives the answer.
    #[error("the changes are stored, but cannot be read back yet; send them again")]
    NotVisibleYet,
    /// The account has as many streams open as it may, or the house has.
    #[error("there are too many streams open; close one")]
    TooManyStreams,
    /// The log said no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The log could not be asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The tables could not be asked.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// The spaces could not be asked.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The streams that are open, and the way to end them.
#[derive(Debug, Default)]
pub(crate) struct SyncStreams {
    open: Mutex<HashMap<UserId, usize>>,
    pub(crate) stop: CancellationToken,
}

/// Times of the protocol have milliseconds: clients compare them as text.
pub(crate) fn millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
