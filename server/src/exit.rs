//! How a command ends: one clear line and the exit code that scripts rely on.

use std::process::ExitCode;

use events::LogError;
use projections::{FoldError, TablesError};

/// Why a command did not do what it was asked. The text is the one line a person reads; it says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    /// It was tried and did not work, or a check found a difference.
    #[error("{0}")]
    Failed(String),
    /// What was asked for makes no sense: options, files or configuration handed in are wrong.
    #[error("{0}")]
    Usage(String),
    /// What was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The caller may not do this: no token, a refused one, or no admin role.
    #[error("{0}")]
    NotAllowed(String),
    /// A service that is needed does not answer or says it is busy.
    #[error("{0}")]
    Unavailable(String),
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The same, and running it again goes on from there.
    #[error("{0}")]
    Stopped(String),
}

impl CommandError {
    /// [`CommandError::Failed`] with `head` and each of `lines`, indented, on a line of its own.
    pub(crate) fn failed_each(head: impl Into<String>, lines: impl IntoIterator<Item = String>) -> Self {
        let lines = std::iter::once(head.into()).chain(lines);
        Self::Failed(lines.collect::<Vec<_>>().join("\n  "))
    }

    /// The exit code, as documented for every command.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::NotAllowed(_) => 4,
            Self::Unavailable(_) => 5,
            Self::Interrupted | Self::Stopped(_) => 130,
        }
    }
}

impl From<LogError> for CommandError {
    fn from(error: LogError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<TablesError> for CommandError {
    fn from(error: TablesError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<FoldError> for CommandError {
    fn from(error: FoldError) -> Self {
        match error {
            FoldError::Retry { .. } => Self::Unavailable(error.to_string()),
            FoldError::Cancelled { .. } => Self::Stopped(error.to_string()),
            FoldError::Park { .. } | FoldError::Halt { .. } => Self::Failed(error.to_string()),
        }
    }
}

impl From<&CommandError> for ExitCode {
    fn from(error: &CommandError) -> Self {
        Self::from(error.exit_code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_end_has_its_documented_code() {
        let text = || "text".to_owned();
        let codes = [
            CommandError::Failed(text()),
            CommandError::Usage(text()),
            CommandError::NotFound(text()),
            CommandError::NotAllowed(text()),
            CommandError::Unavailable(text()),
            CommandError::Interrupted,
            CommandError::Stopped(text()),
        ]
        .map(|error| error.exit_code());
        assert_eq!(codes, [1, 2, 3, 4, 5, 130, 130]);
    }
}
