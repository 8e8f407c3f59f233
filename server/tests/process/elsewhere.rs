//! A house that stands in front of another system's accounts: here another house, spoken to as the system before it.

use std::fs;
use std::path::Path;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{Up, events};

const PASSWORD: &str = "a password of eleven words";

struct Houses {
    origin: Up,
    front: Up,
    _dir: tempfile::TempDir,
}

impl Houses {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let origin = house(
            &dir.path().join("origin"),
            "issuer = \"https://accounts.example.org\"",
        );
        let settings = format!(
            "issuer = \"https://front.example.org\"\nexternal_identity = \"{}\"\n\
             external_issuer = \"https://accounts.example.org\"",
            origin.api
        );
        let front = house(&dir.path().join("front"), &settings);
        Self {
            origin,
            front,
            _dir: dir,
        }
    }
}

/// A house with these settings, for its commands too.
fn house(folder: &Path, settings: &str) -> Up {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("dramatis.toml"), settings).unwrap();
    Up::start_with(&folder.join("data"), &[("RUST_LOG", "debug")])
}

async fn ask(
    up: &Up,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let mut asked = Client::new().request(method, format!("{}{path}", up.api));
    if let Some(token) = token {
        asked = asked.bearer_auth(token);
    }
    if let Some(body) = body {
        asked = asked.json(&body);
    }
    let answer = asked.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

async fn call(up: &Up, token: &str, tool: &str, arguments: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": tool, "arguments": arguments, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "by-hand", "version": "1"}}}});
    let asked = Client::new()
        .post(format!("{}/mcp", up.api))
        .bearer_auth(token)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", tool)
        .json(&body);
    let text = asked.send().await.unwrap().text().await.unwrap();
    let data = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .next_back();
    serde_json::from_str(data.unwrap_or(&text).trim()).unwrap()
}

fn credentials(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password })
}

async fn what_changes_there_is_known_here(origin: &Up, front: &Up, token: &str, key: &Value) {
    // A place she gets there is hers here within seconds, and spaces are made there alone.
    let team = json!({"name": "Team", "type": "team"});
    let (status, told) = ask(
        front,
        Method::POST,
        "/api/v1/spaces",
        Some(token),
        Some(team.clone()),
    )
    .await;
    assert_eq!(
        (status, &told["code"]),
        (StatusCode::CONFLICT, &json!("KEPT_ELSEWHERE")),
        "{told}"
    );
    let (_, made) = ask(origin, Method::POST, "/api/v1/spaces", Some(token), Some(team)).await;
    let id = made["space"]["id"].as_str().unwrap();
    let is_here = async || {
        let (_, spaces) = ask(
            front,
            Method::GET,
            "/api/auth/organization/list",
            Some(token),
            None,
        )
        .await;
        spaces.to_string().contains(id)
    };
    assert!(testkit::wait_until_async(std::time::Duration::from_mins(1), is_here).await);

    // A rotated key is asked for anew when it is rotated through here.
    let (status, rotated) = ask(
        front,
        Method::POST,
        "/api/v1/me/encryption-vault/rotate",
        Some(token),
        None,
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{rotated}");
    assert_ne!(rotated["masterKey"], *key);
    let made = call(
        front,
        token,
        "notes.create",
        json!({"title": "after", "content": "x"}),
    )
    .await;
    assert_ne!(made["result"]["isError"], true, "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_personas_of_another_system_work_here_with_its_logins_spaces_and_keys() {
    let houses = Houses::start();
    let (origin, front) = (&houses.origin, &houses.front);
    let anna = Some(credentials("anna@example.org", PASSWORD));
    ask(origin, Method::POST, "/api/v1/auth/register", None, anna.clone()).await;

    // Nobody is made here, and a wrong password is the other system's to refuse.
    let (status, told) = ask(
        front,
        Method::POST,
        "/api/v1/auth/register",
        None,
        Some(credentials("x@example.org", PASSWORD)),
    )
    .await;
    assert_eq!(
        (status, &told["code"]),
        (StatusCode::CONFLICT, &json!("KEPT_ELSEWHERE")),
        "{told}"
    );
    let wrong = Some(credentials("anna@example.org", "another password"));
    let (status, told) = ask(front, Method::POST, "/api/v1/auth/login", None, wrong).await;
    assert_eq!(
        (status, &told["code"]),
        (StatusCode::UNAUTHORIZED, &json!("BAD_CREDENTIALS")),
        "{told}"
    );

    let (status, login) = ask(front, Method::POST, "/api/v1/auth/login", None, anna.clone()).await;
    assert_eq!(status, StatusCode::OK, "{login}");
    let token = login["token"].as_str().unwrap();
    let (_, there) = ask(
        origin,
        Method::GET,
        "/api/auth/organization/list",
        Some(token),
        None,
    )
    .await;
    let (_, here) = ask(
        front,
        Method::GET,
        "/api/auth/organization/list",
        Some(token),
        None,
    )
    .await;
    assert_eq!(there[0]["id"], here[0]["id"], "{here}");
    let made = call(front, token, "todo.create", json!({"title": "CANARY of Anna's"})).await;
    assert_ne!(made["result"]["isError"], true, "{made}");
    let listed = call(front, token, "todo.list", json!({})).await.to_string();
    assert!(listed.contains("CANARY of Anna's"), "{listed}");
    // With her key there, what is stored here opens: it is sealed with no other.
    let (_, key) = ask(
        origin,
        Method::GET,
        "/api/v1/me/encryption-vault/key",
        Some(token),
        None,
    )
    .await;
    let (_, same) = ask(
        front,
        Method::GET,
        "/api/v1/me/encryption-vault/key",
        Some(token),
        None,
    )
    .await;
    assert_eq!(key["masterKey"], same["masterKey"]);
    let sealed = events(&front.data, &["--type", "RecordChanged"]);
    assert!(
        !sealed.is_empty() && !json!(sealed).to_string().contains("CANARY"),
        "{sealed:?}"
    );

    what_changes_there_is_known_here(origin, front, token, &key["masterKey"]).await;

    // Personas are seeded there, then here, and act here with their own logins.
    let seeded = origin.json(&["seed"]);
    assert_eq!(seeded.1, 0, "{}", seeded.0);
    let seeded = front.json(&["seed"]);
    assert_eq!(seeded.1, 0, "{}", seeded.0);
    let (ticked, code) = front.json(&["tick", "--persona", "persona.anna@mana.test"]);
    assert_eq!((code, &ticked["succeeded"]), (0, &json!(1)), "{ticked}");
    let calls = events(&front.data, &["--type", "ToolReturned"]);
    assert!(!calls.is_empty(), "{ticked}");

    // The token is in no line of the log, however verbose.
    let log = fs::read_to_string(front.data.with_extension("log")).unwrap();
    assert!(!log.contains(token) && !log.contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_down_and_an_account_it_does_not_have_are_told_apart() {
    let houses = Houses::start();
    let Houses { origin, front, _dir } = houses;
    let anna = Some(credentials("anna@example.org", PASSWORD));
    ask(&origin, Method::POST, "/api/v1/auth/register", None, anna.clone()).await;
    let (_, login) = ask(&front, Method::POST, "/api/v1/auth/login", None, anna.clone()).await;
    let token = login["token"].as_str().unwrap().to_owned();
    let admin = front.admin_token();
    let persona = json!({
        "email": "persona.nobody@mana.test", "name": "Nobody", "password": PASSWORD, "archetype": "adhd-student",
        "systemPrompt": "You are.", "moduleMix": {"todo": 1}, "tickCadence": "daily",
    });
    let enrol = "/api/v1/personas/admin";
    let (status, told) = ask(&front, Method::POST, enrol, Some(&admin), Some(persona)).await;
    assert_eq!(
        (status, &told["code"]),
        (StatusCode::CONFLICT, &json!("UNKNOWN_ELSEWHERE")),
        "{told}"
    );

    assert_eq!(origin.stop(), Some(0));
    let (status, told) = ask(&front, Method::POST, "/api/v1/auth/login", None, anna).await;
    assert_eq!(
        (status, &told["code"]),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            &json!("EXTERNAL_IDENTITY_UNAVAILABLE")
        ),
        "{told}"
    );
    let key = "/api/v1/me/encryption-vault/key";
    let (status, _) = ask(&front, Method::GET, key, Some(&token), None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    // Who keeps the house is its own, and goes on.
    let (status, _) = ask(&front, Method::GET, "/api/v1/admin/users", Some(&admin), None).await;
    assert_eq!(status, StatusCode::OK);
}
