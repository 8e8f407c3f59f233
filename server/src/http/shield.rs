//! What stands in front of every route: known hosts only, headers for browsers, panics and silence made into
//! problems.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use events::Ids;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use gateway::{Door, MCP_PATH};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use tower::{Service, ServiceExt as _};
use tracing::Instrument as _;

use super::problem::Problem;

/// Headers that every answer has unless its handler set them itself.
const HEADERS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-resource-policy", "same-origin"),
    // Tokens, keys and other people's names: nothing here is for a cache unless its handler says so.
    ("cache-control", "no-store"),
];

/// Puts [`HEADERS`] on an answer, where its handler said nothing else.
fn add_browser_headers(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Host names that this server goes by.
///
/// A web page that has its own name resolve to this machine (DNS rebinding) would otherwise be of the same
/// origin as we are, and no other check would stop it.
#[derive(Debug)]
pub(crate) struct KnownHosts(Vec<Authority>);

impl KnownHosts {
    /// Of `entries`; one without a port stands for every port of that host, and what is no host for none.
    pub(crate) fn new(entries: &[String]) -> Self {
        Self(entries.iter().filter_map(|entry| entry.parse().ok()).collect())
    }

    /// Every authority the request names must be ours, and it must name one.
    fn are_named(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let of_headers = headers
            .get_all(header::HOST)
            .iter()
            .map(|value| value.to_str().unwrap_or_default());
        let mut named = uri
            .authority()
            .map(Authority::as_str)
            .into_iter()
            .chain(of_headers)
            .peekable();
        named.peek().is_some() && named.all(|authority| self.knows(authority))
    }

    fn knows(&self, authority: &str) -> bool {
        if authority.contains('@') {
            return false;
        }
        let Ok(authority) = authority.parse::<Authority>() else {
            return false;
        };
        self.0.iter().any(|entry| {
            let is_same_port = entry.port_u16().is_none() || entry.port_u16() == authority.port_u16();
            authority.host().eq_ignore_ascii_case(entry.host()) && is_same_port
        })
    }
}

/// Refuses what a page of another site asks a browser to send here: these routes need no token.
pub(crate) fn refuse_cross_site(headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let is_ours = matches!(site, None | Some(b"same-origin" | b"none"));
    // A browser too old for the header above still sends an origin with what changes something.
    if is_ours && (site.is_some() || !headers.contains_key(header::ORIGIN)) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "CROSS_SITE",
        "this address is not for web pages of other sites",
    ))
}

/// Gives up on a handler after `limit`, so that nobody waits for ever.
pub(crate) async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(limit, next.run(request)).await;
    answer.unwrap_or_else(|_elapsed| {
        tracing::warn!(limit_ms = limit.as_millis(), "a request ran out of time");
        Problem::unavailable("TIMEOUT", "this took longer than it may; try again").into_response()
    })
}

/// Turns the HTTP library's own short refusals (wrong method, unreadable path) into problems.
pub(crate) async fn errors_as_problems(request: Request, next: Next) -> Response {
    let is_head = request.method() == Method::HEAD;
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|content_type| content_type.contains("json"));
    if !is_error || is_json || is_head {
        return response;
    }
    let mut problem = Problem::of_status(status).into_response();
    for name in [header::ALLOW, header::RETRY_AFTER, header::WWW_AUTHENTICATE] {
        if let Some(value) = response.headers().get(&name) {
            problem.headers_mut().insert(name, value.clone());
        }
    }
    problem
}

/// What every request passes first: it is named, in its answer and in what is logged while it is answered, so that a
/// person's report and the log's line find each other; it must be meant for us; a panic behind is a problem of ours.
///
/// A name the client sends is not taken over: it could be any text.
#[derive(Debug, Clone)]
pub(crate) struct Front(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    ids: Arc<dyn Ids>,
    hosts: KnownHosts,
    door: Door,
    rooms: Router,
}

impl Front {
    /// In front of `rooms`, and of the gateway's `door`, which is among them: programs get there without a way through
    /// all that stands in front of the other rooms.
    pub(crate) fn new(ids: Arc<dyn Ids>, hosts: KnownHosts, door: Door, rooms: Router) -> Self {
        Self(Arc::new(Inside {
            ids,
            hosts,
            door,
            rooms,
        }))
    }
}

impl Inside {
    async fn answer(&self, request: Request) -> Response {
        let id = self.ids.uuid().to_string();
        let span = tracing::info_span!("request", request.id = id, method = %request.method(), path = request.uri().path());
        let answered = AssertUnwindSafe(self.pass(request)).catch_unwind();
        let answered = answered.instrument(span).await;
        let mut response = answered.unwrap_or_else(|panic| panic_as_problem(&*panic));
        let headers = response.headers_mut();
        add_browser_headers(headers);
        if let Ok(id) = HeaderValue::try_from(id) {
            headers.insert("x-request-id", id);
        }
        response
    }

    async fn pass(&self, request: Request) -> Response {
        if !self.hosts.are_named(request.uri(), request.headers()) {
            let detail = "this server does not go by that host name; set allowed_hosts if it should";
            return Problem::new(StatusCode::FORBIDDEN, "HOST_NOT_ALLOWED", detail).into_response();
        }
        // Web pages have more to be told: what they may read of the answer.
        let is_of_page = request.headers().contains_key(header::ORIGIN);
        if request.uri().path() == MCP_PATH && !is_of_page {
            return self.door.answer(request).await;
        }
        let Ok(response) = self.rooms.clone().oneshot(request).await;
        response
    }
}

impl Service<Request> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let inside = self.0.clone();
        Box::pin(async move { Ok(inside.answer(request).await) })
    }
}

/// What is answered when a handler panicked. The panic itself is on stderr; the log gets one line with its text.
fn panic_as_problem(panic: &(dyn Any + Send)) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    Problem::internal("a handler panicked", &text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_by_name_and_port_and_by_nothing_that_only_looks_like_it() {
        let allowed = ["127.0.0.1:3069", "localhost", "[::1]:3069"];
        let hosts = KnownHosts::new(&allowed.map(ToOwned::to_owned));
        let is_known = |authority: &str| hosts.knows(authority);
        for known in [
            "127.0.0.1:3069",
            "localhost",
            "LOCALHOST:80",
            "localhost:3069",
            "[::1]:3069",
        ] {
            assert!(is_known(known), "{known}");
        }
        for foreign in [
            "",
            "evil.example",
            "127.0.0.1",
            "127.0.0.1:3070",
            "localhost.",
            "localhost.evil.example",
            "evil.example@localhost",
            "localhost@evil.example",
            "[::1]",
            "local host",
            "127.0.0.1:3069, evil.example",
        ] {
            assert!(!is_known(foreign), "{foreign}");
        }
    }

    #[test]
    fn two_host_headers_must_both_be_ours() {
        let mut headers = HeaderMap::new();
        let hosts = KnownHosts::new(&["localhost".to_owned()]);
        let uri = Uri::from_static("/health");
        assert!(!hosts.are_named(&uri, &headers));
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert!(hosts.are_named(&uri, &headers));
        headers.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert!(!hosts.are_named(&uri, &headers));
    }
}
