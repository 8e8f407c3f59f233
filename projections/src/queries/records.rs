//! App data, for the gateway's tools.

use std::collections::BTreeMap;

use events::{RecordId, SpaceId, StreamSeq};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::column;
use crate::database::{DbRow, query};
use crate::row::RecordFields;
use crate::tables::{Tables, TablesError};

/// A record with the value each field was last given.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordRow {
    /// The record.
    pub record_id: RecordId,
    /// Field name to value; ciphertext where the registry says so.
    pub fields: BTreeMap<String, Value>,
    /// When it was first written.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// Whether it is a tombstone.
    pub deleted: bool,
    /// Place of its first change; orders records by age.
    pub first_seq: StreamSeq,
    /// Place of its latest change.
    pub last_seq: StreamSeq,
}

impl Tables {
    /// The record `id` of `table` in `space`, tombstones included.
    pub async fn record(
        &self,
        space: &SpaceId,
        table: &str,
        id: &RecordId,
    ) -> Result<Option<RecordRow>, TablesError> {
        let row = query(
            "-- name: record
             SELECT record_id,
                    fields,
                    created_at,
                    updated_at,
                    deleted_at,
                    first_seq,
                    last_seq
             FROM records
             WHERE space_id = $1
               AND table_name = $2
               AND record_id = $3",
        )
        .bind(space.as_str())
        .bind(table)
        .bind(id.as_str())
        .fetch_optional(self.readers())
        .await?;
        Ok(row.as_ref().map(record_of).transpose()?)
    }

    /// The records of `table` in `space`, oldest first, deleted ones left out.
    pub async fn records(&self, space: &SpaceId, table: &str) -> Result<Vec<RecordRow>, TablesError> {
        let rows = query(
            "-- name: records
             SELECT record_id,
                    fields,
                    created_at,
                    updated_at,
                    deleted_at,
                    first_seq,
                    last_seq
             FROM records
             WHERE space_id = $1
               AND table_name = $2
               AND deleted_at IS NULL
             ORDER BY first_seq,
                      record_id",
        )
        .bind(space.as_str())
        .bind(table)
        .fetch_all(self.readers())
        .await?;
        Ok(rows.iter().map(record_of).collect::<Result<_, _>>()?)
    }
}

fn record_of(row: &DbRow) -> Result<RecordRow, sqlx::Error> {
    let fields: RecordFields = column::json(row, "fields")?;
    Ok(RecordRow {
        record_id: column::parsed(row, "record_id")?,
        fields: fields
            .into_iter()
            .map(|(name, write)| (name, write.value))
            .collect(),
        created_at: column::time(row, "created_at")?,
        updated_at: column::time(row, "updated_at")?,
        deleted: row.try_get::<Option<i64>, _>("deleted_at")?.is_some(),
        first_seq: column::seq(row, "first_seq")?,
        last_seq: column::seq(row, "last_seq")?,
    })
}
