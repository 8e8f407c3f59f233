//! One page of what is new to a client.
//!
//! A walk goes through the caller's spaces one after the other, in each by the place of the records' latest changes. A
//! record that changes meanwhile moves ahead of the walk, so that it is met once more and never passed over. How far
//! the tables were when the walk began is the base of the next one.

use std::collections::BTreeMap;

use events::{FieldWrite, SpaceId, StreamSeq};
use projections::{ChangePlace, ChangedField, ChangedRecord};
use serde_json::Value;

use super::cursor::{Cursor, Tag, Walk};
use super::{ServerChange, SyncClient, SyncError, SyncPage};
use crate::field_crypto::{self, FieldPlace};
use crate::gateway::{Gateway, Inner};
use crate::keys::SpaceKey;

/// Records looked at for one page.
const ROWS_MAX: u32 = 1_000;
/// Bytes of values in one page, about; a page has one record at least.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// The field in which the fold keeps a deletion.
const DELETED_AT: &str = "deletedAt";

impl Gateway {
    /// What is new to a client since its cursor, in `tables` alone where some are named.
    ///
    /// # Errors
    /// [`SyncError::BadCursor`], [`SyncError::NotAMember`] for a space it asks for alone, or what could not be asked.
    pub async fn sync_pull(
        &self,
        client: &SyncClient,
        since: &str,
        tables: &[String],
    ) -> Result<SyncPage, SyncError> {
        let _present = self.inner.guests.enter(&client.user_id).ok_or(SyncError::Gone)?;
        let (changes, cursor, has_more) = next(&self.inner, client, Cursor::parse(since)?, tables).await?;
        Ok(SyncPage {
            changes,
            synced_until: cursor.text(),
            has_more,
        })
    }
}

/// The spaces a client reads, in the order walks go through them.
async fn spaces(inner: &Inner, client: &SyncClient) -> Result<Vec<(Tag, SpaceId)>, SyncError> {
    let places = inner.identity.spaces_of(&client.user_id).await?;
    let mut spaces: Vec<(Tag, SpaceId)> = places
        .into_iter()
        .map(|place| place.space_id)
        .filter(|space| client.space.as_ref().is_none_or(|only| only == space))
        .map(|space| (Tag::of_space(&space), space))
        .collect();
    if spaces.is_empty() {
        return Err(SyncError::NotAMember { change: None });
    }
    spaces.sort_unstable();
    Ok(spaces)
}

/// The next page after `cursor`, the cursor after it, and whether there is more now.
pub(super) async fn next(
    inner: &Inner,
    client: &SyncClient,
    cursor: Cursor,
    tables: &[String],
) -> Result<(Vec<ServerChange>, Cursor, bool), SyncError> {
    // Asked before the rows are: what is folded in between is met now or next time, and not passed over.
    let head = inner.records.tables.checkpoint().await?;
    let head = head.map_or(0, |checkpoint| checkpoint.seq.0);
    let spaces = spaces(inner, client).await?;
    // A cursor beyond the end is one of another log.
    let mut cursor = if cursor.base > head {
        Cursor::default()
    } else {
        cursor
    };
    let filter = Tag::of_tables(tables);
    let mut walk = match cursor.walk.take() {
        Some(walk) if walk.filter == filter => walk,
        _ => {
            let fresh = spaces.iter().filter(|(tag, _)| !cursor.known.contains(tag));
            Walk::new(head, filter, fresh.map(|(tag, _)| tag.clone()).collect())
        }
    };
    let mut page = Page {
        inner,
        client,
        tables,
        changes: Vec::new(),
        rows_left: ROWS_MAX,
        bytes_left: BYTES_MAX,
    };
    let mut gone_through = Vec::new();
    let mut is_joined_meanwhile = false;
    for (tag, space) in &spaces {
        let is_known = cursor.known.contains(tag);
        if !is_known && !walk.fresh.contains(tag) {
            is_joined_meanwhile = true;
            continue;
        }
        gone_through.push(tag.clone());
        if *tag < walk.space {
            continue;
        }
        let base = if is_known { cursor.base } else { 0 };
        let after = if *tag == walk.space {
            walk.place()
        } else {
            ChangePlace {
                seq: StreamSeq(base).next(),
                ..ChangePlace::default()
            }
        };
        if let Some(stopped_at) = page.add_space(space, base, after).await? {
            walk.move_to(tag, stopped_at);
            cursor.walk = Some(walk);
            return Ok((page.changes, cursor, true));
        }
    }
    let cursor = Cursor {
        base: walk.head,
        known: gone_through,
        walk: None,
    };
    Ok((page.changes, cursor, is_joined_meanwhile))
}

struct Page<'a> {
    // what is asked
    inner: &'a Inner,
    client: &'a SyncClient,
    tables: &'a [String],

    // what is found
    changes: Vec<ServerChange>,
    rows_left: u32,
    bytes_left: usize,
}

impl Page<'_> {
    /// Adds what is new in one space; says where it stopped when the page is full.
    async fn add_space(
        &mut self,
        space: &SpaceId,
        base: u64,
        after: ChangePlace,
    ) -> Result<Option<ChangePlace>, SyncError> {
        let asked = self.rows_left;
        let rows = self
            .inner
            .records
            .tables
            .changed_records(space, &self.client.app, self.tables, &after, asked)
            .await?;
        let is_all = rows.len() < asked as usize;
        let mut stopped_at = after;
        let mut key = Opener::new(self.inner, space);
        for row in rows {
            if self.bytes_left == 0 {
                return Ok(Some(stopped_at));
            }
            stopped_at = row.place();
            self.rows_left = self.rows_left.saturating_sub(1);
            let of_interest = |field: &ChangedField| {
                let is_own = self.client.client.is_some() && field.client == self.client.client;
                field.seq.0 > base && !is_own
            };
            if let Some(change) = change_of(space, row, of_interest, &mut key).await {
                self.bytes_left = self.bytes_left.saturating_sub(weight(&change));
                self.changes.push(change);
            }
        }
        Ok((!is_all).then_some(stopped_at))
    }
}

/// What a record says to a client that is interested in some of its fields.
pub(super) async fn change_of(
    space: &SpaceId,
    row: ChangedRecord,
    of_interest: impl Fn(&ChangedField) -> bool,
    key: &mut Opener<'_>,
) -> Option<ServerChange> {
    let mut change = ServerChange {
        space: space.clone(),
        table: row.table,
        record_id: row.record_id,
        fields: BTreeMap::new(),
        deleted_at: None,
    };
    if row.deleted {
        let deletion = row
            .fields
            .get(DELETED_AT)
            .filter(|deletion| of_interest(deletion))?;
        change.deleted_at = Some(deletion.at);
        return Some(change);
    }
    for (name, field) in row.fields {
        if of_interest(&field) {
            let at = field.at;
            let place = FieldPlace {
                space: space.as_str(),
                table: &change.table,
                record: change.record_id.as_str(),
                field: &name,
            };
            let value = key.open(field, place).await;
            change.fields.insert(name, FieldWrite { value, at });
        }
    }
    (!change.fields.is_empty()).then_some(change)
}

fn weight(change: &ServerChange) -> usize {
    let fields = change.fields.iter();
    fields
        .map(|(name, write)| name.len() + 64 + write.value.as_str().map_or(32, str::len))
        .sum::<usize>()
        + 256
}

/// Opens what this server itself sealed: its client gets back what it sent. What clients sealed goes out as it came.
pub(super) struct Opener<'a> {
    inner: &'a Inner,
    space: &'a SpaceId,
    key: Option<SpaceKey>,
}

impl<'a> Opener<'a> {
    pub(super) fn new(inner: &'a Inner, space: &'a SpaceId) -> Self {
        Self {
            inner,
            space,
            key: None,
        }
    }

    async fn open(&mut self, field: ChangedField, place: FieldPlace<'_>) -> Value {
        if !field.sealed_here {
            return field.value;
        }
        let records = &self.inner.records;
        if self.key.is_none() {
            self.key = records.keys.get(self.space).await.ok();
        }
        // Ciphertext is no plaintext of anybody's: whoever has the key can still read it.
        let Some(key) = &self.key else {
            return field.value;
        };
        match field_crypto::open_field(records.field_form, key.all(), &field.value, place) {
            Ok(opened) => opened.value,
            Err(error) => {
                // It is put on record there; this client gets it as it is stored.
                drop(records.refused(error, place).await);
                field.value
            }
        }
    }
}
