//! The rows of folded tables, written again without folding: what the database alone costs.
//!
//! Same schema, same connection settings, same order and as many transactions as the fold makes of the same past; rows
//! come from memory and go in with as few statements as SQLite does well with.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use events::{Clock as _, SystemClock};
use projections::Tables;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Row as _,
    TypeInfo as _, ValueRef as _,
};

/// Commits of one transaction, as the fold's own default.
const BATCH_COMMITS: u64 = 2_000;
/// Rows of one statement. Bare `?` is looked up by place; 256 rows of twenty columns stay below SQLite's limit.
const ROWS_OF_A_STATEMENT: usize = 256;
/// Page cache, as the fold's writer has it.
const CACHE: &str = "-65536";

/// Folded tables, and the column that says which commit a row belongs to first.
const TABLES: [(&str, &str); 6] = [
    ("personas", "1"),
    ("ticks", "stream_seq"),
    ("persona_actions", "stream_seq"),
    ("persona_feedback", "stream_seq"),
    ("records", "first_seq"),
    ("sessions", "stream_seq"),
];

#[derive(Debug, Clone)]
enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
}

#[derive(Debug)]
struct TableRows {
    name: &'static str,
    columns: Vec<String>,
    /// Each with the sequence of its commit, in that order.
    rows: Vec<(u64, Vec<Cell>)>,
}

/// All rows of a folded database.
#[derive(Debug)]
pub struct BareRows {
    tables: Vec<TableRows>,
    last_seq: u64,
}

/// Settings of the fold's own writer.
fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .pragma("cache_size", CACHE)
}

impl BareRows {
    /// Reads every row of the folded tables in `file`.
    ///
    /// # Errors
    /// When the file is not such a database.
    pub async fn read(file: &Path) -> anyhow::Result<Self> {
        let mut db = options(file).read_only(true).connect().await?;
        let mut tables = Vec::new();
        for (name, seq) in TABLES {
            let sql = AssertSqlSafe(format!("SELECT {seq} AS bare_seq, * FROM {name} ORDER BY 1"));
            let found = sqlx::query(sql).fetch_all(&mut db).await?;
            let columns = found.first().map(|row| {
                let names = row.columns().iter().skip(1);
                names.map(|column| column.name().to_owned()).collect()
            });
            tables.push(TableRows {
                name,
                columns: columns.unwrap_or_default(),
                rows: found.iter().map(cells).collect::<Result<_, _>>()?,
            });
        }
        let last_seq: i64 = sqlx::query_scalar("SELECT MAX(seq) FROM projection_checkpoints")
            .fetch_one(&mut db)
            .await?;
        db.close().await?;
        Ok(Self {
            tables,
            last_seq: u64::try_from(last_seq)?,
        })
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.tables.iter().map(|table| table.rows.len()).sum()
    }

    /// Writes them into a new database at `file`; gives the time from the first transaction to the last.
    ///
    /// # Errors
    /// When the database does not take them.
    pub async fn insert_into(&self, file: &Path) -> anyhow::Result<Duration> {
        // The program's own schema, indexes included.
        Tables::open(file).await?.close().await;
        let mut db = options(file).connect().await?;
        let clock = SystemClock::new();
        let mut left: Vec<&[(u64, Vec<Cell>)]> =
            self.tables.iter().map(|table| table.rows.as_slice()).collect();
        for until in (0..self.last_seq).step_by(usize::try_from(BATCH_COMMITS)?) {
            let until = until + BATCH_COMMITS;
            let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
            for (table, left) in self.tables.iter().zip(&mut left) {
                let (batch, rest) = left.split_at(left.partition_point(|(seq, _)| *seq <= until));
                *left = rest;
                for rows in batch.chunks(ROWS_OF_A_STATEMENT) {
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

fn cells(row: &SqliteRow) -> anyhow::Result<(u64, Vec<Cell>)> {
    let seq: i64 = row.try_get(0)?;
    let cells = (1..row.columns().len()).map(|place| {
        let value = row.try_get_raw(place)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        Ok(match value.type_info().name() {
            "INTEGER" => Cell::Integer(row.try_get_unchecked(place)?),
            "REAL" => Cell::Real(row.try_get_unchecked(place)?),
            _ => Cell::Text(row.try_get_unchecked(place)?),
        })
    });
    Ok((u64::try_from(seq)?, cells.collect::<Result<_, sqlx::Error>>()?))
}

async fn insert(
    db: &mut SqliteConnection,
    table: &TableRows,
    rows: &[(u64, Vec<Cell>)],
) -> anyhow::Result<()> {
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
        added
            .map_err(|error| anyhow::anyhow!(error))
            .context(table.name)?;
    }
    sqlx::query_with(AssertSqlSafe(sql), arguments)
        .execute(db)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::PreparedLog;

    #[tokio::test]
    async fn rows_written_bare_are_the_rows_that_were_folded() {
        let dir = tempfile::tempdir().unwrap();
        let (folded, bare) = (dir.path().join("folded.sqlite"), dir.path().join("bare.sqlite"));
        let tables = Tables::open(&folded).await.unwrap();
        let log = PreparedLog::new(3_000);
        projections::rebuild(&log, &tables, &SystemClock::new(), &mut |_| ())
            .await
            .unwrap();
        let rows = BareRows::read(&folded).await.unwrap();
        assert!(rows.count() > 1_000, "{}", rows.count());
        rows.insert_into(&bare).await.unwrap();
        let copy = Tables::open(&bare).await.unwrap();
        assert_eq!(copy.checksums().await.unwrap(), tables.checksums().await.unwrap());
    }
}
