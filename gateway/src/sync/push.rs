//! Taking what a client wrote: all of it is checked before anything is appended.

use std::collections::{BTreeMap, HashMap};

use events::{
    Commit, CommitId, Event, ExpectedSeq, FieldWrite, RecordChanged, RecordId, RecordOp, SpaceId, StreamSeq,
    Subject, Synced,
};
use identity::SpaceType;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::cursor::Cursor;
use super::page::{self, Opener, change_of};
use super::{CLOCK_AHEAD_MAX, ServerChange, SyncChange, SyncClient, SyncError, SyncPage, millis};
use crate::field_crypto::{self, FieldPlace};
use crate::gateway::{Gateway, Inner};
use crate::records::sealed_fields;

/// Bytes of one change. A commit holds one at least, and the log takes a megabyte.
const CHANGE_BYTES_MAX: usize = 768 * 1024;
/// Bytes and events of one commit of several changes.
const COMMIT_BYTES: usize = 192 * 1024;
const COMMIT_EVENTS: usize = 500;

impl Gateway {
    /// Takes a client's changes, all or none of them, and answers with what is new to it since its cursor. Sending
    /// the same again changes nothing.
    ///
    /// Where something else stands than what the client wrote, it is in the answer whatever the cursor says: a client
    /// whose clock is behind would otherwise keep its own for ever.
    ///
    /// # Errors
    /// See [`SyncError`].
    pub async fn sync_push(
        &self,
        client: &SyncClient,
        since: &str,
        changes: Vec<SyncChange>,
    ) -> Result<SyncPage, SyncError> {
        let inner = &self.inner;
        let _present = inner.guests.enter(&client.user_id).ok_or(SyncError::Gone)?;
        let cursor = Cursor::parse(since)?;
        let now = millis(inner.clock.now());
        let pushed = resolve(inner, client, changes).await?;
        check_clock(&pushed, now)?;
        let mut batches = Batches::default();
        for (change, (space, pushed)) in pushed.iter().enumerate() {
            let event = event_of(inner, client, space, change, pushed, now).await?;
            batches.add(space, change, event)?;
        }
        let mut last = StreamSeq::ZERO;
        for commit in batches.commits(client, now) {
            let appended = inner.log.append(&commit, ExpectedSeq::Any).await??;
            last = last.max(appended.seq);
        }
        if last > StreamSeq::ZERO {
            let visible = inner
                .records
                .projector
                .wait_for(last, inner.records.read_your_writes);
            visible.await.map_err(|_| SyncError::NotVisibleYet)?;
        }
        let mut changes = what_stands_instead(inner, &pushed).await?;
        let (others, cursor, has_more) = page::next(inner, client, cursor, &[]).await?;
        changes.extend(others);
        Ok(SyncPage {
            changes,
            synced_until: cursor.text(),
            has_more,
        })
    }
}

/// The changes with their spaces, each of which the account is a member of.
async fn resolve(
    inner: &Inner,
    client: &SyncClient,
    changes: Vec<SyncChange>,
) -> Result<Vec<(SpaceId, SyncChange)>, SyncError> {
    let places = inner.identity.spaces_of(&client.user_id).await?;
    let personal = places
        .iter()
        .find(|place| place.space_type == SpaceType::Personal)
        .map(|place| place.space_id.clone());
    let is_member = |space: &SpaceId| places.iter().any(|place| place.space_id == *space);
    if client.space.as_ref().is_some_and(|space| !is_member(space)) {
        return Err(SyncError::NotAMember { change: None });
    }
    let here = client.space.clone().or(personal);
    let with_space = |(index, change): (usize, SyncChange)| {
        let space = change.space.clone().or_else(|| here.clone());
        match space.filter(|space| is_member(space)) {
            Some(space) => Ok((space, change)),
            None => Err(SyncError::NotAMember { change: Some(index) }),
        }
    };
    changes.into_iter().enumerate().map(with_space).collect()
}

fn check_clock(changes: &[(SpaceId, SyncChange)], now: Timestamp) -> Result<(), SyncError> {
    let ahead = |at: Timestamp| {
        let ahead = at.duration_since(now);
        (ahead > CLOCK_AHEAD_MAX.try_into().unwrap_or_default()).then(|| ahead.as_secs())
    };
    for (change, (_, pushed)) in changes.iter().enumerate() {
        let deletion = pushed.deleted_at.map(|at| (None, at));
        let writes = pushed.fields.iter().map(|(name, write)| (Some(name), write.at));
        for (field, at) in writes.chain(deletion) {
            if let Some(ahead_s) = ahead(at) {
                return Err(SyncError::ClockAhead {
                    change,
                    field: field.cloned(),
                    ahead_s,
                });
            }
        }
    }
    Ok(())
}

/// The change as it goes to the log: what the registry wants sealed is.
async fn event_of(
    inner: &Inner,
    client: &SyncClient,
    space: &SpaceId,
    change: usize,
    pushed: &SyncChange,
    now: Timestamp,
) -> Result<Event, SyncError> {
    let wanted = sealed_fields(&pushed.table);
    let mut fields = pushed.fields.clone();
    let mut sealed = Vec::new();
    for (name, write) in &mut fields {
        if wanted.contains(&name.as_str()) && !field_crypto::is_sealed_or_null(&write.value) {
            let place = FieldPlace {
                space: space.as_str(),
                table: &pushed.table,
                record: pushed.record_id.as_str(),
                field: name,
            };
            write.value = inner.records.sealed_value(space, &write.value, place).await.map_err(|error| {
                tracing::debug!(space.id = %space, error = %error, "a plaintext field could not be sealed");
                SyncError::NoKey {
                    change,
                    field: name.clone(),
                }
            })?;
            sealed.push(name.clone());
        }
    }
    let latest = fields.values().map(|write| write.at).max();
    let event = RecordChanged {
        space_id: space.clone(),
        table: pushed.table.clone(),
        record_id: pushed.record_id.clone(),
        op: match pushed.deleted_at {
            Some(_) => RecordOp::Delete,
            None => RecordOp::Put,
        },
        fields,
        actor: client.user_id.clone(),
        tool: None,
        call_id: None,
        synced: Some(Synced {
            app: client.app.clone(),
            client: client.client.clone().unwrap_or_default(),
            sealed,
        }),
        // Never before what it writes, so that a tool that writes after `updated_at` writes last.
        changed_at: pushed
            .deleted_at
            .unwrap_or_else(|| latest.map_or(now, |at| at.max(now))),
    };
    Ok(event.into())
}

/// Changes on their way into commits: as many as fit, each space on its own subject, in the order they came.
#[derive(Default)]
struct Batches {
    order: Vec<SpaceId>,
    by_space: HashMap<SpaceId, Vec<Batch>>,
}

#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    bytes: usize,
    digest: Sha256,
}

impl Batches {
    fn add(&mut self, space: &SpaceId, change: usize, event: Event) -> Result<(), SyncError> {
        let spelled = serde_json::to_vec(&event).unwrap_or_default();
        let bytes = spelled.len();
        if bytes > CHANGE_BYTES_MAX {
            return Err(SyncError::TooLarge {
                change,
                bytes,
                bytes_max: CHANGE_BYTES_MAX,
            });
        }
        if !self.by_space.contains_key(space) {
            self.order.push(space.clone());
        }
        let batches = self.by_space.entry(space.clone()).or_default();
        let fits = |batch: &Batch| batch.bytes + bytes <= COMMIT_BYTES && batch.events.len() < COMMIT_EVENTS;
        if !batches.last().is_some_and(fits) {
            batches.push(Batch::default());
        }
        if let Some(batch) = batches.last_mut() {
            batch.bytes += bytes;
            batch.digest.update(&spelled);
            batch.events.push(event);
        }
        Ok(())
    }

    /// The same changes of the same client are the same commits.
    fn commits(mut self, client: &SyncClient, now: Timestamp) -> Vec<Commit> {
        let mut commits = Vec::new();
        for space in &self.order {
            for batch in self.by_space.remove(space).unwrap_or_default() {
                let digest = hex::encode(batch.digest.finalize());
                let name = client.client.as_deref().unwrap_or_default();
                let id = CommitId::derived(&["sync", client.user_id.as_str(), name, space.as_str(), &digest]);
                commits.push(Commit::new(id, Subject::Record(space.clone()), now, batch.events));
            }
        }
        commits
    }
}

/// What stands where it is not what the client wrote last: another's write, or its own of a later time.
async fn what_stands_instead(
    inner: &Inner,
    pushed: &[(SpaceId, SyncChange)],
) -> Result<Vec<ServerChange>, SyncError> {
    let mut by_space: HashMap<&SpaceId, HashMap<(String, RecordId), Written>> = HashMap::new();
    for (space, change) in pushed {
        let at = (change.table.clone(), change.record_id.clone());
        let written = by_space.entry(space).or_default().entry(at).or_default();
        written.deleted_at = written.deleted_at.max(change.deleted_at);
        written.fields.extend(&change.fields);
    }
    let mut instead = Vec::new();
    for (space, written) in by_space {
        let at: Vec<_> = written.keys().cloned().collect();
        let mut key = Opener::new(inner, space);
        for row in inner.records.tables.records_at(space, &at).await? {
            let Some(mut stands) = change_of(space, row, |_| true, &mut key).await else {
                continue;
            };
            let Some(wrote) = written.get(&(stands.table.clone(), stands.record_id.clone())) else {
                continue;
            };
            // A value that was sealed anew since is the same to a client that counts milliseconds.
            stands.fields.retain(|name, write| {
                let same = |wrote: &&FieldWrite| wrote.value == write.value && wrote.at == millis(write.at);
                wrote.fields.get(name).is_some_and(|wrote| !same(wrote))
            });
            let is_deleted_otherwise = stands.deleted_at.is_some() && stands.deleted_at != wrote.deleted_at;
            if is_deleted_otherwise || !stands.fields.is_empty() {
                instead.push(stands);
            }
        }
    }
    Ok(instead)
}

/// What one push wrote of one record, the last of each field.
#[derive(Default)]
struct Written<'a> {
    fields: BTreeMap<&'a String, &'a FieldWrite>,
    deleted_at: Option<Timestamp>,
}
