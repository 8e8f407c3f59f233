//! Sessions as rmcp asks for them: a row each, and an [`Exchange`] for as long as a request takes.
//!
//! The door in front has already compared owners, so a handle that arrives here is the caller's own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::Stream;
use http::request::Parts;
use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ErrorData, GetExtensions as _, InitializedNotification,
    JsonRpcMessage, RequestId, ServerJsonRpcMessage,
};
use rmcp::service::{RequestContext, serve_directly_with_ct};
use rmcp::transport::Transport;
use rmcp::transport::streamable_http_server::session::{ServerSseMessage, SessionId, SessionManager};
use tokio::sync::oneshot;

use super::desk::UnderWay;
use super::exchange::Exchange;
use super::outlet::Outlet;
use super::{InUse, Session};
use crate::gateway::Inner;
use crate::mcp::Mcp;

/// Bytes of chance in a handle.
const HANDLE_BYTES: usize = 24;
/// The first revision whose clients expect an event before there is a message.
const PRIMED_SINCE: &str = "2025-11-25";

/// See the module.
pub(crate) struct Manager {
    inner: Arc<Inner>,
    opening: Mutex<HashMap<SessionId, Ends>>,
}

/// The door's ends of a [`Handshake`].
#[derive(Debug)]
struct Ends {
    request: oneshot::Sender<ClientJsonRpcMessage>,
    answer: oneshot::Receiver<ServerJsonRpcMessage>,
}

/// What rmcp is told when a session cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManagerError {
    #[error("there is no such session")]
    NoSession,
    #[error("the session did not begin")]
    NotOpened,
    #[error("there is no such stream to resume")]
    NoStream,
}

/// The stream that carries what is said about a request.
#[derive(Debug, Clone)]
struct CarriedBy(Arc<Outlet>);

/// Lets the connection go that waits for the answer to `context`'s request. A client in a session comes back for it
/// when it likes, and meanwhile nobody holds a connection open; outside of a session nothing happens.
pub fn let_stream_go(context: &RequestContext<RoleServer>) {
    let parts = context.extensions.get::<Parts>();
    if let Some(CarriedBy(outlet)) = parts.and_then(|parts| parts.extensions.get()) {
        outlet.hang_up();
    }
}

impl Manager {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            opening: Mutex::default(),
        }
    }

    fn in_use(&self, handle: &SessionId) -> Result<InUse, ManagerError> {
        let session = self.inner.sessions.get(handle).ok_or(ManagerError::NoSession)?;
        Ok(self.inner.sessions.hold(&session))
    }

    /// Lets rmcp serve one request of a session, as long as it takes.
    fn serve(
        &self,
        session: InUse,
        id: RequestId,
        mut request: ClientJsonRpcMessage,
    ) -> impl Stream<Item = ServerSseMessage> + Send + Sync + use<> {
        let row = session.session.clone();
        let cancel = self.inner.stop.child_token();
        let outlet = row.desk.open_stream(self.inner.sessions.event_ids(&row));
        if let JsonRpcMessage::Request(request) = &mut request
            && let Some(parts) = request.request.extensions_mut().get_mut::<Parts>()
        {
            parts.extensions.insert(CarriedBy(outlet.clone()));
        }
        let clock = self.inner.clock.clone();
        let (exchange, inbox) = Exchange::new(
            id.clone(),
            request,
            session,
            outlet.clone(),
            cancel.clone(),
            clock,
        );
        let under_way = UnderWay {
            cancel,
            inbox: Some(inbox),
        };
        if let Err(reason) = row.desk.begin(id.clone(), under_way) {
            let refusal = ErrorData::invalid_request(reason.to_string(), None);
            outlet.push(JsonRpcMessage::error(refusal, Some(id)));
            outlet.finish(self.inner.clock.monotonic());
            // Its own `done` must not speak for the one that is under way.
            exchange.forget();
            return outlet.begin(false);
        }
        let is_primed = row.protocol() >= PRIMED_SINCE;
        let messages = outlet.begin(is_primed);
        let serving = serve_directly_with_ct(
            Mcp::new(self.inner.clone()),
            exchange,
            Some(row.hello.as_ref().clone()),
            self.inner.stop.child_token(),
        );
        self.inner.background.spawn(async move {
            // It ends with the answer; how is between rmcp and the client.
            let _ = serving.waiting().await;
        });
        messages
    }
}

impl SessionManager for Manager {
    type Error = ManagerError;
    type Transport = Handshake;

    async fn create_session(&self) -> Result<(SessionId, Handshake), ManagerError> {
        let mut chance = [0; HANDLE_BYTES];
        self.inner.ids.fill(&mut chance);
        let handle: SessionId = URL_SAFE_NO_PAD.encode(chance).into();
        let (request, to_serve) = oneshot::channel();
        let (answered, answer) = oneshot::channel();
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        opening.insert(handle.clone(), Ends { request, answer });
        let handshake = Handshake {
            request: Some(to_serve),
            answered: Some(answered),
            has_said_initialized: false,
        };
        Ok((handle, handshake))
    }

    async fn initialize_session(
        &self,
        handle: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, ManagerError> {
        let ends = {
            let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
            opening.remove(handle).ok_or(ManagerError::NoSession)?
        };
        let failed = |_| ManagerError::NotOpened;
        ends.request.send(message).map_err(|_| ManagerError::NotOpened)?;
        ends.answer.await.map_err(failed)
    }

    async fn has_session(&self, handle: &SessionId) -> Result<bool, ManagerError> {
        Ok(self.inner.sessions.get(handle).is_some())
    }

    /// Sessions end at the door, which records it. rmcp calls this after every handshake as well.
    async fn close_session(&self, _: &SessionId) -> Result<(), ManagerError> {
        Ok(())
    }

    async fn create_stream(
        &self,
        handle: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, ManagerError> {
        let session = self.in_use(handle)?;
        let JsonRpcMessage::Request(request) = &message else {
            return Err(ManagerError::NoStream);
        };
        Ok(self.serve(session, request.id.clone(), message))
    }

    async fn accept_message(
        &self,
        handle: &SessionId,
        mut message: ClientJsonRpcMessage,
    ) -> Result<(), ManagerError> {
        let session = self.in_use(handle)?.session.clone();
        let number = match &mut message {
            JsonRpcMessage::Notification(notice) => {
                if let ClientNotification::CancelledNotification(cancelled) = &notice.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    session.desk.cancel(id);
                }
                return Ok(());
            }
            JsonRpcMessage::Response(answer) => &mut answer.id,
            JsonRpcMessage::Error(error) => match &mut error.id {
                Some(id) => id,
                None => return Ok(()),
            },
            JsonRpcMessage::Request(_) => return Ok(()),
        };
        // An answer nobody waits for any more is not the client's fault.
        let RequestId::Number(asked) = *number else {
            return Ok(());
        };
        if let Some((inbox, id)) = session.desk.answered(asked) {
            *number = id;
            let _ = inbox.try_send(message);
        }
        Ok(())
    }

    async fn create_standalone_stream(
        &self,
        handle: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, ManagerError> {
        let session = self.in_use(handle)?.session.clone();
        let ids = self.inner.sessions.event_ids(&session);
        // rmcp has primed it by itself.
        Ok(session.desk.standing(ids).join())
    }

    async fn resume(
        &self,
        handle: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, ManagerError> {
        let session = self.in_use(handle)?.session.clone();
        let ids = self.inner.sessions.event_ids(&session);
        let (stream, place) = ids.read(&last_event_id).ok_or(ManagerError::NoStream)?;
        let outlet = session.desk.stream(stream).ok_or(ManagerError::NoStream)?;
        Ok(outlet.resume(place))
    }
}

/// The connection on which rmcp answers `initialize`. It ends with the answer: from then on the session is a row.
#[derive(Debug)]
pub(crate) struct Handshake {
    request: Option<oneshot::Receiver<ClientJsonRpcMessage>>,
    answered: Option<oneshot::Sender<ServerJsonRpcMessage>>,
    has_said_initialized: bool,
}

impl Transport<RoleServer> for Handshake {
    type Error = Infallible;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        if let Some(answered) = self.answered.take() {
            // Gone when the client is; then there is nobody to tell.
            let _ = answered.send(message);
        }
        std::future::ready(Ok(()))
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        if let Some(request) = &mut self.request {
            let request = request.await.ok();
            self.request = None;
            return request;
        }
        // What a client says next is only that it has begun; rmcp need not stay up to hear it.
        if self.has_said_initialized {
            return None;
        }
        self.has_said_initialized = true;
        Some(JsonRpcMessage::notification(
            InitializedNotification::default().into(),
        ))
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }
}

impl Session {
    /// The revision agreed on.
    pub(crate) fn protocol(&self) -> &str {
        self.hello.protocol_version.as_str()
    }
}
