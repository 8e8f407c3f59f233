//! What a mounted server sends besides answers: requests to the client, progress, log messages.
//!
//! They reach us on the session with the server and belong to a call that is under way there. Each such call has a
//! line to the task that carries it out, which alone can speak to its client as part of the very request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use events::UserId;
use rmcp::RoleClient;
use rmcp::model::{
    ClientConfig, ClientResult, ErrorCode, ErrorData, ProgressToken, RequestId, ServerNotification,
    ServerRequest,
};
use rmcp::service::{InboundStreamOrigin, NotificationContext, RequestContext, Service};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::notices::Change;

/// Messages of one call that wait to be passed on.
const WAITING_MAX: usize = 256;

/// A message for the client of a call.
#[derive(Debug)]
pub(super) enum Relayed {
    /// To be answered by the client.
    Request(
        Box<ServerRequest>,
        oneshot::Sender<Result<ClientResult, ErrorData>>,
    ),
    /// To be passed on.
    Notification(Box<ServerNotification>),
}

/// The lines of the calls under way in one session with a server.
#[derive(Debug, Default)]
pub(super) struct Lines {
    table: Mutex<Table>,
    /// Held while a request is sent and its line opened, so that nothing is looked up in between.
    pub(super) opening: tokio::sync::Mutex<()>,
    /// The server said that its tools have changed.
    pub(super) tools_changed: Arc<Notify>,
    /// What belongs to no call: for the clients of the session's user, or everybody's.
    heard: Option<Heard>,
}

#[derive(Debug, Default)]
struct Table {
    by_request: HashMap<RequestId, mpsc::Sender<Relayed>>,
    by_progress: HashMap<ProgressToken, RequestId>,
    latest: Vec<RequestId>,
}

/// One call's line; closed on drop.
#[derive(Debug)]
pub(super) struct Line {
    lines: Arc<Lines>,
    request: RequestId,
    progress: ProgressToken,
    pub(super) messages: mpsc::Receiver<Relayed>,
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut table = self.lines.table();
        table.by_request.remove(&self.request);
        table.by_progress.remove(&self.progress);
        table.latest.retain(|id| *id != self.request);
    }
}

impl Lines {
    pub(super) fn new(tools_changed: Arc<Notify>, heard: Heard) -> Self {
        Self {
            tools_changed,
            heard: Some(heard),
            ..Self::default()
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The line of a request just sent.
    pub(super) fn open(self: &Arc<Self>, request: RequestId, progress: ProgressToken) -> Line {
        let (sender, messages) = mpsc::channel(WAITING_MAX);
        let mut table = self.table();
        table.by_request.insert(request.clone(), sender);
        table.by_progress.insert(progress.clone(), request.clone());
        table.latest.push(request.clone());
        drop(table);
        Line {
            lines: self.clone(),
            request,
            progress,
            messages,
        }
    }

    /// The call a request belongs to. Where the transport does not tell, the latest one.
    async fn line_of(&self, origin: Option<&InboundStreamOrigin>) -> Option<mpsc::Sender<Relayed>> {
        let _settled = self.opening.lock().await;
        let table = self.table();
        let request = match origin {
            Some(InboundStreamOrigin::OutboundRequest(request)) => request,
            Some(InboundStreamOrigin::Unassociated) | None => table.latest.last()?,
        };
        table.by_request.get(request).cloned()
    }

    async fn line_of_progress(&self, token: &ProgressToken) -> Option<mpsc::Sender<Relayed>> {
        let _settled = self.opening.lock().await;
        let table = self.table();
        table.by_request.get(table.by_progress.get(token)?).cloned()
    }

    /// Takes a notification of the server to whom it concerns.
    pub(super) async fn hear(&self, notification: ServerNotification) {
        let change = match &notification {
            ServerNotification::ProgressNotification(progress) => {
                // Progress of nothing is of interest to nobody.
                let line = self.line_of_progress(&progress.params.progress_token).await;
                pass(line, notification);
                return;
            }
            ServerNotification::LoggingMessageNotification(_) => {
                pass(self.line_of(None).await, notification);
                return;
            }
            ServerNotification::ToolListChangedNotification(_) => {
                self.tools_changed.notify_one();
                return;
            }
            ServerNotification::ResourceUpdatedNotification(updated) => {
                Change::Resource(updated.params.uri.clone())
            }
            ServerNotification::ResourceListChangedNotification(_) => Change::Resources,
            ServerNotification::PromptListChangedNotification(_) => Change::Prompts,
            _ => return,
        };
        if let Some(heard) = &self.heard {
            heard.tell(change);
        }
    }
}

/// The answer to whatever a server asks where there is no client that could be asked.
pub(super) fn nobody() -> ErrorData {
    let reason = "there is no client that could answer this";
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, reason, None)
}

/// A client that does not keep up misses messages, and never the answer.
fn pass(line: Option<mpsc::Sender<Relayed>>, notification: ServerNotification) {
    if let Some(line) = line {
        drop(line.try_send(Relayed::Notification(Box::new(notification))));
    }
}

/// Where changes at a server are told, and whom they are for.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) changes: mpsc::Sender<(Change, Option<UserId>)>,
    /// `None` for everybody.
    pub(super) user: Option<UserId>,
}

impl Heard {
    /// More than can be told in time is left out: lists are asked for again anyway.
    pub(super) fn tell(&self, change: Change) {
        drop(self.changes.try_send((change, self.user.clone())));
    }
}

/// What we are to a mounted server: its client, in the name of ours.
#[derive(Debug, Clone)]
pub(super) struct Relay {
    pub(super) lines: Arc<Lines>,
    pub(super) info: ClientConfig,
}

impl Service<RoleClient> for Relay {
    async fn handle_request(
        &self,
        request: ServerRequest,
        context: RequestContext<RoleClient>,
    ) -> Result<ClientResult, ErrorData> {
        if matches!(request, ServerRequest::PingRequest(_)) {
            return Ok(ClientResult::empty(()));
        }
        let line = self
            .lines
            .line_of(context.extensions.get::<InboundStreamOrigin>());
        let line = line.await.ok_or_else(nobody)?;
        let (answer, answered) = oneshot::channel();
        let relayed = Relayed::Request(Box::new(request), answer);
        line.send(relayed).await.map_err(|_| nobody())?;
        tokio::select! {
            answered = answered => answered.map_err(|_| nobody())?,
            // The server takes its question back; what the client still says to it is dropped.
            () = context.ct.cancelled() => Err(nobody()),
        }
    }

    async fn handle_notification(
        &self,
        notification: ServerNotification,
        _: NotificationContext<RoleClient>,
    ) -> Result<(), ErrorData> {
        self.lines.hear(notification).await;
        Ok(())
    }

    fn get_info(&self) -> ClientConfig {
        self.info.clone()
    }
}
