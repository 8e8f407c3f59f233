//! The bridge's side of the gateway: one session, opened again when it is lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::events::Clock;
use futures::StreamExt as _;
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::events::Events;
use super::{INTERNAL_ERROR, Out, Token, error};
use crate::exit::CommandError;

/// The first revision without sessions.
const STATELESS_SINCE: &str = "2026-07-28";
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// How long the gateway may be away, and how often it is looked for meanwhile.
const AWAY_FOR: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often a broken stream is taken up again.
const RESUMED_MAX: usize = 5;
/// How long a goodbye may take.
const END_WITHIN: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    http: reqwest::Client,
    url: String,
    token: Token,
    space: Option<String>,
    out: Out,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    standing: TaskTracker,
}

#[derive(Debug, Clone, Default)]
struct State {
    id: Option<String>,
    version: Option<String>,
    hello: Option<Value>,
    is_stateless: bool,
    /// The gateway forgot our session and has opened no other one yet.
    is_lost: bool,
}

/// Why a message has no answer.
enum Lost {
    /// The gateway does not know our session any more.
    Session,
    /// In words, for the client.
    Told(String),
}

impl Session {
    pub(super) fn new(
        url: String,
        token: Token,
        space: Option<String>,
        out: Out,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CommandError> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            // Our token is for this address alone.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| CommandError::Failed(error.to_string()))?;
        Ok(Self {
            http,
            url,
            token,
            space,
            out,
            clock,
            state: Mutex::default(),
            standing: TaskTracker::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the client speaks the revision without sessions.
    pub(super) fn is_stateless(&self) -> bool {
        self.state().is_stateless
    }

    /// Posts a message and writes what is answered.
    pub(super) async fn pass(self: &Arc<Self>, message: &Value) -> Result<(), CommandError> {
        let id = message
            .get("id")
            .filter(|_| message.get("method").is_some())
            .cloned();
        if let Some(version) = version_of(message) {
            self.state().is_stateless = version >= STATELESS_SINCE;
        }
        let is_hello = message["method"] == "initialize";
        if is_hello {
            self.state().hello = Some(message.clone());
        }
        // Without a session there is nothing the gateway could answer.
        let mut passed = if self.state().is_lost && !is_hello {
            Err(Lost::Session)
        } else {
            self.post(message).await
        };
        if matches!(passed, Err(Lost::Session)) && !is_hello {
            passed = match self.begin_again().await {
                Ok(()) => self.post(message).await,
                Err(lost) => Err(lost),
            };
        }
        match (passed, id) {
            (Ok(()), _) => {
                if is_hello {
                    self.listen();
                }
                Ok(())
            }
            (Err(lost), Some(id)) => self.out.say(&error(&id, INTERNAL_ERROR, &lost.told())).await,
            (Err(lost), None) => {
                tracing::warn!("a notification was lost: {}", lost.told());
                Ok(())
            }
        }
    }

    async fn post(&self, message: &Value) -> Result<(), Lost> {
        let is_hello = message["method"] == "initialize";
        let response = self
            .reach(|| self.http.post(&self.url).json(message), Some(message))
            .await?;
        if is_hello {
            let id = response.headers().get("mcp-session-id");
            let id = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
            let mut state = self.state();
            (state.id, state.is_lost) = (id, false);
        }
        let status = response.status();
        if status == StatusCode::ACCEPTED || status == StatusCode::NO_CONTENT {
            return Ok(());
        }
        if status == StatusCode::NOT_FOUND && self.state().id.is_some() {
            return Err(Lost::Session);
        }
        let kind = response.headers().get("content-type");
        let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        if is_stream {
            return self.stream(response, message.get("id")).await;
        }
        let text = response.text().await.map_err(|error| told(&error))?;
        match serde_json::from_str::<Value>(&text) {
            Ok(mut answer) if answer.get("jsonrpc").is_some() => {
                if answer.get("error").is_some() && answer.get("id").is_none_or(Value::is_null) {
                    answer["id"] = message.get("id").cloned().unwrap_or_default();
                }
                self.answered(&answer).await
            }
            Ok(problem) => Err(Lost::Told(said(status, problem["detail"].as_str()))),
            Err(_) => Err(Lost::Told(said(status, None))),
        }
    }

    /// Writes the events of a stream, and takes it up again when it breaks off before the answer to `id`.
    async fn stream(&self, mut response: Response, id: Option<&Value>) -> Result<(), Lost> {
        let mut last = None;
        for _ in 0..=RESUMED_MAX {
            let (mut events, mut chunks) = (Events::default(), response.bytes_stream());
            while let Some(Ok(chunk)) = chunks.next().await {
                for event in events.take(&chunk) {
                    last = event.id.or(last);
                    let Ok(message) = serde_json::from_str::<Value>(&event.data) else {
                        continue;
                    };
                    let is_answer = message.get("method").is_none() && message.get("id") == id;
                    self.answered(&message).await?;
                    if is_answer {
                        return Ok(());
                    }
                }
            }
            let (Some(event), Some(_)) = (&last, &self.state().id.clone()) else {
                break;
            };
            let event = event.clone();
            response = self
                .reach(|| self.http.get(&self.url).header("last-event-id", &event), None)
                .await?;
            if !response.status().is_success() {
                break;
            }
        }
        Err(Lost::Told(
            "the connection broke before the answer came".to_owned(),
        ))
    }

    async fn answered(&self, message: &Value) -> Result<(), Lost> {
        if let Some(version) = message["result"]["protocolVersion"].as_str() {
            self.state().version = Some(version.to_owned());
        }
        let said = self.out.say(message).await;
        said.map_err(|error| Lost::Told(error.to_string()))
    }

    /// Opens another session with what the client said when it opened the first, unseen by the client.
    async fn begin_again(&self) -> Result<(), Lost> {
        let Some(mut hello) = self.state().hello.clone() else {
            return Err(Lost::Session);
        };
        hello["id"] = json!("bridge");
        {
            let mut state = self.state();
            (state.id, state.is_lost) = (None, true);
        }
        let response = self
            .reach(|| self.http.post(&self.url).json(&hello), Some(&hello))
            .await?;
        let id = response.headers().get("mcp-session-id");
        self.state().id = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        if self.state().id.is_none() {
            return Err(Lost::Told(said(response.status(), None)));
        }
        self.state().is_lost = false;
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.reach(|| self.http.post(&self.url).json(&ready), Some(&ready))
            .await
            .map(drop)
    }

    /// Follows the standing stream of the session, on which the gateway speaks without being asked.
    fn listen(self: &Arc<Self>) {
        if self.state().id.is_none() {
            return;
        }
        let session = self.clone();
        drop(self.standing.spawn(async move {
            loop {
                let begun = session.state().id.clone();
                let Ok(response) = session.reach(|| session.http.get(&session.url), None).await else {
                    return;
                };
                if response.status() == StatusCode::METHOD_NOT_ALLOWED || begun.is_none() {
                    return;
                }
                if response.status().is_success() {
                    let (mut events, mut chunks) = (Events::default(), response.bytes_stream());
                    while let Some(Ok(chunk)) = chunks.next().await {
                        for event in events.take(&chunk) {
                            if let Ok(message) = serde_json::from_str::<Value>(&event.data) {
                                // When standard output is gone the reader of standard input ends us.
                                drop(session.out.say(&message).await);
                            }
                        }
                    }
                }
                session.clock.sleep(LOOK_EVERY).await;
            }
        }));
    }

    /// Sends a request until the gateway is reached. What was not sent can be sent again.
    async fn reach(
        &self,
        request: impl Fn() -> RequestBuilder,
        message: Option<&Value>,
    ) -> Result<Response, Lost> {
        let start = self.clock.monotonic();
        let mut has_read_again = false;
        loop {
            let token = self.token.read().map_err(Lost::Told)?;
            let sent = self.dressed(request(), message, &token).send().await;
            let is_old_token = |response: &Response| response.status() == StatusCode::UNAUTHORIZED;
            match sent {
                Ok(response) if is_old_token(&response) && !has_read_again && self.token.may_change() => {
                    has_read_again = true;
                }
                Ok(response) => return Ok(response),
                Err(error)
                    if error.is_connect() && self.clock.monotonic().saturating_sub(start) < AWAY_FOR =>
                {
                    tracing::warn!("the gateway cannot be reached; trying again");
                }
                Err(error) => return Err(told(&error)),
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    fn dressed(
        &self,
        request: RequestBuilder,
        message: Option<&Value>,
        token: &SecretString,
    ) -> RequestBuilder {
        let state = self.state().clone();
        let mut request = request
            .header("accept", "application/json, text/event-stream")
            .bearer_auth(token.expose_secret());
        if let Some(space) = &self.space {
            request = request.header("x-mana-space", space);
        }
        let own_version = message.and_then(version_of).map(str::to_owned);
        let is_stateless = own_version.is_some();
        let is_hello = message.is_some_and(|message| message["method"] == "initialize");
        if let Some(version) = own_version.or(state.version).filter(|_| !is_hello) {
            request = request.header("mcp-protocol-version", version);
        }
        if let Some(message) = message.filter(|_| is_stateless) {
            let params = &message["params"];
            let name = params["name"].as_str().or_else(|| params["uri"].as_str());
            let headers = [("mcp-method", message["method"].as_str()), ("mcp-name", name)];
            for (header, value) in headers {
                if let Some(value) = value {
                    request = request.header(header, in_header(value));
                }
            }
            return request;
        }
        match state.id.filter(|_| !is_hello) {
            Some(id) => request.header("mcp-session-id", id),
            None => request,
        }
    }

    /// Ends the session in good order.
    pub(super) async fn end(&self) {
        if self.state().id.is_none() {
            return;
        }
        let goodbye = self.reach(|| self.http.delete(&self.url), None);
        // Whichever is first: the gateway ends what rests by itself.
        tokio::select! {
            _ = goodbye => {}
            () = self.clock.sleep(END_WITHIN) => {}
        }
    }
}

impl Token {
    fn read(&self) -> Result<SecretString, String> {
        match self {
            Self::Given(token) => Ok(token.clone()),
            Self::File(file) => std::fs::read_to_string(file)
                .map(|token| SecretString::from(token.trim()))
                .map_err(|error| format!("the token cannot be read from {}: {error}", file.display())),
        }
    }

    fn may_change(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

impl Lost {
    fn told(&self) -> String {
        match self {
            Self::Session => "the session is gone and could not be opened again".to_owned(),
            Self::Told(told) => told.clone(),
        }
    }
}

/// The revision a message of the later era names.
fn version_of(message: &Value) -> Option<&str> {
    message["params"]["_meta"][VERSION].as_str()
}

/// Text that no header may hold is written as the revision says.
fn in_header(value: &str) -> String {
    use base64::Engine as _;
    let is_plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && value.trim() == value;
    if is_plain && !value.starts_with("=?") {
        return value.to_owned();
    }
    let coded = base64::engine::general_purpose::STANDARD.encode(value);
    format!("=?base64?{coded}?=")
}

fn told(error: &reqwest::Error) -> Lost {
    let what = if error.is_connect() {
        "cannot be reached"
    } else {
        "broke off"
    };
    Lost::Told(format!("the gateway {what}"))
}

fn said(status: StatusCode, detail: Option<&str>) -> String {
    match detail {
        Some(detail) => format!("the gateway answered {status}: {detail}"),
        None => format!("the gateway answered {status}"),
    }
}
