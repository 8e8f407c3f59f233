//! Why a fold stops, and what is to be done about it: the decision is in the error.

use std::error::Error;

use events::{LogError, StreamSeq};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::postgres::PgDatabaseError;

use crate::tables::TablesError;

/// What folding says when it cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// Something outside is not there or busy; the same fold may succeed later.
    #[error("{reason}")]
    Retry {
        /// What is missing, in words.
        reason: String,
        /// What it said.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// This commit can be neither read nor folded; the others can.
    #[error("{reason}")]
    Park {
        /// At which step.
        stage: Stage,
        /// Why, in words.
        reason: String,
    },
    /// Somebody asked to stop. What was folded so far is kept.
    #[error("stopped after commit {reached}; run it again to go on from there")]
    Cancelled {
        /// The last commit folded.
        reached: StreamSeq,
    },
    /// Going on would make the tables wrong. A person decides; the text says how.
    #[error("{reason}")]
    Halt {
        /// Why, in a word that may be shown to anybody.
        cause: HaltCause,
        /// Why, and how to mend it.
        reason: String,
    },
}

/// Why a fold halted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HaltCause {
    /// More commits could not be folded than a few bad ones.
    TooManyParked,
    /// The log is not the one the tables were folded from, or lost its end.
    OtherLog,
    /// The log holds what a newer program wrote.
    NewerProgram,
    /// Anything else; the program's log says what.
    Other,
}

/// The step at which a commit was parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It could not be read as a commit.
    Decode,
    /// It was read, and does not fit what was folded before.
    Fold,
}

impl Stage {
    /// The word used in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Fold => "fold",
        }
    }
}

impl FoldError {
    pub(crate) fn halt(reason: impl Into<String>) -> Self {
        Self::halt_because(HaltCause::Other, reason)
    }

    pub(crate) fn halt_because(cause: HaltCause, reason: impl Into<String>) -> Self {
        Self::Halt {
            cause,
            reason: reason.into(),
        }
    }

    /// A commit that was read but cannot be folded.
    pub(crate) fn park(reason: impl Into<String>) -> Self {
        Self::Park {
            stage: Stage::Fold,
            reason: reason.into(),
        }
    }

    fn retry(reason: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Retry {
            reason: reason.into(),
            source: Some(Box::new(source)),
        }
    }
}

impl From<LogError> for FoldError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unavailable(_) | LogError::Busy { .. } => Self::retry(error.to_string(), error),
            // Both say themselves what to do: mend the server, or upgrade this program.
            LogError::Unfit(_) | LogError::Codec(_) => Self::halt(error.to_string()),
        }
    }
}

impl From<TablesError> for FoldError {
    fn from(error: TablesError) -> Self {
        match error {
            TablesError::Database(error) => error.into(),
            TablesError::ReaderInTheWay | TablesError::CopyInUse => Self::retry(error.to_string(), error),
            TablesError::Address { .. }
            | TablesError::Open { .. }
            | TablesError::NewerSchema { .. }
            | TablesError::Migrate { .. } => Self::halt(error_chain(&error)),
        }
    }
}

impl From<sqlx::Error> for FoldError {
    /// A row the tables refuse is the commit's fault; a missing table or a damaged file concerns every commit;
    /// locks, full disks and lost connections pass.
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(refusal) if meaning(refusal.as_ref()) == Meaning::BadRow => {
                Self::park(error.to_string())
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => {
                Self::park(error.to_string())
            }
            sqlx::Error::Database(refusal) if meaning(refusal.as_ref()) == Meaning::Damage => {
                Self::halt(format!(
                    "the tables are damaged or not ours ({refusal}); move the file away and run `dramatis rebuild`"
                ))
            }
            _ => Self::retry(format!("the database does not take the fold: {error}"), error),
        }
    }
}

/// SQLite's result codes, the low byte of the extended ones.
mod sqlite_code {
    /// Unknown table or column, or SQL it does not understand.
    pub(super) const ERROR: i64 = 1;
    pub(super) const CORRUPT: i64 = 11;
    pub(super) const TOO_BIG: i64 = 18;
    pub(super) const CONSTRAINT: i64 = 19;
    pub(super) const NOT_A_DATABASE: i64 = 26;
}

/// What is done about a refusal of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// It does not take this row.
    BadRow,
    /// It is damaged or not what we take it for.
    Damage,
    /// It is busy, full or going down.
    Passing,
}

fn meaning(refusal: &dyn DatabaseError) -> Meaning {
    let code = refusal.code().unwrap_or_default();
    if refusal.as_error().is::<PgDatabaseError>() {
        return postgres_meaning(&code);
    }
    let code = code.parse::<i64>().map(|code| code & 0xff);
    if !matches!(refusal.kind(), ErrorKind::Other) {
        return Meaning::BadRow;
    }
    match code {
        Ok(sqlite_code::CONSTRAINT | sqlite_code::TOO_BIG) => Meaning::BadRow,
        Ok(sqlite_code::ERROR | sqlite_code::CORRUPT | sqlite_code::NOT_A_DATABASE) => Meaning::Damage,
        _ => Meaning::Passing,
    }
}

/// By the class of Postgres's SQLSTATE, its first two characters.
fn postgres_meaning(code: &str) -> Meaning {
    match code.get(..2) {
        // Data exceptions, integrity constraints, and limits such as an index entry's size.
        Some("22" | "23" | "54") => Meaning::BadRow,
        // Damage, and names that are not there.
        Some("XX" | "42" | "3F" | "3D") => Meaning::Damage,
        _ => Meaning::Passing,
    }
}

/// `error` and its causes in one line, for a reason that stands alone.
fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions as _, Executor as _};

    #[tokio::test]
    async fn a_lock_is_waited_for_a_refused_row_is_parked_and_a_missing_table_halts() {
        let dir = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(dir.path().join("any.db"))
            .create_if_missing(true)
            .busy_timeout(Duration::ZERO);
        let mut one = options.connect().await.unwrap();
        let mut other = options.connect().await.unwrap();
        one.execute("CREATE TABLE stars (rating BIGINT NOT NULL UNIQUE CHECK (rating > 0))")
            .await
            .unwrap();

        for refused in [
            "INSERT INTO stars VALUES (0)",
            "INSERT INTO stars VALUES (NULL)",
            "INSERT INTO stars VALUES (1), (1)",
        ] {
            let error = FoldError::from(one.execute(refused).await.unwrap_err());
            assert!(
                matches!(
                    error,
                    FoldError::Park {
                        stage: Stage::Fold,
                        ..
                    }
                ),
                "{refused}: {error:?}"
            );
        }
        let error = FoldError::from(one.execute("INSERT INTO planets VALUES (0)").await.unwrap_err());
        assert!(matches!(error, FoldError::Halt { .. }), "{error:?}");

        one.execute("BEGIN IMMEDIATE").await.unwrap();
        let error = FoldError::from(other.execute("BEGIN IMMEDIATE").await.unwrap_err());
        assert!(matches!(error, FoldError::Retry { .. }), "{error:?}");
    }
}
