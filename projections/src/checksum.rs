//! Checksums of tables that do not depend on the order of rows: the sum, modulo 2^64, of the first eight bytes of each
//! row's SHA-256. A row is hashed as the JSON array of its columns in the order of `schema.rs`, which any database
//! can give, so that tables on two of them can be compared.

use std::collections::HashMap;

use futures::TryStreamExt as _;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::database::{Db, DbRow, query_text};
use crate::row::FoldedTable;
use crate::schema::FOLDED_TABLES;

/// What one table holds, in a few bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TableChecksum {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Sixteen hexadecimal digits, equal for equal rows in any order.
    pub checksum: String,
}

/// The checksums of all folded tables, in the order of `schema.rs`.
pub(crate) async fn of_all(db: &mut Db<'_>) -> Result<Vec<TableChecksum>, sqlx::Error> {
    let mut checksums = Vec::with_capacity(FOLDED_TABLES.len());
    for table in FOLDED_TABLES {
        checksums.push(of_table(db, table).await?);
    }
    Ok(checksums)
}

/// The checksum of one table.
pub(crate) async fn of_table(db: &mut Db<'_>, table: &FoldedTable) -> Result<TableChecksum, sqlx::Error> {
    let (mut rows, mut sum, mut canonical) = (0u64, 0u64, Vec::new());
    let mut stored = query_text(select_all(table)).fetch(db);
    while let Some(row) = stored.try_next().await? {
        rows += 1;
        sum = sum.wrapping_add(digest_of(&row, table, &mut canonical)?);
    }
    Ok(TableChecksum {
        table: table.name.to_owned(),
        rows,
        checksum: format!("{sum:016x}"),
    })
}

/// The digest of every row by its name: the key's columns joined with `/`.
pub(crate) async fn of_rows(
    db: &mut Db<'_>,
    table: &FoldedTable,
) -> Result<HashMap<String, u64>, sqlx::Error> {
    let (mut digests, mut canonical) = (HashMap::new(), Vec::new());
    let mut stored = query_text(select_all(table)).fetch(db);
    while let Some(row) = stored.try_next().await? {
        let mut key = Vec::new();
        for column in (0..table.columns.len()).filter(|place| table.key.contains(&table.columns[*place].name))
        {
            canonical.clear();
            row.write_json(column, &mut canonical)?;
            key.push(plain_text(&canonical));
        }
        digests.insert(key.join("/"), digest_of(&row, table, &mut canonical)?);
    }
    Ok(digests)
}

fn select_all(table: &FoldedTable) -> String {
    format!("SELECT {} FROM {}", table.columns_of(table.name), table.name)
}

/// `canonical` is room that is used for one row after the other.
fn digest_of(row: &DbRow, table: &FoldedTable, canonical: &mut Vec<u8>) -> Result<u64, sqlx::Error> {
    canonical.clear();
    for column in 0..table.columns.len() {
        canonical.push(if column == 0 { b'[' } else { b',' });
        row.write_json(column, canonical)?;
    }
    canonical.push(b']');
    let hash = Sha256::digest(&canonical);
    Ok(hash
        .iter()
        .take(8)
        .fold(0, |digest, byte| (digest << 8) | u64::from(*byte)))
}

/// A key's column as people read it.
fn plain_text(json: &[u8]) -> String {
    serde_json::from_slice(json).unwrap_or_else(|_| String::from_utf8_lossy(json).into_owned())
}
