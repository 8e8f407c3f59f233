//! What is SQLite's own: the file, its settings, its migrations.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::DbPool;

/// Begins a transaction that writes. Asking for the write lock at once means waiting for it in one known place,
/// instead of failing in the middle when a read turns into a write.
pub(crate) const BEGIN_WRITING: &str = "BEGIN IMMEDIATE";

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite/projections");

/// How long a statement waits for another process's write lock.
const BUSY_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries where SQLite does not wait by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// `SQLITE_BUSY`.
const BUSY: &str = "5";
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

/// The first connection to a file, which may be new. Of several that turn a new file to a write-ahead log at once SQLite
/// lets one do so and tells the others at once that it is busy, whatever they are willing to wait.
///
/// # Errors
/// What SQLite says; that it is busy, once it has been for as long as a statement waits.
pub(crate) async fn first_connection(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    for _ in 0..BUSY_WITHIN.as_millis() / BUSY_PAUSE.as_millis() {
        match options.connect().await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(BUSY) => {}
            connected => return connected,
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "SQLite waits by real time too, and no clock is at hand"
        )]
        tokio::time::sleep(BUSY_PAUSE).await;
    }
    options.connect().await
}

/// The one connection that folds. It is opened by whoever writes first: its thread has the priority of theirs.
pub(crate) fn writer(options: SqliteConnectOptions) -> DbPool {
    let options = options
        .pragma("cache_size", WRITER_CACHE)
        .thread_name(|_| "tables-writer".to_owned());
    let pool = SqlitePoolOptions::new().max_connections(1);
    DbPool::Sqlite(pool.connect_lazy_with(options))
}

/// Connections that cannot write. All are opened now: one that whoever folds opened later would have a thread of its
/// priority, and read for others too.
pub(crate) async fn readers(options: SqliteConnectOptions) -> Result<DbPool, sqlx::Error> {
    let options = options.pragma("query_only", "ON");
    let pool = SqlitePoolOptions::new()
        .min_connections(READERS_MAX)
        .max_connections(READERS_MAX)
        .connect_with(options)
        .await?;
    Ok(DbPool::Sqlite(pool))
}

/// Brings the file's schema up to date. Under the write lock, which the migrations alone would not take: of two
/// processes that open a new file at once, the second finds the work done.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<(), MigrateError> {
    let mut transaction = connection.begin_with(BEGIN_WRITING).await?;
    MIGRATIONS.run(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}
