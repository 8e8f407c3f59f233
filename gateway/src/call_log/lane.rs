//! One account's queue and the worker that empties it, a commit at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::{Commit, Event, ExpectedSeq, Subject, UserId};
use tokio::sync::{Notify, oneshot};

use super::journal::Kept;
use super::{Inner, KEPT_MAX, LINGER, NotRecorded, Note, UnderWay, WAITING_MAX};
use crate::telemetry;

/// Events of one commit.
const GROUP_EVENTS_MAX: usize = 256;
/// Bytes of sealed arguments in one commit; everything else of 256 events is less than half of what the log takes.
const GROUP_BYTES_MAX: usize = 256 * 1024;
/// Pause before a commit that was not acknowledged is tried again; doubled up to [`BACKOFF_MAX`].
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Whoever waits until its note is in the log.
pub(super) type Waiter = oneshot::Sender<Result<(), NotRecorded>>;

/// What happens to a note until it is in the log.
#[derive(Debug)]
pub(super) enum Meanwhile {
    /// Somebody waits for it.
    Awaited(Waiter),
    /// It stands in the journal, and nobody waits.
    Kept(Kept),
    /// Nobody waits, and it stands nowhere else.
    Nothing,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lane {
    state: Mutex<State>,
    /// Somebody waits for the worker.
    wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Entry>,
    /// Events in the queue.
    events: usize,
    waiting: usize,
    has_worker: bool,
    /// The log did not take the last commit: nobody is let in who would have to wait.
    is_stuck: bool,
}

#[derive(Debug)]
struct Entry {
    note: Note,
    meanwhile: Meanwhile,
}

/// What goes into the log together.
#[derive(Debug)]
struct Group {
    events: Vec<Event>,
    traceparent: Option<String>,
    waiters: Vec<Waiter>,
    /// Released once the group is in the log.
    kept: Vec<Kept>,
    /// Given back once the group is in the log.
    under_way: Vec<Arc<UnderWay>>,
}

impl Lane {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the start of a call may come now.
    pub(super) fn admit(&self) -> Result<(), NotRecorded> {
        self.state().admit()
    }

    /// Takes a note; says whether the lane needs a worker now.
    pub(super) fn push(&self, note: Note, meanwhile: Meanwhile) -> Result<bool, NotRecorded> {
        let mut state = self.state();
        if matches!(meanwhile, Meanwhile::Awaited(_)) {
            state.admit()?;
            state.waiting += 1;
        }
        state.events += note.events.len();
        state.queue.push_back(Entry { note, meanwhile });
        if state.is_wanted() {
            self.wanted.notify_one();
        }
        Ok(!std::mem::replace(&mut state.has_worker, true))
    }

    /// What goes next, oldest first; `None` when there is nothing.
    fn take_group(&self) -> Option<Group> {
        let mut state = self.state();
        let mut group = Group {
            events: Vec::new(),
            traceparent: None,
            waiters: Vec::new(),
            kept: Vec::new(),
            under_way: Vec::new(),
        };
        let mut room = Room::default();
        while let Some(entry) = state.queue.front() {
            if !room.takes(&entry.note.events) {
                break;
            }
            let Some(Entry { note, meanwhile }) = state.queue.pop_front() else {
                break;
            };
            state.events -= note.events.len();
            group.events.extend(note.events);
            group.traceparent = group.traceparent.or(note.traceparent);
            group.under_way.push(note.under_way);
            match meanwhile {
                Meanwhile::Awaited(waiter) => {
                    state.waiting -= 1;
                    group.waiters.push(waiter);
                }
                Meanwhile::Kept(kept) => group.kept.push(kept),
                Meanwhile::Nothing => {}
            }
        }
        (!group.events.is_empty()).then_some(group)
    }

    #[cfg(test)]
    pub(super) fn is_full(&self) -> bool {
        self.state().waiting == WAITING_MAX
    }

    fn is_wanted(&self) -> bool {
        self.state().is_wanted()
    }

    /// Turns away whoever waits in the queue, and whoever would come to wait.
    fn get_stuck(&self) {
        let mut state = self.state();
        state.is_stuck = true;
        state.waiting = 0;
        let (turned_away, left): (VecDeque<_>, VecDeque<_>) = state
            .queue
            .drain(..)
            .partition(|entry| matches!(entry.meanwhile, Meanwhile::Awaited(_)));
        state.events = left.iter().map(|entry| entry.note.events.len()).sum();
        state.queue = left;
        drop(state);
        let waiters = turned_away.into_iter().filter_map(|entry| match entry.meanwhile {
            Meanwhile::Awaited(waiter) => Some(waiter),
            _ => None,
        });
        tell(waiters, Err(NotRecorded::NotSent));
    }

    fn get_free(&self) {
        self.state().is_stuck = false;
    }
}

impl State {
    fn admit(&self) -> Result<(), NotRecorded> {
        if self.is_stuck {
            return Err(NotRecorded::NotSent);
        }
        if self.waiting >= WAITING_MAX || self.queue.len() >= KEPT_MAX {
            return Err(NotRecorded::Full);
        }
        Ok(())
    }

    /// Whether what is there should go now: for somebody who waits, or because it is a commit's worth.
    fn is_wanted(&self) -> bool {
        self.waiting > 0 || self.events >= GROUP_EVENTS_MAX
    }
}

/// How much of a commit is taken.
#[derive(Debug, Default)]
pub(super) struct Room {
    events: usize,
    bytes: usize,
}

impl Room {
    /// Whether `events` go with what was taken before; the first always go.
    pub(super) fn takes(&mut self, events: &[Event]) -> bool {
        let is_first = self.events == 0;
        self.events += events.len();
        self.bytes += events.iter().map(arguments_bytes).sum::<usize>();
        is_first || self.events <= GROUP_EVENTS_MAX && self.bytes <= GROUP_BYTES_MAX
    }
}

fn arguments_bytes(event: &Event) -> usize {
    match event {
        Event::CallStarted(started) => started.arguments.as_ref().map_or(0, String::len),
        _ => 0,
    }
}

fn tell(waiters: impl IntoIterator<Item = Waiter>, outcome: Result<(), NotRecorded>) {
    for waiter in waiters {
        // Whoever gave its call up does not wait any more.
        let _ = waiter.send(outcome);
    }
}

/// Empties `lane` and leaves when nothing has come for a while.
pub(super) async fn work(inner: Arc<Inner>, user_id: UserId, lane: Arc<Lane>) {
    loop {
        linger(&inner, &lane).await;
        // Requests that are ready to run come first: they would only just miss this commit, and wait for all of it.
        tokio::task::yield_now().await;
        let Some(group) = lane.take_group() else {
            if leave(&inner, &user_id, &lane) {
                return;
            }
            continue;
        };
        append(&inner, &user_id, &lane, group).await;
    }
}

/// Waits until the lane is wanted, a moment at most: an end goes with the start that follows it, if one does, and what
/// nobody waits for goes together.
async fn linger(inner: &Inner, lane: &Lane) {
    let mut moment = std::pin::pin!(inner.clock.sleep(LINGER));
    while !lane.is_wanted() {
        // Whichever is first; a wish that nobody has any more only makes us look again.
        tokio::select! {
            () = lane.wanted.notified() => {}
            () = &mut moment => return,
            () = inner.stop.cancelled() => return,
        }
    }
}

/// Ends the worker unless something came in the last moment.
fn leave(inner: &Inner, user_id: &UserId, lane: &Lane) -> bool {
    let mut lanes = inner.lanes();
    if !lane.state().queue.is_empty() {
        return false;
    }
    lanes.remove(user_id);
    true
}

/// Puts `group` in the log, however long the log takes. Gives up only when the server has stopped.
async fn append(inner: &Inner, user_id: &UserId, lane: &Lane, group: Group) {
    let Group {
        events,
        traceparent,
        mut waiters,
        kept,
        under_way,
    } = group;
    let subject = Subject::Session(user_id.clone());
    telemetry::call_commit(events.len());
    let mut commit = Commit::new(inner.ids.uuid().into(), subject, inner.clock.now(), events);
    commit.traceparent = traceparent;
    let mut backoff = BACKOFF;
    loop {
        match inner.log.append(&commit, ExpectedSeq::Any).await {
            Ok(Ok(_)) => {
                lane.get_free();
                tell(waiters, Ok(()));
                kept.into_iter().for_each(Kept::release);
                drop(under_way);
                return;
            }
            Ok(Err(rejection)) => {
                tracing::error!(error = %rejection, "the log refuses what is to be recorded about calls");
                tell(waiters, Err(NotRecorded::NotSent));
                kept.into_iter().for_each(Kept::release);
                return;
            }
            Err(error) => {
                tracing::error!(error = %error, events = commit.events.len(), "calls cannot be recorded; new ones are refused until they can");
                lane.get_stuck();
                tell(std::mem::take(&mut waiters), Err(NotRecorded::Unanswered));
            }
        }
        // Whichever is first: once the server has stopped, what is left is found by the next start, in the journal or
        // without an end.
        tokio::select! {
            () = inner.clock.sleep(backoff) => {}
            () = inner.stop.cancelled() => return,
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}
