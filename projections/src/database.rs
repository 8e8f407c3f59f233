//! What is SQLite's own: types, connection settings, migrations. Postgres gets its place beside this one; the SQL of
//! folds and queries keeps to what both understand (`$1` placeholders, `ON CONFLICT`, `CASE` instead of scalar `MAX`).

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// One connection of the database all folds and queries are written for.
pub(crate) type DbConnection = sqlx::SqliteConnection;
/// Several.
pub(crate) type DbPool = sqlx::SqlitePool;
/// One row of a result.
pub(crate) type DbRow = sqlx::sqlite::SqliteRow;

/// Begins a transaction that writes. Asking for the write lock at once means waiting for it in one known place,
/// instead of failing in the middle when a read turns into a write.
pub(crate) const BEGIN_WRITING: &str = "BEGIN IMMEDIATE";

/// Every migration, compiled in.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite/projections");

/// How long a statement waits for another process's write lock.
const BUSY_WITHIN: Duration = Duration::from_secs(5);
/// Readers at a time in one process; more would only queue for the same two or four cores.
const READERS_MAX: u32 = 4;
/// Page cache of the writer in KiB, negative as SQLite wants it: 64 MiB.
const WRITER_CACHE: &str = "-65536";

/// Settings of the live file. A write-ahead log lets readers and the one writer go on beside each other;
/// `synchronous=NORMAL` may lose the newest transactions in a power cut, which are then folded again from the log.
pub(crate) fn live(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_WITHIN)
}

/// Settings of a scratch file, which nobody needs after a crash.
pub(crate) fn scratch(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Memory)
        .synchronous(SqliteSynchronous::Off)
        .pragma("cache_size", WRITER_CACHE)
}

/// The one connection that folds.
pub(crate) async fn writer(options: SqliteConnectOptions) -> Result<DbPool, sqlx::Error> {
    let options = options.pragma("cache_size", WRITER_CACHE);
    SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
}

/// Connections that cannot write.
pub(crate) async fn readers(options: SqliteConnectOptions) -> Result<DbPool, sqlx::Error> {
    let options = options.pragma("query_only", "ON");
    SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .connect_with(options)
        .await
}
