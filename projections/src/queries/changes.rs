//! Records in the order of their changes, for sync clients.

use std::collections::BTreeMap;

use events::{RecordId, SpaceId, StreamSeq};
use jiff::Timestamp;
use serde_json::Value;

use crate::column;
use crate::database::{DbRow, Keys, query_per, rows_with_keys};
use crate::row::RecordFields;
use crate::schema::Record;
use crate::tables::{Tables, TablesError};

/// A place in the order of changes: of commits, and within one by table and record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangePlace {
    /// The record's latest change.
    pub seq: StreamSeq,
    /// Its table; empty before all of them.
    pub table: String,
    /// Its id; empty before all of them.
    pub record: String,
}

/// A record with what a sync client needs to know of each field.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedRecord {
    /// Its table.
    pub table: String,
    /// The record.
    pub record_id: RecordId,
    /// Field name to the write that won; the tombstone as `deletedAt`.
    pub fields: BTreeMap<String, ChangedField>,
    /// Whether it is a tombstone.
    pub deleted: bool,
    /// Place of its latest change.
    pub last_seq: StreamSeq,
}

/// The write that won a field.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedField {
    /// The value; ciphertext where the registry says so.
    pub value: Value,
    /// The writer's time.
    pub at: Timestamp,
    /// Sequence of its commit.
    pub seq: StreamSeq,
    /// The sync client that wrote it, by its name in the log.
    pub client: Option<String>,
    /// Whether it came as plaintext and was sealed by the gateway.
    pub sealed_here: bool,
}

impl ChangedRecord {
    /// Where it stands in the order of changes.
    pub fn place(&self) -> ChangePlace {
        ChangePlace {
            seq: self.last_seq,
            table: self.table.clone(),
            record: self.record_id.to_string(),
        }
    }
}

impl Tables {
    /// The records of `app` in `space` whose latest change stands after `after`, in the order of changes, `limit` at
    /// most; of `tables` alone where some are named. A record that changes while somebody pages moves to the end, so
    /// that none is passed over.
    pub async fn changed_records(
        &self,
        space: &SpaceId,
        app: &str,
        tables: &[String],
        after: &ChangePlace,
        limit: u32,
    ) -> Result<Vec<ChangedRecord>, TablesError> {
        let rows = query_per(|among| {
            format!(
                "-- name: changed_records
                 SELECT table_name,
                        record_id,
                        fields,
                        deleted_at,
                        last_seq
                 FROM records
                 WHERE space_id = $1
                   AND app = $2
                   AND (last_seq, table_name, record_id) > ($3, $4, $5)
                   AND ($6 = 1 OR table_name {})
                 ORDER BY last_seq,
                          table_name,
                          record_id
                 LIMIT $8",
                among.placeholder(7)
            )
        })
        .bind(space.as_str())
        .bind(app)
        .bind(column::bigint(after.seq.0))
        .bind(after.table.as_str())
        .bind(after.record.as_str())
        .bind(i64::from(tables.is_empty()))
        .bind(tables.to_vec())
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        Ok(rows.iter().map(changed_record_of).collect::<Result<_, _>>()?)
    }

    /// The records of `space` with these tables and ids, those that are there, in no order.
    pub async fn records_at(
        &self,
        space: &SpaceId,
        at: &[(String, RecordId)],
    ) -> Result<Vec<ChangedRecord>, TablesError> {
        let keys = Keys {
            columns: ["space_id", "table_name", "record_id"],
            values: at
                .iter()
                .map(|(table, record)| [space.as_str(), table.as_str(), record.as_str()])
                .collect(),
            and: "",
        };
        let mut connection = self.readers().acquire().await?;
        let rows: Vec<Record> = rows_with_keys(&mut connection.db(), keys).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let record_id =
                    RecordId::try_new(row.record_id).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
                let deleted = row.deleted_at.is_some();
                let last_seq = StreamSeq(row.last_seq.unsigned_abs());
                Ok(changed_record(
                    row.table_name,
                    record_id,
                    row.fields,
                    deleted,
                    last_seq,
                ))
            })
            .collect::<Result<_, sqlx::Error>>()?)
    }
}

pub(super) fn changed_record_of(row: &DbRow) -> Result<ChangedRecord, sqlx::Error> {
    let fields: RecordFields = column::json(row, "fields")?;
    Ok(changed_record(
        row.try_get("table_name")?,
        column::parsed(row, "record_id")?,
        fields,
        row.try_get::<Option<i64>, _>("deleted_at")?.is_some(),
        column::seq(row, "last_seq")?,
    ))
}

fn changed_record(
    table: String,
    record_id: RecordId,
    fields: RecordFields,
    deleted: bool,
    last_seq: StreamSeq,
) -> ChangedRecord {
    let fields = fields.into_iter().map(|(name, state)| {
        let field = ChangedField {
            value: state.value,
            at: state.at,
            seq: StreamSeq(state.seq.unsigned_abs()),
            client: state.client,
            sealed_here: state.sealed_here,
        };
        (name, field)
    });
    ChangedRecord {
        table,
        record_id,
        fields: fields.collect(),
        deleted,
        last_seq,
    }
}
