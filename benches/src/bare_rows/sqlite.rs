//! SQLite: multi-row `VALUES` with bare `?`, which is looked up by its place.

use std::path::Path;
use std::time::Duration;

use events::{Clock as _, SystemClock};
use projections::Tables;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous,
};
use sqlx::{Arguments as _, AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::{BareRows, Cell, Row, TableRows};

/// Rows of one statement; of twenty columns they stay below SQLite's limit.
const ROWS_OF_A_STATEMENT: usize = 256;
/// Page cache and pages of write-ahead log, as the fold's writer has them.
const CACHE: &str = "-32768";
const WAL_PAGES: &str = "4096";

/// Settings of the fold's own writer.
pub(super) fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .pragma("cache_size", CACHE)
        .pragma("wal_autocheckpoint", WAL_PAGES)
}

impl BareRows {
    /// Writes them into a new database at `file`; gives the time from the first transaction to the last.
    ///
    /// # Errors
    /// When the database does not take them.
    pub async fn insert_into_sqlite(&self, file: &Path) -> anyhow::Result<Duration> {
        // The program's own schema, indexes included.
        Tables::open(file).await?.close().await;
        let mut db = options(file).connect().await?;
        let clock = SystemClock::new();
        for batch in self.batches() {
            let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
            for (table, rows) in batch {
                for rows in rows.chunks(ROWS_OF_A_STATEMENT) {
                    insert(&mut transaction, table, rows).await?;
                }
            }
            transaction.commit().await?;
        }
        let took = clock.monotonic();
        db.close().await?;
        Ok(took)
    }
}

async fn insert(db: &mut SqliteConnection, table: &TableRows, rows: &[Row]) -> anyhow::Result<()> {
    let row = format!("({})", vec!["?"; table.columns.len()].join(","));
    let sql = format!(
        "INSERT INTO {} ({}) VALUES {}",
        table.name,
        table.columns.join(","),
        vec![row; rows.len()].join(",")
    );
    let mut arguments = SqliteArguments::default();
    for cell in rows.iter().flat_map(|(_, cells)| cells) {
        let added = match cell {
            Cell::Null => arguments.add(None::<i64>),
            Cell::Integer(value) => arguments.add(*value),
            Cell::Real(value) => arguments.add(*value),
            Cell::Text(value) => arguments.add(value.clone()),
        };
        added.map_err(|error| anyhow::anyhow!(error))?;
    }
    sqlx::query_with(AssertSqlSafe(sql), arguments)
        .execute(db)
        .await?;
    Ok(())
}
