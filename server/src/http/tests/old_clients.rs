//! The programs around the system before this one, each as its contract has it and from its first request to its last.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gateway::field_crypto::{self, FieldPlace};
use http::StatusCode;
use serde_json::{Value, json};

use super::spaces::call;
use super::{Answer, TestHouse, sample};

const ANNA: &str = "persona.anna@mana.test";
const BEN: &str = "persona.ben@mana.test";
const ADMIN: &str = "/api/v1/personas/admin";

/// Logs in as any client does; gives the token.
async fn log_in(house: &TestHouse, email: &str, password: &Value) -> String {
    let body = json!({ "email": email, "password": password });
    let login = house.ask("POST", "/api/v1/auth/login", Some(&body)).await;
    assert_eq!(login.status, StatusCode::OK, "{}", login.text);
    login.json["token"].as_str().unwrap().to_owned()
}

/// The personal space, from the list as clients of before read it.
async fn personal_space(house: &TestHouse, token: &str) -> String {
    let spaces = house
        .ask_as(token, "GET", "/api/auth/organization/list", None)
        .await;
    let spaces = spaces.json.as_array().unwrap().clone();
    let personal = spaces
        .iter()
        .find(|space| space["metadata"]["type"] == "personal");
    personal.unwrap()["id"].as_str().unwrap().to_owned()
}

/// The account's key, as its tools get it.
async fn master_key(house: &TestHouse, token: &str) -> [u8; 32] {
    let path = "/api/v1/me/encryption-vault/key";
    let key = house.ask_as(token, "GET", path, None).await;
    assert_eq!(key.status, StatusCode::OK, "{}", key.text);
    let key = BASE64.decode(key.json["masterKey"].as_str().unwrap()).unwrap();
    key.try_into().unwrap()
}

#[tokio::test]
async fn a_seed_script_runs_twice_and_a_cleanup_script_leaves_nobody() {
    let house = TestHouse::open().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        for email in [ANNA, BEN] {
            let seeded = house
                .ask_as_admin("POST", ADMIN, Some(&sample::persona(email)))
                .await;
            assert_eq!(Answer::members(&seeded.json), ["email", "ok", "userId"]);
            ids.push(seeded.json["userId"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(ids[..2], ids[2..], "the second run made nobody");
    let live = house.ask_as_admin("GET", ADMIN, None).await;
    for persona in live.json["personas"].as_array().unwrap() {
        let path = format!("{ADMIN}/{}", persona["userId"].as_str().unwrap());
        let gone = house.ask_as_admin("DELETE", &path, None).await;
        assert_eq!((gone.status, &gone.json["ok"]), (StatusCode::OK, &json!(true)));
    }
    let live = house.ask_as_admin("GET", ADMIN, None).await;
    assert_eq!(live.json, json!({ "personas": [] }));
}

#[tokio::test]
async fn a_tick_runner_lives_a_tick_from_who_is_due_to_what_they_thought_of_it() {
    let house = TestHouse::open().await;
    house.enrol(ANNA).await;
    let due = house
        .ask_as_runner("GET", "/api/v1/personas/internal/due", None)
        .await;
    let persona = &due.json["personas"][0];
    let (id, email) = (
        persona["userId"].as_str().unwrap(),
        persona["email"].as_str().unwrap(),
    );
    // The password is derived from the email; nobody sends it around.
    let token = log_in(&house, email, &sample::persona(email)["password"]).await;
    let space = personal_space(&house, &token).await;
    let made = call(&house, &token, &space, "todo.create", json!({ "title": "Milch" })).await;
    assert!(made.text.contains("\"isError\":false"), "{}", made.text);
    for (what, body) in [("actions", sample::actions()), ("feedback", sample::feedback())] {
        let path = format!("/api/v1/personas/internal/{id}/{what}");
        let told = house.ask_as_runner("POST", &path, Some(&body)).await;
        assert_eq!(Answer::members(&told.json), ["ok", "written"], "{}", told.text);
    }
    let seen = house.ask_as_admin("GET", &format!("{ADMIN}/{id}"), None).await;
    assert_eq!(seen.json["recentActions"].as_array().unwrap().len(), 3);
    assert_eq!(seen.json["feedbackByModule"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_tool_registry_of_before_and_the_tools_here_share_records_that_stay_sealed() {
    let house = TestHouse::open().await;
    let (token, _) = house.register("eva@example.org").await;
    let (space, key) = (
        personal_space(&house, &token).await,
        master_key(&house, &token).await,
    );
    let id = "018f0000-0000-7000-8000-000000000001";
    let title = field_crypto::seal(&key, &json!("von drüben"), [5; 12]);
    let task = json!({ "id": id, "title": title, "priority": "low", "isCompleted": false,
        "createdAt": "2026-03-01T08:00:00.000Z", "updatedAt": "2026-03-01T08:00:00.000Z" });
    let push = json!({ "clientId": "tool-registry", "since": "1970-01-01T00:00:00.000Z",
        "changes": [{ "table": "tasks", "id": id, "op": "insert", "spaceId": space, "data": task }] });
    let pushed = house.ask_as(&token, "POST", "/sync/todo", Some(&push)).await;
    assert_eq!(pushed.status, StatusCode::OK, "{}", pushed.text);
    let listed = call(&house, &token, &space, "todo.list", json!({})).await;
    assert!(listed.text.contains("von drüben"), "{}", listed.text);

    call(
        &house,
        &token,
        &space,
        "todo.create",
        json!({ "title": "von hier" }),
    )
    .await;
    let path = "/sync/todo/pull?collection=tasks&since=1970-01-01T00%3A00%3A00.000Z";
    let pulled = house.ask_as(&token, "GET", path, None).await;
    assert!(!pulled.text.contains("von hier"), "it is stored sealed");
    let changes = pulled.json["serverChanges"].as_array().unwrap();
    let titles: Vec<Value> = changes
        .iter()
        .map(|change| {
            let place = FieldPlace {
                space: &space,
                table: "tasks",
                record: change["id"].as_str().unwrap(),
                field: "title",
            };
            let sealed = change["fields"]["title"]["value"].as_str().unwrap();
            // What tools write is bound to its place, unless `field_encryption` says otherwise for clients of before.
            field_crypto::open(&key, sealed)
                .or_else(|_| field_crypto::open_bound(&key, sealed, place))
                .unwrap()
        })
        .collect();
    assert_eq!(titles, [json!("von drüben"), json!("von hier")]);
}

#[tokio::test]
async fn a_browser_client_registers_gets_its_key_and_syncs_across_origins_that_are_configured() {
    let house = TestHouse::open().await;
    let body = sample::credentials("eva@example.org");
    house.ask("POST", "/api/v1/auth/register", Some(&body)).await;
    let token = log_in(&house, "eva@example.org", &body["password"]).await;
    let init = house
        .ask_as(&token, "POST", "/api/v1/me/encryption-vault/init", None)
        .await;
    assert_eq!(
        Answer::members(&init.json),
        ["formatVersion", "kekId", "masterKey"]
    );
    master_key(&house, &token).await;
    let own = house.app.settings.public_url.clone();
    for (origin, is_allowed) in [(own.as_str(), true), ("https://evil.example", false)] {
        let mut preflight = super::request("OPTIONS", "/sync/todo", None);
        for (name, value) in [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization,content-type,x-client-id",
            ),
        ] {
            preflight.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = house.send(preflight).await;
        let allowed = answer.headers.get("access-control-allow-origin");
        assert_eq!(allowed.is_some(), is_allowed, "{origin}: {:?}", answer.headers);
    }
}
