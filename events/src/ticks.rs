//! The work queue: due ticks that any number of runners share.
//!
//! A tick is offered under a name of its own, persona and number, so that however many runners find it due it is
//! there once. Whoever takes one keeps it for as long as it says so now and then; what a dead runner held is handed to
//! another. The queue hands out work and decides nothing: that no tick is lived twice is held by the log's guard.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::PersonaId;
use crate::log::LogError;

/// A tick that is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueTick {
    /// Whose.
    pub persona_id: PersonaId,
    /// Its number: one more than that of the persona's last tick.
    pub number: u64,
    /// The account's email.
    pub email: String,
    /// The persona's name.
    pub name: String,
    /// Since when.
    pub due_at: Timestamp,
}

/// Hands out due ticks, each to one runner at a time.
#[async_trait]
pub trait TickQueue: fmt::Debug + Send + Sync + 'static {
    /// Puts in those that are not there yet, and says how many that were.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]; some may be in by then, and offering them again changes nothing.
    async fn offer(&self, ticks: &[DueTick]) -> Result<u64, LogError>;

    /// Takes up to `max`, waiting up to `within` for the first.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    async fn take(&self, max: usize, within: Duration) -> Result<Vec<TakenTick>, LogError>;

    /// How often a taken tick must be [kept](Claim::keep) at least, or it is handed to another.
    fn keep_every(&self) -> Duration;
}

/// A tick that is this runner's to live.
#[derive(Debug)]
pub struct TakenTick {
    /// Which.
    pub tick: DueTick,
    /// Somebody else had taken it before and did not say what came of it.
    pub was_taken_before: bool,
    /// What holds it.
    pub claim: Box<dyn Claim>,
}

/// Holds a taken tick. Dropping it says nothing: the tick is handed to another when its time is over.
#[async_trait]
pub trait Claim: fmt::Debug + Send + Sync {
    /// Says that it is still being lived.
    async fn keep(&self);

    /// Says that there is nothing more to do about it.
    async fn done(&self);

    /// Gives it back, for anybody after `pause`.
    async fn give_back(&self, pause: Duration);
}
