//! One request of a session and everything said about it, as a transport that rmcp serves.
//!
//! rmcp serves it like a connection of its own that has been initialized before: with what the client said of itself
//! when the session began. It lives as long as the request; a session at rest has none.

use std::convert::Infallible;
use std::sync::Arc;

use events::Clock;
use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, JsonRpcMessage, RequestId, ServerJsonRpcMessage,
    ServerNotification,
};
use rmcp::transport::Transport;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::InUse;
use super::outlet::Outlet;

/// Messages of the client about one request that may wait: answers to questions, and a change of mind.
const INBOX: usize = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) id: RequestId,
    pub(crate) session: InUse,
    pub(crate) outlet: Arc<Outlet>,
    pub(crate) cancel: CancellationToken,
    pub(crate) clock: Arc<dyn Clock>,
    request: Option<ClientJsonRpcMessage>,
    inbox: mpsc::Receiver<ClientJsonRpcMessage>,
    answered: CancellationToken,
    is_ending: bool,
    is_begun: bool,
}

impl Exchange {
    /// An exchange about `request`, and where the client's further messages about it go.
    pub(crate) fn new(
        id: RequestId,
        request: ClientJsonRpcMessage,
        session: InUse,
        outlet: Arc<Outlet>,
        cancel: CancellationToken,
        clock: Arc<dyn Clock>,
    ) -> (Self, mpsc::Sender<ClientJsonRpcMessage>) {
        let (messages, inbox) = mpsc::channel(INBOX);
        let exchange = Self {
            id,
            session,
            outlet,
            cancel,
            clock,
            request: Some(request),
            inbox,
            answered: CancellationToken::new(),
            is_ending: false,
            is_begun: true,
        };
        (exchange, messages)
    }

    /// Drops an exchange that was not begun: another one has its id.
    pub(crate) fn forget(mut self) {
        self.is_begun = false;
    }

    /// Gives a question the number it has in the whole session.
    fn renumbered(&self, message: ServerJsonRpcMessage) -> ServerJsonRpcMessage {
        let desk = &self.session.session.desk;
        match message {
            JsonRpcMessage::Request(mut question) => {
                question.id = RequestId::Number(desk.ask(&self.id, question.id));
                JsonRpcMessage::Request(question)
            }
            JsonRpcMessage::Notification(mut notice) => {
                if let ServerNotification::CancelledNotification(cancelled) = &mut notice.notification {
                    let about = cancelled.params.request_id.as_ref();
                    let number = about.and_then(|id| desk.number_of(&self.id, id));
                    cancelled.params.request_id = number.map(RequestId::Number);
                }
                JsonRpcMessage::Notification(notice)
            }
            answer => answer,
        }
    }
}

impl Transport<RoleServer> for Exchange {
    type Error = Infallible;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let is_answer = matches!(message, JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_));
        self.outlet.push(self.renumbered(message));
        if is_answer {
            self.outlet.finish(self.clock.monotonic());
            self.answered.cancel();
        }
        std::future::ready(Ok(()))
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        if let Some(request) = self.request.take() {
            return Some(request);
        }
        if self.is_ending {
            return None;
        }
        // Whichever is first. Nothing is lost with the others: a message that was not taken stays in the inbox.
        tokio::select! {
            () = self.answered.cancelled() => None,
            () = self.cancel.cancelled() => {
                // As the client would have said it itself; rmcp then cancels the handler and answers nothing.
                self.is_ending = true;
                Some(cancelled(self.id.clone()))
            }
            message = self.inbox.recv() => message,
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.outlet.finish(self.clock.monotonic());
        std::future::ready(Ok(()))
    }
}

fn cancelled(id: RequestId) -> ClientJsonRpcMessage {
    let params = rmcp::model::CancelledNotificationParam::new(Some(id), None);
    let notification = rmcp::model::CancelledNotification::new(params);
    JsonRpcMessage::notification(ClientNotification::CancelledNotification(notification))
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.outlet.finish(self.clock.monotonic());
        if self.is_begun {
            self.session.session.desk.done(&self.id);
        }
    }
}
