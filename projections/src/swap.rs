//! Making the live tables equal to a copy, in one transaction. Only rows that differ are written: mostly none, so the
//! time the fold has to wait is that of a comparison, and whoever reads sees either all of the old or all of the new.

use sqlx::{ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};

use crate::checkpoint::{self, Checkpoint};
use crate::database::{Db, postgres, query, query_text, sqlite};
use crate::error::FoldError;
use crate::location::Location;
use crate::row::{FoldedTable, Row as _};
use crate::schema::FOLDED_TABLES;
use crate::scratch::indexes::drop_secondary;
use crate::seals::SealBlock;
use crate::tables::Tables;

/// Page cache of the connection that swaps, in KiB, negative as SQLite wants it: 16 MiB.
const SWAP_CACHE: &str = "-16384";
/// The table that says how far the others are.
const CHECKPOINTS: &str = "projection_checkpoints";
const CHECKPOINT_KEY: &[&str] = &["name"];
const CHECKPOINT_COLUMNS: &[&str] = &["name", "seq", "commit_id", "stream_name", "stream_created"];

/// Names of live tables and copy within one connection.
#[derive(Debug)]
struct Names {
    live: String,
    copy: String,
}

/// The live tables while a copy catches up with their checkpoint for the last time and takes their place: readers go on,
/// whoever folds waits before it has written anything. When this is dropped, nothing happened to them.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    live: &'a Location,
    names: Names,
    connection: Connected,
}

#[derive(Debug)]
enum Connected {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connected {
    fn db(&mut self) -> Db<'_> {
        match self {
            Self::Sqlite(connection) => Db::Sqlite(connection),
            Self::Postgres(connection) => Db::Postgres(connection),
        }
    }
}

impl<'a> Held<'a> {
    /// Waits for whoever is folding, and then keeps it waiting.
    ///
    /// # Errors
    /// [`FoldError::Retry`] when the database does not answer, or somebody keeps writing for five seconds.
    pub(crate) async fn take(live: &'a Tables, copy: &Location) -> Result<Self, FoldError> {
        let held = match (live.location(), copy) {
            (live @ Location::File(file), Location::File(copy)) => {
                let mut connection = sqlite::options(file)
                    .pragma("cache_size", SWAP_CACHE)
                    .connect()
                    .await?;
                let mut db = Db::Sqlite(&mut connection);
                query("ATTACH DATABASE $1 AS copy")
                    .bind(copy.to_string_lossy().into_owned())
                    .execute(&mut db)
                    .await?;
                // A transaction that begins as one that writes would lock the copy too, which is to be folded into still.
                query("BEGIN").execute(&mut db).await?;
                query("UPDATE main.projection_checkpoints SET seq = seq")
                    .execute(&mut db)
                    .await?;
                let names = Names {
                    live: "main".to_owned(),
                    copy: "copy".to_owned(),
                };
                Self {
                    live,
                    names,
                    connection: Connected::Sqlite(connection),
                }
            }
            (live @ Location::Schema { server, schema }, Location::Schema { schema: copy, .. }) => {
                let mut connection = postgres::within(server, schema).connect().await?;
                let mut db = Db::Postgres(&mut connection);
                for (table, ..) in swapped() {
                    query_text(format!("ANALYZE {copy}.{table}"))
                        .execute(&mut db)
                        .await?;
                }
                query("BEGIN").execute(&mut db).await?;
                query("LOCK TABLE projection_checkpoints IN SHARE ROW EXCLUSIVE MODE")
                    .execute(&mut db)
                    .await?;
                let names = Names {
                    live: schema.clone(),
                    copy: copy.clone(),
                };
                Self {
                    live,
                    names,
                    connection: Connected::Postgres(connection),
                }
            }
            _ => {
                return Err(FoldError::halt(
                    "a copy is in another kind of database than its tables",
                ));
            }
        };
        Ok(held)
    }

    /// Where the live tables stand, until this is dropped.
    pub(crate) async fn checkpoint(&mut self) -> Result<Option<Checkpoint>, FoldError> {
        Ok(checkpoint::read(&mut self.connection.db()).await?)
    }

    /// Makes the live tables equal to the copy.
    pub(crate) async fn replace(mut self) -> Result<(), FoldError> {
        let is_empty = self.checkpoint().await?.is_none();
        let mut db = self.connection.db();
        // On Postgres readers would wait for as long as the indexes are away.
        if is_empty && matches!(db, Db::Sqlite(_)) {
            fill(&mut db, &self.names, self.live).await?;
        } else {
            for (table, key, columns) in swapped() {
                replace_table(&mut db, &self.names, table, key, &columns).await?;
            }
        }
        checkpoint::moved_by_rebuild(&mut db).await?;
        query("COMMIT").execute(&mut db).await?;
        match self.connection {
            Connected::Sqlite(connection) => connection.close().await?,
            Connected::Postgres(connection) => connection.close().await?,
        }
        Ok(())
    }
}

/// Name, key and columns of every table that is swapped.
fn swapped() -> impl Iterator<Item = (&'static str, &'static [&'static str], Vec<&'static str>)> {
    const SEALS: FoldedTable = SealBlock::TABLE;
    let folded = FOLDED_TABLES.iter().chain([&SEALS]).map(|table| {
        let columns = table.columns.iter().map(|column| column.name);
        (table.name, table.key, columns.collect())
    });
    folded.chain([(CHECKPOINTS, CHECKPOINT_KEY, CHECKPOINT_COLUMNS.to_vec())])
}

/// Fills live tables that nothing was ever folded into.
async fn fill(db: &mut Db<'_>, names: &Names, live: &Location) -> Result<(), sqlx::Error> {
    let indexes = drop_secondary(db, live).await?;
    for (table, _, columns) in swapped() {
        insert_all(db, names, table, &columns).await?;
    }
    indexes.create(db).await
}

async fn insert_all(
    db: &mut Db<'_>,
    names: &Names,
    table: &str,
    columns: &[&str],
) -> Result<(), sqlx::Error> {
    let Names { live, copy } = names;
    let columns = columns.join(", ");
    query_text(format!(
        "INSERT INTO {live}.{table} ({columns}) SELECT {columns} FROM {copy}.{table}"
    ))
    .execute(db)
    .await?;
    Ok(())
}

async fn replace_table(
    db: &mut Db<'_>,
    names: &Names,
    table: &str,
    key: &[&str],
    columns: &[&str],
) -> Result<(), sqlx::Error> {
    let Names { live, copy } = names;
    let is_same_row = joined(key, " AND ", |column| format!("made.{column} = kept.{column}"));
    let is_equal = joined(columns, " AND ", |column| {
        format!("made.{column} IS NOT DISTINCT FROM kept.{column}")
    });
    query_text(format!(
        "DELETE FROM {live}.{table} AS kept
         WHERE NOT EXISTS (SELECT 1 FROM {copy}.{table} AS made WHERE {is_same_row} AND {is_equal})"
    ))
    .execute(&mut *db)
    .await?;
    let into = joined(columns, ", ", str::to_owned);
    let from = joined(columns, ", ", |column| format!("made.{column}"));
    query_text(format!(
        "INSERT INTO {live}.{table} ({into})
         SELECT {from} FROM {copy}.{table} AS made
         WHERE NOT EXISTS (SELECT 1 FROM {live}.{table} AS kept WHERE {is_same_row})"
    ))
    .execute(db)
    .await?;
    Ok(())
}

fn joined(columns: &[&str], by: &str, each: impl Fn(&str) -> String) -> String {
    let parts: Vec<String> = columns.iter().map(|column| each(column)).collect();
    parts.join(by)
}
