//! What can go wrong between the cast and those who use it.

use events::{LogError, PersonaId};

/// The cast could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CastError {
    /// The log could not be asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Nobody of that id is on the roster.
    #[error("no persona {0} is enrolled")]
    UnknownPersona(PersonaId),
    /// An actor gave no answer in time; it may be in the middle of a restart.
    #[error("the {0} gives no answer")]
    NoAnswer(&'static str),
    /// The roster has not read the log to its end yet.
    #[error("the roster is behind the log: it has read up to {at} of {end}")]
    Behind {
        /// Where it is.
        at: u64,
        /// Where the log ends.
        end: u64,
    },
    /// The actors could not be started.
    #[error("the cast does not start: {0}")]
    Start(String),
    /// The cast is stopping or has stopped.
    #[error("the cast has stopped")]
    Stopped,
}
