//! A client as `docs/sync.md` describes it, over HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use events::{Clock as _, SystemClock, input_hash};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::WITHIN;

const TABLES: [&str; 3] = ["tasks", "notes", "drawings"];
const FIELDS: [&str; 4] = ["title", "priority", "color", "points"];
/// Changes sent at once.
const PUSH_MAX: usize = 1_000;
/// One of so many operations deletes its record.
const DELETES: f64 = 0.02;

/// A field's value and the time it was written, as text.
type Field = (Value, String);

/// What it keeps of one record.
#[derive(Debug, Default)]
struct Kept {
    fields: BTreeMap<String, Field>,
    deleted_at: Option<String>,
}

/// See the module.
pub(super) struct Client {
    http: reqwest::Client,
    sync: String,
    token: String,
    name: String,
    clock: SystemClock,
    clock_is_off_ms: i64,
    copy: BTreeMap<(String, String), Kept>,
    pending: Vec<Value>,
    cursor: String,
}

impl Client {
    pub(super) fn new(api: &str, token: &str, name: &str, clock_is_off_ms: i64) -> Self {
        Self {
            http: reqwest::Client::new(),
            sync: format!("{api}/sync/trial"),
            token: token.to_owned(),
            name: name.to_owned(),
            clock: SystemClock::new(),
            clock_is_off_ms,
            copy: BTreeMap::new(),
            pending: Vec::new(),
            cursor: String::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn len(&self) -> usize {
        self.copy.len()
    }

    fn now(&self) -> String {
        let off = Duration::from_millis(self.clock_is_off_ms.unsigned_abs());
        let now = self.clock.now();
        let now = if self.clock_is_off_ms < 0 {
            now - off
        } else {
            now + off
        };
        now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }

    /// Writes one field of a record, or deletes it, in its own copy. It does not look at what time is there already.
    pub(super) fn edit(&mut self, dice: &mut ChaCha8Rng, records: u32) {
        let number = dice.random_range(0..records);
        let table = TABLES[number as usize % TABLES.len()].to_owned();
        let record = format!("record-{number}");
        let at = self.now();
        let kept = self.copy.entry((table.clone(), record.clone())).or_default();
        if kept.deleted_at.is_some() {
            return;
        }
        if dice.random_bool(DELETES) {
            kept.deleted_at = Some(at.clone());
            let change = json!({ "table": table, "id": record, "op": "delete", "deletedAt": at });
            self.pending.push(change);
            return;
        }
        let field = FIELDS[dice.random_range(0..FIELDS.len())];
        let value = match dice.random_range(0..4) {
            0 => Value::Null,
            1 => json!(dice.random_range(0..1_000)),
            2 => json!({ "b": [dice.random_range(0..9)], "a": true }),
            _ => json!(format!("text {}", dice.random_range(0..1_000))),
        };
        kept.fields.insert(field.to_owned(), (value.clone(), at.clone()));
        let fields = json!({ field: { "value": value, "at": at } });
        self.pending
            .push(json!({ "table": table, "id": record, "op": "update", "fields": fields }));
    }

    /// Sends what was not sent yet.
    pub(super) async fn push(&mut self) -> anyhow::Result<()> {
        loop {
            let rest = self.pending.split_off(self.pending.len().min(PUSH_MAX));
            let changes = std::mem::replace(&mut self.pending, rest);
            let body = json!({ "clientId": self.name, "since": self.cursor, "changes": changes });
            let has_more = self.take(self.http.post(&self.sync).json(&body)).await?;
            if self.pending.is_empty() {
                return if has_more { self.pull_all().await } else { Ok(()) };
            }
        }
    }

    /// Gets everything that is new.
    pub(super) async fn pull_all(&mut self) -> anyhow::Result<()> {
        loop {
            let asked = self.http.get(format!("{}/pull", self.sync));
            if !self.take(asked.query(&[("since", &self.cursor)])).await? {
                return Ok(());
            }
        }
    }

    /// Lays an answer over its copy; says whether there is more.
    async fn take(&mut self, asked: RequestBuilder) -> anyhow::Result<bool> {
        let asked = asked
            .bearer_auth(&self.token)
            .header("x-client-id", &self.name)
            .timeout(WITHIN);
        let answer = asked.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{}: {status} {text}", self.name);
        }
        let mut answer: Value = serde_json::from_str(&text)?;
        let cursor = answer["syncedUntil"].as_str().context("an answer has a cursor")?;
        ensure!(cursor >= self.cursor.as_str(), "a cursor goes forward");
        cursor.clone_into(&mut self.cursor);
        if let Value::Array(changes) = answer["serverChanges"].take() {
            for change in &changes {
                self.lay_over(change)?;
            }
        }
        Ok(answer["hasMore"] == true)
    }

    fn lay_over(&mut self, change: &Value) -> anyhow::Result<()> {
        let text = |name: &str| change[name].as_str().map(str::to_owned).context("it is named");
        let record = (text("table")?, text("id")?);
        let is_unsent = |name: &str| {
            let mut pending = self.pending.iter();
            pending.any(|pending| {
                pending["table"] == change["table"]
                    && pending["id"] == change["id"]
                    && pending["fields"].get(name).is_some()
            })
        };
        let kept = self.copy.entry(record).or_default();
        if let Some(deleted_at) = change["deletedAt"].as_str() {
            kept.deleted_at = kept.deleted_at.take().max(Some(deleted_at.to_owned()));
        }
        for (name, write) in change["fields"].as_object().into_iter().flatten() {
            let at = write["at"].as_str().context("a field has a time")?;
            let is_later = kept
                .fields
                .get(name)
                .is_none_or(|(_, own)| own.as_str() < at || (own == at && !is_unsent(name)));
            if is_later {
                let field = (write["value"].clone(), at.to_owned());
                kept.fields.insert(name.clone(), field);
            }
        }
        Ok(())
    }

    /// Of what a person sees: the deleted is gone, whatever is known of it.
    pub(super) fn checksum(&self) -> String {
        let shown: Vec<Value> = self
            .copy
            .iter()
            .map(|((table, record), kept)| match kept.deleted_at {
                Some(_) => json!([table, record]),
                None => json!([table, record, kept.fields]),
            })
            .collect();
        input_hash(&Value::from(shown))
    }
}
