//! What is SQLite's own: how the file is opened, synced, written to and written anew.

use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};

use super::WAIT_MAX;
use crate::error::{DatabaseError, IdentityError};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite/identity");

/// Readers at the same time; writers take turns whatever the number.
const CONNECTIONS_MAX: u32 = 4;

/// Opens `file` and brings its schema up to date.
pub(super) async fn open(file: &Path) -> Result<SqlitePool, IdentityError> {
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
pub(super) async fn begin(db: &SqlitePool) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    db.begin_with("BEGIN IMMEDIATE").await
}

/// Writes the whole file anew and empties the write-ahead log: its pages are older than the file's.
pub(super) async fn rewrite(db: &SqlitePool) -> Result<(), DatabaseError> {
    sqlx::query("VACUUM").execute(db).await?;
    let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(db)
        .await?;
    if busy == 0 {
        return Ok(());
    }
    Err(DatabaseError::ReaderInTheWay)
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
}
