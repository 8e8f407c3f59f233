//! The SQLite file: how it is opened, synced and written to.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};

use crate::error::{DatabaseError, IdentityError};
use crate::rewrite;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite/identity");

/// Readers at the same time; writers take turns whatever the number.
const CONNECTIONS_MAX: u32 = 4;

/// How long a statement waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Opens `file` and brings its schema up to date.
pub(crate) async fn open(file: &Path) -> Result<SqlitePool, IdentityError> {
    make_private(file)
        .await
        .map_err(DatabaseError::File)
        .map_err(IdentityError::Database)?;
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        // An acknowledged registration survives a power cut: unlike tables, accounts cannot be folded again.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(WAIT_MAX)
        // A destroyed key's bytes are overwritten, not left in free pages.
        .pragma("secure_delete", "ON")
        // Sealed keys are not copied to a folder for temporary files when the file is written anew.
        .pragma("temp_store", "MEMORY");
    let db = SqlitePoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(WAIT_MAX)
        .connect_with(options)
        .await?;
    // Under the write lock: of two processes that open a new file at once, the second finds the work done.
    let mut tx = begin(&db).await?;
    MIGRATIONS.run(&mut *tx).await?;
    tx.commit().await?;
    // A deletion that was cut short may have left copies of what it deleted.
    rewrite::if_due(&db).await?;
    Ok(db)
}

/// Makes the file readable to its owner only. SQLite gives its `-wal` and `-shm` files the same mode.
async fn make_private(file: &Path) -> std::io::Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(file).await.map(drop)
}

/// A transaction that may write. It takes the write lock at once: one that began as a reader could not be
/// upgraded while another writes, and would fail instead of waiting.
pub(crate) async fn begin(db: &SqlitePool) -> Result<Transaction<'static, Sqlite>, IdentityError> {
    Ok(db.begin_with("BEGIN IMMEDIATE").await?)
}

/// An instant out of `column`.
pub(crate) fn instant(microseconds: i64, column: &'static str) -> Result<Timestamp, IdentityError> {
    Timestamp::from_microsecond(microseconds).map_err(|_| IdentityError::unknown_value(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_commit_is_synced_and_deleted_bytes_are_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let db = open(&dir.path().join("identity.db")).await.unwrap();
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
            .fetch_one(&db)
            .await
            .unwrap();
        assert_eq!(journal, "wal");
        for (pragma, wanted) in [
            ("PRAGMA synchronous", 2),
            ("PRAGMA foreign_keys", 1),
            ("PRAGMA secure_delete", 1),
        ] {
            let value: i64 = sqlx::query_scalar(pragma).fetch_one(&db).await.unwrap();
            assert_eq!(value, wanted, "{pragma}");
        }
    }

    #[tokio::test]
    async fn a_value_outside_its_column_is_named_and_not_guessed() {
        let error = instant(i64::MAX, "users.created_at").unwrap_err();
        let IdentityError::Database(DatabaseError::Value { column }) = error else {
            panic!("{error}")
        };
        assert_eq!(column, "users.created_at");
    }
}
