//! Model servers that are none: they check requests as strictly as the real ones, answer as a test says, fail in every
//! way the real ones do, and keep a bill of their own.
//!
//! A request that the real API would refuse is refused with 400 and kept in [`FakeModel::faults`], so that a test that
//! forgets to look at statuses still fails when it asks.

mod anthropic;
mod openai;
mod reply;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::Value;

pub use reply::Reply;

/// The key that these servers take.
const KEY: &str = "sk-test-of-this-fake-alone";

/// Which API a [`FakeModel`] speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FakeApi {
    /// Anthropic's Messages.
    Anthropic,
    /// Chat Completions.
    OpenAi,
}

type Director = Box<dyn Fn(&Value) -> Reply + Send + Sync>;

/// A running fake.
pub struct FakeModel {
    address: SocketAddr,
    stage: Arc<Stage>,
    server: tokio::task::JoinHandle<()>,
}

struct Stage {
    api: FakeApi,
    directed: Director,
    state: Mutex<Play>,
}

/// What has happened.
#[derive(Debug, Default)]
struct Play {
    next: VecDeque<Reply>,
    requests: Vec<Value>,
    faults: Vec<String>,
    bill_micro_usd: f64,
    answers: u64,
    in_flight: usize,
    in_flight_most: usize,
}

impl fmt::Debug for FakeModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeModel")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Drop for FakeModel {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeModel {
    /// Starts one that gives the replies handed to [`FakeModel::then`] in order, and says that it is done after them.
    pub async fn start(api: FakeApi) -> Self {
        Self::directed(api, |_| Reply::say("Done for today.")).await
    }

    /// Starts one whose replies, once those of [`FakeModel::then`] are used up, follow from the request.
    ///
    /// # Panics
    /// When there is no free port.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    #[expect(clippy::disallowed_methods, reason = "the server ends with this value")]
    pub async fn directed(api: FakeApi, director: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Self {
        let stage = Arc::new(Stage {
            api,
            directed: Box::new(director),
            state: Mutex::default(),
        });
        let path = match api {
            FakeApi::Anthropic => "/v1/messages",
            FakeApi::OpenAi => "/v1/chat/completions",
        };
        let router = axum::Router::new()
            .route(path, axum::routing::post(answer))
            .with_state(stage.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            // An error ends the server, and the test sees that nobody answers.
            let _ = axum::serve(listener, router).await;
        });
        Self {
            address,
            stage,
            server,
        }
    }

    /// What a client is given as base URL.
    pub fn base_url(&self) -> String {
        match self.stage.api {
            FakeApi::Anthropic => format!("http://{}", self.address),
            FakeApi::OpenAi => format!("http://{}/v1", self.address),
        }
    }

    /// The key it takes.
    pub fn key() -> &'static str {
        KEY
    }

    /// Adds the next reply.
    pub fn then(&self, reply: Reply) {
        self.stage.play().next.push_back(reply);
    }

    /// Every request body so far, refused ones too.
    pub fn requests(&self) -> Vec<Value> {
        self.stage.play().requests.clone()
    }

    /// What was wrong with requests that the real API refuses.
    pub fn faults(&self) -> Vec<String> {
        self.stage.play().faults.clone()
    }

    /// Millionths of a dollar it would charge: for every answer it worked out, whether it arrived or not, by the
    /// prices of [`FakeModel::price_list`].
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a bill is small and not negative"
    )]
    pub fn bill_micro_usd(&self) -> u64 {
        self.stage.play().bill_micro_usd.ceil() as u64
    }

    /// The most requests that were ever in flight together.
    pub fn in_flight_most(&self) -> usize {
        self.stage.play().in_flight_most
    }

    /// What the model `fake-model` costs, as a price list.
    pub fn price_list() -> String {
        let (input, output) = reply::PRICES;
        format!(
            "[[price]]\nmodel = \"fake-model\"\neffective_from = \"2020-01-01\"\ninput = {input:?}\noutput = {output:?}\n"
        )
    }
}

impl Stage {
    fn play(&self) -> MutexGuard<'_, Play> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, headers: &HeaderMap, body: &Value) -> Result<(), (StatusCode, String)> {
        match self.api {
            FakeApi::Anthropic => anthropic::check(headers, body, KEY),
            FakeApi::OpenAi => openai::check(headers, body, KEY),
        }
    }
}

/// Counts a request while it is in flight, however it ends.
struct InFlight(Arc<Stage>);

impl InFlight {
    fn count(stage: &Arc<Stage>) -> Self {
        let mut play = stage.play();
        play.in_flight += 1;
        play.in_flight_most = play.in_flight_most.max(play.in_flight);
        drop(play);
        Self(stage.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.play().in_flight -= 1;
    }
}

async fn answer(State(stage): State<Arc<Stage>>, headers: HeaderMap, body: Bytes) -> Response {
    let _counted = InFlight::count(&stage);
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        stage.play().faults.push("the body is no JSON".to_owned());
        return reply::refusal(stage.api, StatusCode::BAD_REQUEST, "the body is no JSON");
    };
    if let Err((status, fault)) = stage.check(&headers, &request) {
        let mut play = stage.play();
        play.requests.push(request);
        play.faults.push(fault.clone());
        drop(play);
        return reply::refusal(stage.api, status, &fault);
    }
    let (planned, number) = {
        let mut play = stage.play();
        play.answers += 1;
        (play.next.pop_front(), play.answers)
    };
    let planned = planned.unwrap_or_else(|| (stage.directed)(&request));
    let delivery = planned.deliver(stage.api, &request, number, body.len());
    {
        // Together: whoever sees the request sees what it costs.
        let mut play = stage.play();
        play.requests.push(request);
        play.bill_micro_usd += delivery.micro_usd;
    }
    delivery.send().await
}
