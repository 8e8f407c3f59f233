//! The short way: plain requests in good form, answered without setting up a connection for each.
//!
//! rmcp serves every request of a session and of the stateless revision as a connection of its own: a loop, a task or
//! two, a few channels. That is what notifications, questions and streams need, and most calls need none of it. What
//! is judged here is judged completely: a request that is not exactly in the form its revision asks for, or that
//! could need more than one message, takes the long way, and rmcp says what is wrong with it.

mod body;
mod carry;
mod nobody;

use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientCapabilities, ErrorData, ListToolsResult, RequestId,
    RequestMetaObject,
};
use serde_json::value::RawValue;

use self::body::{failed, json};
use super::json_rpc::Message;
use crate::call::Principal;
use crate::gateway::Inner;
use crate::registry::ToolRegistry;
use crate::sessions::{InUse, Session};
use crate::trace;

pub(crate) use self::nobody::nobody;

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
    CallTool(Box<Asked>),
}

/// A call, and whose tool it calls.
#[derive(Debug)]
struct Asked {
    params: CallToolRequestParams,
    is_mounted: bool,
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
    let tool = registry.get(&params.name)?;
    let is_mounted = tool.spec.is_mounted();
    let is_plain = (!is_mounted
        || tool.spec.only_answers() && hears_only_answers(params.meta.as_ref(), session))
        && params.input_responses.is_none()
        && params.request_state.is_none()
        && has_context(params.meta.as_ref(), session);
    // Headers that repeat arguments are rmcp's to compare.
    let has_params = || headers.keys().any(|name| name.as_str().starts_with("mcp-param-"));
    let is_named = session.is_some() || names(headers, "mcp-name", &params.name) && !has_params();
    if let Some(meta) = &mut params.meta {
        meta.remove("io.modelcontextprotocol/clientInfo");
    }
    if params.meta.is_some() || headers.contains_key(trace::TRACEPARENT) {
        trace::settle(params.meta.get_or_insert_default(), Some(headers));
    }
    (is_plain && is_named).then(|| What::CallTool(Box::new(Asked { params, is_mounted })))
}

/// Whether the client can be told nothing on the way to an answer: it wants no progress and no log messages of this
/// request, and its session's client said that it cannot be asked anything.
fn hears_only_answers(meta: Option<&RequestMetaObject>, session: Option<&Session>) -> bool {
    let wants_none = meta.is_none_or(|meta| {
        meta.get_progress_token().is_none() && !meta.contains_key("io.modelcontextprotocol/logLevel")
    });
    let nothing = ClientCapabilities::default();
    let cannot_be_asked = session.is_none_or(|session| session.hello.capabilities == nothing);
    wants_none && cannot_be_asked
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
        What::CallTool(asked) => carry::call(inner, id, *asked, principal, session).await,
    }
}

/// What only the revision without sessions knows is left out for the others.
fn of_revision(mut list: ListToolsResult, is_legacy: bool) -> ListToolsResult {
    if is_legacy {
        list.result_type = None;
    }
    list
}
