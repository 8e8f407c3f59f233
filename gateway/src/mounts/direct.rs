//! A call to a mounted HTTP server on whose way nothing but its answer can reach the client: one request, one answer,
//! without a pass through the library's client.
//!
//! The session is the library's: it shakes hands, opens it anew when the server has lost it, and hears what comes
//! outside of calls. What a request needs to know of the session is what the library's own last one showed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::Clock;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, CancelledNotification,
    CancelledNotificationParam, ClientConfig, ClientJsonRpcMessage, ClientNotification, ErrorData,
    JsonObject, NumberOrString, RequestId, RequestMetaObject, ServerJsonRpcMessage, ServerRequest,
    ServerResult,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_client::StreamableHttpClient as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::connection::{Connection, REQUESTS_MAX};
use super::credential::Bearer;
use super::forward::{Answer, Unanswered};
use super::http_client::{Answered, Events, Failure, HttpClient, Place, SESSION};
use super::relay::{Lines, nobody};
use super::wires::Enough;
use crate::trace::{self, SentFrom};

const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const CALL: &str = "tools/call";
/// Headers of most requests.
const HEADERS_USUAL: usize = 12;
/// How often a stream that broke off is taken up again.
const RESUMES_MAX: usize = 8;
/// Pause before that.
const RESUME_AFTER: Duration = Duration::from_millis(500);

/// What the library's client showed of its session, the last time it sent something.
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<Known>);

#[derive(Debug, Default, Clone)]
struct Known {
    session: Option<Arc<str>>,
    version: Option<HeaderValue>,
}

impl Known {
    fn headers(&self) -> HashMap<HeaderName, HeaderValue> {
        let version = self.version.iter();
        version.map(|version| (VERSION, version.clone())).collect()
    }
}

impl Shown {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message goes out in `session` with `headers`.
    pub(super) fn see(&self, session: Option<&Arc<str>>, headers: &HashMap<HeaderName, HeaderValue>) {
        let mut known = self.known();
        known.session = session.cloned();
        known.version = headers.get(&VERSION).cloned();
    }
}

/// The direct way to one server, in one session.
#[derive(Debug)]
pub(super) struct Direct {
    client: HttpClient,
    url: Arc<str>,
    place: Place,
    info: ClientConfig,
    next: AtomicU64,
    room: Semaphore,
}

#[derive(Serialize)]
struct Request<'a> {
    jsonrpc: &'static str,
    id: &'a RequestId,
    method: &'static str,
    params: Params<'a>,
}

#[derive(Serialize)]
struct Params<'a> {
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RequestMetaObject>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a JsonObject>,
}

impl Direct {
    /// To the endpoint at `url`; none where that cannot be one.
    pub(super) fn try_new(client: HttpClient, url: Arc<str>, info: ClientConfig) -> Option<Self> {
        Some(Self {
            client,
            place: Place::try_new(&url)?,
            url,
            info,
            next: AtomicU64::new(0),
            room: Semaphore::new(REQUESTS_MAX),
        })
    }

    /// Tells the server something to which there is no answer.
    async fn say(&self, message: ClientJsonRpcMessage, known: &Known) {
        let (url, session) = (self.url.clone(), known.session.clone());
        let said = self
            .client
            .post_message(url, message, session, None, known.headers());
        if let Err(error) = said.await {
            tracing::debug!(%error, "a mounted server did not take a message");
        }
    }
}

/// One call on its way.
struct OneCall<'a> {
    direct: &'a Direct,
    id: RequestId,
    known: Known,
    lines: &'a Lines,
    clock: &'a dyn Clock,
}

impl OneCall<'_> {
    /// The answer; none when the server does not know the session (any more), and has not looked at the request.
    async fn put(
        &self,
        params: &CallToolRequestParams,
        meta: &RequestMetaObject,
        bearer: Option<Arc<Bearer>>,
    ) -> Result<Option<Answer>, Unanswered> {
        let request = Request {
            jsonrpc: "2.0",
            id: &self.id,
            method: CALL,
            params: Params {
                meta: Some(meta).filter(|meta| !meta.is_empty()),
                name: &params.name,
                arguments: params.arguments.as_ref(),
            },
        };
        let body = serde_json::to_vec(&request).map_err(|_| Unanswered::Nonsense)?;
        let mut headers = HeaderMap::with_capacity(HEADERS_USUAL);
        if let Some(version) = &self.known.version {
            headers.insert(VERSION, version.clone());
        }
        if let Some(session) = &self.known.session
            && let Ok(session) = HeaderValue::from_str(session)
        {
            headers.insert(SESSION, session);
        }
        if meta.protocol_version().is_some() {
            headers.insert(METHOD, HeaderValue::from_static(CALL));
            if let Ok(name) = HeaderValue::from_str(&params.name) {
                headers.insert(NAME, name);
            }
        }
        headers.extend(trace::headers(meta));
        let (client, now) = (&self.direct.client, self.clock.monotonic());
        let answered = client.ask(&self.direct.place, body, headers, bearer, now);
        match answered.await? {
            Answered::NoSession => Ok(None),
            Answered::Json { body, is_success } => answer(&body, is_success).map(Some),
            Answered::Events(events, enough) => {
                let answer = self.hear(events, &enough).await?;
                Ok(Some(answer))
            }
        }
    }

    /// The answer among the events of its stream, which is taken up again where it breaks off.
    async fn hear(&self, mut events: Events, enough: &Enough) -> Result<Answer, Unanswered> {
        let (mut last, mut pause) = (None, RESUME_AFTER);
        for _ in 0..RESUMES_MAX {
            while let Some(event) = events.next().await {
                // A stream that breaks off says nothing of what it was to bring.
                let Ok(event) = event else { break };
                last = event.id.or(last);
                pause = event.retry.map_or(pause, Duration::from_millis);
                let Some(data) = event.data.filter(|data| !data.is_empty()) else {
                    continue;
                };
                if let Some(answer) = self.heard(&data).await? {
                    enough.say();
                    return Ok(answer);
                }
            }
            let (Some(last), Some(session)) = (&last, &self.known.session) else {
                break;
            };
            self.clock.sleep(pause).await;
            let (url, session) = (self.direct.url.clone(), Some(session.clone()));
            let client = &self.direct.client;
            let resumed = client.get_stream(url, session, Some(last.clone()), None, self.known.headers());
            events = Box::pin(resumed).await?;
        }
        Err(Unanswered::Lost("the stream ended without an answer".to_owned()))
    }

    /// What one message of the stream says; the answer, if it is that.
    async fn heard(&self, data: &str) -> Result<Option<Answer>, Unanswered> {
        let head: Head<'_> = read(data)?;
        if head.method.is_none() {
            return answer_to(&self.id, &head).map(Some);
        }
        Box::pin(self.told(read(data)?)).await;
        Ok(None)
    }

    /// Something that the server says before it answers.
    async fn told(&self, message: ServerJsonRpcMessage) {
        match message {
            ServerJsonRpcMessage::Notification(told) => self.lines.hear(told.notification).await,
            ServerJsonRpcMessage::Request(asked) => {
                // The client said that it cannot be asked anything, and so did we in its name.
                let answer = match asked.request {
                    ServerRequest::PingRequest(_) => {
                        ClientJsonRpcMessage::response(rmcp::model::ClientResult::empty(()), asked.id)
                    }
                    _ => ClientJsonRpcMessage::error(nobody(), Some(asked.id)),
                };
                self.direct.say(answer, &self.known).await;
            }
            _ => {}
        }
    }
}

/// The members of a message by which it is told what it is.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<ErrorData>,
}

/// What a result may say of itself.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "resultType", default)]
    result_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    task: Option<&'a RawValue>,
}

/// The answer in a body that is nothing else. One that was refused before it was read may not name its request.
fn answer(body: &[u8], is_success: bool) -> Result<Answer, Unanswered> {
    let head: Head<'_> = read(std::str::from_utf8(body).map_err(|_| Unanswered::Nonsense)?)?;
    match head.error {
        None if !is_success => Err(Unanswered::Nonsense),
        _ => settled(&head),
    }
}

fn answer_to(id: &RequestId, head: &Head<'_>) -> Result<Answer, Unanswered> {
    let named = head.id.map(|id| serde_json::from_str::<RequestId>(id.get()));
    match named {
        Some(Ok(named)) if named == *id => settled(head),
        _ => Err(Unanswered::Nonsense),
    }
}

fn settled(head: &Head<'_>) -> Result<Answer, Unanswered> {
    if let Some(error) = &head.error {
        return Ok(Err(error.clone()));
    }
    let result = head.result.ok_or(Unanswered::Nonsense)?.get();
    let kind: Kind<'_> = read(result)?;
    let is_complete = kind.result_type.is_none_or(|kind| kind.get() == "\"complete\"");
    if is_complete && kind.task.is_none() {
        let result: CallToolResult = read(result)?;
        return Ok(Ok(ServerResult::CallToolResult(result)));
    }
    Ok(Ok(read(result)?))
}

/// What the reader finds wrong may be words of the answer, and those are in no log.
fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Unanswered> {
    serde_json::from_str(text).map_err(|_| Unanswered::Nonsense)
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self::Lost(events::capped(&failure.to_string(), 300))
    }
}

impl Connection {
    /// Puts a call to the server the direct way, where there is one; gives the call back where there is none.
    ///
    /// For calls of which the client can be told nothing but the answer.
    pub(super) async fn call_directly(
        &self,
        asked_for: &CallToolRequest,
        asked: &RequestContext<RoleServer>,
        exchanged: Option<Arc<Bearer>>,
        within: Duration,
        clock: &dyn Clock,
    ) -> Option<Result<Answer, Unanswered>> {
        let direct = self.direct.as_ref()?;
        let number = direct.next.fetch_add(1, Ordering::Relaxed);
        let call = OneCall {
            direct,
            id: NumberOrString::String(format!("direct-{number}").into()),
            known: direct.client.shown.known().clone(),
            lines: &self.lines,
            clock,
        };
        let params = &asked_for.params;
        let mut meta = self.direct_meta(direct, &asked.meta)?;
        if let Some(from) = asked_for.extensions.get::<SentFrom>() {
            trace::come_from(&mut meta, from);
        }
        let bearer = exchanged.or_else(|| self.credential.now());
        let mut on_drop = CancelOnDrop {
            direct,
            known: &call.known,
            request: Some(call.id.clone()),
        };
        let answered = tokio::select! {
            answered = async {
                let _room = direct.room.acquire().await;
                call.put(params, &meta, bearer).await
            } => answered,
            // Whichever is first: the server is told that the answer is not wanted any more.
            () = clock.sleep(within) => return Some(Err(Unanswered::TooSlow { within, was_alive: false })),
            () = asked.ct.cancelled() => return Some(Err(Unanswered::Cancelled)),
        };
        on_drop.request = None;
        answered.transpose()
    }

    /// What the server is told about a call, beside the call.
    fn direct_meta(&self, direct: &Direct, asked: &RequestMetaObject) -> Option<RequestMetaObject> {
        let mut meta = self.meta(asked);
        if self.is_modern() {
            meta.set_protocol_version(self.peer.peer_info()?.protocol_version.clone());
            meta.set_client_info(direct.info.client_info.clone());
            meta.set_client_capabilities(direct.info.capabilities.clone());
        }
        Some(meta)
    }
}

/// Tells a server with sessions that an answer is not wanted any more, when whoever waited has gone. One without is told
/// by the end of the connection.
struct CancelOnDrop<'a> {
    direct: &'a Arc<Direct>,
    known: &'a Known,
    request: Option<RequestId>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        let Some(request) = self.request.take().filter(|_| self.known.session.is_some()) else {
            return;
        };
        let params = CancelledNotificationParam::new(Some(request), None);
        let notification = ClientNotification::from(CancelledNotification::new(params));
        let (direct, known) = (self.direct.clone(), self.known.clone());
        // Nobody waits for it: the request's own limits end it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let message = ClientJsonRpcMessage::notification(notification);
            drop(runtime.spawn(async move { direct.say(message, &known).await }));
        }
    }
}
