//! Every described address is answered with success once, by a house that works, as it is described.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt as _;
use http::{StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{TestHouse, described, request, sample};

const ANNA: &str = "persona.anna@mana.test";
const BEN: &str = "persona.ben@mana.test";
const EVA: &str = "eva@example.org";
const IDA: &str = "ida@example.org";
const VAULT: &str = "/api/v1/me/encryption-vault";

/// Somebody who asks, each time expecting to be answered with success.
struct Caller<'a> {
    house: &'a TestHouse,
    token: String,
}

impl Caller<'_> {
    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let answer = self.house.ask_as(&self.token, method, path, body.as_ref()).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text);
        answer.json
    }

    async fn get(&self, path: &str) -> Value {
        self.ask("GET", path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask("POST", path, Some(body)).await
    }

    async fn act(&self, path: &str) -> Value {
        self.ask("POST", path, None).await
    }

    async fn delete(&self, path: &str) -> Value {
        self.ask("DELETE", path, None).await
    }
}

fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_address_answers_as_it_is_described() {
    let house = TestHouse::open().await;
    let admin = Caller {
        house: &house,
        token: house.admin_token.clone(),
    };
    let (eva, eva_id) = house.register(EVA).await;
    let (ida, ida_id) = house.register(IDA).await;
    let (eva, ida) = (
        Caller {
            house: &house,
            token: eva,
        },
        Caller {
            house: &house,
            token: ida,
        },
    );
    open_to_all(&house).await;
    mcp(&eva).await;
    spaces(&eva, &ida, &ida_id).await;
    sync(&eva).await;
    vault_and_grants(&house, &eva).await;
    personas(&house, &admin).await;
    external(&house).await;
    questions(&admin).await;
    streams(&house, &admin, &eva).await;
    admin_of_accounts(&house, &admin, &ida_id).await;
    logins(&house, &eva, &eva_id).await;
    assert_eq!(house.succeeded.missing(), Vec::<String>::new());
}

async fn open_to_all(house: &TestHouse) {
    for path in [
        "/",
        "/dashboard/app.js",
        "/health",
        "/livez",
        "/readyz",
        "/readyz?verbose",
        "/metrics",
        "/openapi.json",
        "/.well-known/jwks.json",
        "/api/auth/jwks",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        let answer = house.ask("GET", path, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    }
    let signed_in = json!({ "token": house.admin_token });
    let session = "/api/v1/dashboard/session";
    for (method, body) in [("POST", Some(&signed_in)), ("GET", None), ("DELETE", None)] {
        let mut asked = request(method, session, body);
        asked
            .headers_mut()
            .insert("sec-fetch-site", "same-origin".parse().unwrap());
        let bearer = format!("Bearer {}", house.admin_token).parse().unwrap();
        asked.headers_mut().insert(header::AUTHORIZATION, bearer);
        assert_eq!(
            house.send(asked).await.status,
            StatusCode::OK,
            "{method} {session}"
        );
    }
}

/// A session of the older protocol, which has all three methods.
async fn mcp(eva: &Caller<'_>) {
    let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
    } });
    let asked = |method: &str, body: Option<&Value>, session: Option<&str>| {
        let mut asked = request(method, "/mcp", body);
        let headers = asked.headers_mut();
        headers.insert(
            header::AUTHORIZATION,
            format!("Bearer {}", eva.token).parse().unwrap(),
        );
        headers.insert(
            header::ACCEPT,
            "application/json, text/event-stream".parse().unwrap(),
        );
        if let Some(session) = session {
            headers.insert("mcp-session-id", session.parse().unwrap());
            headers.insert("mcp-protocol-version", "2025-11-25".parse().unwrap());
        }
        asked
    };
    let opened = eva.house.send(asked("POST", Some(&initialize), None)).await;
    assert_eq!(opened.status, StatusCode::OK, "{}", opened.text);
    let session = opened.header("mcp-session-id").to_owned();
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let taken = eva.house.send(asked("POST", Some(&ready), Some(&session))).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{}", taken.text);
    let listening = eva
        .house
        .front
        .clone()
        .oneshot(asked("GET", None, Some(&session)))
        .await
        .unwrap();
    assert_eq!(listening.status(), StatusCode::OK);
    eva.house.succeeded.note("GET /mcp".to_owned());
    drop(listening);
    let closed = eva.house.send(asked("DELETE", None, Some(&session))).await;
    assert!(closed.status.is_success(), "{}", closed.text);
}

async fn spaces(eva: &Caller<'_>, ida: &Caller<'_>, ida_id: &str) {
    eva.get("/api/auth/organization/list").await;
    let made = eva
        .post("/api/v1/spaces", json!({ "name": "Verein", "type": "club" }))
        .await;
    let space = format!("/api/v1/spaces/{}", id_of(&made["space"]));
    eva.get("/api/v1/spaces").await;
    eva.get(&space).await;
    let invitations = format!("{space}/invitations");
    let invite = || eva.post(&invitations, json!({ "email": IDA }));
    let withdrawn = id_of(&invite().await["invitation"]);
    eva.get(&format!("{space}/invitations")).await;
    eva.delete(&format!("{space}/invitations/{withdrawn}")).await;
    let declined = id_of(&invite().await["invitation"]);
    ida.get("/api/v1/me/invitations").await;
    ida.act(&format!("/api/v1/me/invitations/{declined}/decline"))
        .await;
    for leaves_by_itself in [true, false] {
        let accepted = id_of(&invite().await["invitation"]);
        ida.act(&format!("/api/v1/me/invitations/{accepted}/accept"))
            .await;
        let member = format!("{space}/members/{ida_id}");
        if leaves_by_itself {
            eva.post(&member, json!({ "role": "admin" })).await;
            ida.act(&format!("{space}/leave")).await;
        } else {
            eva.delete(&member).await;
        }
    }
    let accepted = id_of(&invite().await["invitation"]);
    ida.act(&format!("/api/v1/me/invitations/{accepted}/accept"))
        .await;
    for owner in [eva, ida] {
        owner.act(&format!("{VAULT}/init")).await;
    }
    eva.post(&format!("{space}/hand-over"), json!({ "userId": ida_id }))
        .await;
    ida.delete(&space).await;
}

async fn sync(eva: &Caller<'_>) {
    let change = json!({
        "table": "favorites", "id": "f1", "op": "insert",
        "fields": { "name": { "value": "Milch", "at": "2026-01-05T08:00:00.000Z" } },
    });
    let gone = json!({ "table": "favorites", "id": "f2", "op": "delete" });
    let push = json!({ "clientId": "laptop", "since": "", "changes": [change, gone] });
    eva.post("/sync/mana", push).await;
    let pulled = eva.get("/sync/mana/pull?collection=favorites").await;
    assert!(
        !pulled["serverChanges"].as_array().unwrap().is_empty(),
        "{pulled}"
    );
}

async fn vault_and_grants(house: &TestHouse, eva: &Caller<'_>) {
    let wrap = json!({ "recoveryWrappedMk": BASE64.encode([1; 48]), "recoveryIv": BASE64.encode([2; 12]) });
    eva.get(&format!("{VAULT}/status")).await;
    eva.act(&format!("{VAULT}/init")).await;
    eva.get(&format!("{VAULT}/key")).await;
    eva.post(&format!("{VAULT}/recovery-wrap"), wrap.clone()).await;
    eva.delete(&format!("{VAULT}/recovery-wrap")).await;
    let rotated = eva.act(&format!("{VAULT}/rotate")).await;
    let granted = super::grants::granted(house).await;
    let owner = Caller {
        house,
        token: granted.token.clone(),
    };
    let id = id_of(&granted.grant);
    let record = format!("/api/v1/internal/key-grants/{id}/records/tasks/{}", granted.task);
    let opened = house.ask_as_runner("GET", &record, None).await;
    assert_eq!(opened.status, StatusCode::OK, "{}", opened.text);
    let wanted = json!({ "missionId": "m2", "tables": ["tasks"], "recordIds": [granted.task] });
    owner.post("/api/v1/me/ai-mission-grant", wanted).await;
    owner.get("/api/v1/me/key-grants").await;
    owner.get("/api/v1/me/ai-mission-grant").await;
    owner.delete(&format!("/api/v1/me/key-grants/{id}")).await;
    // Both forms of a key's address: that of an owner who keeps the key alone, too.
    eva.post(&format!("{VAULT}/recovery-wrap"), wrap).await;
    eva.post(&format!("{VAULT}/zero-knowledge"), json!({ "enable": true }))
        .await;
    eva.get(&format!("{VAULT}/key")).await;
    let back = json!({ "enable": false, "masterKey": rotated["masterKey"] });
    eva.post(&format!("{VAULT}/zero-knowledge"), back).await;
}

async fn personas(house: &TestHouse, admin: &Caller<'_>) {
    let mut ids = Vec::new();
    for (path, email) in [("/api/v1/personas/admin", ANNA), ("/api/v1/admin/personas", BEN)] {
        let made = admin.post(path, sample::persona(email)).await;
        ids.push(made["userId"].as_str().unwrap().to_owned());
        admin.get(path).await;
    }
    let login = house.ask("GET", &format!("/diag/login?email={ANNA}"), None).await;
    assert_eq!(login.status, StatusCode::OK, "{}", login.text);
    for verb in ["resume", "pause"] {
        admin.act(&format!("/api/v1/admin/runner/{verb}")).await;
    }
    let ticked = admin
        .post("/api/v1/admin/runner/tick", json!({ "persona": ANNA }))
        .await;
    assert_eq!(ticked["succeeded"], 1, "{ticked}");
    let nobody = house.ask("POST", "/diag/tick", None).await;
    assert_eq!(nobody.status, StatusCode::OK, "{}", nobody.text);
    house.settled().await;
    admin.get("/api/v1/admin/runner").await;
    admin.get("/api/v1/admin/report").await;
    for (path, id) in [
        ("/api/v1/personas/admin", &ids[0]),
        ("/api/v1/admin/personas", &ids[1]),
    ] {
        admin.get(&format!("{path}/{id}")).await;
    }
}

async fn external(house: &TestHouse) {
    for (path, email) in [
        ("/api/v1/personas/internal", "persona.carl@mana.test"),
        ("/api/v1/internal/personas", "persona.dora@mana.test"),
    ] {
        let id = house.enrol(email).await;
        for (method, what, body) in [
            ("GET", "due".to_owned(), None),
            (
                "POST",
                format!("{id}/actions"),
                Some(own_ticks(&sample::actions(), &id)),
            ),
            (
                "POST",
                format!("{id}/feedback"),
                Some(own_ticks(&sample::feedback(), &id)),
            ),
        ] {
            let answer = house
                .ask_as_runner(method, &format!("{path}/{what}"), body.as_ref())
                .await;
            assert_eq!(
                answer.status,
                StatusCode::OK,
                "{method} {path}/{what}: {}",
                answer.text
            );
        }
    }
}

/// The same report about ticks of this persona's own.
fn own_ticks(report: &Value, persona: &str) -> Value {
    serde_json::from_str(&report.to_string().replace("tick-1", &format!("tick-{persona}"))).unwrap()
}

async fn questions(admin: &Caller<'_>) {
    let personas = admin.get("/api/v1/queries/personas.list").await;
    let acted = personas["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["email"] == ANNA);
    let persona = acted.unwrap()["persona_id"].as_str().unwrap().to_owned();
    let story = admin
        .get(&format!("/api/v1/queries/personas.story?persona={persona}"))
        .await;
    let tick = story["items"][0]["tick_id"].as_str().unwrap().to_owned();
    for endpoint in crate::http::queries::endpoints() {
        let path = endpoint.paths[0];
        let about = match path.rsplit('/').next().unwrap() {
            "personas.get" | "personas.story" => format!("{path}?persona={persona}"),
            "ticks.trace" => format!("{path}?tick={tick}"),
            "events.get" => format!("{path}?seq=1"),
            _ => path.to_owned(),
        };
        admin.get(&about).await;
    }
    admin.act("/api/v1/replay").await;
    admin.delete("/api/v1/replay").await;
    admin.act("/api/v1/parked/retry").await;
}

/// What is sent as events: the first of each stream.
async fn streams(house: &TestHouse, admin: &Caller<'_>, eva: &Caller<'_>) {
    for (caller, path) in [
        (admin, "/api/v1/feed"),
        (eva, "/sync/mana/stream?collections=favorites"),
    ] {
        let mut asked = request("GET", path, None);
        let bearer = format!("Bearer {}", caller.token).parse().unwrap();
        asked.headers_mut().insert(header::AUTHORIZATION, bearer);
        let response = house.front.clone().oneshot(asked).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let mut body = response.into_body().into_data_stream();
        let mut text = String::new();
        let data: Value = loop {
            let chunk = tokio::time::timeout(std::time::Duration::from_mins(1), body.next()).await;
            let chunk = chunk.expect("a stream tells something").unwrap().unwrap();
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            let whole = text
                .split_inclusive("\n\n")
                .filter(|frame| frame.ends_with("\n\n"));
            let told = whole.filter_map(|frame| frame.lines().find_map(|line| line.strip_prefix("data: ")));
            let told = told.filter_map(|data| serde_json::from_str(data).ok());
            if let Some(data) = told.into_iter().find(|data| *data != json!({})) {
                break data;
            }
        };
        described::check_event(&house.succeeded, "GET", path, &data);
    }
}

async fn admin_of_accounts(house: &TestHouse, admin: &Caller<'_>, ida_id: &str) {
    admin.get("/api/v1/admin/users?kind=all").await;
    admin.get("/api/v1/admin/audit").await;
    admin.post("/api/v1/admin/seal/migrate", json!({})).await;
    admin.act(&format!("/api/v1/admin/users/{ida_id}/revoke")).await;
    let (_, stamped) = house.register("persona.finn@mana.test").await;
    let stamp = format!("/api/v1/internal/users/{stamped}/persona-stamp");
    let answer = house.ask_as_runner("POST", &stamp, None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    admin.delete(&format!("/api/v1/admin/users/{ida_id}")).await;
    for (path, email) in [("/api/v1/personas/admin", ANNA), ("/api/v1/admin/personas", BEN)] {
        let persona = house.app.tables.persona_by_email(email).await.unwrap().unwrap();
        admin.delete(&format!("{path}/{}", persona.persona_id)).await;
    }
}

async fn logins(house: &TestHouse, eva: &Caller<'_>, eva_id: &str) {
    let fresh = eva.act("/api/v1/auth/refresh").await;
    assert_eq!(fresh["user"]["id"], eva_id);
    let again = Caller {
        house,
        token: fresh["token"].as_str().unwrap().to_owned(),
    };
    again.act("/api/v1/auth/logout").await;
}
