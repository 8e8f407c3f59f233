use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gateway::field_crypto::{FieldPlace, open_bound};
use http::{StatusCode, header};
use identity::{Act, RunnerKey};
use serde_json::{Value, json};

use super::{Answer, SERVICE_KEY, TestHouse, request};

/// The runner's own pair of keys, made for these tests and used nowhere else.
pub(super) fn runner_key() -> RunnerKey {
    RunnerKey::from_pem(include_str!("runner_key.pub.pem")).unwrap()
}

/// What the runner does with a wrapped key.
fn unwrap(wrapped: &Value) -> [u8; 32] {
    let pem = include_str!("runner_key.pem");
    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = PrivateDecryptingKey::from_pkcs8(&BASE64.decode(der).unwrap()).unwrap();
    let key = OaepPrivateDecryptingKey::new(key).unwrap();
    let wrapped = BASE64.decode(wrapped.as_str().unwrap()).unwrap();
    let mut opened = vec![0; key.min_output_size()];
    let opened = key
        .decrypt(&OAEP_SHA256_MGF1SHA256, &wrapped, &mut opened, None)
        .unwrap();
    (&*opened).try_into().unwrap()
}

pub(super) struct Granted {
    pub(super) token: String,
    user: events::UserId,
    space: String,
    pub(super) task: String,
    pub(super) grant: Value,
}

async fn call(house: &TestHouse, token: &str, tool: &str, arguments: Value) -> Value {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": tool, "arguments": arguments, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        } },
    });
    let mut asked = request("POST", "/mcp", Some(&body));
    let headers = asked.headers_mut();
    headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    headers.insert(
        header::ACCEPT,
        "application/json, text/event-stream".parse().unwrap(),
    );
    headers.insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    headers.insert("mcp-method", "tools/call".parse().unwrap());
    headers.insert("mcp-name", tool.parse().unwrap());
    let answer = house.send(asked).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json["result"]["structuredContent"].clone()
}

/// An account with one task, granted to the runner.
pub(super) async fn granted(house: &TestHouse) -> Granted {
    let (token, user) = house.register("greta@example.org").await;
    let user = events::UserId::try_new(user).unwrap();
    let space = house.app.identity.personal_space(&user).await.unwrap();
    let made = call(house, &token, "todo.create", json!({ "title": "Milch" })).await;
    let task = made["task"]["id"].as_str().unwrap().to_owned();
    let wanted = json!({ "missionId": "m1", "tables": ["tasks"], "recordIds": [task] });
    let grant = house
        .ask_as(&token, "POST", "/api/v1/me/key-grants", Some(&wanted))
        .await;
    assert_eq!(grant.status, StatusCode::OK, "{}", grant.text);
    Granted {
        token,
        user,
        space: space.to_string(),
        task,
        grant: grant.json,
    }
}

async fn ask_as_runner(house: &TestHouse, grant: &Value, table: &str, record: &str) -> Answer {
    let id = grant["id"].as_str().unwrap();
    let path = format!("/api/v1/internal/key-grants/{id}/records/{table}/{record}");
    let mut asked = request("GET", &path, None);
    asked
        .headers_mut()
        .insert("x-service-key", SERVICE_KEY.parse().unwrap());
    house.send(asked).await
}

async fn acts(house: &TestHouse, granted: &Granted, wanted: Act) -> usize {
    let acts = house
        .app
        .identity
        .acts(Some(&granted.user), None, 100)
        .await
        .unwrap();
    acts.iter().filter(|act| act.act == wanted).count()
}

#[tokio::test]
async fn a_runner_opens_what_it_was_granted_and_nothing_beside_it() {
    let house = TestHouse::open().await;
    let granted = granted(&house).await;
    let derivation =
        json!({ "version": 1, "missionId": "m1", "tables": ["tasks"], "recordIds": [granted.task] });
    assert_eq!(granted.grant["derivation"], derivation);
    let given = ask_as_runner(&house, &granted.grant, "tasks", &granted.task).await;
    assert_eq!(given.status, StatusCode::OK, "{}", given.text);
    assert!(!given.text.contains("Milch"));
    let place = FieldPlace {
        space: &granted.space,
        table: "tasks",
        record: &granted.task,
        field: "title",
    };
    let sealed = given.json["fields"]["title"].as_str().unwrap();
    let data_key = unwrap(&granted.grant["wrappedKey"]);
    assert_eq!(open_bound(&data_key, sealed, place), Ok(json!("Milch")));
    let master = house.app.identity.vault_key(&granted.user).await.unwrap();
    assert_ne!(*master.key, data_key, "it is not the master key");

    let other = call(&house, &granted.token, "todo.create", json!({ "title": "Brot" })).await;
    let other = other["task"]["id"].as_str().unwrap();
    for (table, record) in [("tasks", other), ("notes", granted.task.as_str())] {
        let refused = ask_as_runner(&house, &granted.grant, table, record).await;
        refused.assert_problem(StatusCode::FORBIDDEN, "GRANT_SCOPE");
    }
    let unknown = json!({ "id": "00000000-0000-0000-0000-000000000000" });
    ask_as_runner(&house, &unknown, "tasks", &granted.task)
        .await
        .assert_problem(StatusCode::NOT_FOUND, "GRANT_NOT_FOUND");
    assert_eq!(acts(&house, &granted, Act::GrantUsed).await, 1);
    assert_eq!(acts(&house, &granted, Act::GrantRefused).await, 2);
}

#[tokio::test]
async fn a_grant_ends_at_once_when_it_is_revoked_or_its_key_is_replaced() {
    let house = TestHouse::open().await;
    let granted = granted(&house).await;
    let wanted =
        json!({ "missionId": "m2", "tables": ["tasks"], "recordIds": [granted.task], "ttlMs": 60_000 });
    let second = house
        .ask_as(
            &granted.token,
            "POST",
            "/api/v1/me/ai-mission-grant",
            Some(&wanted),
        )
        .await
        .json;
    let id = granted.grant["id"].as_str().unwrap();
    let (other, _) = house.register("other@example.org").await;
    let path = format!("/api/v1/me/key-grants/{id}");
    house
        .ask_as(&other, "DELETE", &path, None)
        .await
        .assert_problem(StatusCode::NOT_FOUND, "NOT_FOUND");
    let revoked = house.ask_as(&granted.token, "DELETE", &path, None).await;
    assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.text);
    ask_as_runner(&house, &granted.grant, "tasks", &granted.task)
        .await
        .assert_problem(StatusCode::GONE, "GRANT_REVOKED");
    let still = ask_as_runner(&house, &second, "tasks", &granted.task).await;
    assert_eq!(still.status, StatusCode::OK, "{}", still.text);

    house.app.identity.vault_rotate(&granted.user).await.unwrap();
    ask_as_runner(&house, &second, "tasks", &granted.task)
        .await
        .assert_problem(StatusCode::GONE, "GRANT_KEY_REPLACED");
}

#[tokio::test]
async fn for_a_zero_knowledge_owner_only_its_own_client_makes_grants() {
    let house = TestHouse::open().await;
    let granted = granted(&house).await;
    let wrap = identity::RecoveryWrap {
        wrapped_key: "AAAA".to_owned(),
        iv: "AAAA".to_owned(),
    };
    let identity = &house.app.identity;
    identity.set_recovery_wrap(&granted.user, &wrap).await.unwrap();
    identity.zero_knowledge_on(&granted.user).await.unwrap();
    ask_as_runner(&house, &granted.grant, "tasks", &granted.task)
        .await
        .assert_problem(StatusCode::GONE, "GRANT_KEY_REPLACED");
    let mut wanted = json!({ "missionId": "m1", "tables": ["tasks"], "recordIds": [granted.task] });
    house
        .ask_as(&granted.token, "POST", "/api/v1/me/key-grants", Some(&wanted))
        .await
        .assert_problem(StatusCode::CONFLICT, "ZK_ACTIVE");
    wanted["wrappedKey"] = json!(BASE64.encode([7; 256]));
    let own = house
        .ask_as(&granted.token, "POST", "/api/v1/me/key-grants", Some(&wanted))
        .await;
    assert_eq!(own.json["mintedBy"], "client", "{}", own.text);
    let given = ask_as_runner(&house, &own.json, "tasks", &granted.task).await;
    assert_eq!(given.status, StatusCode::OK, "{}", given.text);
    assert_eq!(given.json["wrappedKey"], wanted["wrappedKey"]);
}
