//! The rows of folded tables, written again without folding: what the database alone costs.
//!
//! Same schema, same connection settings, same order and as many transactions as the fold makes of the same past; rows
//! come from memory and go in with as few statements as the database does well with.

mod postgres;
mod sqlite;

use std::path::Path;

use sqlx::sqlite::SqliteRow;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Row as _, TypeInfo as _, ValueRef as _,
};

/// Commits of one transaction, as the fold's own default.
const BATCH_COMMITS: usize = 2_000;

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

/// A row with the sequence of its commit.
type Row = (u64, Vec<Cell>);

#[derive(Debug)]
struct TableRows {
    name: &'static str,
    columns: Vec<String>,
    /// In the order of their commits.
    rows: Vec<Row>,
}

/// All rows of a folded database.
#[derive(Debug)]
pub struct BareRows {
    tables: Vec<TableRows>,
    last_seq: u64,
}

impl BareRows {
    /// Reads every row of the folded tables in the SQLite `file`.
    ///
    /// # Errors
    /// When the file is not such a database.
    pub async fn read(file: &Path) -> anyhow::Result<Self> {
        let mut db = sqlite::options(file).read_only(true).connect().await?;
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

    /// The rows of each transaction, table by table.
    fn batches(&self) -> impl Iterator<Item = Vec<(&TableRows, &[Row])>> {
        let mut left: Vec<(&TableRows, &[Row])> = self
            .tables
            .iter()
            .map(|table| (table, table.rows.as_slice()))
            .collect();
        (0..self.last_seq).step_by(BATCH_COMMITS).map(move |after| {
            let until = after + BATCH_COMMITS as u64;
            let batch = left.iter_mut().map(|(table, rows)| {
                let (batch, rest) = rows.split_at(rows.partition_point(|(seq, _)| *seq <= until));
                *rows = rest;
                (*table, batch)
            });
            batch.filter(|(_, rows)| !rows.is_empty()).collect()
        })
    }
}

fn cells(row: &SqliteRow) -> anyhow::Result<Row> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use events::SystemClock;
    use projections::Tables;

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
        let checksums = tables.checksums().await.unwrap();

        rows.insert_into_sqlite(&bare).await.unwrap();
        let copy = Tables::open(&bare).await.unwrap();
        assert_eq!(copy.checksums().await.unwrap(), checksums);

        let server = testkit::Postgres::start();
        rows.insert_into_postgres(&server.url()).await.unwrap();
        let copy = Tables::connect(&server.url()).await.unwrap();
        assert_eq!(copy.checksums().await.unwrap(), checksums);
    }
}
