//! HTTP/1.1 to one server without a task for each connection: whoever waits for an answer moves its connection on. A
//! task in between costs two more wake-ups a call, often on another core
//! ([ADR 23](../../../docs/adr/0023-calls-of-mounted-tools-go-directly.md)).
//!
//! hyper speaks the protocol. What is ours is who polls it, and which connections wait for the next request.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service as _;

use super::address::Lookup;

/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Connections that wait for the next request.
const IDLE_MAX: usize = 32;
/// How long after its last request a connection is used again. Servers close theirs after a minute or so, and what
/// stands in between may forget it without a word.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// Bytes of an answer that nobody reads any more, for which its connection is kept all the same.
const LEFT_BYTES_MAX: usize = 16 * 1024;

/// Where a server is, as a request to it says.
#[derive(Debug)]
pub(super) struct Origin {
    whole: Uri,
    path: Uri,
    host: HeaderValue,
}

impl Origin {
    /// Of an `http:` address; none for another one.
    pub(super) fn try_new(whole: &Uri) -> Option<Self> {
        let authority = whole.authority().filter(|_| whole.scheme_str() == Some("http"))?;
        Some(Self {
            path: whole
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .parse()
                .ok()?,
            host: HeaderValue::from_str(authority.as_str()).ok()?,
            whole: whole.clone(),
        })
    }
}

/// The connections to one server. A handle that is cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Wires {
    connector: HttpConnector<Lookup>,
    idle: Arc<Mutex<VecDeque<Idle>>>,
}

/// Says of an answer that enough of it was read: what is left is nothing anybody waits for, and its connection may
/// serve again. Without it, an answer that is given up takes its connection along, by which the server learns of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Enough(Arc<AtomicBool>);

impl Enough {
    pub(super) fn say(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn was_said(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

type Connection = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

#[derive(Debug)]
struct Wire {
    sender: SendRequest<Full<Bytes>>,
    /// Gone once it has ended.
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Idle {
    wire: Box<Wire>,
    /// What is left of its last answer.
    left: Option<Incoming>,
    since: Duration,
}

impl Wires {
    pub(super) fn new(lookup: Lookup) -> Self {
        let mut connector = HttpConnector::new_with_resolver(lookup);
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        connector.set_nodelay(true);
        Self {
            connector,
            idle: Arc::default(),
        }
    }

    /// Sends `request` to the server at `origin`, which is always the same one, and gives the answer once its head is
    /// there. Nothing is sent twice; `now` is the monotonic time.
    pub(super) async fn send(
        &self,
        origin: &Origin,
        mut request: Request<Full<Bytes>>,
        now: Duration,
    ) -> io::Result<(Response<Answer>, Enough)> {
        *request.uri_mut() = origin.path.clone();
        request.headers_mut().insert(HOST, origin.host.clone());
        loop {
            let (mut wire, was_used) = match self.rested(now).await {
                Some(wire) => (wire, true),
                None => (Box::pin(self.connect(&origin.whole)).await?, false),
            };
            let sent = wire.sender.try_send_request(request);
            match wire.connection.drive(sent).await {
                Ok(response) => {
                    let enough = Enough::default();
                    let answer = |body| Answer {
                        body: Some(body),
                        wire: Mutex::new(Some(wire)),
                        home: self.clone(),
                        since: now,
                        enough: enough.clone(),
                    };
                    return Ok((response.map(answer), enough));
                }
                // The server had closed the connection meanwhile, and no byte of the request was written.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if was_used => request = unsent,
                    _ => return Err(io::Error::other(error.into_error())),
                },
            }
        }
    }

    /// A connection that is ready for a request now.
    async fn rested(&self, now: Duration) -> Option<Box<Wire>> {
        loop {
            let idle = {
                let mut all = self.idle();
                let last = all.pop_back()?;
                if now.saturating_sub(last.since) > IDLE_FOR {
                    // All others have waited longer.
                    all.clear();
                    return None;
                }
                last
            };
            if let Some(wire) = idle.get_ready().await {
                return Some(wire);
            }
        }
    }

    async fn connect(&self, to: &Uri) -> io::Result<Box<Wire>> {
        let mut connector = self.connector.clone();
        poll_fn(|cx| connector.poll_ready(cx))
            .await
            .map_err(io::Error::other)?;
        let stream = connector.call(to.clone()).await.map_err(io::Error::other)?;
        let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
        Ok(Box::new(Wire {
            sender,
            connection: Some(connection),
        }))
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rest(&self, idle: Idle) {
        let mut all = self.idle();
        all.push_back(idle);
        if all.len() > IDLE_MAX {
            all.pop_front();
        }
    }
}

/// Moving a connection on.
trait Drive {
    /// Reads and writes what can be.
    fn move_on(&mut self, cx: &mut Context<'_>);

    /// What `wanted` gives, which comes of moving the connection on.
    async fn drive<T>(&mut self, wanted: impl Future<Output = T>) -> T;
}

impl Drive for Option<Connection> {
    fn move_on(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = self
            && Pin::new(connection).poll(cx).is_ready()
        {
            // Whoever waits for something of it is told by its end.
            *self = None;
        }
    }

    async fn drive<T>(&mut self, wanted: impl Future<Output = T>) -> T {
        let mut wanted = pin!(wanted);
        poll_fn(|cx| {
            if let Poll::Ready(got) = wanted.as_mut().poll(cx) {
                return Poll::Ready(got);
            }
            self.move_on(cx);
            wanted.as_mut().poll(cx)
        })
        .await
    }
}

impl Idle {
    /// Its connection, if it can take a request now; nothing is waited for.
    async fn get_ready(mut self) -> Option<Box<Wire>> {
        let is_ready = poll_fn(|cx| {
            let is_ready = self.is_read(cx) && {
                self.wire.connection.move_on(cx);
                matches!(self.wire.sender.poll_ready(cx), Poll::Ready(Ok(())))
            };
            Poll::Ready(is_ready && self.wire.connection.is_some())
        });
        is_ready.await.then_some(self.wire)
    }

    /// Reads what is left of the last answer, as far as it is there; says whether that was all.
    fn is_read(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(body) = &mut self.left else {
            return true;
        };
        let mut bytes = 0;
        loop {
            match next_frame(body, &mut self.wire.connection, cx) {
                Poll::Ready(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, Bytes::len),
                Poll::Ready(None) => return true,
                Poll::Ready(Some(Err(_))) | Poll::Pending => return false,
            }
            if bytes > LEFT_BYTES_MAX {
                return false;
            }
        }
    }
}

fn next_frame(
    body: &mut Incoming,
    connection: &mut Option<Connection>,
    cx: &mut Context<'_>,
) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
    let frame = Pin::new(&mut *body).poll_frame(cx);
    if frame.is_ready() {
        return frame;
    }
    connection.move_on(cx);
    Pin::new(body).poll_frame(cx)
}

/// The body of an answer. Whoever reads it moves its connection on; read to its end, it leaves the connection to the
/// next request.
#[derive(Debug)]
pub(super) struct Answer {
    body: Option<Incoming>,
    /// Never locked: a body is to be shareable, and a connection is not.
    wire: Mutex<Option<Box<Wire>>>,
    home: Wires,
    since: Duration,
    enough: Enough,
}

impl Answer {
    fn let_go(&mut self, left: Option<Incoming>) {
        let since = self.since;
        let wire = self.wire.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(wire) = wire.take().filter(|wire| wire.connection.is_some()) {
            self.home.rest(Idle { wire, left, since });
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let answer = &mut *self;
        let (Some(body), Some(wire)) = (
            &mut answer.body,
            answer.wire.get_mut().unwrap_or_else(PoisonError::into_inner),
        ) else {
            return Poll::Ready(None);
        };
        let frame = next_frame(body, &mut wire.connection, cx);
        if matches!(frame, Poll::Ready(None)) {
            answer.let_go(None);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.enough.was_said() {
            let left = self.body.take();
            self.let_go(left);
        }
    }
}

#[cfg(test)]
mod tests;
