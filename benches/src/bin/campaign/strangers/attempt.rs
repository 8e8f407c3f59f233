//! Bob, and one attempt of his.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Map, Value, json};

use super::alice::{Alice, Kind};
use super::described::Operation;
use super::{Place, described, sharing};
use crate::tokens::initialize;

/// How long an answer may take; a stream that stays silent is no answer.
const WITHIN: Duration = Duration::from_secs(5);
/// How long one is listened to that is a stream, which says what it has at once.
const STREAM_WITHIN: Duration = Duration::from_millis(300);
/// Bytes of an answer that are looked at.
const BYTES_MAX: usize = 1 << 20;
const METHODS: [&str; 8] = [
    "initialize",
    "ping",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/read",
    "prompts/list",
    "notifications/cancelled",
];
/// Paths beside MCP, `{}` standing for something of Alice's.
const PATHS: [&str; 18] = [
    "/api/v1/me/encryption-vault/key",
    "/api/v1/me/encryption-vault/status",
    "/api/auth/organization/list",
    "/api/v1/admin/personas",
    "/api/v1/admin/personas/{}",
    "/api/v1/admin/report",
    "/api/v1/internal/personas/{}/actions",
    "/api/v1/internal/personas/due",
    "/sync/{}/pull",
    "/api/v1/spaces/{}",
    "/api/v1/spaces/{}/hand-over",
    "/api/v1/admin/seal/migrate",
    "/api/v1/admin/audit",
    "/api/v1/{}",
    "/mcp/{}",
    "/diag/{}",
    "/{}",
    "/api/v1/me/{}",
];

/// See the module.
pub(super) struct Bob {
    client: Client,
    api: String,
    token: String,
    session: String,
    /// Tools with their input schemas, as he is shown them.
    tools: Vec<(String, Value)>,
    /// Paths with their methods, as they are described.
    operations: Vec<Operation>,
    /// Which of them is next, or how many were tried.
    next: Cell<u64>,
    /// Whether his account is kept at this house.
    pub(super) keeps_his_account_here: bool,
    /// Whoever tries what would end Bob's own login, with a login of its own each time.
    throwaway: String,
}

/// What came of an attempt.
pub(super) struct Tried {
    pub(super) kind: String,
    pub(super) fault: Option<String>,
}

/// What may come back to an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    /// 403 or not found, or an error of another kind: nothing that says that it worked.
    BeRefused,
    /// His own, as it is a question he may ask: none of Alice's bytes, that is all.
    ShowHisOwn,
}

impl Bob {
    pub(super) async fn arrive(place: &Place<'_>, client: &Client) -> anyhow::Result<Self> {
        let named = |name: &str| format!("{name}-{}@example.org", place.name);
        let throwaway = named("dora");
        place.accounts.account(&throwaway).await?;
        let api = place.door.api();
        let mut bob = Self {
            client: client.clone(),
            token: place.accounts.account(&named("bob")).await?,
            session: String::new(),
            tools: Vec::new(),
            operations: described::all(client, &api).await?,
            next: Cell::new(0),
            keeps_his_account_here: place.keeps_its_accounts(),
            throwaway,
            api,
        };
        let opened = bob.mcp(Method::POST).json(&initialize()).send().await?;
        let session = opened
            .headers()
            .get("mcp-session-id")
            .context("he gets a session")?;
        session.to_str()?.clone_into(&mut bob.session);
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let listed = bob
            .mcp(Method::POST)
            .header("mcp-session-id", &bob.session)
            .json(&list);
        let listed = message(&listed.send().await?.text().await?);
        let tools = listed["result"]["tools"]
            .as_array()
            .context("he is shown tools")?;
        bob.tools = tools
            .iter()
            .filter_map(|tool| Some((tool["name"].as_str()?.to_owned(), tool["inputSchema"].clone())))
            .collect();
        Ok(bob)
    }

    /// His account's id, as his token says it.
    pub(super) fn id(&self) -> String {
        let payload = self.token.split('.').nth(1).unwrap_or_default();
        let claims = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
        let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
        claims["sub"].as_str().unwrap_or_default().to_owned()
    }

    /// A request of his own to any address.
    pub(super) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.api))
            .bearer_auth(&self.token)
    }

    fn mcp(&self, method: Method) -> RequestBuilder {
        self.client
            .request(method, format!("{}/mcp", self.api))
            .header("accept", "application/json, text/event-stream")
            .bearer_auth(&self.token)
    }

    /// Replays something of Alice's, somewhere.
    pub(super) async fn attempt(&self, alice: &Alice, dice: &mut ChaCha8Rng) -> Tried {
        let handle = &alice.handles[dice.random_range(0..alice.handles.len())];
        let text = handle.text.as_str();
        let aimed = match dice.random_range(0..18) {
            12..=14 => self.on_a_described_path(alice, dice).await,
            15 => sharing::grants(self, alice, dice).await,
            other => Ok(self.aimed(other, alice, text, dice)),
        };
        let (name, asked, may) = match aimed {
            Ok(aimed) => aimed,
            Err(error) => {
                return Tried {
                    kind: "on the way to an attempt".to_owned(),
                    fault: Some(format!("{error:#}")),
                };
            }
        };
        let kind = format!("{name}: {:?}", handle.kind);
        let (status, answered) = match self.answer(asked).await {
            Ok(answered) => answered,
            Err(fault) => {
                return Tried {
                    kind: name.to_owned(),
                    fault,
                };
            }
        };
        let leaked = alice
            .secrets
            .iter()
            .find(|secret| answered.contains(secret.as_str()));
        let fault = if leaked.is_some() {
            Some(format!("{kind}: something of Alice's came back with {status}"))
        } else if status >= 500 {
            Some(format!("{kind}: {status} {answered}"))
        } else if may == May::BeRefused && !is_refusal(status, &answered) {
            Some(format!("{kind}: it worked: {status} {answered}"))
        } else {
            None
        };
        Tried {
            kind: format!("{name}, {status}"),
            fault,
        }
    }

    /// One of those that need no preparation.
    fn aimed(
        &self,
        which: u32,
        alice: &Alice,
        text: &str,
        dice: &mut ChaCha8Rng,
    ) -> (&'static str, RequestBuilder, May) {
        match which {
            0..=2 => self.in_her_session(alice, text, dice),
            3..=4 => self.in_her_space(alice, text, dice),
            5..=6 => self.with_her_ids(alice, dice),
            7 => self.with_her_cursor(text, dice),
            8..=9 => sharing::sync(self, alice, dice),
            10..=11 => sharing::spaces(self, alice, dice),
            _ => self.on_other_paths(text, dice),
        }
    }

    /// The next of the paths and methods that are described.
    async fn on_a_described_path(
        &self,
        alice: &Alice,
        dice: &mut ChaCha8Rng,
    ) -> anyhow::Result<(&'static str, RequestBuilder, May)> {
        let number = self.next.replace(self.next.get() + 1);
        let operation = &self.operations[usize::try_from(number)? % self.operations.len()];
        let filled = operation.filled(alice, number, dice);
        let token = if operation.ends_its_caller() {
            self.throwaway_token().await?
        } else {
            self.token.clone()
        };
        let mut asked = self
            .client
            .request(filled.method, format!("{}{}", self.api, filled.path))
            .query(&filled.queries)
            .bearer_auth(token);
        if let Some(body) = &filled.body {
            asked = asked.json(body);
        }
        if dice.random_bool(0.2) {
            asked = asked.header("x-mana-space", of_kind(alice, Kind::Space).unwrap_or("x"));
        }
        Ok(("a described path", asked, filled.may))
    }

    async fn throwaway_token(&self) -> anyhow::Result<String> {
        let body = json!({"email": self.throwaway, "password": "a long enough password"});
        let asked = self.client.post(format!("{}/api/v1/auth/login", self.api));
        let login: Value = asked.json(&body).send().await?.error_for_status()?.json().await?;
        Ok(login["token"].as_str().context("login gives a token")?.to_owned())
    }

    /// Whether he is let in as ever: what is refused is refused because it is hers.
    ///
    /// # Errors
    /// When he is not: the trial shows nothing any more.
    pub(super) async fn goes_on(&self) -> anyhow::Result<()> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "todo.list", "arguments": {}}});
        let asked = self.mcp(Method::POST).header("mcp-session-id", &self.session);
        let told = asked.json(&body).send().await?.text().await?;
        let result = &message(&told)["result"];
        ensure!(
            result["structuredContent"]["tasks"].is_array(),
            "Bob is not let in any more: {told}"
        );
        Ok(())
    }

    /// Described paths and methods, and how many of them were tried.
    pub(super) fn described(&self) -> (usize, usize) {
        let tried = usize::try_from(self.next.get()).unwrap_or(usize::MAX);
        (self.operations.len(), tried.min(self.operations.len()))
    }

    /// Status, headers and body; `Err(None)` for a stream that says nothing.
    async fn answer(&self, asked: RequestBuilder) -> Result<(u16, String), Option<String>> {
        let told = |error: reqwest::Error| Some(error.to_string()).filter(|_| !error.is_timeout());
        let mut asked = asked.build().map_err(told)?;
        let is_stream = asked.method() == Method::GET && asked.url().path().ends_with("/stream");
        let within = if is_stream { STREAM_WITHIN } else { WITHIN };
        *asked.timeout_mut() = Some(within);
        let mut answer = self.client.execute(asked).await.map_err(told)?;
        let mut text = format!("{:?}\n", answer.headers());
        let status = answer.status().as_u16();
        while let Ok(Some(chunk)) = answer.chunk().await {
            text.push_str(&String::from_utf8_lossy(&chunk));
            if text.len() > BYTES_MAX {
                break;
            }
        }
        Ok((status, text))
    }

    fn in_her_session(
        &self,
        alice: &Alice,
        text: &str,
        dice: &mut ChaCha8Rng,
    ) -> (&'static str, RequestBuilder, May) {
        let session = of_kind(alice, Kind::Session).unwrap_or(text);
        let method = [
            Method::POST,
            Method::POST,
            Method::POST,
            Method::GET,
            Method::DELETE,
        ][dice.random_range(0..5)]
        .clone();
        let mut asked = self.mcp(method.clone()).header("mcp-session-id", session);
        if method == Method::POST {
            asked = asked.json(&self.message(text, dice));
        } else if method == Method::GET {
            let event = of_kind(alice, Kind::Event).unwrap_or(text);
            asked = asked.header("last-event-id", event);
        }
        ("her session", asked, May::BeRefused)
    }

    fn in_her_space(
        &self,
        alice: &Alice,
        text: &str,
        dice: &mut ChaCha8Rng,
    ) -> (&'static str, RequestBuilder, May) {
        let space = of_kind(alice, Kind::Space).unwrap_or(text);
        let asked = self.mcp(Method::POST).header("x-mana-space", space);
        let asked = if dice.random_bool(0.5) {
            asked
                .header("mcp-session-id", &self.session)
                .json(&self.message(text, dice))
        } else {
            let (tool, arguments) = self.call_with(text, dice);
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
                "name": tool, "arguments": arguments, "_meta": {
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities": {}}}});
            asked
                .header("mcp-protocol-version", "2026-07-28")
                .header("mcp-method", "tools/call")
                .header("mcp-name", tool)
                .json(&body)
        };
        ("her space", asked, May::BeRefused)
    }

    /// Calls in his own session with ids of hers: those that take an id are refused, the others show what is his.
    fn with_her_ids(&self, alice: &Alice, dice: &mut ChaCha8Rng) -> (&'static str, RequestBuilder, May) {
        let record = of_kind(alice, Kind::Record).unwrap_or("x");
        let call = of_kind(alice, Kind::Call).unwrap_or("x");
        let (tool, arguments) = self.call_with(record, dice);
        let may = if arguments.to_string().contains(record) {
            May::BeRefused
        } else {
            May::ShowHisOwn
        };
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": tool, "arguments": arguments, "_meta": {"dramatis/callId": call}}});
        let asked = self
            .mcp(Method::POST)
            .header("mcp-session-id", &self.session)
            .json(&body);
        ("her ids", asked, may)
    }

    fn with_her_cursor(&self, text: &str, dice: &mut ChaCha8Rng) -> (&'static str, RequestBuilder, May) {
        let method = ["tools/list", "resources/list", "prompts/list"][dice.random_range(0..3)];
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"cursor": text}});
        let asked = self
            .mcp(Method::POST)
            .header("mcp-session-id", &self.session)
            .json(&body);
        ("her cursor", asked, May::BeRefused)
    }

    fn on_other_paths(&self, text: &str, dice: &mut ChaCha8Rng) -> (&'static str, RequestBuilder, May) {
        let path = PATHS[dice.random_range(0..PATHS.len())].replace("{}", text);
        let method =
            [Method::GET, Method::POST, Method::PUT, Method::DELETE][dice.random_range(0..4)].clone();
        let is_his_own = path.starts_with("/api/v1/me/encryption-vault")
            || path.contains("organization/list")
            // Any name will do for an app; nothing of hers is in it.
            || path.starts_with("/sync/");
        let asked = self
            .client
            .request(method.clone(), format!("{}{path}", self.api))
            .header("x-mana-space", text)
            .header("x-user-id", text)
            .bearer_auth(&self.token);
        let may = if is_his_own {
            May::ShowHisOwn
        } else {
            May::BeRefused
        };
        ("another path", asked, may)
    }

    fn message(&self, text: &str, dice: &mut ChaCha8Rng) -> Value {
        let method = METHODS[dice.random_range(0..METHODS.len())];
        let params = match method {
            "initialize" => return initialize(),
            "tools/call" => {
                let (tool, arguments) = self.call_with(text, dice);
                json!({"name": tool, "arguments": arguments})
            }
            "resources/read" => json!({"uri": text}),
            "notifications/cancelled" => {
                return json!({"jsonrpc": "2.0", "method": method, "params": {"requestId": 1}});
            }
            _ => json!({}),
        };
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    }

    /// A call of some tool, with `id` wherever its schema asks for one.
    fn call_with(&self, id: &str, dice: &mut ChaCha8Rng) -> (&str, Value) {
        let (name, schema) = &self.tools[dice.random_range(0..self.tools.len())];
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let mut arguments = Map::new();
        for (property, about) in &properties {
            let is_id = property == "id" || property.ends_with("Id");
            if is_id {
                arguments.insert(property.clone(), json!(id));
            } else if required.contains(&json!(property)) {
                let value = match about["type"].as_str() {
                    Some("integer" | "number") => json!(1),
                    Some("boolean") => json!(true),
                    Some("array") => json!([]),
                    Some("object") => json!({}),
                    _ => about["enum"].get(0).cloned().unwrap_or_else(|| json!("bobs")),
                };
                arguments.insert(property.clone(), value);
            }
        }
        (name, Value::Object(arguments))
    }
}

pub(super) fn of_kind(alice: &Alice, kind: Kind) -> Option<&str> {
    let handle = alice.handles.iter().find(|handle| handle.kind == kind)?;
    Some(&handle.text)
}

/// The JSON-RPC message of an answer, be it JSON or an event stream.
fn message(text: &str) -> Value {
    let data = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(str::trim)
        .rfind(|data| !data.is_empty());
    let body = text.lines().next_back().unwrap_or_default();
    serde_json::from_str(data.unwrap_or(text))
        .or_else(|_| serde_json::from_str(body))
        .unwrap_or_default()
}

/// An HTTP error, or an answer of MCP that is one.
fn is_refusal(status: u16, answered: &str) -> bool {
    if status >= 400 {
        return true;
    }
    let message = message(answered);
    message.get("error").is_some() || message["result"]["isError"] == true
}
