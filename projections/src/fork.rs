//! Is this still the log the tables were folded from?
//!
//! After a loss of its newest messages a log starts again at a lower sequence and uses the numbers once more, without
//! a word. A fold that only remembered a number would skip that many new commits for ever.

use events::{EventLog, LogError, LogState};

use crate::checkpoint::Checkpoint;
use crate::error::{FoldError, HaltCause};

/// Why `checkpoint` does not stand on the log any more; `None` when it does. A commit that is gone altogether
/// was purged to erase a persona, which is no fork.
pub(crate) async fn find(
    log: &dyn EventLog,
    checkpoint: Option<&Checkpoint>,
    state: &LogState,
) -> Result<Option<String>, LogError> {
    let Some(checkpoint) = checkpoint else {
        return Ok(None);
    };
    if let Some(other) = other_stream(Some(checkpoint), state) {
        return Ok(Some(other));
    }
    if state.last_seq < checkpoint.seq {
        return Ok(Some(format!(
            "the log ends at {}, before commit {} that the tables hold: its newest commits are lost",
            state.last_seq, checkpoint.seq
        )));
    }
    let Some(there) = log.at(checkpoint.seq).await? else {
        return Ok(None);
    };
    if there.commit_id() == checkpoint.commit_id {
        return Ok(None);
    }
    Ok(Some(format!(
        "commit {} is not the one that the tables hold: the log lost its end and went on",
        checkpoint.seq
    )))
}

/// Why the log cannot be compared with what `checkpoint` stands for at all: it is another stream.
pub(crate) fn other_stream(checkpoint: Option<&Checkpoint>, state: &LogState) -> Option<String> {
    let checkpoint = checkpoint.filter(|checkpoint| !checkpoint.is_of(&state.identity))?;
    Some(format!(
        "the tables were folded from stream {} made {}, this is {} made {}",
        checkpoint.stream_name, checkpoint.stream_created, state.identity.name, state.identity.created
    ))
}

/// Halts when the log is another one.
pub(crate) async fn check(
    log: &dyn EventLog,
    checkpoint: Option<&Checkpoint>,
    state: &LogState,
) -> Result<(), FoldError> {
    match find(log, checkpoint, state).await? {
        None => Ok(()),
        Some(fork) => Err(refused(&fork)),
    }
}

/// What is to be done about it.
pub(crate) fn refused(fork: &str) -> FoldError {
    FoldError::halt_because(
        HaltCause::OtherLog,
        format!(
            "{fork}; check that this is the right log, then run `dramatis rebuild` to fold the tables from it"
        ),
    )
}
