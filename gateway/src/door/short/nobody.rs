//! The client of plain calls, as far as tools can speak to it: there is nobody.

use rmcp::model::{ClientJsonRpcMessage, ErrorCode, ErrorData, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::service::{Peer, serve_directly_with_ct};
use rmcp::transport::Transport;
use rmcp::{RoleServer, ServerHandler};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Refusals that wait to be read.
const REFUSALS_MAX: usize = 64;

/// A client that hears nothing and refuses whatever it is asked, until `stop`.
pub(crate) fn nobody(tracker: &TaskTracker, stop: &CancellationToken) -> Peer<RoleServer> {
    let serving = serve_directly_with_ct(Unasked, Silence::new(), None, stop.child_token());
    let peer = serving.peer().clone();
    tracker.spawn(async move {
        // It ends with `stop`, and there is nothing to say about how.
        let _ = serving.waiting().await;
    });
    peer
}

struct Unasked;

impl ServerHandler for Unasked {}

struct Silence {
    refuse: mpsc::Sender<ClientJsonRpcMessage>,
    refused: mpsc::Receiver<ClientJsonRpcMessage>,
}

impl Silence {
    fn new() -> Self {
        let (refuse, refused) = mpsc::channel(REFUSALS_MAX);
        Self { refuse, refused }
    }
}

impl Transport<RoleServer> for Silence {
    type Error = std::convert::Infallible;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        if let JsonRpcMessage::Request(request) = message {
            let refusal = ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "the client cannot be asked", None);
            // Whoever asked so much at once waits for its own deadline.
            drop(
                self.refuse
                    .try_send(ClientJsonRpcMessage::error(refusal, Some(request.id))),
            );
        }
        std::future::ready(Ok(()))
    }

    fn receive(&mut self) -> impl Future<Output = Option<ClientJsonRpcMessage>> + Send {
        self.refused.recv()
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }
}
