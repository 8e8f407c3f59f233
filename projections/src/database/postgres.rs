//! What is Postgres's own: the schema, the connections' settings, the migrations.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};

use super::{Db, DbPool, query, query_text};

/// Begins a transaction whose statements all see the same moment.
pub(super) const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The schema of the live tables.
pub(crate) const SCHEMA: &str = "dramatis";

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres/projections");

/// Readers at a time in one process.
const READERS_MAX: u32 = 8;
/// The lock that migrations of our schemas are made under: the letters `dramatis`.
const MIGRATION_LOCK: i64 = 0x6472_616d_6174_6973;

/// As `options`, with the tables of `schema` in reach and no others.
pub(crate) fn within(options: &PgConnectOptions, schema: &str) -> PgConnectOptions {
    options
        .clone()
        .application_name("dramatis projections")
        .options([("search_path", schema)])
        // Of slow statements SQLite says nothing either; what is slow shows in the metrics.
        .disable_statement_logging()
}

/// The one connection that folds. A commit does not wait for the disk: a crash of the database may lose the newest
/// transactions, whole and with their checkpoint, which are then folded again from the log.
pub(crate) async fn writer(options: PgConnectOptions) -> Result<DbPool, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options.options([("synchronous_commit", "off")]))
        .await?;
    Ok(DbPool::Postgres(pool))
}

/// Connections that cannot write.
pub(crate) async fn readers(options: PgConnectOptions) -> Result<DbPool, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(READERS_MAX)
        .connect_with(options.options([("default_transaction_read_only", "on")]))
        .await?;
    Ok(DbPool::Postgres(pool))
}

/// Makes `schema` where it is missing and brings it up to date, under a lock of our own: of two processes that come
/// to a new database at once, the second finds the work done.
pub(crate) async fn migrate(options: &PgConnectOptions, schema: &str) -> Result<(), MigrateError> {
    let mut connection = options.connect().await?;
    // The lock goes with the connection, whatever happens here.
    query("SELECT pg_advisory_lock($1)")
        .bind(MIGRATION_LOCK)
        .fetch_all(&mut Db::Postgres(&mut connection))
        .await?;
    // Looked for first: who may use the schema need not have the right to make one.
    let there = query("SELECT nspname::text FROM pg_namespace WHERE nspname = $1")
        .bind(schema)
        .fetch_optional(&mut Db::Postgres(&mut connection))
        .await?;
    if there.is_none() {
        query_text(format!("CREATE SCHEMA {schema}"))
            .execute(&mut Db::Postgres(&mut connection))
            .await?;
    }
    MIGRATIONS.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
