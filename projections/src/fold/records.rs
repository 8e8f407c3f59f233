//! App data: field by field, the last writer wins.

use events::{RecordChanged, RecordOp};

use super::{Place, must_fit_key};
use crate::column::bigint;
use crate::error::FoldError;
use crate::row::RecordFields;
use crate::schema::Record;
use crate::working_set::WorkingSet;

pub(super) fn changed(
    set: &mut WorkingSet,
    place: &Place<'_>,
    changed: &RecordChanged,
) -> Result<(), FoldError> {
    place.is_about_space(&changed.space_id)?;
    must_fit_key("table's name", &changed.table)?;
    let key = (
        changed.space_id.to_string(),
        changed.table.clone(),
        changed.record_id.to_string(),
    );
    let seq = bigint(place.seq.0);
    let changed_at = changed.changed_at.as_microsecond();
    let deleted_at = (changed.op == RecordOp::Delete).then_some(changed_at);
    let record = match set.records.get(&key)? {
        Some(stored) => Record {
            fields: merged(stored.fields.clone(), &changed.fields),
            actor: changed.actor.to_string(),
            updated_at: stored.updated_at.max(changed_at),
            deleted_at: stored.deleted_at.or(deleted_at),
            last_seq: seq,
            ..stored.clone()
        },
        None => Record {
            space_id: key.0,
            table_name: key.1,
            record_id: key.2,
            fields: changed.fields.clone(),
            actor: changed.actor.to_string(),
            created_at: changed_at,
            updated_at: changed_at,
            deleted_at,
            first_seq: seq,
            last_seq: seq,
        },
    };
    set.records.put(record);
    Ok(())
}

/// `stored` with `written` laid over it: a field takes the value with the later time, and of two with the same time
/// the one that stands later in the log.
fn merged(mut stored: RecordFields, written: &RecordFields) -> RecordFields {
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
    use events::FieldWrite;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn field(value: u32, second: i64) -> FieldWrite {
        FieldWrite {
            value: value.into(),
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    fn fields(writes: &[(&str, u32, i64)]) -> RecordFields {
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
            let writes: Vec<RecordFields> = writes
                .iter()
                .map(|(second, (name, value))| fields(&[(&format!("f{name}"), *value, *second)]))
                .collect();
            let forwards = writes.iter().fold(RecordFields::new(), merged);
            let backwards = writes.iter().rev().fold(RecordFields::new(), merged);
            prop_assert_eq!(forwards, backwards);
        }
    }
}
