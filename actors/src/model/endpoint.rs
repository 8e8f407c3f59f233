//! One model server with one key: the way there, and the pause that all who ask it share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::Clock;
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::api::Api;
use super::cassette::Cassette;
use super::fault::Fault;
use super::turn::{Turn, Usage};

/// How long a connection may take to open.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// What an answer may weigh at most; a server that sends more is not one.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where a model is asked.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The base URL is none.
    #[error("{0:?} is not an http or https address")]
    BaseUrl(String),
    /// The key holds what no header can.
    #[error("the {0} key cannot be sent in a header")]
    Key(&'static str),
    /// The HTTP client cannot be made.
    #[error("the HTTP client does not start: {0}")]
    Client(#[from] reqwest::Error),
}

/// One server with one key. Everybody who asks the same server with the same key shares one, and with it the pauses
/// that the server imposes.
#[derive(Debug)]
pub struct Endpoint {
    api: Api,
    base_url: String,
    headers: HeaderMap,
    http: reqwest::Client,
    /// Where conversations are put down, or taken from instead of the server.
    cassette: Option<Arc<Cassette>>,
    /// What must never be on a cassette.
    key: Option<SecretString>,
    /// On the clock's monotonic scale.
    paused_until: Mutex<Duration>,
}

/// All endpoints of one process.
#[derive(Debug, Default)]
pub struct Endpoints {
    known: BTreeMap<(Api, String, String), Arc<Endpoint>>,
    cassette: Option<Arc<Cassette>>,
}

impl Endpoints {
    /// The same, whose conversations are put down on `cassette` or taken from it.
    #[must_use]
    pub fn with_cassette(mut self, cassette: Arc<Cassette>) -> Self {
        self.cassette = Some(cassette);
        self
    }

    /// The endpoint of that base URL and key; the same one for the same two.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn of(
        &mut self,
        api: Api,
        base_url: &str,
        key: Option<&SecretString>,
    ) -> Result<Arc<Endpoint>, EndpointError> {
        let base_url = base_url.trim_end_matches('/').to_owned();
        let secret = key.map(|key| key.expose_secret().to_owned()).unwrap_or_default();
        let place = (api, base_url.clone(), secret);
        if let Some(known) = self.known.get(&place) {
            return Ok(known.clone());
        }
        let endpoint = Arc::new(Endpoint::open(api, base_url, key, self.cassette.clone())?);
        self.known.insert(place, endpoint.clone());
        Ok(endpoint)
    }
}

impl Endpoint {
    fn open(
        api: Api,
        base_url: String,
        key: Option<&SecretString>,
        cassette: Option<Arc<Cassette>>,
    ) -> Result<Self, EndpointError> {
        let url = reqwest::Url::parse(&base_url).ok();
        if !url.is_some_and(|url| ["http", "https"].contains(&url.scheme())) {
            return Err(EndpointError::BaseUrl(base_url));
        }
        Ok(Self {
            api,
            headers: api.headers(key).map_err(|_| EndpointError::Key(api.as_str()))?,
            http: crate::stage::http_client(&base_url, CONNECT_WITHIN)?,
            base_url,
            cassette,
            key: key.cloned(),
            paused_until: Mutex::new(Duration::ZERO),
        })
    }

    /// Which API it speaks.
    pub(crate) fn api(&self) -> Api {
        self.api
    }

    /// Until when nobody may ask, on the clock's monotonic scale; in the past when anybody may.
    pub(crate) fn paused_until(&self) -> Duration {
        *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets nobody ask for `pause` from now on.
    pub(crate) fn pause(&self, clock: &dyn Clock, pause: Duration) {
        let until = clock.monotonic().saturating_add(pause);
        let mut paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        *paused = until.max(*paused);
    }

    /// Sends one request and reads the answer. It tries once; dropping it ends the connection.
    pub(crate) async fn send(&self, body: &Value, now: Timestamp) -> Result<Turn, Fault> {
        if let Some(cassette) = self.cassette.as_ref().filter(|cassette| cassette.plays()) {
            return self.play(cassette, body);
        }
        let unanswered = |error: reqwest::Error| {
            let was_sent = !error.is_connect();
            Fault::unanswered(crate::login::causes(&error.without_url()), was_sent)
        };
        let mut response = self
            .http
            .post(format!("{}{}", self.base_url, self.api.path()))
            .headers(self.headers.clone())
            .json(body)
            .send()
            .await
            .map_err(unanswered)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Fault::unreadable(&format!(
                    "it is longer than {ANSWER_BYTES_MAX} bytes"
                )));
            }
            answer.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(Fault::status(status, &headers, &answer, now));
        }
        let answer: Value = serde_json::from_slice(&answer).map_err(|error| {
            Fault::unreadable(&format!("line {} column {}", error.line(), error.column()))
        })?;
        if let Some(cassette) = &self.cassette {
            let key = self.key.as_ref().map(SecretString::expose_secret);
            if let Err(error) = cassette.record(body, &answer, key) {
                tracing::error!(%error, "an answer cannot be put on the cassette");
            }
        }
        self.read(&answer)
    }

    /// The recorded answer, which costs nothing.
    fn play(&self, cassette: &Cassette, body: &Value) -> Result<Turn, Fault> {
        let answer = cassette.play(body).map_err(Fault::not_recorded)?;
        let mut turn = self.read(&answer)?;
        turn.usage = Usage {
            input: Some(0),
            cached: Some(0),
            cache_write: Some(0),
            output: Some(0),
        };
        Ok(turn)
    }

    fn read(&self, answer: &Value) -> Result<Turn, Fault> {
        self.api
            .read(answer)
            .map_err(|lacks| Fault::unreadable(&format!("it lacks {lacks}")))
    }
}
