//! App data: written as commits to the log, read from the tables, sealed in between.
//!
//! A write is appended, then waits until the tables have passed its place, so that whoever wrote reads its own
//! write next. Nothing here writes a table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use events::{
    Appended, Clock, Commit, CommitId, EventLog, ExpectedSeq, FieldWrite, Ids, RecordChanged, RecordId,
    RecordOp, Rejection, SpaceId, StreamSeq, Subject,
};
use identity::Identity;
use jiff::{SignedDuration, Timestamp};
use projections::{ProjectorHandle, RecordRow, Tables};
use serde_json::Value;

use crate::call::CallContext;
use crate::field_crypto::{self, FieldCipher, FieldError, FieldForm, FieldPlace};
use crate::keys::{KeyCache, SpaceKey};
use crate::sync;
use crate::tool::{EncryptedFields, ToolError};

/// Which fields of which tables are stored sealed. The tables not named hold nothing secret.
pub const ENCRYPTION_REGISTRY: &[EncryptedFields] = &[
    EncryptedFields {
        table: "tasks",
        fields: &["title", "description", "subtasks", "metadata"],
    },
    EncryptedFields {
        table: "notes",
        fields: &["title", "content"],
    },
    EncryptedFields {
        table: "journalEntries",
        fields: &["title", "content"],
    },
];

/// The sealed fields of `table`.
pub(crate) fn sealed_fields(table: &str) -> &'static [&'static str] {
    ENCRYPTION_REGISTRY
        .iter()
        .find(|entry| entry.table == table)
        .map_or(&[], |entry| entry.fields)
}

/// The smallest step between two writes that sync clients tell apart.
const SYNC_TICK: SignedDuration = SignedDuration::from_millis(1);

/// Reads and writes app data.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) tables: Tables,
    pub(crate) projector: ProjectorHandle,
    pub(crate) identity: Identity,
    pub(crate) keys: Arc<KeyCache>,
    pub(crate) field_form: FieldForm,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) read_your_writes: Duration,
}

/// A record with its fields opened.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: RecordId,
    pub(crate) fields: BTreeMap<String, Value>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl Record {
    /// The text in `field`; empty when there is none.
    pub(crate) fn text(&self, field: &str) -> String {
        self.optional_text(field).unwrap_or_default()
    }

    /// The text in `field`, if there is one.
    pub(crate) fn optional_text(&self, field: &str) -> Option<String> {
        self.fields.get(field).and_then(Value::as_str).map(str::to_owned)
    }

    /// Whether `field` is true.
    pub(crate) fn flag(&self, field: &str) -> bool {
        flag(&self.fields, field)
    }

    /// The whole number in `field`, if there is one.
    pub(crate) fn number(&self, field: &str) -> Option<i64> {
        self.fields.get(field).and_then(Value::as_i64)
    }

    /// Whatever is in `field`; null when there is nothing.
    pub(crate) fn value(&self, field: &str) -> Value {
        self.fields.get(field).cloned().unwrap_or_default()
    }
}

/// Whether `field` of an unopened row is true.
pub(crate) fn flag(fields: &BTreeMap<String, Value>, field: &str) -> bool {
    fields.get(field).and_then(Value::as_bool).unwrap_or_default()
}

impl Records {
    /// One value sealed for its place with the key of its space.
    pub(crate) async fn sealed_value(
        &self,
        space: &SpaceId,
        value: &Value,
        place: FieldPlace<'_>,
    ) -> Result<Value, ToolError> {
        let key = self.keys.get(space).await?;
        self.keys.reserve(&key, 1).await?;
        let mut nonce = [0; 12];
        self.ids.fill(&mut nonce);
        Ok(field_crypto::seal_field(
            self.field_form,
            key.cipher(),
            value,
            nonce,
            place,
        ))
    }
}

impl CallContext {
    /// Makes a record and reads it back.
    ///
    /// With a call id the record's own id follows from it: the call sent again finds what its first try made.
    pub(crate) async fn create(
        &self,
        table: &'static str,
        fields: Vec<(&str, Value)>,
    ) -> Result<Record, ToolError> {
        let id = match &self.call_id {
            Some(call_id) => {
                let id = RecordId::derived(&self.natural_key(call_id.as_str(), table));
                if let Some(made) = self.row(table, &id).await? {
                    return self.open(table, made).await;
                }
                id
            }
            None => self.records.ids.uuid().into(),
        };
        self.write(table, &id, fields, None).await?;
        let row = self.row(table, &id).await?.ok_or_else(|| {
            ToolError::Rejected("it was stored, but deleted again before it could be read back".to_owned())
        })?;
        self.open(table, row).await
    }

    /// Changes fields of a record that exists in the caller's space.
    pub(crate) async fn update(
        &self,
        table: &'static str,
        what: &str,
        id: uuid::Uuid,
        fields: Vec<(&str, Value)>,
    ) -> Result<(), ToolError> {
        let present = self.existing(table, what, id).await?;
        self.write(table, &present.record_id, fields, Some(present.updated_at))
            .await
    }

    /// The row with that id in the caller's space; an error that names `what` where there is none.
    pub(crate) async fn existing(
        &self,
        table: &str,
        what: &str,
        id: uuid::Uuid,
    ) -> Result<RecordRow, ToolError> {
        self.row(table, &id.into()).await?.ok_or_else(|| {
            let module = self.tool.split_once('.').map_or(self.tool, |(module, _)| module);
            ToolError::Rejected(format!(
                "id: there is no {what} with this id in the current space; {module}.list shows what there is"
            ))
        })
    }

    /// All rows of a table in the caller's space, oldest first, unopened.
    pub(crate) async fn rows(&self, table: &str) -> Result<Vec<RecordRow>, ToolError> {
        self.must_be_member().await?;
        self.records
            .tables
            .records(&self.principal.space_id, table)
            .await
            .map_err(unreadable)
    }

    /// Opens a row's sealed fields.
    pub(crate) async fn open(&self, table: &str, row: RecordRow) -> Result<Record, ToolError> {
        let mut opened = self.open_all(table, vec![row]).await?;
        opened
            .pop()
            .ok_or_else(|| ToolError::Rejected("there is no such record".to_owned()))
    }

    /// Opens rows in order. One that cannot be opened fails the call: it is never left out in silence.
    pub(crate) async fn open_all(&self, table: &str, rows: Vec<RecordRow>) -> Result<Vec<Record>, ToolError> {
        let sealed = sealed_fields(table);
        let key = if sealed.is_empty() || rows.is_empty() {
            None
        } else {
            Some(self.key().await?)
        };
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let mut fields = row.fields;
            for (name, value) in fields
                .iter_mut()
                .filter(|(name, _)| sealed.contains(&name.as_str()))
            {
                let Some(key) = &key else { continue };
                let place = self.place(table, &row.record_id, name);
                match field_crypto::open_field(self.records.field_form, key.all(), value, place) {
                    Ok(opened) => *value = opened.value,
                    Err(error) => return Err(self.records.refused(error, place).await),
                }
            }
            records.push(Record {
                id: row.record_id,
                fields,
                created_at: row.created_at,
                updated_at: row.updated_at,
            });
        }
        Ok(records)
    }

    fn place<'a>(&'a self, table: &'a str, record: &'a RecordId, field: &'a str) -> FieldPlace<'a> {
        FieldPlace {
            space: self.principal.space_id.as_str(),
            table,
            record: record.as_str(),
            field,
        }
    }

    async fn row(&self, table: &str, id: &RecordId) -> Result<Option<RecordRow>, ToolError> {
        self.must_be_member().await?;
        let row = self
            .records
            .tables
            .record(&self.principal.space_id, table, id)
            .await
            .map_err(unreadable)?;
        Ok(row.filter(|row| !row.deleted))
    }

    /// Seals, appends and waits. What was written `after` is written later than that, also where the clock of a sync
    /// client ran ahead: a tool that says it is done has won.
    async fn write(
        &self,
        table: &'static str,
        id: &RecordId,
        fields: Vec<(&str, Value)>,
        after: Option<Timestamp>,
    ) -> Result<(), ToolError> {
        let now = sync::millis(self.records.clock.now());
        let at = after
            .and_then(|after| after.checked_add(SYNC_TICK).ok())
            .map_or(now, |after| sync::millis(after).max(now));
        let event = RecordChanged {
            space_id: self.principal.space_id.clone(),
            table: table.to_owned(),
            record_id: id.clone(),
            op: RecordOp::Put,
            fields: self.sealed(table, id, fields, at).await?,
            actor: self.principal.user_id.clone(),
            tool: Some(self.tool.to_owned()),
            call_id: self.call_id.clone(),
            synced: None,
            changed_at: at,
        };
        let commit_id = match &self.call_id {
            Some(call_id) => CommitId::derived(&self.natural_key(call_id.as_str(), table)),
            None => self.records.ids.uuid().into(),
        };
        let subject = Subject::Record(self.principal.space_id.clone());
        let mut commit = Commit::new(commit_id, subject, at, vec![event.into()]);
        commit.traceparent.clone_from(&self.traceparent);
        if let Some(session) = &self.principal.session {
            commit.correlation = session.id.to_string();
        }
        commit.causation = self.call_id.as_ref().map(ToString::to_string);
        self.must_be_member().await?;
        let appended = self.append(&commit).await?;
        self.wait_for(appended.seq).await
    }

    /// Refuses who lost its place in the space after the door let its request in: a call may have waited long since.
    async fn must_be_member(&self) -> Result<(), ToolError> {
        let principal = &self.principal;
        match self
            .identity
            .membership(&principal.space_id, &principal.user_id)
            .await
        {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(ToolError::Rejected(
                "you are no member of this space any more; spaces.list shows yours".to_owned(),
            )),
            Err(error) => Err(ToolError::failed(
                "your spaces cannot be read right now; try again",
                error,
            )),
        }
    }

    async fn sealed(
        &self,
        table: &str,
        id: &RecordId,
        fields: Vec<(&str, Value)>,
        at: Timestamp,
    ) -> Result<BTreeMap<String, FieldWrite>, ToolError> {
        let sealed = sealed_fields(table);
        let to_seal = fields
            .iter()
            .filter(|(name, value)| sealed.contains(name) && !value.is_null())
            .count();
        let key = if to_seal == 0 {
            None
        } else {
            let key = self.key().await?;
            let seals = u32::try_from(to_seal).unwrap_or(u32::MAX);
            self.records.keys.reserve(&key, seals).await?;
            Some(key)
        };
        let form = self.records.field_form;
        Ok(fields
            .into_iter()
            .map(|(name, value)| {
                let value = match &key {
                    Some(key) if sealed.contains(&name) => {
                        let mut nonce = [0; 12];
                        self.records.ids.fill(&mut nonce);
                        let place = self.place(table, id, name);
                        field_crypto::seal_field(form, key.cipher(), &value, nonce, place)
                    }
                    _ => value,
                };
                (name.to_owned(), FieldWrite { value, at })
            })
            .collect())
    }

    async fn append(&self, commit: &Commit) -> Result<Appended, ToolError> {
        match self.records.log.append(commit, ExpectedSeq::Any).await {
            Ok(Ok(appended)) => Ok(appended),
            Ok(Err(Rejection::TooLarge { bytes, bytes_max })) => Err(ToolError::Rejected(format!(
                "this is too large to store ({bytes} bytes once sealed, at most {bytes_max}); shorten the text"
            ))),
            Ok(Err(rejection)) => Err(ToolError::failed(
                "the write was not stored; try again",
                rejection,
            )),
            Err(error) => Err(ToolError::failed(
                "it is not known whether the write was stored; look before you try again",
                error,
            )),
        }
    }

    async fn wait_for(&self, seq: StreamSeq) -> Result<(), ToolError> {
        match self
            .records
            .projector
            .wait_for(seq, self.records.read_your_writes)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(stream.seq = seq.0, error = %error, "the tables are behind: a writer could not wait for its own write");
                metrics::counter!(crate::telemetry::READ_YOUR_WRITES_TIMEOUTS).increment(1);
                Err(ToolError::Rejected(format!(
                    "the write is stored (as entry {seq} of the log) but not visible yet; do not send it again, read it in a moment"
                )))
            }
        }
    }

    async fn key(&self) -> Result<SpaceKey, ToolError> {
        self.records.keys.get(&self.principal.space_id).await
    }

    /// What a call's write and record are named by. The caller is part of it: ids of others' calls mean nothing here.
    fn natural_key<'a>(&'a self, call_id: &'a str, table: &'a str) -> [&'a str; 6] {
        let principal = &self.principal;
        [
            "tool-call",
            principal.user_id.as_str(),
            principal.space_id.as_str(),
            self.tool,
            table,
            call_id,
        ]
    }
}

impl Records {
    /// A record for whoever was granted it: its sealed fields under `data_key` and bound to their place, or as they
    /// stand where their owner sealed them for the grant. `None` where there is no such record.
    pub(crate) async fn granted(
        &self,
        space: &SpaceId,
        table: &str,
        id: &RecordId,
        data_key: Option<&[u8; 32]>,
    ) -> Result<Option<BTreeMap<String, Value>>, ToolError> {
        let row = self.tables.record(space, table, id).await.map_err(unreadable)?;
        let Some(row) = row.filter(|row| !row.deleted) else {
            return Ok(None);
        };
        let mut fields = row.fields;
        let Some(data_key) = data_key else {
            return Ok(Some(fields));
        };
        let key = self.keys.get(space).await?;
        let data_cipher = FieldCipher::new(data_key);
        let sealed = sealed_fields(table);
        for (name, value) in fields
            .iter_mut()
            .filter(|(name, _)| sealed.contains(&name.as_str()))
        {
            let place = FieldPlace {
                space: space.as_str(),
                table,
                record: id.as_str(),
                field: name,
            };
            match field_crypto::open_field(self.field_form, key.all(), value, place) {
                Ok(opened) => {
                    let mut nonce = [0; 12];
                    self.ids.fill(&mut nonce);
                    *value =
                        field_crypto::seal_field(FieldForm::Bound, &data_cipher, &opened.value, nonce, place);
                }
                Err(error) => return Err(self.refused(error, place).await),
            }
        }
        Ok(Some(fields))
    }

    /// Puts on record that a field did not open, and says so to whoever wanted to read it.
    pub(crate) async fn refused(&self, error: FieldError, place: FieldPlace<'_>) -> ToolError {
        let FieldPlace {
            space,
            table,
            record,
            field,
        } = place;
        let reason = error.reason();
        metrics::counter!(crate::telemetry::FIELDS_REFUSED, "reason" => reason).increment(1);
        tracing::error!(space.id = %space, table, record.id = %record, field, reason, "an encrypted field does not open");
        let detail = format!("{reason}: space {space}, table {table}, record {record}, field {field}");
        if let Err(error) = self.identity.audit_refused_field(&detail).await {
            return ToolError::failed(
                "an encrypted field does not open, and that could not be recorded",
                error,
            );
        }
        ToolError::Refused {
            code: "FIELD_REFUSED",
            reason: format!("{field} of {table} record {record} cannot be read: {error}"),
        }
    }
}

pub(crate) fn unreadable(error: projections::TablesError) -> ToolError {
    ToolError::failed("the records cannot be read right now; try again", error)
}
