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
use super::fault::Fault;
use super::turn::Turn;

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
    /// On the clock's monotonic scale.
    paused_until: Mutex<Duration>,
}

/// All endpoints of one process.
#[derive(Debug, Default)]
pub struct Endpoints(BTreeMap<(Api, String, String), Arc<Endpoint>>);

impl Endpoints {
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
        if let Some(known) = self.0.get(&place) {
            return Ok(known.clone());
        }
        let endpoint = Arc::new(Endpoint::open(api, base_url, key)?);
        self.0.insert(place, endpoint.clone());
        Ok(endpoint)
    }
}

impl Endpoint {
    fn open(api: Api, base_url: String, key: Option<&SecretString>) -> Result<Self, EndpointError> {
        let url = reqwest::Url::parse(&base_url).ok();
        if !url.is_some_and(|url| ["http", "https"].contains(&url.scheme())) {
            return Err(EndpointError::BaseUrl(base_url));
        }
        Ok(Self {
            api,
            headers: api.headers(key).map_err(|_| EndpointError::Key(api.as_str()))?,
            http: crate::stage::http_client(&base_url, CONNECT_WITHIN)?,
            base_url,
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
        self.api
            .read(&answer)
            .map_err(|lacks| Fault::unreadable(&format!("it lacks {lacks}")))
    }
}
