//! Changes as clients spell them.
//!
//! A field that was written carries its time as `at`, or `updatedAt` from older clients, which are answered with both.
//! A whole record comes as `data`, whose fields are of its `updatedAt` or `createdAt`. What has no time at all is of
//! 1970: it fills an empty field and wins against nothing.

use std::collections::BTreeMap;

use events::{Clock as _, FieldWrite, RecordId, SpaceId};
use gateway::{ServerChange, SyncChange};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::http::App;
use crate::http::answer::Iso;
use crate::http::fields::Fields;

/// The form of changes this server knows.
const SCHEMA_VERSION: u64 = 1;
/// Changes of one push.
const CHANGES_MAX: usize = 10_000;
/// Fields of one change.
const FIELDS_MAX: usize = 500;
/// Characters of the name of a table or field.
const NAME_CHARS_MAX: usize = 200;
/// The field that says of a record that it was deleted.
const DELETED_AT: &str = "deletedAt";
/// Where older clients keep the times of a record's fields, within the record.
const FIELD_TIMES: &str = "__fieldTimestamps";
/// What a record's `data` holds that is no field of it.
const NO_FIELDS: [&str; 3] = ["id", DELETED_AT, FIELD_TIMES];

/// JSON Schema of a push.
pub(super) fn schema() -> Value {
    let time = json!({ "type": "string", "format": "date-time" });
    json!({
        "type": "object",
        "required": ["clientId", "changes"],
        "properties": {
            "clientId": { "type": "string", "minLength": 1, "maxLength": 200 },
            "since": { "type": "string", "description": "syncedUntil of the last answer; without it all is new" },
            "schemaVersion": { "type": "integer", "minimum": 1, "maximum": SCHEMA_VERSION },
            "changes": { "type": "array", "maxItems": CHANGES_MAX, "items": {
                "type": "object",
                "required": ["table", "id", "op"],
                "properties": {
                    "table": { "type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX },
                    "id": { "type": "string", "minLength": 1, "maxLength": 200 },
                    "op": { "enum": ["insert", "update", "delete"] },
                    "spaceId": { "type": "string" },
                    "data": { "type": "object" },
                    "fields": { "type": "object", "additionalProperties": {
                        "type": "object",
                        "required": ["value", "at"],
                        "properties": { "value": {}, "at": time },
                    } },
                    "deletedAt": time,
                    "schemaVersion": { "type": "integer", "minimum": 1, "maximum": SCHEMA_VERSION },
                },
            } },
        },
    })
}

/// A change as a client gets it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SyncChange")]
pub(super) struct Change {
    schema_version: u64,
    space_id: SpaceId,
    table: String,
    id: RecordId,
    /// `update`, or `delete` with its time and no fields.
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Iso>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<BTreeMap<String, Written>>,
}

/// What was written to a field, and when; older clients read `updatedAt`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SyncField")]
struct Written {
    value: Value,
    at: Iso,
    updated_at: Iso,
}

impl From<&ServerChange> for Change {
    fn from(change: &ServerChange) -> Self {
        let is_deleted = change.deleted_at.is_some();
        let spelled = |(name, write): (&String, &FieldWrite)| (name.clone(), Written::from(write));
        Self {
            schema_version: SCHEMA_VERSION,
            space_id: change.space.clone(),
            table: change.table.clone(),
            id: change.record_id.clone(),
            op: if is_deleted { "delete" } else { "update" },
            deleted_at: change.deleted_at.map(Iso::from),
            fields: (!is_deleted).then(|| change.fields.iter().map(spelled).collect()),
        }
    }
}

impl From<&FieldWrite> for Written {
    fn from(write: &FieldWrite) -> Self {
        let at = Iso::from(write.at);
        Self {
            value: write.value.clone(),
            updated_at: at.clone(),
            at,
        }
    }
}

/// Notes a fault when the sender speaks a later form than this server knows.
pub(super) fn check_version(fields: &mut Fields<'_>) {
    fields.optional_integer("schemaVersion", 1..=SCHEMA_VERSION);
}

/// The changes of a push. Each fault is noted under the name of its field.
pub(super) fn read(fields: &mut Fields<'_>, app: &App) -> Vec<SyncChange> {
    let now = app.clock.now();
    let items = fields.optional_list("changes", CHANGES_MAX).unwrap_or_default();
    let mut changes = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        if let Some(mut change) = fields.item_of("changes", index, item) {
            changes.extend(one(&mut change, now));
        }
    }
    changes
}

fn one(fields: &mut Fields<'_>, now: Timestamp) -> Option<SyncChange> {
    let table = fields.text("table", 1..=NAME_CHARS_MAX);
    if table.chars().any(char::is_control) {
        fields.fault("table", "must not hold control characters");
    }
    let record_id = RecordId::try_new(fields.text("id", 1..=200));
    if let Err(error) = &record_id {
        fields.fault("id", error.to_string());
    }
    let is_delete = fields.word(
        "op",
        &[("insert", false), ("update", false), ("delete", true)],
        false,
    );
    check_version(fields);
    let space = fields.optional_text("spaceId", 1..=200).and_then(|id| {
        let id = SpaceId::try_new(id);
        id.map_err(|error| fields.fault("spaceId", error.to_string()))
            .ok()
    });
    let mut deleted_at = time(fields, DELETED_AT).or(is_delete.then_some(now));
    let mut writes = BTreeMap::new();
    if let Some(data) = object(fields, "data") {
        deleted_at = deleted_at.or_else(|| said_deleted(data.get(DELETED_AT)?));
        writes.extend(of_data(data));
    }
    if let Some(written) = object(fields, "fields") {
        deleted_at = deleted_at.or_else(|| said_deleted(written.get(DELETED_AT)?.get("value")?));
        writes.extend(of_fields(fields, written));
    }
    for name in writes.keys() {
        if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            fields.fault(
                "fields",
                format!("names have {NAME_CHARS_MAX} characters at most"),
            );
            break;
        }
    }
    if writes.len() > FIELDS_MAX {
        fields.fault(
            "fields",
            format!("may be {FIELDS_MAX} at most, are {}", writes.len()),
        );
    }
    Some(SyncChange {
        table,
        record_id: record_id.ok()?,
        space,
        fields: writes,
        deleted_at,
    })
}

/// The fields of a whole record.
fn of_data(mut data: Map<String, Value>) -> BTreeMap<String, FieldWrite> {
    let of_record = ["updatedAt", "createdAt"]
        .iter()
        .find_map(|name| parsed(data.get(*name)?.as_str()?))
        .unwrap_or(Timestamp::UNIX_EPOCH);
    let times = data.remove(FIELD_TIMES).unwrap_or_default();
    let at = |name: &str| times.get(name).and_then(Value::as_str).and_then(parsed);
    data.into_iter()
        .filter(|(name, _)| !NO_FIELDS.contains(&name.as_str()))
        .map(|(name, value)| {
            let at = at(&name).unwrap_or(of_record);
            (name, FieldWrite { value, at })
        })
        .collect()
}

/// Fields that each say their time.
fn of_fields(fields: &mut Fields<'_>, written: Map<String, Value>) -> BTreeMap<String, FieldWrite> {
    let mut writes = BTreeMap::new();
    for (name, write) in written {
        if NO_FIELDS.contains(&name.as_str()) {
            continue;
        }
        let at = write.get("at").or_else(|| write.get("updatedAt"));
        let at = at.map_or(Some(Timestamp::UNIX_EPOCH), |at| parsed(at.as_str()?));
        match (write, at) {
            (Value::Object(mut write), Some(at)) => {
                let value = write.remove("value").unwrap_or_default();
                writes.insert(name, FieldWrite { value, at });
            }
            (Value::Object(_), None) => {
                fields.fault(
                    &format!("fields.{name}.at"),
                    "must be a time like 2026-11-20T18:00:00.000Z",
                );
            }
            _ => fields.fault(&format!("fields.{name}"), "must be an object with value and at"),
        }
    }
    writes
}

fn said_deleted(value: &Value) -> Option<Timestamp> {
    parsed(value.as_str()?)
}

fn object(fields: &mut Fields<'_>, name: &str) -> Option<Map<String, Value>> {
    if let Value::Object(object) = fields.optional(name)? {
        return Some(object);
    }
    fields.fault(name, "must be an object");
    None
}

fn time(fields: &mut Fields<'_>, name: &str) -> Option<Timestamp> {
    let value = fields.optional(name)?;
    let time = value.as_str().and_then(parsed);
    if time.is_none() {
        fields.fault(name, "must be a time like 2026-11-20T18:00:00.000Z");
    }
    time
}

/// A time of a client, in milliseconds, which is what it compares as text; none before 1970.
fn parsed(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.parse().ok()?;
    let time = Timestamp::from_millisecond(time.as_millisecond()).ok()?;
    (time >= Timestamp::UNIX_EPOCH).then_some(time)
}
