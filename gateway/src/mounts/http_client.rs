//! Streamable HTTP to a mounted server, as rmcp's client asks for it, with a limit on every message that comes back.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::{BodyDataStream, BodyExt as _, Full};
use reqwest::RequestBuilder;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorData, GetExtensions as _, GetMeta as _, ServerJsonRpcMessage,
};
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::{Sse, SseStream};

use super::address::Lookup;
use super::credential::{Bearer, Credential};
use super::direct::Shown;
use super::wires::{Enough, Origin, Wires};
use crate::trace;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const JSON_OR_EVENTS: &str = "application/json, text/event-stream";
/// Names a session.
pub(super) const SESSION: &str = "mcp-session-id";
/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Why a message did not get there and back.
pub(super) type Failure = StreamableHttpError<reqwest::Error>;
/// A stream of events.
pub(super) type Events = BoxStream<'static, Result<Sse, SseError>>;

/// The HTTP clients of one mounted server, shared by all sessions with it. Handles that are cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Web {
    http: reqwest::Client,
    /// The same without everything that a request of one session's to one known place does not need; for `http:` only.
    wires: Wires,
}

impl Web {
    pub(super) fn try_new(lookup: Lookup) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .dns_resolver(Arc::new(lookup))
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would look the name up itself.
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            .build()?;
        let wires = Wires::new(lookup);
        Ok(Self { http, wires })
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct HttpClient {
    pub(super) web: Web,
    /// Bytes of one message from the server.
    pub(super) bytes_max: usize,
    /// What each request shows.
    pub(super) credential: Arc<Credential>,
    /// What the last message said of its session.
    pub(super) shown: Arc<Shown>,
}

/// Where a server is.
#[derive(Debug)]
pub(super) struct Place {
    uri: Uri,
    /// Where the lean way leads.
    plain: Option<Origin>,
}

impl Place {
    /// The endpoint at `url`, which was found to be one.
    pub(super) fn try_new(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        Some(Self {
            plain: Origin::try_new(&uri),
            uri,
        })
    }
}

/// What a server answered to a request.
pub(super) enum Answered {
    /// That it does not know the session.
    NoSession,
    /// A message, or what should be one.
    Json {
        /// The whole body.
        body: Vec<u8>,
        /// What the HTTP status says.
        is_success: bool,
    },
    /// A stream that brings the answer, and may be given up once it has, when that is said.
    Events(Events, Enough),
}

/// A message from the server was too long.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the server sent a message of more than {0} bytes")]
struct TooLong(usize);

impl HttpClient {
    async fn send(
        &self,
        request: RequestBuilder,
        session: Option<Arc<str>>,
        headers: HashMap<HeaderName, HeaderValue>,
        bearer: Option<Arc<Bearer>>,
    ) -> Result<Response<impl Told>, Failure> {
        let mut request = request.header(ACCEPT, JSON_OR_EVENTS);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(session) = session {
            request = request.header(SESSION, session.as_ref());
        }
        if let Some(bearer) = &bearer {
            request = request.header(AUTHORIZATION, bearer.header());
        }
        let response = request.send().await.map_err(StreamableHttpError::Client)?;
        self.judge(told(response), bearer)
    }

    /// What goes for every answer, whatever was asked.
    fn judge<B>(&self, response: Response<B>, bearer: Option<Arc<Bearer>>) -> Result<Response<B>, Failure> {
        if response.status() == StatusCode::UNAUTHORIZED {
            self.credential.refuse(bearer);
            // What the server says of itself is for our log; the header holds no secret of ours.
            let challenge = response.headers().get(WWW_AUTHENTICATE);
            let challenge = challenge
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            return Err(StreamableHttpError::AuthRequired(AuthRequiredError::new(
                challenge.to_owned(),
            )));
        }
        if response.status().is_redirection() {
            return Err(unexpected("it answered with a redirect, which is not followed"));
        }
        Ok(response)
    }

    /// Sends a request that is `body` already, and gives what comes back as it is; `now` is the monotonic time.
    pub(super) async fn ask(
        &self,
        place: &Place,
        body: Vec<u8>,
        headers: HeaderMap,
        bearer: Option<Arc<Bearer>>,
        now: Duration,
    ) -> Result<Answered, Failure> {
        let is_in_session = headers.contains_key(SESSION);
        let mut request = http::Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert(ACCEPT, HeaderValue::from_static(JSON_OR_EVENTS));
        if let Some(bearer) = &bearer {
            headers.insert(AUTHORIZATION, bearer.header());
        }
        if let Some(origin) = &place.plain {
            let sent = self.web.wires.send(origin, request, now).await;
            let (response, enough) = sent.map_err(Failure::Io)?;
            let response = response.map(|body| body.map_err(|error| Failure::Io(io::Error::other(error))));
            let response = self.judge(response, bearer)?;
            return self.answered(response, is_in_session, enough).await;
        }
        *request.uri_mut() = place.uri.clone();
        let request = request.map(reqwest::Body::wrap).try_into();
        let request: reqwest::Request = request.map_err(StreamableHttpError::Client)?;
        let response = self.web.http.execute(request).await;
        let response = told(response.map_err(StreamableHttpError::Client)?);
        let response = self.judge(response, bearer)?;
        self.answered(response, is_in_session, Enough::default()).await
    }

    async fn answered(
        &self,
        response: Response<impl Told>,
        is_in_session: bool,
        enough: Enough,
    ) -> Result<Answered, Failure> {
        let status = response.status();
        if status == StatusCode::NOT_FOUND && is_in_session {
            return Ok(Answered::NoSession);
        }
        if status.is_success() && kind(&response).starts_with(EVENTS) {
            return Ok(Answered::Events(self.events(response), enough));
        }
        let is_json = kind(&response).starts_with(JSON);
        let body = self.body(response).await?;
        if !is_json || is_auth_failure(status) {
            return Err(unexpected(format!(
                "it answered HTTP {status} without a JSON-RPC message"
            )));
        }
        Ok(Answered::Json {
            body,
            is_success: status.is_success(),
        })
    }

    /// What is shown with `message`: its own, or what the session shows now.
    fn bearer_of(&self, message: &ClientJsonRpcMessage) -> Option<Arc<Bearer>> {
        let own = match message {
            ClientJsonRpcMessage::Request(request) => {
                request.request.extensions().get::<Arc<Bearer>>().cloned()
            }
            _ => None,
        };
        own.or_else(|| self.credential.now())
    }

    /// The whole body, within the limit.
    async fn body(&self, response: Response<impl Told>) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        let mut stream = std::pin::pin!(BodyDataStream::new(response.into_body()));
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            if body.len() + chunk.len() > self.bytes_max {
                return Err(unexpected(TooLong(self.bytes_max).to_string()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn events(&self, response: Response<impl Told>) -> Events {
        let mut limit = EventLimit::new(self.bytes_max);
        let mut has_failed = false;
        let chunks = BodyDataStream::new(response.into_body()).map(move |chunk| {
            let chunk = chunk.map_err(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>)?;
            limit.pass(&chunk).map_err(Box::new)?;
            Ok::<Bytes, Box<dyn std::error::Error + Send + Sync>>(chunk)
        });
        // What comes after the failure would be read as the rest of an event.
        let chunks = chunks.take_while(move |chunk| {
            let was_failed = std::mem::replace(&mut has_failed, chunk.is_err());
            std::future::ready(!was_failed)
        });
        SseStream::from_bytes_stream(chunks.map(|chunk| chunk.map_err(Broken))).boxed()
    }
}

/// Why a stream of events broke off.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(Box<dyn std::error::Error + Send + Sync>);

fn unexpected(what: impl Into<Cow<'static, str>>) -> Failure {
    StreamableHttpError::UnexpectedServerResponse(what.into())
}

/// The body of an answer.
trait Told: Body<Data = Bytes, Error = Failure> + Send + 'static {}

impl<B: Body<Data = Bytes, Error = Failure> + Send + 'static> Told for B {}

/// The library's answer, with failures of ours.
fn told(response: reqwest::Response) -> Response<impl Told> {
    Response::from(response).map(|body| body.map_err(StreamableHttpError::Client))
}

fn kind<B>(response: &Response<B>) -> &str {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default()
}

impl StreamableHttpClient for HttpClient {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let is_in_session = session.is_some();
        self.shown.see(session.as_ref(), &headers);
        let mut request = self.web.http.post(uri.as_ref()).json(&message);
        if let ClientJsonRpcMessage::Request(message) = &message {
            // The server's own middleware reads headers, and what it hands on to reads the message.
            for (name, value) in trace::headers(message.request.get_meta()) {
                request = request.header(name, value);
            }
        }
        let response = self
            .send(request, session, headers, self.bearer_of(&message))
            .await?;
        let status = response.status();
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if status == StatusCode::NOT_FOUND && is_in_session {
            return Err(StreamableHttpError::SessionExpired);
        }
        let session = response.headers().get(SESSION);
        let session = session.and_then(|id| id.to_str().ok()).map(str::to_owned);
        if status.is_success() && kind(&response).starts_with(EVENTS) {
            return Ok(StreamableHttpPostResponse::Sse(self.events(response), session));
        }
        let is_json = kind(&response).starts_with(JSON);
        let body = self.body(response).await?;
        let request = match message {
            ClientJsonRpcMessage::Request(request) => request,
            // Nothing is waited for, so whatever a server says to it is as good as 202.
            _ if status.is_success() => return Ok(StreamableHttpPostResponse::Accepted),
            _ => return Err(unexpected(format!("it answered HTTP {status} to a notification"))),
        };
        let answer = serde_json::from_slice::<ServerJsonRpcMessage>(&body).ok();
        match answer.filter(|_| is_json || status.is_success()) {
            Some(answer) if status.is_success() => Ok(StreamableHttpPostResponse::Json(answer, session)),
            Some(ServerJsonRpcMessage::Error(mut error)) if !is_auth_failure(status) => {
                // Refused before it was read, it may not name the request it answers.
                error.id = Some(request.id);
                Ok(StreamableHttpPostResponse::Json(
                    ServerJsonRpcMessage::Error(error),
                    session,
                ))
            }
            // A server of the earlier era, asked for what only the later one knows.
            _ if status.is_client_error()
                && !is_in_session
                && !is_auth_failure(status)
                && matches!(request.request, ClientRequest::DiscoverRequest(_)) =>
            {
                let refused = ErrorData::invalid_request(format!("HTTP {status}"), None);
                let refused = ServerJsonRpcMessage::error(refused, Some(request.id));
                Ok(StreamableHttpPostResponse::Json(refused, None))
            }
            _ => Err(unexpected(format!(
                "it answered HTTP {status} without a JSON-RPC message"
            ))),
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failure> {
        // Whatever it answers, we are done with it.
        let request = self.web.http.delete(uri.as_ref());
        self.send(request, Some(session), headers, self.credential.now())
            .await
            .map(drop)
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Events, Failure> {
        let mut request = self.web.http.get(uri.as_ref());
        if let Some(last_event) = last_event {
            request = request.header("last-event-id", last_event);
        }
        let response = self
            .send(request, session, headers, self.credential.now())
            .await?;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        if !response.status().is_success() || !kind(&response).starts_with(EVENTS) {
            return Err(unexpected(format!(
                "it answered HTTP {} to GET",
                response.status()
            )));
        }
        Ok(self.events(response))
    }
}

/// What a status says of our credentials is never passed on as if a tool had said it.
fn is_auth_failure(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// Counts the bytes of the event that is under way; an empty line ends it.
#[derive(Debug)]
struct EventLimit {
    bytes_max: usize,
    bytes: usize,
    is_line_empty: bool,
}

impl EventLimit {
    fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            is_line_empty: true,
        }
    }

    fn pass(&mut self, chunk: &[u8]) -> Result<(), TooLong> {
        for byte in chunk {
            match byte {
                b'\n' if self.is_line_empty => self.bytes = 0,
                b'\n' => self.is_line_empty = true,
                b'\r' => {}
                _ => self.is_line_empty = false,
            }
            self.bytes += 1;
            if self.bytes > self.bytes_max {
                return Err(TooLong(self.bytes_max));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_on_one_event_however_it_is_cut_into_chunks() {
        let mut limit = EventLimit::new(20);
        for chunk in [
            "data: 12345678\n",
            "\nda",
            "ta: 12345678\r\n\r\n",
            ": comment\n\n",
        ] {
            assert!(limit.pass(chunk.as_bytes()).is_ok(), "{chunk:?}");
        }
        assert!(limit.pass(b"data: 123456789012345678").is_err());
    }
}
