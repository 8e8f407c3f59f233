//! Checksums of tables that do not depend on the order of rows: the sum, modulo 2^64, of the first eight bytes of each
//! row's SHA-256. A row is hashed as the JSON array of its columns in the order of `schema.rs`, which any database
//! can give, so that tables on two of them can be compared.

use std::collections::HashMap;

use futures::TryStreamExt as _;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Row as _, TypeInfo as _, ValueRef as _};

use crate::database::{DbConnection, DbRow};
use crate::schema::{FOLDED_TABLES, FoldedTable};

/// What one table holds, in a few bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableChecksum {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Sixteen hexadecimal digits, equal for equal rows in any order.
    pub checksum: String,
}

/// The checksums of all folded tables, in the order of `schema.rs`.
pub(crate) async fn of_all(db: &mut DbConnection) -> Result<Vec<TableChecksum>, sqlx::Error> {
    let mut checksums = Vec::with_capacity(FOLDED_TABLES.len());
    for table in FOLDED_TABLES {
        checksums.push(of_table(db, table).await?);
    }
    Ok(checksums)
}

/// The checksum of one table.
pub(crate) async fn of_table(
    db: &mut DbConnection,
    table: &FoldedTable,
) -> Result<TableChecksum, sqlx::Error> {
    let (mut rows, mut sum) = (0u64, 0u64);
    let mut stored = sqlx::query(AssertSqlSafe(select_all(table))).fetch(db);
    while let Some(row) = stored.try_next().await? {
        rows += 1;
        sum = sum.wrapping_add(digest_of(&row, table)?);
    }
    Ok(TableChecksum {
        table: table.name.to_owned(),
        rows,
        checksum: format!("{sum:016x}"),
    })
}

/// The digest of every row by its name: the key's columns joined with `/`.
pub(crate) async fn of_rows(
    db: &mut DbConnection,
    table: &FoldedTable,
) -> Result<HashMap<String, u64>, sqlx::Error> {
    let mut digests = HashMap::new();
    let mut stored = sqlx::query(AssertSqlSafe(select_all(table))).fetch(db);
    while let Some(row) = stored.try_next().await? {
        let key: Vec<String> = (0..table.columns.len())
            .filter(|column| table.key.contains(&table.columns[*column]))
            .map(|column| value_of(&row, column).map(|value| plain_text(&value)))
            .collect::<Result<_, _>>()?;
        digests.insert(key.join("/"), digest_of(&row, table)?);
    }
    Ok(digests)
}

fn select_all(table: &FoldedTable) -> String {
    format!("SELECT {} FROM {}", table.columns.join(", "), table.name)
}

fn digest_of(row: &DbRow, table: &FoldedTable) -> Result<u64, sqlx::Error> {
    let values: Vec<Value> = (0..table.columns.len())
        .map(|column| value_of(row, column))
        .collect::<Result<_, _>>()?;
    let canonical = serde_json::to_vec(&values).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let hash = Sha256::digest(&canonical);
    Ok(hash
        .iter()
        .take(8)
        .fold(0, |digest, byte| (digest << 8) | u64::from(*byte)))
}

/// The column as it is stored, whatever it ought to be: a row changed by hand may hold any type.
fn value_of(row: &DbRow, column: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    Ok(match raw.type_info().name() {
        "INTEGER" | "BOOLEAN" => row.try_get_unchecked::<i64, _>(column)?.into(),
        "REAL" => row.try_get_unchecked::<f64, _>(column)?.into(),
        "BLOB" => hex::encode(row.try_get_unchecked::<Vec<u8>, _>(column)?).into(),
        _ => row.try_get_unchecked::<String, _>(column)?.into(),
    })
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
