//! What is noted about calls and not in the log yet, in files of this gateway: a start that is here survives the death
//! of the process, as one in the log does ([ADR 22](../../../docs/adr/0022-a-journal-before-the-log.md)).
//!
//! ```text
//! keep(note) ─▶ a line in the segment that is written to ─▶ the note is in the log ─▶ Kept::release
//!               a segment of which nothing is kept any more is emptied or deleted
//! ```
//!
//! A line is the first half of its text's SHA-256 in hexadecimal, a space, and a note as JSON. What a process that died
//! left behind is [`Left`], and is brought into the log by `super::replay`.

mod left;
mod segment;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::{Clock, Event, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Note;
use crate::telemetry;
pub(crate) use left::Left;
use segment::Segment;

/// Bytes of a segment; the next line begins another.
const SEGMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of all segments together: beyond it the log has been away for too long.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What is lost with the power is what came within this time, as with the log's own files.
const SYNC_EVERY: Duration = Duration::from_millis(100);

/// A note as it stands in a line. The same form is read and written.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) user_id: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) traceparent: Option<String>,
    pub(super) events: Vec<Event>,
}

/// As [`Line`], written without copying.
#[derive(Serialize)]
struct LineRef<'a> {
    user_id: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    events: &'a [Event],
}

/// Why something was not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    /// There is no more room.
    #[error("the journal of calls holds {BYTES_MAX} bytes that are not in the log yet")]
    Full,
    /// The file system does not take it.
    #[error("the journal of calls cannot be written")]
    Io(#[from] io::Error),
}

/// See the module. A handle that is cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    state: Mutex<State>,
    /// Something was written since the last time everything reached the disk.
    written: Notify,
    /// A line or a segment is gone.
    gone: Notify,
    /// Cancelled once nothing of an earlier process is here any more.
    nothing_left: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    segments: BTreeMap<u64, Segment>,
    /// Which of them is written to.
    active: Option<u64>,
    next: u64,
    bytes: u64,
    line: Vec<u8>,
}

/// A line of the journal. It stands until it is [released](Kept::release): dropped, it is left to the next start.
#[derive(Debug)]
#[must_use = "a line that is not released is written into the log at the next start"]
pub(super) struct Kept {
    journal: Arc<Inner>,
    segment: u64,
}

impl Kept {
    /// Lets the line go: it is in the log, or nobody was told that it would be.
    pub(super) fn release(self) {
        self.journal.state().let_go(self.segment);
        self.journal.gone.notify_waiters();
    }
}

impl Journal {
    /// The journal in `folder`, and what an earlier process left there.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Left)> {
        fs::create_dir_all(folder)?;
        let left = Left::find(folder)?;
        let state = State {
            next: left.next(),
            ..State::default()
        };
        let inner = Inner {
            folder: folder.to_owned(),
            state: Mutex::new(state),
            written: Notify::new(),
            gone: Notify::new(),
            nothing_left: left.gone(),
        };
        Ok((
            Self {
                inner: Arc::new(inner),
            },
            left,
        ))
    }

    /// Writes a note of `user_id` down.
    pub(super) fn keep(&self, user_id: &UserId, note: &Note) -> Result<Kept, KeepError> {
        let line = LineRef {
            user_id,
            traceparent: note.traceparent.as_deref(),
            events: &note.events,
        };
        let segment = self.inner.state().write(&self.inner.folder, &line)?;
        self.inner.written.notify_one();
        Ok(Kept {
            journal: self.inner.clone(),
            segment,
        })
    }

    /// Waits until everything that was written before this, also by an earlier process, is in the log and in no file
    /// here.
    pub(super) async fn emptied(&self) {
        self.inner.nothing_left.cancelled().await;
        let until = self.inner.state().retire();
        loop {
            // Before the look, so that whoever goes after it is heard.
            let gone = self.inner.gone.notified();
            if self.inner.state().segments.range(..until).next().is_none() {
                return;
            }
            gone.await;
        }
    }

    /// Brings what is written to the disk, a moment after it was, until `stop`.
    pub(super) async fn sync(self, clock: Arc<dyn Clock>, stop: CancellationToken) {
        loop {
            // Whichever is first: the last word of a server that stops in good order is in the log, not here.
            tokio::select! {
                () = self.inner.written.notified() => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = clock.sleep(SYNC_EVERY) => {}
                () = stop.cancelled() => return,
            }
            let files: Vec<Arc<File>> = {
                let mut state = self.inner.state();
                telemetry::call_journal(state.bytes);
                state.unsynced()
            };
            let synced =
                tokio::task::spawn_blocking(move || files.iter().try_for_each(|file| file.sync_data()));
            match synced.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "the journal of calls does not reach the disk"),
                // Only a runtime that ends gives up on blocking work.
                Err(_) => return,
            }
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Appends `line`; gives the number of its segment, of which it is kept one more time.
    fn write(&mut self, folder: &Path, line: &LineRef<'_>) -> Result<u64, KeepError> {
        self.line.clear();
        segment::spell(&mut self.line, line)?;
        let bytes = self.line.len() as u64;
        if self.bytes + bytes > BYTES_MAX {
            return Err(KeepError::Full);
        }
        let number = match self.active {
            Some(number) => number,
            None => self.begin(folder)?,
        };
        let Some(segment) = self.segments.get_mut(&number) else {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        };
        if let Err(error) = segment.append(&self.line) {
            // Half a line may stand there, and nothing after it would be read.
            self.retire();
            return Err(error.into());
        }
        self.bytes += bytes;
        if segment.bytes() >= SEGMENT_BYTES_MAX {
            self.retire();
        }
        Ok(number)
    }

    fn begin(&mut self, folder: &Path) -> io::Result<u64> {
        let number = self.next;
        self.segments.insert(number, Segment::create(folder, number)?);
        self.next += 1;
        self.active = Some(number);
        Ok(number)
    }

    /// Writes to another segment from now on; gives the number of the first that is not written yet.
    fn retire(&mut self) -> u64 {
        if let Some(number) = self.active.take() {
            self.clear_away(number);
        }
        self.next
    }

    fn let_go(&mut self, number: u64) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.kept -= 1;
        }
        self.clear_away(number);
    }

    /// Empties a segment of which nothing is kept, and deletes it when nothing more will be written there.
    fn clear_away(&mut self, number: u64) {
        let Some(segment) = self.segments.get_mut(&number).filter(|segment| segment.kept == 0) else {
            return;
        };
        self.bytes -= segment.bytes();
        let cleared = segment.empty();
        let is_active = self.active == Some(number) && cleared.is_ok();
        if !is_active && let Some(segment) = self.segments.remove(&number) {
            self.active = self.active.filter(|active| *active != number);
            segment.delete();
        }
    }

    fn unsynced(&mut self) -> Vec<Arc<File>> {
        self.segments
            .values_mut()
            .filter_map(Segment::take_unsynced)
            .collect()
    }
}

#[cfg(test)]
mod tests;
