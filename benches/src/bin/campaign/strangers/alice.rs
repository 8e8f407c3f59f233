//! Alice: what she has, what she was given, and that she goes on with it.

use anyhow::{Context as _, ensure};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use super::Place;
use crate::tokens::initialize;

/// Words that are in Alice's data and nowhere else.
const SECRETS: [&str; 6] = [
    "canary-task-4f1d9c",
    "canary-note-9b27aa",
    "canary-journal-77e0d2",
    "canary-habit-51c3be",
    "canary-synced-8c02d1",
    "canary-space-3e9f40",
];
/// In her email, and in nobody else's.
const NAME: &str = "alice-1c0ffee";

/// See the module.
pub(super) struct Alice {
    client: Client,
    /// Where she works.
    api: String,
    /// Where her account and her spaces are kept: there too, or at another house.
    accounts: String,
    url: String,
    token: String,
    session: String,
    pub(super) email: String,
    /// What she was given and somebody else may hold in the hand: to be replayed.
    pub(super) handles: Vec<Handle>,
    /// What must never come back to anybody else.
    pub(super) secrets: Vec<String>,
    tasks: Value,
    synced: Value,
    /// Her spaces with members and invitations, and her grants.
    shared: Value,
    beats: u64,
}

/// Something Alice was given.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    pub(super) kind: Kind,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Session,
    Space,
    Record,
    Event,
    Account,
    Call,
    Cursor,
    Invitation,
    Grant,
}

impl Alice {
    /// Registers her and lets her work for a while.
    pub(super) async fn live(place: &Place<'_>, client: &Client) -> anyhow::Result<Self> {
        let email = format!("{NAME}-{}@example.org", place.name);
        let token = place.accounts.account(&email).await?;
        let mut alice = Self {
            client: client.clone(),
            api: place.door.api(),
            accounts: place.accounts.api(),
            url: format!("{}/mcp", place.door.api()),
            token,
            session: String::new(),
            email,
            handles: Vec::new(),
            secrets: SECRETS.map(str::to_owned).into(),
            tasks: Value::Null,
            synced: Value::Null,
            shared: Value::Null,
            beats: 0,
        };
        alice.secrets.push(NAME.to_owned());
        alice.secrets.push(alice.token.clone());
        // Before her first request: a house in front of another asks for her spaces when it sees her.
        alice.share().await?;
        let opened = alice.post(&initialize()).send().await?;
        let session = opened
            .headers()
            .get("mcp-session-id")
            .context("she gets a session")?;
        session.to_str()?.clone_into(&mut alice.session);
        alice.keep(Kind::Session, alice.session.clone());
        alice.collect_events(opened).await?;
        for (tool, arguments) in [
            (
                "todo.create",
                json!({"title": SECRETS[0], "description": SECRETS[0]}),
            ),
            (
                "notes.create",
                json!({"title": SECRETS[1], "content": SECRETS[1]}),
            ),
            ("journal.add", json!({"title": SECRETS[2], "content": SECRETS[2]})),
            ("habits.create", json!({"title": SECRETS[3]})),
        ] {
            let answer = alice.call(tool, &arguments).await?;
            alice.collect_ids(&answer);
        }
        let spaces = alice.call("spaces.list", &json!({})).await?;
        if let Some(space) = spaces["activeSpaceId"].as_str() {
            alice.keep(Kind::Space, space.to_owned());
        }
        let key = "/api/v1/me/encryption-vault/key";
        let key = alice.ask(Method::GET, key, None).await?;
        let key = key["masterKey"].as_str().context("she has a key")?;
        alice.secrets.push(key.to_owned());
        alice.sync().await?;
        if place.keeps_its_accounts() {
            alice.grant().await?;
        }
        alice.shared = alice.shared_now().await?;
        alice.tasks = alice.call("todo.list", &json!({})).await?;
        ensure!(
            alice.tasks.to_string().contains(SECRETS[0]),
            "she reads her own task back: {}",
            alice.tasks
        );
        ensure!(
            [
                Kind::Session,
                Kind::Space,
                Kind::Record,
                Kind::Cursor,
                Kind::Invitation
            ]
            .iter()
            .all(|kind| alice.handles.iter().any(|handle| handle.kind == *kind)),
            "there is something to replay: {:?}",
            alice.handles
        );
        Ok(alice)
    }

    /// Makes a space for several and invites somebody, who is not Bob.
    async fn share(&mut self) -> anyhow::Result<()> {
        let space = json!({"name": SECRETS[5], "type": "family"});
        let made = self
            .ask_at(&self.accounts, Method::POST, "/api/v1/spaces", Some(&space))
            .await?;
        let id = made["space"]["id"]
            .as_str()
            .context("a space has an id")?
            .to_owned();
        let invitation = json!({"email": "carol-1c0ffee@example.org"});
        let path = format!("/api/v1/spaces/{id}/invitations");
        let invited = self
            .ask_at(&self.accounts, Method::POST, &path, Some(&invitation))
            .await?;
        let invited = invited["invitation"]["id"]
            .as_str()
            .context("an invitation has an id")?;
        self.keep(Kind::Space, id);
        self.keep(Kind::Invitation, invited.to_owned());
        self.secrets.push("carol-1c0ffee".to_owned());
        Ok(())
    }

    /// Grants a runner all that she has so far.
    async fn grant(&mut self) -> anyhow::Result<()> {
        let records: Vec<&str> = self.of(Kind::Record).collect();
        let wanted =
            json!({"missionId": "alices-mission", "tables": ["tasks", "notes"], "recordIds": records});
        let granted = self
            .ask(Method::POST, "/api/v1/me/key-grants", Some(&wanted))
            .await?;
        let text = |name: &str| granted[name].as_str().map(str::to_owned);
        let (id, wrapped) = (text("id"), text("wrappedKey"));
        self.keep(Kind::Grant, id.context("a grant has an id")?);
        self.secrets.push(wrapped.context("a grant has a key")?);
        Ok(())
    }

    /// What she shares, as it is now.
    async fn shared_now(&self) -> anyhow::Result<Value> {
        let mut shared = vec![
            self.ask(Method::GET, "/api/v1/spaces", None).await?,
            self.ask(Method::GET, "/api/v1/me/key-grants", None).await?,
        ];
        for space in self.of(Kind::Space) {
            let here = format!("/api/v1/spaces/{space}");
            let invitations = format!("{here}/invitations");
            shared.push(self.ask_at(&self.accounts, Method::GET, &here, None).await?);
            shared.push(
                self.ask_at(&self.accounts, Method::GET, &invitations, None)
                    .await?,
            );
        }
        Ok(shared.into())
    }

    /// Pushes a record of an app Bob syncs too.
    async fn sync(&mut self) -> anyhow::Result<()> {
        let fields = json!({"color": {"value": SECRETS[4], "at": "2026-01-01T00:00:00.000Z"}});
        let id = "018f0000-0000-7000-8000-00000000a11c";
        let changes = json!([{"table": "drawings", "id": id, "op": "update", "fields": fields}]);
        let push = json!({"clientId": "alices-client", "changes": changes});
        let pushed = self.ask(Method::POST, "/sync/trial", Some(&push)).await?;
        let cursor = pushed["syncedUntil"].as_str().context("an answer has a cursor")?;
        self.keep(Kind::Cursor, cursor.to_owned());
        self.keep(Kind::Record, id.to_owned());
        self.synced = self.synced_now().await?;
        ensure!(
            self.synced.to_string().contains(SECRETS[4]),
            "she reads her own record back: {}",
            self.synced
        );
        Ok(())
    }

    /// What another client of hers gets.
    async fn synced_now(&self) -> anyhow::Result<Value> {
        Ok(self.ask(Method::GET, "/sync/trial/pull", None).await?["serverChanges"].take())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        self.ask_at(&self.api, method, path, body).await
    }

    async fn ask_at(
        &self,
        api: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let asked = self
            .client
            .request(method, format!("{api}{path}"))
            .bearer_auth(&self.token);
        let asked = match body {
            Some(body) => asked.json(body),
            None => asked,
        };
        Ok(asked.send().await?.error_for_status()?.json().await?)
    }

    /// What she holds of a kind.
    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = &str> {
        let of_kind = self.handles.iter().filter(move |handle| handle.kind == kind);
        of_kind.map(|handle| handle.text.as_str())
    }

    fn keep(&mut self, kind: Kind, text: String) {
        self.handles.push(Handle { kind, text });
    }

    fn post(&self, body: &Value) -> reqwest::RequestBuilder {
        let asked = self
            .client
            .post(&self.url)
            .header("accept", "application/json, text/event-stream")
            .bearer_auth(&self.token)
            .json(body);
        if self.session.is_empty() {
            asked
        } else {
            asked.header("mcp-session-id", &self.session)
        }
    }

    /// Ids of events in a streamed answer.
    async fn collect_events(&mut self, answer: Response) -> anyhow::Result<Value> {
        let text = answer.text().await?;
        for id in text.lines().filter_map(|line| line.strip_prefix("id:")) {
            self.keep(Kind::Event, id.trim().to_owned());
        }
        let data = text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(str::trim)
            .rfind(|data| !data.is_empty());
        Ok(serde_json::from_str(data.unwrap_or(&text))?)
    }

    async fn call(&mut self, tool: &str, arguments: &Value) -> anyhow::Result<Value> {
        self.beats += 1;
        let call_id = format!("alices-call-{}", self.beats);
        let body = json!({"jsonrpc": "2.0", "id": self.beats, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments, "_meta": {"dramatis/callId": call_id}}});
        let answer = self.post(&body).send().await?;
        ensure!(answer.status() == 200, "{tool}: {}", answer.status());
        let message = self.collect_events(answer).await?;
        self.keep(Kind::Call, call_id);
        let result = &message["result"];
        let has_worked = result.is_object() && result["isError"] != true;
        ensure!(has_worked, "{tool}: {message}");
        Ok(result["structuredContent"].clone())
    }

    fn collect_ids(&mut self, answer: &Value) {
        match answer {
            Value::Object(members) => {
                for (name, value) in members {
                    match value.as_str() {
                        Some(text) if name == "id" => self.keep(Kind::Record, text.to_owned()),
                        Some(text) if name == "userId" => self.keep(Kind::Account, text.to_owned()),
                        _ => self.collect_ids(value),
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.collect_ids(item);
                }
            }
            _ => {}
        }
    }

    /// Whether her session lives and her tasks are as she left them.
    ///
    /// # Errors
    /// When they are not: the trial is over.
    pub(super) async fn goes_on(&mut self) -> anyhow::Result<()> {
        let tasks = self.call("todo.list", &json!({})).await?;
        ensure!(
            tasks == self.tasks,
            "Alice's tasks changed: {tasks}, not {}",
            self.tasks
        );
        let synced = self.synced_now().await?;
        ensure!(
            synced == self.synced,
            "what Alice syncs changed: {synced}, not {}",
            self.synced
        );
        let shared = self.shared_now().await?;
        ensure!(
            shared == self.shared,
            "what Alice shares changed: {shared}, not {}",
            self.shared
        );
        // Ids of her looks are not what Bob replays.
        self.handles.truncate(200);
        Ok(())
    }
}
