//! App data: field by field, the last writer wins.
//!
//! What a record comes to does not depend on the order its changes arrive in: of two writes of a field the later one
//! stands, by the writers' own times, and of two of the same time always the same one. A deletion stands for good.

use events::{FieldWrite, RecordChanged, RecordOp, SpaceErased, input_hash};
use jiff::Timestamp;
use serde_json::Value;

use super::{Place, must_fit_key};
use crate::column::bigint;
use crate::error::FoldError;
use crate::row::{FieldState, RecordFields};
use crate::schema::{ErasedSubject, Record};
use crate::working_set::WorkingSet;

/// The field in which clients see a deletion.
pub(crate) const DELETED_AT: &str = "deletedAt";

pub(super) fn changed(
    set: &mut WorkingSet,
    place: &Place<'_>,
    changed: &RecordChanged,
) -> Result<(), FoldError> {
    place.is_about_space(&changed.space_id)?;
    must_fit_key("table's name", &changed.table)?;
    let app = app_of(changed);
    must_fit_key("app's name", app)?;
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
            fields: merged(stored.fields.clone(), written(changed, seq)),
            actor: changed.actor.to_string(),
            created_at: stored.created_at.min(changed_at),
            updated_at: stored.updated_at.max(changed_at),
            deleted_at: stored.deleted_at.max(deleted_at),
            last_seq: seq,
            ..stored.clone()
        },
        None => Record {
            space_id: key.0,
            table_name: key.1,
            record_id: key.2,
            fields: written(changed, seq),
            actor: changed.actor.to_string(),
            created_at: changed_at,
            updated_at: changed_at,
            deleted_at,
            first_seq: seq,
            last_seq: seq,
            app: app.to_owned(),
        },
    };
    set.records.put(record);
    Ok(())
}

/// Everything of the space goes. Of its subject's chain nothing is left but this commit, which the erasure of those
/// before it is about to make the first.
pub(super) fn erased(set: &mut WorkingSet, place: &Place<'_>, erased: &SpaceErased) -> Result<(), FoldError> {
    place.is_about_space(&erased.space_id)?;
    let subject = place.subject.to_string();
    set.erase_space(erased.space_id.as_str());
    set.erase_chain_head(&subject);
    set.erase_parked(&subject);
    let seq = bigint(place.seq.0);
    set.erased_subjects.put(ErasedSubject { subject, seq });
    Ok(())
}

/// The app a change is of: the client's own word, or the module of the tool.
fn app_of(changed: &RecordChanged) -> &str {
    match (&changed.synced, &changed.tool) {
        (Some(synced), _) => &synced.app,
        (None, Some(tool)) => tool.split_once('.').map_or(tool, |(module, _)| module),
        (None, None) => "",
    }
}

/// What a change writes, as it would stand alone.
fn written(changed: &RecordChanged, seq: i64) -> RecordFields {
    let synced = changed.synced.as_ref();
    let state = |name: &str, write: &FieldWrite| FieldState {
        value: write.value.clone(),
        at: write.at,
        seq,
        client: synced.map(|synced| synced.client.clone()),
        sealed_here: synced.is_some_and(|synced| synced.sealed.iter().any(|sealed| sealed == name)),
    };
    let mut fields: RecordFields = changed
        .fields
        .iter()
        .map(|(name, write)| (name.clone(), state(name, write)))
        .collect();
    if changed.op == RecordOp::Delete {
        let deletion = FieldWrite {
            value: Value::String(spelled(changed.changed_at)),
            at: changed.changed_at,
        };
        fields.insert(DELETED_AT.to_owned(), state(DELETED_AT, &deletion));
    }
    fields
}

/// A time as clients compare it: as text, always three decimals.
fn spelled(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// `stored` with `written` laid over it: a field takes the value with the later time. Of two with the same time the one
/// with the greater hash stands, whichever came first.
fn merged(mut stored: RecordFields, written: RecordFields) -> RecordFields {
    for (name, write) in written {
        let is_newer = stored.get(&name).is_none_or(|earlier| {
            earlier.at < write.at
                || (earlier.at == write.at && input_hash(&earlier.value) < input_hash(&write.value))
        });
        if is_newer {
            stored.insert(name, write);
        }
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(value: u32, second: i64) -> FieldState {
        FieldState {
            value: value.into(),
            at: Timestamp::from_second(second).unwrap(),
            seq: 1,
            client: None,
            sealed_here: false,
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
        let stored = fields(&[("title", 1, 10), ("color", 1, 10)]);
        let late = fields(&[("title", 2, 9), ("color", 2, 11), ("tags", 2, 1)]);
        assert_eq!(
            merged(stored, late),
            fields(&[("title", 1, 10), ("color", 2, 11), ("tags", 2, 1)])
        );
    }

    proptest! {
        /// Devices agree, whoever reached the log first, also where their clocks do.
        #[test]
        fn writes_commute_whatever_their_times(
            (writes, order) in proptest::collection::vec((0i64..4, 0u8..3, 0u32..9), 2..12)
                .prop_flat_map(|writes| (Just(writes.clone()), Just(writes).prop_shuffle()))
        ) {
            let one = |(second, name, value): &(i64, u8, u32)| fields(&[(&format!("f{name}"), *value, *second)]);
            let as_made = writes.iter().map(one).fold(RecordFields::new(), merged);
            let shuffled = order.iter().map(one).fold(RecordFields::new(), merged);
            prop_assert_eq!(&as_made, &shuffled);
            let twice = order.iter().map(one).fold(shuffled, merged);
            prop_assert_eq!(as_made, twice, "what arrives twice changes nothing");
        }
    }
}
