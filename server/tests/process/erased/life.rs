//! A persona that leaves something of its own wherever it can.

use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::canaries::Canaries;
use crate::common::Up;

/// What a development house expects of external runners.
const SERVICE_KEY: &str = "dev-service-key-rotate-in-prod";

/// A persona that was enrolled.
pub(super) struct Persona {
    pub(super) id: String,
    pub(super) space: String,
    email: String,
    password: String,
}

impl Persona {
    /// A token of its own; `None` when it cannot log in any more.
    pub(super) async fn login(&self, up: &Up) -> Option<String> {
        let body = json!({"email": self.email, "password": self.password});
        let login = Client::new()
            .post(format!("{}/api/v1/auth/login", up.api))
            .json(&body);
        let answer: Value = login.send().await.unwrap().json().await.unwrap();
        answer["token"].as_str().map(str::to_owned)
    }

    /// Deletes it for good.
    pub(super) async fn delete(&self, up: &Up) {
        let answer = self.ask_to_delete(&up.api, &up.admin_token()).await.unwrap();
        assert_eq!(
            answer.status(),
            StatusCode::OK,
            "{}",
            answer.text().await.unwrap()
        );
    }

    /// Asks a server for its deletion.
    pub(super) async fn ask_to_delete(&self, api: &str, token: &str) -> reqwest::Result<Response> {
        let deletion = format!("{api}/api/v1/personas/admin/{}", self.id);
        Client::new().delete(deletion).bearer_auth(token).send().await
    }
}

/// Enrols a persona whose description holds canaries.
pub(super) async fn post_persona(up: &Up, canaries: &Canaries) -> Persona {
    let email = canaries.email();
    let secret = SecretString::from(catalog::DEVELOPMENT_SEED_SECRET);
    let password = catalog::derive_password(&secret, &email)
        .expose_secret()
        .to_owned();
    let body = json!({
        "email": email,
        "name": format!("Zoë {}", canaries.of("name")),
        "password": password,
        "archetype": "adhd-student",
        "systemPrompt": format!("You are {}.", canaries.of("prompt").repeat(3)),
        "moduleMix": {"todo": 1, "habits": 1, "notes": 1},
        "tickCadence": "daily",
    });
    let enrol = Client::new()
        .post(format!("{}/api/v1/personas/admin", up.api))
        .bearer_auth(up.admin_token())
        .json(&body);
    let enrolled: Value = enrol.send().await.unwrap().json().await.unwrap();
    let mut persona = Persona {
        id: enrolled["userId"].as_str().unwrap().to_owned(),
        space: String::new(),
        email,
        password,
    };
    let token = persona.login(up).await.unwrap();
    let spaces = Client::new()
        .get(format!("{}/api/auth/organization/list", up.api))
        .bearer_auth(token);
    let spaces: Value = spaces.send().await.unwrap().json().await.unwrap();
    spaces[0]["id"].as_str().unwrap().clone_into(&mut persona.space);
    persona
}

/// Enrols a persona that lives a tick, writes through the door by its own hand, and is reported on from outside.
pub(super) async fn live(up: &Up, canaries: &Canaries) -> Persona {
    let persona = post_persona(up, canaries).await;
    let (ticked, code) = up.json(&["tick", "--persona", &persona.email]);
    assert_eq!((ticked["succeeded"].as_u64(), code), (Some(1), 0), "{ticked}");
    write(up, &persona, canaries).await;
    let actions = json!({"actions": [
        {"tickId": format!("outside-{}", persona.id), "toolName": format!("todo.{}", canaries.of("tool")),
         "result": "error", "errorMessage": canaries.of("error")},
    ]});
    report(up, &persona, "actions", &actions).await;
    let feedback = json!({"feedback": [
        {"tickId": format!("outside-{}", persona.id), "module": "todo", "rating": 2, "notes": canaries.of("rating")},
    ]});
    report(up, &persona, "feedback", &feedback).await;
    persona
}

async fn report(up: &Up, persona: &Persona, what: &str, body: &Value) {
    let report = Client::new()
        .post(format!(
            "{}/api/v1/personas/internal/{}/{what}",
            up.api, persona.id
        ))
        .header("x-service-key", SERVICE_KEY)
        .json(body);
    let answer = report.send().await.unwrap();
    assert_eq!(
        answer.status(),
        StatusCode::OK,
        "{}",
        answer.text().await.unwrap()
    );
}

/// Creates a record of every kind over MCP.
async fn write(up: &Up, persona: &Persona, canaries: &Canaries) {
    let token = persona.login(up).await.unwrap();
    let post = |session: &str, body: Value| {
        Client::new()
            .post(format!("{}/mcp", up.api))
            .bearer_auth(&token)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-session-id", session)
            .json(&body)
            .send()
    };
    let begin = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": canaries.of("client"), "version": "1"},
    }});
    let opened = Client::new()
        .post(format!("{}/mcp", up.api))
        .bearer_auth(&token)
        .header("accept", "application/json, text/event-stream")
        .json(&begin);
    let opened = opened.send().await.unwrap();
    let session = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    post(&session, ready).await.unwrap();
    for (tool, arguments) in [
        ("habits.create", json!({"title": canaries.of("habit")})),
        ("todo.create", json!({"title": canaries.of("todo")})),
        (
            "notes.create",
            json!({"title": canaries.of("note"), "content": canaries.of("content")}),
        ),
        ("journal.add", json!({"content": canaries.of("journal")})),
    ] {
        let call_id = format!("{} {tool}", canaries.of("call"));
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": tool, "arguments": arguments, "_meta": {"dramatis/callId": call_id},
        }});
        let answer = post(&session, call).await.unwrap().text().await.unwrap();
        assert!(answer.contains("structuredContent"), "{tool}: {answer}");
    }
    let end = Client::new()
        .delete(format!("{}/mcp", up.api))
        .bearer_auth(&token)
        .header("mcp-session-id", &session);
    assert!(end.send().await.unwrap().status().is_success());
}
