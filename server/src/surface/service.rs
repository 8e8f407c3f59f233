//! The micro service: takes questions, answers them a few at a time, and counts.
//!
//! Written here and not with the client's own service module because of where answers go: that one publishes to any
//! subject an asker names (see [`is_reply_subject`]), and begins a task for every message.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use events::{CONTROL_PREFIX, Clock as _, QUERY_PREFIX};
use futures::{StreamExt as _, stream};
use metrics::counter;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::discovery::{Discovery, EndpointNumbers};
use super::endpoint::{Endpoint, Kind, QUEUE, SERVICE_NAME};
use super::permissions::is_reply_subject;
use super::refusal::Refusal;
use super::{Surface, queries};
use crate::http::TICK_TIME_LIMIT;

/// Questions answered at once; the rest wait in the subscription, and what does not fit there is dropped.
const QUERIES_AT_ONCE: usize = 8;
/// Orders carried out at once. Ticks take minutes, and a pause must not wait for one.
const CONTROLS_AT_ONCE: usize = 4;
/// How long a question may take.
const QUERY_WITHIN: Duration = Duration::from_secs(10);
/// Bytes an answer may have.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Service {
    shared: Arc<Shared>,
    questions: Vec<Subscriber>,
}

#[derive(Debug)]
struct Shared {
    surface: Surface,
    discovery: Discovery,
    queries: Semaphore,
    controls: Semaphore,
    numbers: Mutex<BTreeMap<&'static str, EndpointNumbers>>,
}

impl Service {
    /// Subscribes; nothing is answered before it runs.
    ///
    /// # Errors
    /// What the client said.
    pub(super) async fn subscribe(surface: &Surface) -> Result<Self, String> {
        let client = &surface.client;
        let discovery = Discovery::new(surface);
        let mut questions = Vec::new();
        for prefix in [QUERY_PREFIX, CONTROL_PREFIX] {
            // Instances share their questions: each is answered once.
            let subscribed = client
                .queue_subscribe(format!("{prefix}.>"), QUEUE.to_owned())
                .await;
            questions.push(subscribed.map_err(|error| error.to_string())?);
        }
        for subject in discovery.subjects() {
            let subscribed = client.subscribe(subject).await;
            questions.push(subscribed.map_err(|error| error.to_string())?);
        }
        client.flush().await.map_err(|error| error.to_string())?;
        Ok(Self {
            shared: Arc::new(Shared {
                surface: surface.clone(),
                discovery,
                queries: Semaphore::new(QUERIES_AT_ONCE),
                controls: Semaphore::new(CONTROLS_AT_ONCE),
                numbers: Mutex::default(),
            }),
            questions,
        })
    }

    /// Answers until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), String> {
        let answering = TaskTracker::new();
        let mut subscriptions = Vec::new();
        for questions in self.questions {
            subscriptions.push(answer_each(self.shared.clone(), questions, answering.clone()));
        }
        let all = stream::iter(subscriptions).for_each_concurrent(None, |answered| answered);
        tokio::select! {
            // A subscription that ends, ends with the connection; the house is closing then.
            () = all => {}
            // What is being answered is dropped: nobody waits for a house that is gone.
            () = stop.cancelled() => {}
        }
        Ok(())
    }
}

/// Takes one question after the other, each once there is room to answer it.
async fn answer_each(shared: Arc<Shared>, mut questions: Subscriber, answering: TaskTracker) {
    while let Some(question) = questions.next().await {
        let Some(reply) = question.reply.clone() else {
            continue;
        };
        if !is_reply_subject(&reply) {
            counter!("dramatis_nats_questions_total", "outcome" => "refused").increment(1);
            tracing::debug!("a question named a subject for its answer that is no inbox");
            continue;
        }
        if question.subject.starts_with("$SRV.") {
            let numbers = shared.numbers();
            let answer = shared.discovery.answer(&question.subject, &numbers);
            if let Some(answer) = answer {
                shared.send(reply.to_string(), None, answer.to_string()).await;
            }
            continue;
        }
        let room = if question.subject.starts_with(CONTROL_PREFIX) {
            &shared.controls
        } else {
            &shared.queries
        };
        // It is never closed.
        let Ok(permit) = room.acquire().await else { return };
        permit.forget();
        let shared = shared.clone();
        // Dropping the handle is fine: the permit comes back however it ends, and the tracker ends with the service.
        drop(answering.spawn(async move {
            let _room = Room(&shared, question.subject.starts_with(CONTROL_PREFIX));
            shared.answer(&question, reply.to_string()).await;
        }));
    }
}

/// A place among those answered at once, given back when dropped.
struct Room<'a>(&'a Shared, bool);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let room = if self.1 { &self.0.controls } else { &self.0.queries };
        room.add_permits(1);
    }
}

impl Shared {
    async fn answer(&self, question: &Message, reply: String) {
        let clock = &self.surface.app.clock;
        let begin = clock.monotonic();
        let endpoint = Endpoint::at(&question.subject);
        let answer = match endpoint {
            Some(endpoint) => self.in_time(endpoint, &question.payload).await,
            None => Err(Refusal::new(
                404,
                "NOT_FOUND",
                format!("nothing answers there; `nats micro info {SERVICE_NAME}` lists what does"),
            )),
        };
        let took = clock.monotonic().saturating_sub(begin);
        let outcome = if answer.is_ok() { "ok" } else { "error" };
        counter!("dramatis_nats_questions_total", "outcome" => outcome).increment(1);
        if let Some(endpoint) = endpoint {
            let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
            let error = answer.as_ref().err().map(|refusal| refusal.code.clone());
            numbers.entry(endpoint.name).or_default().count(took, error);
        }
        match answer {
            Ok(text) => self.send(reply, None, text).await,
            Err(refusal) => {
                self.send(reply, Some(refusal.headers()), refusal.body().to_string())
                    .await;
            }
        }
    }

    async fn in_time(&self, endpoint: &Endpoint, question: &[u8]) -> Result<String, Refusal> {
        let within = match endpoint.kind {
            Kind::Query => QUERY_WITHIN,
            Kind::Control => TICK_TIME_LIMIT,
        };
        let answer = queries::answer(&self.surface, endpoint, question);
        let answer = tokio::time::timeout(within, Box::pin(answer))
            .await
            .map_err(|_| Refusal::new(503, "TIMEOUT", "it took too long; try again"))??;
        let text = answer.to_string();
        if text.len() > ANSWER_BYTES_MAX {
            let detail = "the answer is too large; ask for less with `limit`";
            return Err(Refusal::new(413, "ANSWER_TOO_LARGE", detail));
        }
        Ok(text)
    }

    /// A lost answer is asked for again; it is no reason to stop.
    async fn send(&self, reply: String, headers: Option<async_nats::HeaderMap>, text: String) {
        let headers = headers.unwrap_or_default();
        let sent = self
            .surface
            .client
            .publish_with_headers(reply, headers, text.into());
        if let Err(error) = sent.await {
            tracing::debug!(%error, "an answer was not sent");
        }
    }

    fn numbers(&self) -> BTreeMap<&'static str, EndpointNumbers> {
        self.numbers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
