//! What is Postgres's own: the schema, the connections' settings, the one lock of writers, and what it takes to leave
//! nothing of what was deleted in the tables' files.

use std::str::FromStr as _;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgPool, Postgres, Transaction};

use super::WAIT_MAX;
use crate::error::{DatabaseError, IdentityError};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres/identity");

/// The schema of our tables, beside that of the folded ones.
const SCHEMA: &str = "dramatis_identity";

/// Connections of one process.
const CONNECTIONS_MAX: u32 = 8;

/// The lock that writers take turns by, in whatever process: the letters `identity`.
const WRITE_LOCK: i64 = 0x6964_656e_7469_7479;

/// How often it is looked whether somebody still sees what was deleted, and how long apart in seconds.
const LOOKS_MAX: u32 = 100;
const BETWEEN_LOOKS_S: f64 = 0.1;

/// Opens our schema of the database at `url` and brings it up to date.
pub(super) async fn open(url: &SecretString) -> Result<PgPool, IdentityError> {
    let options = PgConnectOptions::from_str(url.expose_secret())?
        .application_name("dramatis identity")
        .options([
            ("search_path", SCHEMA),
            // An acknowledged registration survives a power cut, whatever the server's default is.
            ("synchronous_commit", "on"),
            ("lock_timeout", &format!("{}ms", WAIT_MAX.as_millis())),
        ])
        // What is slow shows in the metrics.
        .disable_statement_logging();
    migrate(&options).await?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(WAIT_MAX)
        .connect_with(options)
        .await?;
    Ok(pool)
}

/// Makes the schema where it is missing and brings it up to date, with writers kept out: of two processes that come to
/// a new database at once, the second finds the work done.
async fn migrate(options: &PgConnectOptions) -> Result<(), IdentityError> {
    let mut connection = options.connect().await?;
    // The lock goes with the connection, whatever happens here.
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(WRITE_LOCK)
        .execute(&mut connection)
        .await?;
    // Looked for first: who may use the schema need not have the right to make one.
    let there: Option<String> =
        sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE nspname = $1")
            .bind(SCHEMA)
            .fetch_optional(&mut connection)
            .await?;
    if there.is_none() {
        sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA {SCHEMA}")))
            .execute(&mut connection)
            .await
            .map_err(MigrateError::from)?;
    }
    MIGRATIONS.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// A transaction that may write, once the one before it has ended. Each of its statements sees what was committed
/// before it, so nothing it looks at changes until it ends.
pub(super) async fn begin(db: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut tx = db.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(WRITE_LOCK)
        .execute(&mut *tx)
        .await?;
    Ok(tx)
}

/// Writes the files of all our tables anew, each locked meanwhile, and the samples of them that the planner keeps.
///
/// A deleted row stays in its file while anybody's snapshot may still see it, so that is waited for first. The server's
/// own write-ahead log, its standbys and its backups keep what they hold: see docs/adr/0030.
pub(super) async fn rewrite(db: &PgPool) -> Result<(), DatabaseError> {
    wait_until_nobody_sees_what_was(db).await?;
    let tables: Vec<String> = sqlx::query_scalar(
        "-- our_tables
         SELECT tablename::text
         FROM pg_tables
         WHERE
             schemaname = $1
         ORDER BY tablename",
    )
    .bind(SCHEMA)
    .fetch_all(db)
    .await?;
    for table in tables {
        // With new statistics: the old ones hold samples of what was there.
        sqlx::query(AssertSqlSafe(format!("VACUUM (FULL, ANALYZE) {table}")))
            .execute(db)
            .await?;
    }
    // Who does not own the catalog is passed over with a warning, and the samples go when Postgres vacuums it itself.
    sqlx::query("VACUUM (FULL) pg_catalog.pg_statistic")
        .execute(db)
        .await?;
    Ok(())
}

/// Waits until every snapshot of this database is younger than now.
async fn wait_until_nobody_sees_what_was(db: &PgPool) -> Result<(), DatabaseError> {
    // A transaction's number of our own: whoever deleted has a lower one.
    let now: String = sqlx::query_scalar("SELECT pg_current_xact_id()::xid::text")
        .fetch_one(db)
        .await?;
    for _ in 0..LOOKS_MAX {
        let is_seen: bool = sqlx::query_scalar(
            "-- snapshots_of_before
             SELECT EXISTS (
                 SELECT 1
                 FROM pg_stat_activity
                 WHERE
                     pid <> pg_backend_pid()
                     AND (datname = current_database() OR datname IS NULL)
                     AND age(backend_xmin) > age($1::text::xid)
             )",
        )
        .bind(&now)
        .fetch_one(db)
        .await?;
        if !is_seen {
            return Ok(());
        }
        sqlx::query("SELECT pg_sleep($1)")
            .bind(BETWEEN_LOOKS_S)
            .execute(db)
            .await?;
    }
    Err(DatabaseError::ReaderInTheWay)
}
