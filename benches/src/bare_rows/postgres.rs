//! Postgres: one array for each column, so that one prepared statement takes any number of rows.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Context as _;
use events::{Clock as _, SystemClock};
use projections::Tables;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection};
use sqlx::{Arguments as _, AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::{BareRows, Cell, Row, TableRows};

/// Type of each column, by table and name.
type Types = BTreeMap<(String, String), String>;

impl BareRows {
    /// Writes them into the program's tables in the database at `url`, which must be without rows; gives the time from
    /// the first transaction to the last.
    ///
    /// # Errors
    /// When the database does not take them.
    pub async fn insert_into_postgres(&self, url: &str) -> anyhow::Result<Duration> {
        Tables::connect(url).await?.close().await;
        // As the fold's own writer.
        let options = PgConnectOptions::from_str(url)?
            .options([("search_path", "dramatis"), ("synchronous_commit", "off")])
            .disable_statement_logging();
        let mut db = options.connect().await?;
        let types = types(&mut db).await?;
        let clock = SystemClock::new();
        for batch in self.batches() {
            let mut transaction = db.begin().await?;
            for (table, rows) in batch {
                insert(&mut transaction, &types, table, rows).await?;
            }
            transaction.commit().await?;
        }
        let took = clock.monotonic();
        db.close().await?;
        Ok(took)
    }
}

async fn types(db: &mut PgConnection) -> anyhow::Result<Types> {
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text, data_type::text
         FROM information_schema.columns
         WHERE table_schema = 'dramatis'",
    )
    .fetch_all(db)
    .await?;
    Ok(columns
        .into_iter()
        .map(|(table, column, data_type)| ((table, column), data_type))
        .collect())
}

async fn insert(db: &mut PgConnection, types: &Types, table: &TableRows, rows: &[Row]) -> anyhow::Result<()> {
    let mut arguments = PgArguments::default();
    let mut arrays = Vec::new();
    for (place, column) in table.columns.iter().enumerate() {
        let data_type = types
            .get(&(table.name.to_owned(), column.clone()))
            .with_context(|| format!("{}.{column}", table.name))?;
        arrays.push(format!("${}::{data_type}[]", place + 1));
        let cells = rows.iter().map(|(_, cells)| &cells[place]);
        let added = match data_type.as_str() {
            "bigint" => arguments.add(
                cells
                    .map(|cell| {
                        if let Cell::Integer(value) = cell {
                            Some(*value)
                        } else {
                            None
                        }
                    })
                    .collect::<Vec<_>>(),
            ),
            "double precision" => arguments.add(
                cells
                    .map(|cell| {
                        if let Cell::Real(value) = cell {
                            Some(*value)
                        } else {
                            None
                        }
                    })
                    .collect::<Vec<_>>(),
            ),
            _ => arguments.add(
                cells
                    .map(|cell| {
                        if let Cell::Text(value) = cell {
                            Some(value.as_str())
                        } else {
                            None
                        }
                    })
                    .collect::<Vec<_>>(),
            ),
        };
        added.map_err(|error| anyhow::anyhow!(error))?;
    }
    let sql = format!(
        "INSERT INTO {} ({}) SELECT * FROM UNNEST({})",
        table.name,
        table.columns.join(", "),
        arrays.join(", ")
    );
    sqlx::query_with(AssertSqlSafe(sql), arguments)
        .execute(db)
        .await?;
    Ok(())
}
