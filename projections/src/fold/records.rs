//! App data: field by field, the last writer wins.

use std::collections::BTreeMap;

use events::{FieldWrite, RecordChanged, RecordOp};

use super::Place;
use crate::column::{self, bigint, json_text};
use crate::database::DbConnection;
use crate::error::FoldError;

/// The fields of a record, each with the time it was written.
type Fields = BTreeMap<String, FieldWrite>;

pub(super) async fn changed(
    db: &mut DbConnection,
    place: &Place<'_>,
    changed: &RecordChanged,
) -> Result<(), FoldError> {
    place.is_about_space(&changed.space_id)?;
    let stored = sqlx::query(
        "-- name: record_fields
         SELECT fields
         FROM records
         WHERE space_id = $1
           AND table_name = $2
           AND record_id = $3",
    )
    .bind(changed.space_id.as_str())
    .bind(&changed.table)
    .bind(changed.record_id.as_str())
    .fetch_optional(&mut *db)
    .await?;
    let stored: Fields = stored.map_or(Ok(Fields::new()), |row| column::json(&row, "fields"))?;
    let deleted_at = (changed.op == RecordOp::Delete).then(|| changed.changed_at.as_microsecond());
    sqlx::query(
        "-- name: record_changed
         INSERT INTO records (space_id, table_name, record_id, fields, actor, created_at, updated_at, deleted_at,
                              first_seq, last_seq)
         VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, $8)
         ON CONFLICT (space_id, table_name, record_id) DO UPDATE
         SET fields = excluded.fields,
             actor = excluded.actor,
             updated_at = CASE WHEN records.updated_at > excluded.updated_at
                               THEN records.updated_at
                               ELSE excluded.updated_at END,
             deleted_at = COALESCE(records.deleted_at, excluded.deleted_at),
             last_seq = excluded.last_seq",
    )
    .bind(changed.space_id.as_str())
    .bind(&changed.table)
    .bind(changed.record_id.as_str())
    .bind(json_text(&merged(stored, &changed.fields))?)
    .bind(changed.actor.as_str())
    .bind(changed.changed_at.as_microsecond())
    .bind(deleted_at)
    .bind(bigint(place.seq.0))
    .execute(db)
    .await?;
    Ok(())
}

/// `stored` with `written` laid over it: a field takes the value with the later time, and of two with the same time
/// the one that stands later in the log.
fn merged(mut stored: Fields, written: &Fields) -> Fields {
    for (name, write) in written {
        let is_newer = stored.get(name).is_none_or(|earlier| earlier.at <= write.at);
        if is_newer {
            stored.insert(name.clone(), write.clone());
        }
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn field(value: u32, second: i64) -> FieldWrite {
        FieldWrite {
            value: value.into(),
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    fn fields(writes: &[(&str, u32, i64)]) -> Fields {
        writes
            .iter()
            .map(|(name, value, second)| ((*name).to_owned(), field(*value, *second)))
            .collect()
    }

    #[test]
    fn each_field_keeps_the_value_that_was_written_last() {
        let stored = fields(&[("title", 1, 10), ("color", 1, 10), ("mood", 1, 10)]);
        let late = fields(&[("title", 2, 9), ("color", 2, 11), ("mood", 2, 10), ("tags", 2, 1)]);
        assert_eq!(
            merged(stored, &late),
            fields(&[
                ("title", 1, 10),
                ("color", 2, 11),
                ("mood", 2, 10),
                ("tags", 2, 1)
            ])
        );
    }

    proptest! {
        /// Two devices that wrote at different times agree, whoever reached the log first.
        #[test]
        fn writes_of_different_times_commute(writes in proptest::collection::btree_map(0i64..1_000, (0u8..3, 0u32..9), 2..12)) {
            let writes: Vec<Fields> = writes
                .iter()
                .map(|(second, (name, value))| fields(&[(&format!("f{name}"), *value, *second)]))
                .collect();
            let forwards = writes.iter().fold(Fields::new(), merged);
            let backwards = writes.iter().rev().fold(Fields::new(), merged);
            prop_assert_eq!(forwards, backwards);
        }
    }
}
