//! Making the live tables equal to a copy, in one transaction. Only rows that differ are written: mostly none, so the
//! time the fold has to wait is that of a comparison, and whoever reads sees either all of the old or all of the new.

use sqlx::{ConnectOptions as _, Connection as _};

use crate::checkpoint::{self, Checkpoint};
use crate::database::{Db, query, query_text, sqlite};
use crate::error::FoldError;
use crate::location::Location;
use crate::row::{FoldedTable, Row as _};
use crate::schema::FOLDED_TABLES;
use crate::scratch::Scratch;
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
struct Names<'a> {
    live: &'a str,
    copy: &'a str,
}

/// Replaces the live tables unless they are ahead of the copy, at another checkpoint than `reached`; says whether it
/// did.
pub(crate) async fn swap(
    live: &Tables,
    scratch: &Scratch,
    reached: Option<&Checkpoint>,
) -> Result<bool, FoldError> {
    match (live.location(), scratch.tables().location()) {
        (Location::File(file), Location::File(copy)) => {
            let mut connection = sqlite::options(file)
                .pragma("cache_size", SWAP_CACHE)
                .connect()
                .await?;
            query("ATTACH DATABASE $1 AS copy")
                .bind(copy.to_string_lossy().into_owned())
                .execute(&mut Db::Sqlite(&mut connection))
                .await?;
            let mut transaction = connection.begin_with(sqlite::BEGIN_WRITING).await?;
            let names = Names {
                live: "main",
                copy: "copy",
            };
            let mut db = Db::Sqlite(&mut transaction);
            let is_done = replace(&mut db, &names, live, scratch, reached).await?;
            transaction.commit().await?;
            connection.close().await?;
            Ok(is_done)
        }
        (Location::Schema { server, schema }, Location::Schema { schema: copy, .. }) => {
            let mut connection = crate::database::postgres::within(server, schema)
                .connect()
                .await?;
            let mut transaction = connection.begin().await?;
            let mut db = Db::Postgres(&mut transaction);
            // Readers go on; whoever folds waits here, before it has written anything.
            query("LOCK TABLE projection_checkpoints IN SHARE ROW EXCLUSIVE MODE")
                .execute(&mut db)
                .await?;
            for table in FOLDED_TABLES.iter().chain([&SealBlock::TABLE]) {
                query_text(format!("ANALYZE {copy}.{}", table.name))
                    .execute(&mut db)
                    .await?;
            }
            let names = Names { live: schema, copy };
            let is_done = replace(&mut db, &names, live, scratch, reached).await?;
            transaction.commit().await?;
            connection.close().await?;
            Ok(is_done)
        }
        _ => Err(FoldError::halt(
            "a copy is in another kind of database than its tables",
        )),
    }
}

async fn replace(
    db: &mut Db<'_>,
    names: &Names<'_>,
    live: &Tables,
    scratch: &Scratch,
    reached: Option<&Checkpoint>,
) -> Result<bool, FoldError> {
    let now = checkpoint::read(db).await?;
    let is_ahead = Checkpoint::seq_of(now.as_ref()) > scratch.seq();
    if is_ahead && now.as_ref() != reached {
        return Ok(false);
    }
    // On Postgres readers would wait for as long as the indexes are away.
    if now.is_none() && matches!(db, Db::Sqlite(_)) {
        fill(db, names, live.location()).await?;
    } else {
        for (table, key, columns) in swapped() {
            replace_table(db, names, table, key, &columns).await?;
        }
    }
    checkpoint::moved_by_rebuild(db).await?;
    Ok(true)
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
async fn fill(db: &mut Db<'_>, names: &Names<'_>, live: &Location) -> Result<(), sqlx::Error> {
    let indexes = drop_secondary(db, live).await?;
    for (table, _, columns) in swapped() {
        insert_all(db, names, table, &columns).await?;
    }
    indexes.create(db).await
}

async fn insert_all(
    db: &mut Db<'_>,
    names: &Names<'_>,
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
    names: &Names<'_>,
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
