//! One stream of a session towards its client, which may break and be taken up again where it broke.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::Stream;
use rmcp::model::ServerJsonRpcMessage;
use rmcp::transport::streamable_http_server::session::ServerSseMessage;
use tokio::sync::mpsc;

use crate::seal::Seal;

/// Messages kept for a client that comes back, and how far a connected one may lag behind.
const KEPT_MAX: usize = 256;
/// What a client waits before it takes a broken stream up again.
pub(crate) const RETRY: Duration = Duration::from_secs(1);
const EVENT: &str = "event";

/// Makes and reads ids of events. They name stream and place to us, and nothing to anybody else.
#[derive(Debug, Clone)]
pub(crate) struct EventIds {
    pub(crate) seal: Arc<Seal>,
    pub(crate) handle: Arc<str>,
}

impl EventIds {
    fn of(&self, stream: u32, place: u32) -> String {
        let fact = [stream.to_be_bytes(), place.to_be_bytes()].concat();
        self.seal.seal(EVENT, &self.handle, &fact)
    }

    /// Stream and place that `id` names, if it was given out in this session.
    pub(crate) fn read(&self, id: &str) -> Option<(u32, u32)> {
        let fact: [u8; 8] = self.seal.open(EVENT, &self.handle, id)?.try_into().ok()?;
        let (stream, place) = fact.split_at(4);
        Some((
            u32::from_be_bytes(stream.try_into().ok()?),
            u32::from_be_bytes(place.try_into().ok()?),
        ))
    }
}

/// See the module. At most one connection carries a stream: a new one takes over from the old.
#[derive(Debug)]
pub(crate) struct Outlet {
    number: u32,
    ids: EventIds,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The messages said last, each with its place in the stream.
    kept: VecDeque<(u32, Arc<ServerJsonRpcMessage>)>,
    last: u32,
    live: Option<mpsc::Sender<ServerSseMessage>>,
    /// When it was done, by the monotonic clock.
    done_at: Option<Duration>,
}

impl Outlet {
    pub(crate) fn new(number: u32, ids: EventIds) -> Self {
        Self {
            number,
            ids,
            state: Mutex::default(),
        }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says `message` to whoever is connected, and keeps it for whoever comes back.
    pub(crate) fn push(&self, message: ServerJsonRpcMessage) {
        let mut state = self.state();
        state.last += 1;
        let (place, message) = (state.last, Arc::new(message));
        if state.kept.len() == KEPT_MAX {
            state.kept.pop_front();
        }
        state.kept.push_back((place, message.clone()));
        let event = self.event(place, message);
        // A connection that is gone, or lags too far behind, is given up: what it missed is kept.
        if state
            .live
            .as_ref()
            .is_some_and(|live| live.try_send(event).is_err())
        {
            state.live = None;
        }
    }

    fn event(&self, place: u32, message: Arc<ServerJsonRpcMessage>) -> ServerSseMessage {
        let mut event = ServerSseMessage::default();
        event.event_id = Some(self.ids.of(self.number, place));
        event.message = Some(message);
        event
    }

    /// An event without a message: it tells the client from where to go on should the stream break.
    fn priming(&self) -> ServerSseMessage {
        ServerSseMessage::priming(self.ids.of(self.number, 0), RETRY)
    }

    /// The stream from its beginning, with a first event that makes it resumable if `is_primed`.
    pub(crate) fn begin(
        &self,
        is_primed: bool,
    ) -> impl Stream<Item = ServerSseMessage> + Send + Sync + use<> {
        self.connect(0, is_primed.then(|| self.priming()))
    }

    /// The stream from now on: what was said before is for those who were there.
    pub(crate) fn join(&self) -> impl Stream<Item = ServerSseMessage> + Send + Sync + use<> {
        let last = self.state().last;
        self.connect(last, None)
    }

    /// The stream behind `place`.
    pub(crate) fn resume(&self, place: u32) -> impl Stream<Item = ServerSseMessage> + Send + Sync + use<> {
        self.connect(place, None)
    }

    fn connect(
        &self,
        after: u32,
        first: Option<ServerSseMessage>,
    ) -> impl Stream<Item = ServerSseMessage> + Send + Sync + use<> {
        let (live, mut events) = mpsc::channel(2 * KEPT_MAX + 1);
        let mut state = self.state();
        let missed = state.kept.iter().filter(|(place, _)| *place > after);
        let missed = missed.map(|(place, message)| self.event(*place, message.clone()));
        for event in first.into_iter().chain(missed) {
            // There is room for all that is kept.
            let _ = live.try_send(event);
        }
        // What is done gets nothing more, so the stream ends behind what was missed.
        state.live = state.done_at.is_none().then_some(live);
        futures::stream::poll_fn(move |cx| events.poll_recv(cx))
    }

    /// Lets the connection go; the stream can be taken up again.
    pub(crate) fn hang_up(&self) {
        self.state().live = None;
    }

    /// Ends the stream behind what it has said.
    pub(crate) fn finish(&self, now: Duration) {
        let mut state = self.state();
        state.live = None;
        state.done_at.get_or_insert(now);
    }

    /// Whether it was done at `limit` or earlier.
    pub(crate) fn was_done_by(&self, limit: Duration) -> bool {
        self.state().done_at.is_some_and(|at| at <= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::SystemIds;
    use futures::{FutureExt as _, StreamExt as _};
    use rmcp::model::{JsonRpcMessage, ToolListChangedNotification};

    fn ids(handle: &str, seal: &Arc<Seal>) -> EventIds {
        EventIds {
            seal: seal.clone(),
            handle: handle.into(),
        }
    }

    fn said() -> ServerJsonRpcMessage {
        JsonRpcMessage::notification(ToolListChangedNotification::default().into())
    }

    #[test]
    fn a_broken_stream_goes_on_where_it_broke_and_ends_where_it_ended() {
        let seal = Arc::new(Seal::new(Arc::new(SystemIds)));
        let outlet = Outlet::new(3, ids("annas", &seal));
        let mut first = Box::pin(outlet.begin(true));
        let priming = first.next().now_or_never().flatten().unwrap();
        assert!(priming.message.is_none() && priming.retry == Some(RETRY));
        outlet.push(said());
        let event = first.next().now_or_never().flatten().unwrap();
        drop(first);
        outlet.push(said());
        outlet.push(said());
        outlet.finish(Duration::ZERO);
        let (stream, place) = ids("annas", &seal).read(&event.event_id.unwrap()).unwrap();
        assert_eq!((stream, place), (3, 1));
        let missed: Vec<_> = outlet.resume(place).collect().now_or_never().unwrap();
        assert_eq!(missed.len(), 2, "the stream ends");
    }

    #[test]
    fn an_event_id_of_another_session_is_none() {
        let seal = Arc::new(Seal::new(Arc::new(SystemIds)));
        let id = ids("annas", &seal).of(1, 1);
        assert_eq!(ids("annas", &seal).read(&id), Some((1, 1)));
        assert_eq!(ids("bens", &seal).read(&id), None);
    }

    #[test]
    fn nobody_listening_costs_no_more_than_what_is_kept() {
        let seal = Arc::new(Seal::new(Arc::new(SystemIds)));
        let outlet = Outlet::new(0, ids("annas", &seal));
        let slow = outlet.begin(false);
        for _ in 0..5 * KEPT_MAX {
            outlet.push(said());
        }
        assert_eq!(outlet.state().kept.len(), KEPT_MAX);
        let got = slow.collect::<Vec<_>>().now_or_never();
        assert!(
            got.is_some_and(|got| got.len() <= 2 * KEPT_MAX + 1),
            "it was let go"
        );
    }
}
