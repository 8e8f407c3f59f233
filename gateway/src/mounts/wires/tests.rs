use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;

use http_body_util::BodyExt as _;
use testkit::wait_until_async;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::*;

const SOON: Duration = Duration::from_secs(20);
const BRIEF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BRIEF_AND_OVER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
/// A stream whose end is not there yet.
const BEGUN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
const ENDED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n5\r\nrest!\r\n0\r\n\r\n";

/// A server that answers every request with the same bytes.
struct Server {
    address: SocketAddr,
    made: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            made: Arc::default(),
            open: Arc::default(),
            requests: Arc::default(),
        };
        let tasks = TaskTracker::new();
        let (made, open, requests) = (server.made.clone(), server.open.clone(), server.requests.clone());
        let (spawn, accepting) = (tasks.clone(), async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                made.fetch_add(1, Ordering::SeqCst);
                open.fetch_add(1, Ordering::SeqCst);
                let (open, requests) = (open.clone(), requests.clone());
                tasks.spawn(async move {
                    let mut read = Vec::new();
                    while let Ok(1..) = stream.read_buf(&mut read).await {
                        // Requests of these tests have no body.
                        if read.ends_with(b"\r\n\r\n") {
                            read.clear();
                            requests.fetch_add(1, Ordering::SeqCst);
                            stream.write_all(answer.as_bytes()).await.unwrap();
                            if answer == BRIEF_AND_OVER {
                                break;
                            }
                        }
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        spawn.spawn(accepting);
        server
    }

    fn count(&self) -> (usize, usize) {
        (
            self.made.load(Ordering::SeqCst),
            self.requests.load(Ordering::SeqCst),
        )
    }

    async fn has_open(&self, connections: usize) -> bool {
        wait_until_async(SOON, async || self.open.load(Ordering::SeqCst) == connections).await
    }
}

struct Client {
    wires: Wires,
    origin: Origin,
}

impl Client {
    fn of(server: &Server) -> Self {
        let uri = format!("http://{}/mcp?x=1", server.address).parse().unwrap();
        Self {
            wires: Wires::new(Lookup { allow_private: true }),
            origin: Origin::try_new(&uri).unwrap(),
        }
    }

    async fn send(&self, now: u64) -> (Answer, Enough) {
        let request = Request::new(Full::default());
        let sent = self.wires.send(&self.origin, request, Duration::from_secs(now));
        let (response, enough) = sent.await.unwrap();
        assert_eq!(response.status(), 200);
        (response.into_body(), enough)
    }

    async fn ask(&self, now: u64) -> Bytes {
        let (answer, _) = self.send(now).await;
        answer.collect().await.unwrap().to_bytes()
    }
}

#[tokio::test]
async fn an_answer_that_is_read_leaves_its_connection_to_the_next_request() {
    let server = Server::start(BRIEF).await;
    let client = Client::of(&server);
    for _ in 0..5 {
        assert_eq!(client.ask(0).await, "ok");
    }
    assert_eq!(server.count(), (1, 5));
    let (one, other) = tokio::join!(client.ask(0), client.ask(0));
    assert_eq!((one, other), (Bytes::from("ok"), Bytes::from("ok")));
    assert_eq!(server.count(), (2, 7), "two at once need two");
}

#[tokio::test]
async fn a_connection_that_has_rested_for_long_is_not_used_again() {
    let server = Server::start(BRIEF).await;
    let client = Client::of(&server);
    client.ask(0).await;
    client.ask(30).await;
    assert_eq!(server.count(), (1, 2));
    client.ask(61).await;
    assert_eq!(server.count(), (2, 3));
    assert!(server.has_open(1).await, "the old one is closed");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_costs_no_answer() {
    let server = Server::start(BRIEF_AND_OVER).await;
    let client = Client::of(&server);
    for sent in 1..=3 {
        assert_eq!(client.ask(0).await, "ok");
        assert_eq!(server.count(), (sent, sent));
    }
}

#[tokio::test]
async fn an_answer_that_is_given_up_takes_its_connection_along_and_one_that_was_enough_does_not() {
    let server = Server::start(ENDED).await;
    let client = Client::of(&server);
    drop(client.send(0).await);
    assert!(server.has_open(0).await, "the server learns of it");
    for sent in 2..=4 {
        let (mut answer, enough) = client.send(0).await;
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "ok");
        enough.say();
        drop(answer);
        assert_eq!(server.count(), (2, sent));
    }
}

#[tokio::test]
async fn a_stream_that_goes_on_is_in_nobody_elses_way() {
    let server = Server::start(BEGUN).await;
    let client = Client::of(&server);
    for made in 1..=3 {
        let (mut answer, enough) = client.send(0).await;
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "ok");
        enough.say();
        drop(answer);
        assert_eq!(server.count(), (made, made));
    }
    assert!(server.has_open(1).await, "what cannot be used is closed");
}

#[tokio::test]
async fn no_more_than_so_many_connections_rest() {
    let server = Server::start(BRIEF).await;
    let client = Client::of(&server);
    let all = (0..IDLE_MAX + 8).map(|_| client.ask(0));
    futures::future::join_all(all).await;
    assert!(server.has_open(IDLE_MAX).await);
}
