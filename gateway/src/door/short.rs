//! The short way: plain requests in good form, answered without setting up a connection for each.
//!
//! rmcp serves every request of a session and of the stateless revision as a connection of its own: a loop, a task or
//! two, a few channels. That is what notifications, questions and streams need, and most calls need none of it. What
//! is judged here is judged completely: a request that is not exactly in the form its revision asks for, or that
//! could need more than one message, takes the long way, and rmcp says what is wrong with it.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, header};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientJsonRpcMessage, ContentBlock, ErrorData, JsonRpcMessage,
    ListToolsResult, RequestId, RequestMetaObject, ResultType, ServerJsonRpcMessage, ServerResult,
};
use rmcp::service::{Peer, RequestContext, serve_directly_with_ct};
use rmcp::transport::Transport;
use rmcp::transport::streamable_http_server::session::ServerSseMessage;
use rmcp::{RoleServer, ServerHandler};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::json_rpc::Message;
use super::sse;
use crate::call::Principal;
use crate::gateway::Inner;
use crate::registry::ToolRegistry;
use crate::sessions::desk::UnderWay;
use crate::sessions::{InUse, Session};

const VERSION_HEADER: &str = "mcp-protocol-version";
/// The one revision without sessions that is known by heart here. A later one takes the long way.
const STATELESS: &str = "2026-07-28";

/// A request that can be answered here.
#[derive(Debug)]
pub(crate) struct Plain {
    id: RequestId,
    what: What,
}

#[derive(Debug)]
enum What {
    Ping,
    ListTools,
    CallTool(Box<CallToolRequestParams>),
}

type Answer = Result<CallToolResponse, ErrorData>;

/// `message` as a plain request, if it is one.
pub(crate) fn plain(
    inner: &Inner,
    message: &Message<'_>,
    headers: &HeaderMap,
    session: Option<&InUse>,
) -> Option<Plain> {
    let id = request_id(message.id?.get())?;
    if !is_negotiated(headers) {
        return None;
    }
    let session = session.map(|in_use| in_use.session.as_ref());
    let version = match session {
        Some(session) => session.protocol(),
        None => STATELESS,
    };
    let mut named = headers.get_all(VERSION_HEADER).iter();
    match (named.next(), named.next()) {
        (Some(named), None) if named.as_bytes() == version.as_bytes() => {}
        (None, None) if session.is_some() => {}
        _ => return None,
    }
    let what = match message.method.as_ref() {
        "ping" if session.is_some() => What::Ping,
        "tools/list" => list_tools(message.params, session)?,
        "tools/call" => call_tool(&inner.registry, message.params, headers, session)?,
        _ => return None,
    };
    let is_named = session.is_some() || names(headers, "mcp-method", &message.method);
    is_named.then_some(Plain { id, what })
}

/// Ids as clients count them. Rarer forms of the same numbers are rmcp's to read.
fn request_id(text: &str) -> Option<RequestId> {
    match text.as_bytes().first()? {
        b'0'..=b'9' | b'-' => text.parse().ok().map(RequestId::Number),
        b'"' => serde_json::from_str::<String>(text)
            .ok()
            .map(|id| RequestId::String(id.into())),
        _ => None,
    }
}

/// Whether the client sends JSON and takes both forms of answer.
fn is_negotiated(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    text(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"))
        && text(header::ACCEPT).is_some_and(|accepted| {
            accepted.contains("application/json") && accepted.contains("text/event-stream")
        })
}

/// Whether the header is there once and says exactly `value`.
fn names(headers: &HeaderMap, header: &str, value: &str) -> bool {
    let mut named = headers.get_all(header).iter();
    let is_same = named
        .next()
        .is_some_and(|named| named.as_bytes() == value.as_bytes());
    is_same && named.next().is_none() && !value.starts_with("=?")
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ListParams {
    #[serde(rename = "_meta", default)]
    meta: Option<RequestMetaObject>,
}

fn list_tools(params: Option<&RawValue>, session: Option<&Session>) -> Option<What> {
    let meta = match params {
        // With a cursor it takes the long way.
        Some(params) => serde_json::from_str::<ListParams>(params.get()).ok()?.meta,
        None => None,
    };
    has_context(meta.as_ref(), session).then_some(What::ListTools)
}

fn call_tool(
    registry: &ToolRegistry,
    params: Option<&RawValue>,
    headers: &HeaderMap,
    session: Option<&Session>,
) -> Option<What> {
    let mut params: CallToolRequestParams = serde_json::from_str(params?.get()).ok()?;
    // A mounted tool may speak to its client on the way.
    let is_plain = registry
        .get(&params.name)
        .is_some_and(|tool| !tool.spec.is_mounted())
        && params.input_responses.is_none()
        && params.request_state.is_none()
        && has_context(params.meta.as_ref(), session);
    // Headers that repeat arguments are rmcp's to compare.
    let has_params = || headers.keys().any(|name| name.as_str().starts_with("mcp-param-"));
    let is_named = session.is_some() || names(headers, "mcp-name", &params.name) && !has_params();
    if let Some(meta) = &mut params.meta {
        meta.remove("io.modelcontextprotocol/clientInfo");
    }
    (is_plain && is_named).then(|| What::CallTool(Box::new(params)))
}

/// Whether a request says about itself what its revision asks for: in a session nothing, without one everything.
fn has_context(meta: Option<&RequestMetaObject>, session: Option<&Session>) -> bool {
    match (meta, session) {
        (None, session) => session.is_some(),
        (Some(meta), Some(_)) => !meta.keys().any(|key| key.starts_with("io.modelcontextprotocol/")),
        (Some(meta), None) => {
            meta.protocol_version()
                .is_some_and(|version| version.as_str() == STATELESS)
                && meta.client_capabilities().is_some()
        }
    }
}

/// Answers a plain request of `principal`.
pub(crate) async fn answer(
    inner: &Arc<Inner>,
    plain: Plain,
    principal: Arc<Principal>,
    session: Option<&InUse>,
) -> Response {
    let session = session.map(|in_use| in_use.session.clone());
    let id = plain.id;
    match plain.what {
        What::Ping => json(&id, &serde_json::Map::new()),
        What::ListTools => match inner.list_tools(&principal, None) {
            Ok(list) => json(&id, &of_revision(list, session.is_some())),
            Err(error) => failed(&id, error),
        },
        What::CallTool(params) => call(inner, id, *params, principal, session).await,
    }
}

/// What only the revision without sessions knows is left out for the others.
fn of_revision(mut list: ListToolsResult, is_legacy: bool) -> ListToolsResult {
    if is_legacy {
        list.result_type = None;
    }
    list
}

async fn call(
    inner: &Arc<Inner>,
    id: RequestId,
    mut params: CallToolRequestParams,
    principal: Arc<Principal>,
    session: Option<Arc<Session>>,
) -> Response {
    let under_way = match inner.under_way(&principal) {
        Ok(under_way) => under_way,
        Err(error) => return failed(&id, error),
    };
    let gone = CancellationToken::new();
    if let Some(session) = &session {
        let reached = UnderWay {
            cancel: gone.clone(),
            inbox: None,
        };
        if let Err(reason) = session.desk.begin(id.clone(), reached) {
            return failed(&id, ErrorData::invalid_request(reason.to_string(), None));
        }
    }
    let mut context = RequestContext::new(id.clone(), inner.nobody.clone());
    context.ct = gone.clone();
    context.meta = params.meta.take().unwrap_or_default();
    let work = {
        let (inner, id, session, gone) = (inner.clone(), id.clone(), session.clone(), gone.clone());
        async move {
            let _in_use = inner.in_use(&principal);
            let answer = inner.dispatch(principal, params, context, under_way).await;
            let is_wanted = session.is_none_or(|session| {
                session.desk.done(&id);
                !gone.is_cancelled()
            });
            is_wanted.then_some(answer)
        }
    };
    let mut call = Call {
        work: Some(work.boxed()),
        // In a session a lost connection means nothing; without one it is how a call is cancelled.
        lost: session.is_none().then_some(gone),
        tracker: inner.background.clone(),
    };
    // Whichever is first; a call that takes its time goes on behind a stream.
    let answered = tokio::select! {
        answered = call.answered() => answered,
        () = inner.clock.sleep(inner.settings.patience) => {
            return match session {
                Some(session) => resumable(inner, id, call, &session),
                None => until_lost(inner, id, call),
            };
        }
    };
    match answered {
        Some(answer) => called(&id, answer, session.is_some()),
        // A cancelled request has no answer, and an empty stream is one in every revision with sessions.
        None => sse::respond(futures::stream::empty(), inner.clock.clone()),
    }
}

/// A call that is carried out to its end whether or not its client stays.
struct Call {
    work: Option<BoxFuture<'static, Option<Answer>>>,
    /// Told when the client is gone, where that means something.
    lost: Option<CancellationToken>,
    tracker: TaskTracker,
}

impl Call {
    /// The answer; none when the client cancelled.
    async fn answered(&mut self) -> Option<Answer> {
        let answer = match &mut self.work {
            Some(work) => work.await,
            None => None,
        };
        self.work = None;
        answer
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            if let Some(lost) = &self.lost {
                lost.cancel();
            }
            self.tracker.spawn(work);
        }
    }
}

/// The rest of a call in a session, as a stream that can be taken up again.
fn resumable(inner: &Arc<Inner>, id: RequestId, mut call: Call, session: &Arc<Session>) -> Response {
    let outlet = session.desk.open_stream(inner.sessions.event_ids(session));
    let messages = outlet.begin(true);
    let clock = inner.clock.clone();
    inner.background.spawn(async move {
        if let Some(answer) = call.answered().await {
            outlet.push(message(id, answer, true));
        }
        outlet.finish(clock.monotonic());
    });
    sse::respond(messages, inner.clock.clone())
}

/// The rest of a call without a session, as a stream whose loss ends the call.
fn until_lost(inner: &Arc<Inner>, id: RequestId, mut call: Call) -> Response {
    let last = async move {
        let answer = call.answered().await?;
        Some(ServerSseMessage::from_message(message(id, answer, false)))
    };
    let messages = futures::stream::once(last).filter_map(std::future::ready);
    sse::respond(messages, inner.clock.clone())
}

fn message(id: RequestId, answer: Answer, is_legacy: bool) -> ServerJsonRpcMessage {
    match answer {
        Ok(CallToolResponse::Complete(mut result)) => {
            result.result_type = (!is_legacy).then_some(ResultType::COMPLETE);
            JsonRpcMessage::response(ServerResult::CallToolResult(result), id)
        }
        Ok(other) => JsonRpcMessage::response(other.into(), id),
        Err(error) => JsonRpcMessage::error(error, Some(id)),
    }
}

/// A result whose data is written once: the text beside it is the same JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Called<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<ResultType>,
    content: &'a [ContentBlock],
    structured_content: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_error: Option<bool>,
}

fn called(id: &RequestId, answer: Answer, is_legacy: bool) -> Response {
    let mut result = match answer {
        Ok(CallToolResponse::Complete(result)) => result,
        Ok(other) => return json(id, &ServerResult::from(other)),
        Err(error) => return failed(id, error),
    };
    result.result_type = (!is_legacy).then_some(ResultType::COMPLETE);
    let [ContentBlock::Text(text)] = result.content.as_slice() else {
        return json(id, &result);
    };
    // Only a built-in tool's answer comes here, and its text is its data.
    match serde_json::from_str::<&RawValue>(&text.text) {
        Ok(data) if result.structured_content.is_some() && result.meta.is_none() => {
            let called = Called {
                result_type: result.result_type.clone(),
                content: &result.content,
                structured_content: data,
                is_error: result.is_error,
            };
            json(id, &called)
        }
        _ => json(id, &result),
    }
}

#[derive(Serialize)]
struct Answered<'a, T> {
    jsonrpc: &'static str,
    id: &'a RequestId,
    result: &'a T,
}

fn json<T: Serialize>(id: &RequestId, result: &T) -> Response {
    let jsonrpc = "2.0";
    with_body(serde_json::to_vec(&Answered { jsonrpc, id, result }))
}

fn failed(id: &RequestId, error: ErrorData) -> Response {
    with_body(serde_json::to_vec(&ServerJsonRpcMessage::error(
        error,
        Some(id.clone()),
    )))
}

fn with_body(body: serde_json::Result<Vec<u8>>) -> Response {
    let mut response = Response::new(Body::from(body.unwrap_or_default()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A client that says nothing and hears nothing, until `stop`.
pub(crate) fn nobody(tracker: &TaskTracker, stop: &CancellationToken) -> Peer<RoleServer> {
    let serving = serve_directly_with_ct(Unasked, Silence, None, stop.child_token());
    let peer = serving.peer().clone();
    tracker.spawn(async move {
        // It ends with `stop`, and there is nothing to say about how.
        let _ = serving.waiting().await;
    });
    peer
}

struct Unasked;

impl ServerHandler for Unasked {}

struct Silence;

impl Transport<RoleServer> for Silence {
    type Error = std::convert::Infallible;

    fn send(
        &mut self,
        _: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        std::future::ready(Ok(()))
    }

    fn receive(&mut self) -> impl Future<Output = Option<ClientJsonRpcMessage>> + Send {
        std::future::pending()
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }
}
