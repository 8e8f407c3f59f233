//! What a session has under way: requests being answered, questions put to its client, streams that may be resumed.
//!
//! A session at rest has nothing of it, and then this is a null pointer and two counters.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{ClientJsonRpcMessage, RequestId, ServerJsonRpcMessage};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::outlet::{EventIds, Outlet};

/// Requests one session may have under way. A client that asks for more waits for its answers first.
const UNDER_WAY_MAX: usize = 64;
/// Streams of one session that can be resumed. The oldest that is done makes room.
const STREAMS_MAX: usize = 16;
/// Resources one session may watch.
const WATCHED_MAX: usize = 256;
/// The stream that belongs to no request.
const STANDING: u32 = 0;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    papers: Mutex<Option<Box<Papers>>>,
    streams: AtomicU32,
    questions: AtomicI64,
}

#[derive(Debug, Default)]
struct Papers {
    under_way: HashMap<RequestId, UnderWay>,
    /// Questions put to the client by the number it answers to.
    asked: HashMap<i64, Asked>,
    streams: Vec<Arc<Outlet>>,
    standing: Option<Arc<Outlet>>,
    watched: BTreeSet<String>,
}

impl Papers {
    fn is_empty(&self) -> bool {
        self.under_way.is_empty()
            && self.streams.is_empty()
            && self.standing.is_none()
            && self.watched.is_empty()
    }
}

/// How a request under way is reached.
#[derive(Debug)]
pub(crate) struct UnderWay {
    /// Ends it.
    pub(crate) cancel: CancellationToken,
    /// Takes the client's answers to its questions, when it can ask any.
    pub(crate) inbox: Option<mpsc::Sender<ClientJsonRpcMessage>>,
}

/// Whose question it is, and what its asker calls it.
#[derive(Debug)]
struct Asked {
    by: RequestId,
    id: RequestId,
}

/// Why a request is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotBegun {
    /// Another one with its id is under way.
    #[error("a request with this id is under way; every request needs an id of its own")]
    SameId,
    /// There are too many.
    #[error("{UNDER_WAY_MAX} requests of this session are under way; wait for an answer first")]
    TooMany,
}

impl Desk {
    fn with<T>(&self, work: impl FnOnce(&mut Papers) -> T) -> T {
        let mut papers = self.papers.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = work(papers.get_or_insert_default());
        if papers.as_ref().is_some_and(|papers| papers.is_empty()) {
            *papers = None;
        }
        worked
    }

    /// As [`Desk::with`], where nothing on the desk means nothing to do.
    fn with_any<T: Default>(&self, work: impl FnOnce(&mut Papers) -> T) -> T {
        let mut papers = self.papers.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = papers.as_deref_mut().map(work).unwrap_or_default();
        if papers.as_ref().is_some_and(|papers| papers.is_empty()) {
            *papers = None;
        }
        worked
    }

    /// Takes note of a request, until [`Desk::done`].
    pub(crate) fn begin(&self, id: RequestId, under_way: UnderWay) -> Result<(), NotBegun> {
        self.with(|papers| {
            if papers.under_way.contains_key(&id) {
                return Err(NotBegun::SameId);
            }
            if papers.under_way.len() >= UNDER_WAY_MAX {
                return Err(NotBegun::TooMany);
            }
            papers.under_way.insert(id, under_way);
            Ok(())
        })
    }

    /// The request is answered or given up, and with it its questions.
    pub(crate) fn done(&self, id: &RequestId) {
        self.with_any(|papers| {
            papers.under_way.remove(id);
            papers.asked.retain(|_, asked| asked.by != *id);
        });
    }

    /// Cancels a request. One that is not under way has been answered.
    pub(crate) fn cancel(&self, id: &RequestId) {
        self.with_any(|papers| {
            if let Some(under_way) = papers.under_way.get(id) {
                under_way.cancel.cancel();
            }
        });
    }

    /// The number under which the client answers question `id` of request `by`. Requests number their questions
    /// each from the start, and to the client all of them are one conversation.
    pub(crate) fn ask(&self, by: &RequestId, id: RequestId) -> i64 {
        let number = self.questions.fetch_add(1, Ordering::Relaxed);
        let by = by.clone();
        self.with(|papers| papers.asked.insert(number, Asked { by, id }));
        number
    }

    /// The number under which question `id` of request `by` was put.
    pub(crate) fn number_of(&self, by: &RequestId, id: &RequestId) -> Option<i64> {
        self.with_any(|papers| {
            let asked = papers
                .asked
                .iter()
                .find(|(_, asked)| asked.by == *by && asked.id == *id);
            asked.map(|(number, _)| *number)
        })
    }

    /// Who waits for the answer to question `number`, and what they call it.
    pub(crate) fn answered(&self, number: i64) -> Option<(mpsc::Sender<ClientJsonRpcMessage>, RequestId)> {
        self.with_any(|papers| {
            let asked = papers.asked.remove(&number)?;
            let inbox = papers.under_way.get(&asked.by)?.inbox.clone()?;
            Some((inbox, asked.id))
        })
    }

    /// A stream for one request's messages. `ids` must be those of this session.
    pub(crate) fn open_stream(&self, ids: EventIds) -> Arc<Outlet> {
        let number = STANDING + 1 + self.streams.fetch_add(1, Ordering::Relaxed);
        let outlet = Arc::new(Outlet::new(number, ids));
        self.with(|papers| {
            if papers.streams.len() >= STREAMS_MAX
                && let Some(oldest) = papers
                    .streams
                    .iter()
                    .position(|stream| stream.was_done_by(Duration::MAX))
            {
                papers.streams.remove(oldest);
            }
            papers.streams.push(outlet.clone());
        });
        outlet
    }

    /// The stream that belongs to no request.
    pub(crate) fn standing(&self, ids: EventIds) -> Arc<Outlet> {
        self.with(|papers| {
            let outlet = || Arc::new(Outlet::new(STANDING, ids));
            papers.standing.get_or_insert_with(outlet).clone()
        })
    }

    /// The stream of that number, if it can be resumed.
    pub(crate) fn stream(&self, number: u32) -> Option<Arc<Outlet>> {
        self.with_any(|papers| {
            let mut all = papers.streams.iter().chain(&papers.standing);
            all.find(|stream| stream.number() == number).cloned()
        })
    }

    /// Says something on the standing stream. Without one nobody listens, and nothing is kept.
    pub(crate) fn tell(&self, message: ServerJsonRpcMessage) {
        if let Some(standing) = self.with_any(|papers| papers.standing.clone()) {
            standing.push(message);
        }
    }

    /// Begins to watch a resource; `false` when too many are watched.
    pub(crate) fn watch(&self, uri: String) -> bool {
        self.with(|papers| {
            let has_room = papers.watched.len() < WATCHED_MAX || papers.watched.contains(&uri);
            has_room && {
                papers.watched.insert(uri);
                true
            }
        })
    }

    pub(crate) fn unwatch(&self, uri: &str) {
        self.with_any(|papers| papers.watched.remove(uri));
    }

    pub(crate) fn watches(&self, uri: &str) -> bool {
        self.with_any(|papers| papers.watched.contains(uri))
    }

    /// Forgets streams that were done at `limit` or earlier.
    pub(crate) fn forget_streams(&self, limit: Duration) {
        self.with_any(|papers| papers.streams.retain(|stream| !stream.was_done_by(limit)));
    }

    /// The session is over: cancels what is under way and ends its streams.
    pub(crate) fn clear(&self, now: Duration) {
        self.with_any(|papers| {
            for under_way in papers.under_way.values() {
                under_way.cancel.cancel();
            }
            for stream in papers.streams.drain(..).chain(papers.standing.take()) {
                stream.finish(now);
            }
            papers.watched.clear();
        });
    }

    #[cfg(test)]
    fn is_clear(&self) -> bool {
        self.papers.lock().unwrap().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Seal;
    use events::SystemIds;

    fn id(number: i64) -> RequestId {
        RequestId::Number(number)
    }

    fn under_way() -> (UnderWay, mpsc::Receiver<ClientJsonRpcMessage>) {
        let (inbox, received) = mpsc::channel(1);
        let under_way = UnderWay {
            cancel: CancellationToken::new(),
            inbox: Some(inbox),
        };
        (under_way, received)
    }

    #[test]
    fn a_desk_with_nothing_under_way_holds_nothing() {
        let desk = Desk::default();
        assert!(desk.is_clear());
        desk.begin(id(1), under_way().0).unwrap();
        assert!(!desk.is_clear());
        desk.done(&id(1));
        assert!(desk.is_clear());
        assert!(!desk.watches("test://x"));
        assert!(desk.is_clear(), "looking leaves nothing behind");
    }

    #[test]
    fn two_requests_of_one_id_and_too_many_requests_are_not_begun() {
        let desk = Desk::default();
        desk.begin(id(0), under_way().0).unwrap();
        assert_eq!(desk.begin(id(0), under_way().0), Err(NotBegun::SameId));
        for number in 1..64 {
            desk.begin(id(number), under_way().0).unwrap();
        }
        assert_eq!(desk.begin(id(64), under_way().0), Err(NotBegun::TooMany));
        desk.done(&id(0));
        assert_eq!(desk.begin(id(64), under_way().0), Ok(()));
    }

    #[test]
    fn questions_of_two_requests_are_told_apart_and_an_answer_counts_once() {
        let desk = Desk::default();
        desk.begin(id(1), under_way().0).unwrap();
        desk.begin(id(2), under_way().0).unwrap();
        let (first, second) = (desk.ask(&id(1), id(0)), desk.ask(&id(2), id(0)));
        assert_ne!(first, second);
        assert_eq!(desk.number_of(&id(2), &id(0)), Some(second));
        assert_eq!(desk.answered(second).unwrap().1, id(0));
        assert!(desk.answered(second).is_none());
        desk.done(&id(1));
        assert!(desk.answered(first).is_none(), "nobody waits any more");
    }

    #[test]
    fn the_end_of_a_session_cancels_what_is_under_way() {
        let desk = Desk::default();
        let (under_way, _received) = under_way();
        let cancel = under_way.cancel.clone();
        desk.begin(id(1), under_way).unwrap();
        desk.clear(Duration::ZERO);
        assert!(cancel.is_cancelled());
    }

    #[test]
    fn streams_that_are_done_make_room_and_are_forgotten_in_time() {
        let desk = Desk::default();
        let ids = EventIds {
            seal: Arc::new(Seal::new(Arc::new(SystemIds))),
            handle: "annas".into(),
        };
        let first = desk.open_stream(ids.clone());
        first.finish(Duration::from_secs(1));
        for _ in 0..STREAMS_MAX {
            desk.open_stream(ids.clone()).finish(Duration::from_secs(2));
        }
        assert!(desk.stream(first.number()).is_none(), "it made room");
        assert!(desk.stream(first.number() + 1).is_some());
        desk.forget_streams(Duration::from_secs(2));
        assert!(desk.is_clear());
    }
}
