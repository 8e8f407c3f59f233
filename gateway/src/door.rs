//! What every request passes before MCP sees it, in this order: size, host and origin, token, space, session, form.
//!
//! Everything here is decided per request from the request itself. A session proves nothing; it is only compared.

pub(crate) mod bearer;
pub(crate) mod host_origin;
pub(crate) mod json_rpc;
pub(crate) mod ownership;
mod patient;
pub(crate) mod short;
pub(crate) mod space;
pub(crate) mod sse;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use http::request::Parts;
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use identity::TokenError;
use rmcp::model::InitializeRequestParams;
use rmcp::transport::streamable_http_server::StreamableHttpService;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower_service::Service;

use self::ownership::SESSION_HEADER;
use crate::call::Principal;
use crate::gateway::Inner;
use crate::mcp::Mcp;
use crate::problem::Problem;
use crate::sessions::manager::Manager;
use crate::sessions::{InUse, NoPlace, Owner};

/// Where MCP is spoken.
pub const MCP_PATH: &str = "/mcp";

/// Filled in by the handler of `initialize` and read by the door, which alone sees the session's handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opening(Arc<OnceLock<Opened>>);

/// What was agreed on when a session began: what the client said, with the negotiated revision.
#[derive(Debug, Clone)]
pub(crate) struct Opened(pub(crate) InitializeRequestParams);

impl Opening {
    pub(crate) fn fill(&self, opened: Opened) {
        // A second initialize in one request cannot be; the first would stand.
        let _ = self.0.set(opened);
    }
}

/// rmcp's service behind the door.
type Behind = StreamableHttpService<Mcp, Manager>;

/// `/mcp` itself: the door, and rmcp's service behind it. A handle that is cheap to clone.
///
/// A service of its own and no stack of layers, each of which would copy everything below it for every request.
#[derive(Debug, Clone)]
pub struct Door(Arc<Hinge>);

struct Hinge {
    inner: Arc<Inner>,
    behind: Behind,
}

impl std::fmt::Debug for Hinge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hinge").finish_non_exhaustive()
    }
}

impl Door {
    pub(crate) fn new(inner: Arc<Inner>, behind: Behind) -> Self {
        Self(Arc::new(Hinge { inner, behind }))
    }

    /// Answers a request for `/mcp`, whatever it is.
    pub async fn answer(&self, request: Request) -> Response {
        match pass(&self.0.inner, request, &self.0.behind).await {
            Ok(response) | Err(response) => response,
        }
    }
}

impl Service<Request> for Door {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let door = self.clone();
        Box::pin(async move { Ok(door.answer(request).await) })
    }
}

async fn pass(inner: &Arc<Inner>, request: Request, behind: &Behind) -> Result<Response, Response> {
    // Counted first and asked second: a request is either seen by the drain or sees it.
    let counted = inner.under_way.token();
    if inner.is_draining() {
        return Err(Problem::unavailable(
            "shutting_down",
            "the server is shutting down; try again in a moment",
            5,
        )
        .into_response());
    }
    let (mut parts, body) = request.into_parts();
    let body_bytes_max = inner.settings.body_bytes_max;
    if json_rpc::declared_bytes(&parts.headers).is_some_and(|bytes| bytes > body_bytes_max as u64) {
        return Err(json_rpc::too_large(body, body_bytes_max, inner.clock.as_ref()).await);
    }
    let refuse = IntoResponse::into_response;
    inner.allowed.check(&parts.uri, &parts.headers).map_err(refuse)?;
    let caller = bearer::authenticate(&inner.identity, &parts.headers, &inner.metadata_url)
        .await
        .map_err(refuse)?;
    // Held while the request is examined, its session opened or ended. A call counts itself: it may outlive both.
    let present = inner.guests.enter(&caller.user_id).ok_or_else(|| {
        let gone = TokenError::Suspended;
        bearer::refused(gone, &inner.metadata_url).into_response()
    })?;
    let space_id = space::of(&inner.identity, &caller.user_id, &parts.headers)
        .await
        .map_err(refuse)?;
    let owner = Owner {
        issuer: caller.issuer,
        user_id: caller.user_id,
        space_id,
    };
    let session = if ownership::is_stateless(&parts.headers) {
        // Sessions mean nothing in this revision. Taken out, so that nothing behind this line can think otherwise.
        parts.headers.remove(SESSION_HEADER);
        None
    } else {
        ownership::check(&inner.sessions, &parts.headers, &owner).map_err(refuse)?
    };
    let principal = Principal {
        user_id: owner.user_id.clone(),
        email: caller.email,
        kind: caller.kind,
        role: caller.role,
        tier: caller.tier,
        issuer: owner.issuer.clone(),
        space_id: owner.space_id.clone(),
        time_zone: caller.time_zone,
        token: bearer::kept(&parts.headers, inner.mounts.want_callers_tokens()),
        session: session.as_ref().map(|in_use| in_use.session.clone()),
    };
    let principal = Arc::new(principal);
    parts.extensions.insert(principal.clone());
    // Here and below, what is not the short way has a box of its own: a future is as large as the largest of its ways, and
    // all of it is moved for each request.
    if parts.method != Method::POST {
        return Ok(Box::pin(forward_without_body(inner, parts, behind, session)).await);
    }
    let body = json_rpc::read(body, body_bytes_max, inner.clock.as_ref()).await?;
    let message = json_rpc::examine(&body).map_err(IntoResponse::into_response)?;
    if let Some(plain) = short::plain(inner, &message, &parts.headers, session.as_ref()) {
        // The call counts itself.
        drop(present);
        let response = short::answer(inner, plain, principal, session.as_ref()).await;
        return Ok(holding(response, session, Some(counted)));
    }
    // A stream that lasts must not keep the server from stopping: it is told to end instead.
    let counted = if message.is_listen() {
        inner.listening.token()
    } else {
        counted
    };
    let response = if message.is_initialize() && session.is_none() {
        // A session lasts longer than the token it was opened with should be kept.
        let opened_by = Arc::new(Principal {
            token: None,
            ..Principal::clone(&principal)
        });
        Box::pin(open(inner, parts, body, behind, owner, opened_by)).await?
    } else if session.is_none() && message.may_take_its_time() {
        let id = message.id.map(ToOwned::to_owned);
        let behind = behind.clone();
        let answering = Box::pin(async move { forward(parts, body, &behind).await });
        patient::wait(inner, id, answering).await
    } else {
        Box::pin(forward(parts, body, behind)).await
    };
    let response = ended_behind_us(inner, response, session.as_ref()).await;
    Ok(holding(response, session, Some(counted)))
}

/// GET and DELETE. An open stream keeps its session, but not the server from stopping.
async fn forward_without_body(
    inner: &Arc<Inner>,
    parts: Parts,
    behind: &Behind,
    session: Option<InUse>,
) -> Response {
    let is_delete = parts.method == Method::DELETE;
    let mut response = forward(parts, Bytes::new(), behind).await;
    if let Some(in_use) = session
        .as_ref()
        .filter(|_| is_delete && response.status().is_success())
    {
        inner.end_session(&in_use.session, "client").await;
        // The session's table has said that it accepts the end; by now it has ended, and some clients take only
        // this status for it.
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    let response = ended_behind_us(inner, response, session.as_ref()).await;
    holding(response, session, None)
}

async fn forward(parts: Parts, body: Bytes, behind: &Behind) -> Response {
    let content_type = parts
        .headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let is_json = content_type.is_some_and(|kind| kind.starts_with("application/json"));
    let response = behind.handle(Request::from_parts(parts, Body::from(body))).await;
    json_rpc::reshape(response.map(Body::new), is_json).await
}

/// Lets an `initialize` through and gives the session it opens to its owner.
async fn open(
    inner: &Arc<Inner>,
    mut parts: Parts,
    body: Bytes,
    behind: &Behind,
    owner: Owner,
    opened_by: Arc<Principal>,
) -> Result<Response, Response> {
    let (_place, evicted) = inner
        .sessions
        .place_for(&owner.user_id)
        .map_err(|no_place| no_room(inner, no_place).into_response())?;
    for session in evicted {
        inner.record_end(&session, "idle").await;
    }
    let opening = Opening::default();
    parts.extensions.insert(opening.clone());
    let mut response = forward(parts, body, behind).await;
    let Some(handle) = response
        .headers()
        .get(SESSION_HEADER)
        .and_then(|handle| handle.to_str().ok())
        .map(str::to_owned)
    else {
        return Ok(response);
    };
    let Some(opened) = opening.0.get().cloned() else {
        // The handshake failed; what rmcp answered says why. There is no session to speak of.
        response.headers_mut().remove(SESSION_HEADER);
        return Ok(response);
    };
    inner
        .begin_session(&handle, owner, opened, opened_by)
        .await
        .map_err(|error| {
            tracing::error!(error = %error, "a session could not be recorded and was not opened");
            Problem::unavailable(
                "log_unavailable",
                "the session could not be recorded; try again",
                1,
            )
            .into_response()
        })?;
    Ok(response)
}

fn no_room(inner: &Inner, no_place: NoPlace) -> Problem {
    let settings = &inner.settings;
    match no_place {
        NoPlace::OfThisUser => {
            let detail = format!(
                "you have {} sessions open and all are in use; end one with DELETE",
                settings.sessions_per_user_max
            );
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_sessions", detail)
        }
        NoPlace::OfAnybody => {
            tracing::warn!(sessions = settings.sessions_max, "no more sessions can be opened");
            let detail = "the server holds as many sessions as it may; try again in a while, or use a client of \
                          revision 2026-07-28, which needs none";
            Problem::unavailable("sessions_full", detail, 30)
        }
    }
}

/// A session that rmcp no longer has, because its worker ended, is none of ours either.
async fn ended_behind_us(inner: &Arc<Inner>, response: Response, session: Option<&InUse>) -> Response {
    if let Some(in_use) = session.filter(|_| response.status() == StatusCode::NOT_FOUND) {
        inner.end_session(&in_use.session, "idle").await;
    }
    response
}

/// The same response, whose body keeps its session in use and the server waiting until the last byte is sent.
fn holding(response: Response, session: Option<InUse>, counted: Option<TaskTrackerToken>) -> Response {
    response.map(|body| {
        Body::new(Held {
            body,
            _session: session,
            _counted: counted,
        })
    })
}

struct Held {
    body: Body,
    _session: Option<InUse>,
    _counted: Option<TaskTrackerToken>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
