//! Sealing anew what stands in another form or under an earlier key, while everybody goes on.
//!
//! What is left to do is what the values themselves say, so whoever is cut off goes on where it stopped, and two at once
//! do no harm. A value is sealed anew as a write through the log, dated a nanosecond after the write it repeats: readers
//! and writers tell times apart by the millisecond, so every write that would have won over the old value wins over the
//! new one too, in whatever order they arrive, and one that would have lost still loses. The write says again who wrote
//! the value and from which client it came: nobody but the key is another.

use std::collections::{BTreeMap, BTreeSet};

use events::{Commit, Event, ExpectedSeq, FieldWrite, RecordChanged, RecordOp, SpaceId, Subject, Synced};
use jiff::SignedDuration;
use projections::{StoredPlace, StoredRecord};
use schemars::JsonSchema;
use serde::Serialize;

use crate::field_crypto::{self, FieldForm, FieldPlace};
use crate::gateway::{Gateway, Inner};
use crate::keys::{SPACE_GONE, SpaceKey, ZERO_KNOWLEDGE_CODE};
use crate::records::{ENCRYPTION_REGISTRY, sealed_fields, unreadable};
use crate::tool::ToolError;

/// By how much a value that is sealed anew is younger than the one it repeats.
const STEP: SignedDuration = SignedDuration::from_nanos(1);
/// Bytes and events of one commit.
const COMMIT_BYTES: usize = 192 * 1024;
const COMMIT_EVENTS: usize = 500;

/// Which records are looked at in one step.
#[derive(Debug, Clone, Default)]
pub struct ResealStep {
    /// After this place.
    pub after: StoredPlace,
    /// In this space alone.
    pub space: Option<SpaceId>,
    /// So many records at most.
    pub records_max: u32,
    /// Counts, and writes nothing.
    pub is_dry: bool,
}

/// What one step found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resealed {
    /// Records that were looked at.
    pub records: u64,
    /// Fields that stand as they would be written now.
    pub current: u64,
    /// Fields that were sealed anew, or would be in a dry step.
    pub resealed: u64,
    /// Fields that only their space's owner can open, in another form than is written now.
    pub zero_knowledge: u64,
    /// The spaces they stand in.
    pub zero_knowledge_spaces: BTreeSet<SpaceId>,
    /// Fields that do not open: each is on record.
    pub refused: u64,
    /// Fields of spaces that have no key here, because they are nobody's any more.
    pub keyless: u64,
    /// Where the next step goes on; `None` at the end.
    #[serde(skip)]
    pub next: Option<StoredPlace>,
}

impl Gateway {
    /// In which form fields are written.
    pub fn field_form(&self) -> FieldForm {
        self.inner.settings.field_form
    }

    /// Seals anew what `step` covers and is not as it would be written now, and waits until it can be read.
    ///
    /// # Errors
    /// [`ToolError`] when tables, keys or log cannot be had: what was appended until then stays, and the step may be
    /// taken again.
    pub async fn reseal(&self, step: &ResealStep) -> Result<Resealed, ToolError> {
        let inner = &self.inner;
        let tables: Vec<&str> = ENCRYPTION_REGISTRY.iter().map(|entry| entry.table).collect();
        let rows = inner
            .records
            .tables
            .stored_records(&step.after, step.space.as_ref(), &tables, step.records_max)
            .await
            .map_err(unreadable)?;
        let mut found = Resealed {
            records: rows.len() as u64,
            ..Resealed::default()
        };
        if rows.len() >= step.records_max as usize {
            found.next = rows.last().map(StoredRecord::place);
        }
        for of_space in rows.chunk_by(|one, other| one.space_id == other.space_id) {
            reseal_space(inner, of_space, step.is_dry, &mut found).await?;
        }
        if found.resealed > 0 && !step.is_dry {
            let detail = format!("{} fields of {} records", found.resealed, found.records);
            let recorded = inner.identity.audit_sealed_anew(&detail).await;
            recorded
                .map_err(|error| ToolError::failed("what was sealed anew cannot be put on record", error))?;
            metrics::counter!(crate::telemetry::FIELDS_RESEALED).increment(found.resealed);
        }
        Ok(found)
    }
}

/// Seals anew what is to be in rows of one space.
async fn reseal_space(
    inner: &Inner,
    rows: &[StoredRecord],
    is_dry: bool,
    found: &mut Resealed,
) -> Result<(), ToolError> {
    let Some(first) = rows.first() else { return Ok(()) };
    let space = &first.space_id;
    let key = match inner.records.keys.get(space).await {
        Ok(key) => key,
        Err(ToolError::Refused { code, .. }) if code == ZERO_KNOWLEDGE_CODE => {
            let left = rows.iter().map(|row| in_other_form(inner, row)).sum::<u64>();
            found.zero_knowledge += left;
            if left > 0 {
                found.zero_knowledge_spaces.insert(space.clone());
            }
            return Ok(());
        }
        Err(ToolError::Refused { code, .. }) if code == SPACE_GONE => {
            found.keyless += rows.iter().map(|row| in_other_form(inner, row)).sum::<u64>();
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    // Whoever is to be erased is erased after this, or has been let go of: nothing of it is written again.
    let Some(_present) = inner.guests.enter(key.owner()) else {
        return Ok(());
    };
    let mut batches = Batches::default();
    for row in rows {
        for write in reseal_record(inner, &key, row, is_dry, found).await? {
            batches.add(write);
        }
    }
    if is_dry {
        return Ok(());
    }
    let mut last = None;
    for events in batches.0 {
        let (id, now) = (inner.ids.uuid().into(), inner.clock.now());
        let commit = Commit::new(id, Subject::Record(space.clone()), now, events);
        let appended = inner.log.append(&commit, ExpectedSeq::Any).await;
        let appended =
            appended.map_err(|error| ToolError::failed("the log does not answer; try again", error))?;
        let appended =
            appended.map_err(|error| ToolError::failed("the log refused what was sealed anew", error))?;
        last = Some(appended.seq);
    }
    if let Some(seq) = last {
        let wait = inner
            .records
            .projector
            .wait_for(seq, inner.settings.read_your_writes);
        wait.await
            .map_err(|error| ToolError::failed("the tables are behind; try again", error))?;
    }
    Ok(())
}

/// What a record's fields are written as, one event for each client they came from.
async fn reseal_record(
    inner: &Inner,
    key: &SpaceKey,
    row: &StoredRecord,
    is_dry: bool,
    found: &mut Resealed,
) -> Result<Vec<RecordChanged>, ToolError> {
    let (records, record) = (&inner.records, &row.record);
    let sealed = sealed_fields(&record.table);
    let mut writes: BTreeMap<Option<&str>, RecordChanged> = BTreeMap::new();
    let mut full = Vec::new();
    for (name, field) in &record.fields {
        if !sealed.contains(&name.as_str()) || field.value.is_null() {
            continue;
        }
        let place = FieldPlace {
            space: row.space_id.as_str(),
            table: &record.table,
            record: record.record_id.as_str(),
            field: name,
        };
        let opened = match field_crypto::open_field(records.field_form, key.all(), &field.value, place) {
            Ok(opened) if opened.is_current => {
                found.current += 1;
                continue;
            }
            Ok(opened) => opened,
            Err(error) => {
                found.refused += 1;
                if !is_dry {
                    // It is put on record there, and stays as it is.
                    drop(records.refused(error, place).await);
                }
                continue;
            }
        };
        found.resealed += 1;
        if is_dry {
            continue;
        }
        records.keys.reserve(key, 1).await?;
        let mut nonce = [0; 12];
        inner.ids.fill(&mut nonce);
        let value = field_crypto::seal_field(records.field_form, key.cipher(), &opened.value, nonce, place);
        let at = field.at.saturating_add(STEP).unwrap_or(field.at);
        let client = field.client.as_deref();
        let write = writes.entry(client).or_insert_with(|| write_again(row, client));
        write.fields.insert(name.clone(), FieldWrite { value, at });
        if let (true, Some(synced)) = (field.sealed_here, &mut write.synced) {
            synced.sealed.push(name.clone());
        }
        if bytes_of(write) > COMMIT_BYTES {
            full.extend(writes.remove(&client));
        }
    }
    full.extend(writes.into_values());
    Ok(full)
}

/// A write of no fields yet that says again who wrote, when, and from where.
fn write_again(row: &StoredRecord, client: Option<&str>) -> RecordChanged {
    RecordChanged {
        space_id: row.space_id.clone(),
        table: row.record.table.clone(),
        record_id: row.record.record_id.clone(),
        op: RecordOp::Put,
        fields: BTreeMap::new(),
        actor: row.actor.clone(),
        tool: None,
        call_id: None,
        synced: client.map(|client| Synced {
            app: row.app.clone(),
            client: client.to_owned(),
            sealed: Vec::new(),
        }),
        changed_at: row.updated_at,
    }
}

/// Fields that are sealed in another form than is written now, whether or not they open.
fn in_other_form(inner: &Inner, row: &StoredRecord) -> u64 {
    let sealed = sealed_fields(&row.record.table);
    let fields = row.record.fields.iter();
    fields
        .filter(|(name, field)| {
            sealed.contains(&name.as_str())
                && field_crypto::is_other_form(inner.settings.field_form, &field.value)
        })
        .count() as u64
}

fn bytes_of(write: &RecordChanged) -> usize {
    let fields = write.fields.iter();
    fields
        .map(|(name, write)| name.len() + 64 + write.value.as_str().map_or(0, str::len))
        .sum()
}

/// Writes on their way into commits, as many as fit.
#[derive(Debug, Default)]
struct Batches(Vec<Vec<Event>>, usize);

impl Batches {
    fn add(&mut self, write: RecordChanged) {
        let bytes = bytes_of(&write) + 256;
        let is_full = self
            .0
            .last()
            .is_none_or(|batch| batch.len() >= COMMIT_EVENTS || self.1 + bytes > COMMIT_BYTES);
        if is_full {
            self.0.push(Vec::new());
            self.1 = 0;
        }
        self.1 += bytes;
        if let Some(batch) = self.0.last_mut() {
            batch.push(write.into());
        }
    }
}
