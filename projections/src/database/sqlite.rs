//! What is SQLite's own: the file, its settings, its migrations.

use std::path::Path;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::DbPool;

/// Begins a transaction that writes. Asking for the write lock at once means waiting for it in one known place,
/// instead of failing in the middle when a read turns into a write.
pub(crate) const BEGIN_WRITING: &str = "BEGIN IMMEDIATE";

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite/projections");

/// How long a statement waits for another process's write lock.
const BUSY_WITHIN: Duration = Duration::from_secs(5);
/// Readers at a time in one process; more would only queue for the same two or four cores.
const READERS_MAX: u32 = 4;
/// Page cache of the writer in KiB, negative as SQLite wants it: 32 MiB.
const WRITER_CACHE: &str = "-32768";
/// Pages of write-ahead log between two checkpoints: 16 MiB. Fewer checkpoints write a page that changes often once.
const WAL_PAGES: &str = "4096";

/// Settings of the live file. A write-ahead log lets readers and the one writer go on beside each other;
/// `synchronous=NORMAL` may lose the newest transactions in a power cut, which are then folded again from the log.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_WITHIN)
        .pragma("wal_autocheckpoint", WAL_PAGES)
}

/// The one connection that folds.
pub(crate) async fn writer(options: SqliteConnectOptions) -> Result<DbPool, sqlx::Error> {
    let options = options.pragma("cache_size", WRITER_CACHE);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await?;
    Ok(DbPool::Sqlite(pool))
}

/// Connections that cannot write.
pub(crate) async fn readers(options: SqliteConnectOptions) -> Result<DbPool, sqlx::Error> {
    let options = options.pragma("query_only", "ON");
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .connect_with(options)
        .await?;
    Ok(DbPool::Sqlite(pool))
}

/// Brings the file's schema up to date. Under the write lock, which the migrations alone would not take: of two
/// processes that open a new file at once, the second finds the work done.
pub(crate) async fn migrate(connection: &mut sqlx::SqliteConnection) -> Result<(), MigrateError> {
    let mut transaction = connection.begin_with(BEGIN_WRITING).await?;
    MIGRATIONS.run(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}
