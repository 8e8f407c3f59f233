//! One request to a mounted server and back, with everything that passes between client and server meanwhile.

use std::time::Duration;

use events::Clock;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rmcp::RoleServer;
use rmcp::model::{
    CancelledNotification, CancelledNotificationParam, ClientNotification, ClientRequest, ErrorData,
    GetExtensions as _, RequestId, RequestMetaObject, ServerNotification, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, RequestContext, RequestHandle, ServiceError};

use super::connection::Connection;
use super::relay::Relayed;
use crate::trace::{self, SentFrom};

/// What the caller's own `_meta` says about us alone, and no server is told.
const OURS: &str = "dramatis/";
/// What is agreed on anew with each peer.
const PER_PEER: [&str; 3] = [
    "progressToken",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientInfo",
];
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const OF_THE_LATER_ERA: &str = "io.modelcontextprotocol/";

/// Why a request has no answer of the server's.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// The connection broke. Whether the server has acted is unknown.
    #[error("the connection broke: {0}")]
    Lost(String),
    /// It took longer than the mount allows.
    #[error("no answer within {} s", within.as_secs_f32())]
    TooSlow {
        /// The limit.
        within: Duration,
        /// Whether the server gave any sign of life meanwhile.
        was_alive: bool,
    },
    /// The client does not want it any more.
    #[error("the call was cancelled")]
    Cancelled,
    /// What came is no answer to what was asked.
    #[error("the server answered something else than was asked")]
    Nonsense,
}

/// What the server said: its result, or its own error.
pub(super) type Answer = Result<ServerResult, ErrorData>;

impl Connection {
    /// Sends `request` in the name of the client of `asked` and waits for the answer, `within` at most.
    ///
    /// To be awaited in the task that answers `asked`: only there can the client be spoken to as part of it.
    pub(super) async fn forward(
        &self,
        request: ClientRequest,
        asked: &RequestContext<RoleServer>,
        within: Duration,
        clock: &dyn Clock,
    ) -> Result<Answer, Unanswered> {
        let mut meta = self.meta(&asked.meta);
        if let Some(from) = request.extensions().get::<SentFrom>() {
            trace::come_from(&mut meta, from);
        }
        let options = PeerRequestOptions::no_options().with_meta(meta);
        let (mut line, mut handle) = {
            let _opening = self.lines.opening.lock().await;
            let handle = self.peer.send_request_with_option(request, options).await;
            let handle = handle.map_err(|error| Unanswered::Lost(error.to_string()))?;
            (
                self.lines.open(handle.id.clone(), handle.progress_token.clone()),
                handle,
            )
        };
        let mut on_drop = CancelOnDrop::new(&self.peer, &handle);
        let mut passing = FuturesUnordered::new();
        let mut was_alive = false;
        let mut deadline = clock.sleep(within);
        loop {
            tokio::select! {
                answer = &mut handle.rx => {
                    on_drop.disarm();
                    let answer = answer.unwrap_or(Err(ServiceError::TransportClosed));
                    // What was sent before the answer reaches the client before it.
                    tokio::task::yield_now().await;
                    while let Ok(message) = line.messages.try_recv() {
                        if let Relayed::Notification(message) = message {
                            pass_on(*message, asked).await;
                        }
                    }
                    return settle(answer);
                }
                Some(message) = line.messages.recv() => {
                    was_alive = true;
                    match message {
                        Relayed::Notification(message) => pass_on(*message, asked).await,
                        Relayed::Request(request, answer) => passing.push(async move {
                            let answered = asked.peer.send_request(*request).await;
                            // A server that no longer waits has taken its question back.
                            drop(answer.send(answered.map_err(refused)));
                        }),
                    }
                }
                Some(()) = passing.next() => {}
                () = &mut deadline => {
                    // While the client is being asked, it is not the server that is slow.
                    if passing.is_empty() {
                        return Err(Unanswered::TooSlow { within, was_alive });
                    }
                    deadline = clock.sleep(within);
                }
                () = asked.ct.cancelled() => return Err(Unanswered::Cancelled),
            }
        }
    }

    /// Sends `request`, which no client waits for as such, and waits for the answer, `within` at most.
    pub(super) async fn ask(
        &self,
        request: ClientRequest,
        within: Duration,
        clock: &dyn Clock,
    ) -> Result<Answer, Unanswered> {
        tokio::select! {
            answer = self.peer.send_request(request) => settle(answer),
            // The answer that comes too late is dropped.
            () = clock.sleep(within) => Err(Unanswered::TooSlow { within, was_alive: false }),
        }
    }

    /// What the server is told about the request, beside the request.
    pub(super) fn meta(&self, asked: &RequestMetaObject) -> RequestMetaObject {
        let is_modern = self.is_modern();
        let mut meta = asked.clone();
        meta.retain(|key, _| {
            !key.starts_with(OURS)
                && !PER_PEER.contains(&key.as_str())
                && (is_modern || !key.starts_with(OF_THE_LATER_ERA))
        });
        // A client of the earlier era said once what it can do, and so did we in its name.
        debug_assert!(is_modern || !meta.contains_key(CAPABILITIES));
        meta
    }
}

/// Tells the server that its answer is not wanted any more, when whoever waited has gone.
struct CancelOnDrop<'a> {
    peer: &'a Peer<rmcp::RoleClient>,
    request: Option<RequestId>,
}

impl<'a> CancelOnDrop<'a> {
    fn new(peer: &'a Peer<rmcp::RoleClient>, handle: &RequestHandle<rmcp::RoleClient>) -> Self {
        Self {
            peer,
            request: Some(handle.id.clone()),
        }
    }

    fn disarm(&mut self) {
        self.request = None;
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        let Some(request) = self.request.take() else {
            return;
        };
        let params = CancelledNotificationParam::new(Some(request), None);
        let notification = ClientNotification::from(CancelledNotification::new(params));
        let peer = self.peer.clone();
        // Nobody waits for it: the session's own end ends it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move { drop(peer.send_notification(notification).await) }));
        }
    }
}

fn settle(answer: Result<ServerResult, ServiceError>) -> Result<Answer, Unanswered> {
    match answer {
        Ok(result) => Ok(Ok(result)),
        Err(ServiceError::McpError(error)) => Ok(Err(error)),
        Err(ServiceError::UnexpectedResponse) => Err(Unanswered::Nonsense),
        Err(error) => Err(Unanswered::Lost(events::capped(&error.to_string(), 300))),
    }
}

/// A client that has gone misses what it is told, and its request is cancelled on its own way.
async fn pass_on(mut message: ServerNotification, asked: &RequestContext<RoleServer>) {
    if let ServerNotification::ProgressNotification(progress) = &mut message {
        // The server reports to us whether or not the client has asked for it.
        let Some(token) = asked.meta.get_progress_token() else {
            return;
        };
        progress.params.progress_token = token;
    }
    if let Err(error) = asked.peer.send_notification(message).await {
        tracing::debug!(%error, "a message of a mounted server did not reach the client");
    }
}

fn refused(error: ServiceError) -> ErrorData {
    match error {
        ServiceError::McpError(error) => error,
        _ => ErrorData::internal_error("the client did not answer", None),
    }
}
