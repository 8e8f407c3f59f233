//! What is written down about calls, grouped: while a commit of an account is on its way to the log, what else happens
//! to that account waits and goes together as the next one.
//!
//! ```text
//! dispatch ── record(start) ──▶ journal ─▶ the tool runs          (with a journal)
//!                          └──▶ queue ─▶ commit ─▶ acknowledged ─▶ the tool runs   (without)
//!          ── hand_over(end) ─▶ queue ─▶ with the next commit, or by itself a moment later
//! ```
//!
//! A tool runs only once its start is where the death of this process does not reach it: in the log, or, where the
//! gateway keeps one, in its [`journal`], from which it goes to the log a moment later together with others
//! ([ADR 22](../../docs/adr/0022-a-journal-before-the-log.md)). An end is not waited for: the answer goes out as soon as
//! the end is handed over, and an end that a crash takes along leaves its call `unknown`, which is the truth then
//! ([ADR 11](../../docs/adr/0011-every-call-on-the-record.md)).
//!
//! When the log does not answer, starts are refused at once and nothing is carried out; ends are kept, the commit that
//! was on its way is tried again under its own id, and everything is in the log in the order it happened.

mod journal;
mod lane;
mod open_call;
mod replay;
mod unfinished;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::{Clock, Event, EventLog, Ids, UserId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::guests::Present;
use crate::telemetry;

pub(crate) use journal::Left;
use journal::{Journal, KeepError};
use lane::{Lane, Meanwhile};
pub(crate) use open_call::OpenCall;
pub(crate) use replay::Replay;
pub(crate) use unfinished::{Unfinished, close_unfinished};

/// Starts of one account that may wait for their turn; one more is refused.
const WAITING_MAX: usize = 1_024;
/// Notes of one account that may be on their way from the journal to the log; a start beyond it is refused.
const KEPT_MAX: usize = 16_384;
/// How long an end waits for company before it goes alone.
const LINGER: Duration = Duration::from_millis(20);

/// While one lives, its account has something under way, and the server waits before it stops.
#[derive(Debug)]
pub(crate) struct UnderWay {
    _present: Present,
    _counted: TaskTrackerToken,
}

impl UnderWay {
    pub(crate) fn new(present: Present, counted: TaskTrackerToken) -> Arc<Self> {
        Arc::new(Self {
            _present: present,
            _counted: counted,
        })
    }
}

/// Something to be written down.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) events: Vec<Event>,
    /// W3C trace context of whoever made it happen.
    pub(crate) traceparent: Option<String>,
    /// What must not be over before this is in the log.
    pub(crate) under_way: Arc<UnderWay>,
}

impl Note {
    /// Whether it names a call, by which a start after a crash can tell what of it the log has.
    fn can_be_replayed(&self) -> bool {
        self.events
            .first()
            .is_some_and(|event| replay::call_of(event).is_some())
    }
}

/// Why a call is not on the record. Whoever reads it must not carry the call out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRecorded {
    /// Too much of the same account waits already.
    #[error("too many calls of this account wait to be recorded")]
    Full,
    /// The log did not answer; this was not sent.
    #[error("the log does not answer")]
    NotSent,
    /// The log did not answer in time; this will be in it when it does.
    #[error("the log did not answer in time")]
    Unanswered,
}

/// See the module. A handle that is cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct CallLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    // dependencies
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    journal: Option<Journal>,
    // state
    lanes: Mutex<HashMap<UserId, Arc<Lane>>>,
    // stopping
    workers: TaskTracker,
    stop: CancellationToken,
}

impl CallLog {
    pub(crate) fn new(
        log: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        workers: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                log,
                clock,
                ids,
                journal: None,
                lanes: Mutex::default(),
                workers,
                stop,
            }),
        }
    }

    /// As [`CallLog::new`], with a journal in `folder`; and what an earlier process left there.
    pub(crate) fn with_journal(
        folder: &Path,
        log: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        workers: TaskTracker,
        stop: CancellationToken,
    ) -> io::Result<(Self, Left)> {
        let (journal, left) = Journal::open(folder)?;
        workers.spawn(journal.clone().sync(clock.clone(), stop.clone()));
        let inner = Inner {
            log,
            clock,
            ids,
            journal: Some(journal),
            lanes: Mutex::default(),
            workers,
            stop,
        };
        Ok((
            Self {
                inner: Arc::new(inner),
            },
            left,
        ))
    }

    /// Writes `note` down and answers once it outlives this process.
    pub(crate) async fn record(&self, user_id: &UserId, note: Note) -> Result<(), NotRecorded> {
        let recorded = match &self.inner.journal {
            Some(journal) if note.can_be_replayed() => self.keep(journal, user_id, note),
            _ => self.append(user_id, note).await,
        };
        recorded.inspect_err(|_| telemetry::call_unrecorded())
    }

    /// Leaves `note` to be written down with whatever of the account comes next, or a moment later.
    pub(crate) fn hand_over(&self, user_id: &UserId, note: Note) {
        let kept = self
            .inner
            .journal
            .as_ref()
            .map(|journal| journal.keep(user_id, &note));
        let meanwhile = match kept {
            Some(Ok(kept)) => Meanwhile::Kept(kept),
            Some(Err(error)) => {
                tracing::warn!(error = %error, "the end of a call stands in memory alone");
                Meanwhile::Nothing
            }
            None => Meanwhile::Nothing,
        };
        if self.enqueue(user_id, note, meanwhile).is_err() {
            tracing::error!("the end of a call could not be kept for the record");
        }
    }

    /// Waits until nothing that was written down before this is in a file of this gateway.
    pub(crate) async fn journal_emptied(&self) {
        if let Some(journal) = &self.inner.journal {
            journal.emptied().await;
        }
    }

    /// Leaves `note` in the journal; it goes to the log a moment later.
    fn keep(&self, journal: &Journal, user_id: &UserId, note: Note) -> Result<(), NotRecorded> {
        // A log that does not answer is no reason to fill the disk.
        if let Some(lane) = self.inner.lanes().get(user_id) {
            lane.admit()?;
        }
        let kept = journal.keep(user_id, &note).map_err(|error| {
            tracing::error!(error = %error, "a call cannot be recorded");
            match error {
                KeepError::Full => NotRecorded::Full,
                KeepError::Io(_) => NotRecorded::NotSent,
            }
        })?;
        self.enqueue(user_id, note, Meanwhile::Kept(kept))
    }

    /// Puts `note` in the log.
    async fn append(&self, user_id: &UserId, note: Note) -> Result<(), NotRecorded> {
        let (waiter, answer) = tokio::sync::oneshot::channel();
        self.enqueue(user_id, note, Meanwhile::Awaited(waiter))?;
        // Only a worker that was stopped with the server drops a waiter.
        answer.await.unwrap_or(Err(NotRecorded::Unanswered))
    }

    fn enqueue(&self, user_id: &UserId, note: Note, meanwhile: Meanwhile) -> Result<(), NotRecorded> {
        let mut lanes = self.inner.lanes();
        let lane = match lanes.get(user_id) {
            Some(lane) => lane.clone(),
            None => lanes.entry(user_id.clone()).or_default().clone(),
        };
        // The table is locked until the note is in its lane, so that no worker leaves a lane that has something in it.
        if lane.push(note, meanwhile)? {
            let worker = lane::work(self.inner.clone(), user_id.clone(), lane);
            self.inner.workers.spawn(worker);
        }
        Ok(())
    }
}

impl Inner {
    fn lanes(&self) -> MutexGuard<'_, HashMap<UserId, Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
