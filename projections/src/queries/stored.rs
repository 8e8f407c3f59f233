//! Records as they are stored, space by space: what is gone through when everything is to be sealed anew.

use events::{SpaceId, UserId};
use jiff::Timestamp;

use super::changes::{ChangedRecord, changed_record_of};
use crate::column;
use crate::database::{DbRow, query_per};
use crate::tables::{Tables, TablesError};

/// A place in the order of spaces, and within one of tables and records; the default is before all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredPlace {
    /// The space.
    pub space: String,
    /// Its table.
    pub table: String,
    /// Its record.
    pub record: String,
}

/// A record with everything that a write that changes nothing else has to say again.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRecord {
    /// Its space.
    pub space_id: SpaceId,
    /// Its fields, and who wrote them.
    pub record: ChangedRecord,
    /// The app it belongs to.
    pub app: String,
    /// Who wrote last.
    pub actor: UserId,
    /// When it was last written.
    pub updated_at: Timestamp,
}

impl StoredRecord {
    /// Where it stands.
    pub fn place(&self) -> StoredPlace {
        StoredPlace {
            space: self.space_id.to_string(),
            table: self.record.table.clone(),
            record: self.record.record_id.to_string(),
        }
    }
}

impl Tables {
    /// The records of `tables` after `after`, tombstones included, in `space` alone where one is named, `limit` at
    /// most.
    pub async fn stored_records(
        &self,
        after: &StoredPlace,
        space: Option<&SpaceId>,
        tables: &[&str],
        limit: u32,
    ) -> Result<Vec<StoredRecord>, TablesError> {
        let rows = query_per(|among| {
            format!(
                "-- name: stored_records
                 SELECT space_id,
                        table_name,
                        record_id,
                        fields,
                        deleted_at,
                        last_seq,
                        app,
                        actor,
                        updated_at
                 FROM records
                 WHERE (space_id, table_name, record_id) > ($1, $2, $3)
                   AND ($4 = '' OR space_id = $4)
                   AND table_name {}
                 ORDER BY space_id,
                          table_name,
                          record_id
                 LIMIT $6",
                among.placeholder(5)
            )
        })
        .bind(after.space.as_str())
        .bind(after.table.as_str())
        .bind(after.record.as_str())
        .bind(space.map_or("", SpaceId::as_str))
        .bind(tables.iter().map(|table| (*table).to_owned()).collect::<Vec<_>>())
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        Ok(rows.iter().map(stored_record_of).collect::<Result<_, _>>()?)
    }
}

fn stored_record_of(row: &DbRow) -> Result<StoredRecord, sqlx::Error> {
    Ok(StoredRecord {
        space_id: column::parsed(row, "space_id")?,
        record: changed_record_of(row)?,
        app: row.try_get("app")?,
        actor: column::parsed(row, "actor")?,
        updated_at: column::time(row, "updated_at")?,
    })
}
