//! What is written down about calls, grouped: while a commit of an account is on its way to the log, what else happens
//! to that account waits and goes together as the next one.
//!
//! ```text
//! dispatch ── record(start) ──▶ queue ─▶ commit ─▶ acknowledged ─▶ the tool runs
//!          ── hand_over(end) ─▶ queue ─▶ with the next commit, or by itself a moment later
//! ```
//!
//! A start is waited for, because a tool runs only once it is in the log. An end is not: the answer goes out as soon as
//! the end is handed over, and an end that a crash takes along leaves its call `unknown`, which is the truth then
//! ([ADR 11](../../docs/adr/0011-every-call-on-the-record.md)).
//!
//! When the log does not answer, starts are refused at once and nothing is carried out; ends are kept, the commit that
//! was on its way is tried again under its own id, and everything is in the log in the order it happened.

mod lane;
mod open_call;
mod unfinished;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::{Clock, Event, EventLog, Ids, UserId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::guests::Present;
use crate::telemetry;

use lane::Lane;
pub(crate) use open_call::OpenCall;
pub(crate) use unfinished::close_unfinished;

/// Starts of one account that may wait for their turn; one more is refused.
const WAITING_MAX: usize = 1_024;
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
                lanes: Mutex::default(),
                workers,
                stop,
            }),
        }
    }

    /// Writes `note` down and answers once it is in the log.
    pub(crate) async fn record(&self, user_id: &UserId, note: Note) -> Result<(), NotRecorded> {
        let (waiter, answer) = tokio::sync::oneshot::channel();
        self.enqueue(user_id, note, Some(waiter)).inspect_err(|_| {
            telemetry::call_unrecorded();
        })?;
        // Only a worker that was stopped with the server drops a waiter.
        let recorded = answer.await.unwrap_or(Err(NotRecorded::Unanswered));
        recorded.inspect_err(|_| telemetry::call_unrecorded())
    }

    /// Leaves `note` to be written down with whatever of the account comes next, or a moment later.
    pub(crate) fn hand_over(&self, user_id: &UserId, note: Note) {
        if self.enqueue(user_id, note, None).is_err() {
            tracing::error!("the end of a call could not be kept for the record");
        }
    }

    fn enqueue(&self, user_id: &UserId, note: Note, waiter: Option<lane::Waiter>) -> Result<(), NotRecorded> {
        let mut lanes = self.inner.lanes();
        let lane = match lanes.get(user_id) {
            Some(lane) => lane.clone(),
            None => lanes.entry(user_id.clone()).or_default().clone(),
        };
        // The table is locked until the note is in its lane, so that no worker leaves a lane that has something in it.
        if lane.push(note, waiter)? {
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
