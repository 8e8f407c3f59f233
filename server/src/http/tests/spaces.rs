mod ends;

use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, TestHouse, request};

/// Somebody registered.
struct Person {
    token: String,
    id: String,
    email: &'static str,
}

async fn person(house: &TestHouse, email: &'static str) -> Person {
    let (token, id) = house.register(email).await;
    Person { token, id, email }
}

async fn make(house: &TestHouse, owner: &Person, kind: &str) -> String {
    let body = json!({ "name": "Ours", "type": kind });
    let made = house
        .ask_as(&owner.token, "POST", "/api/v1/spaces", Some(&body))
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(
        Answer::members(&made.json["space"]),
        ["id", "name", "role", "slug", "type"]
    );
    assert_eq!(
        (&made.json["space"]["role"], &made.json["space"]["type"]),
        (&json!("owner"), &json!(kind))
    );
    made.json["space"]["id"].as_str().unwrap().to_owned()
}

async fn invite(house: &TestHouse, by: &Person, space: &str, email: &str) -> Answer {
    let body = json!({ "email": email });
    let path = format!("/api/v1/spaces/{space}/invitations");
    house.ask_as(&by.token, "POST", &path, Some(&body)).await
}

async fn join(house: &TestHouse, by: &Person, space: &str, who: &Person) {
    let invited = invite(house, by, space, who.email).await;
    assert_eq!(invited.status, StatusCode::CREATED, "{}", invited.text);
    let mine = house
        .ask_as(&who.token, "GET", "/api/v1/me/invitations", None)
        .await;
    let id = mine.json["invitations"][0]["id"].as_str().unwrap();
    let path = format!("/api/v1/me/invitations/{id}/accept");
    let joined = house.ask_as(&who.token, "POST", &path, None).await;
    assert_eq!(
        (joined.status, &joined.json["space"]["id"]),
        (StatusCode::OK, &json!(space))
    );
}

/// What a call of a tool in that space is answered with.
pub(super) async fn call(
    house: &TestHouse,
    token: &str,
    space: &str,
    tool: &str,
    arguments: Value,
) -> Answer {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": tool, "arguments": arguments, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "by-hand", "version": "1"}}}});
    let mut asked = request("POST", "/mcp", Some(&body));
    for (name, value) in [
        ("authorization", format!("Bearer {token}").as_str()),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", tool),
        ("x-mana-space", space),
    ] {
        let name = http::HeaderName::try_from(name).unwrap();
        asked.headers_mut().insert(name, value.parse().unwrap());
    }
    let host = house
        .app
        .settings
        .public_url
        .trim_start_matches("http://")
        .parse();
    asked.headers_mut().insert("host", host.unwrap());
    house.send(asked).await
}

#[tokio::test]
async fn two_people_share_a_space_of_every_type_by_invitation_and_both_work_there() {
    let house = TestHouse::open().await;
    let (anna, ben) = (
        person(&house, "anna@example.org").await,
        person(&house, "ben@example.org").await,
    );
    for kind in ["brand", "club", "family", "team", "practice"] {
        let space = make(&house, &anna, kind).await;
        let before = call(&house, &ben.token, &space, "todo.list", json!({})).await;
        assert_eq!(before.status, StatusCode::FORBIDDEN, "{}", before.text);
        join(&house, &anna, &space, &ben).await;
        let made = call(&house, &ben.token, &space, "todo.create", json!({"title": kind})).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text);
        let seen = call(&house, &anna.token, &space, "todo.list", json!({})).await;
        assert!(seen.text.contains(kind), "{}", seen.text);
    }
    let mine = house.ask_as(&ben.token, "GET", "/api/v1/spaces", None).await;
    let types: Vec<&str> = mine.json["spaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|space| space["type"].as_str().unwrap())
        .collect();
    assert_eq!((types.len(), types[0]), (6, "personal"));
    let old = house
        .ask_as(&ben.token, "GET", "/api/auth/organization/list", None)
        .await;
    assert_eq!(
        old.json.as_array().unwrap().len(),
        6,
        "older clients see them too"
    );
}

#[tokio::test]
async fn who_leaves_or_is_taken_out_is_a_stranger_from_the_next_request_on() {
    let house = TestHouse::open().await;
    let (anna, ben) = (
        person(&house, "anna@example.org").await,
        person(&house, "ben@example.org").await,
    );
    let space = make(&house, &anna, "family").await;
    let (shown, leave) = (
        format!("/api/v1/spaces/{space}"),
        format!("/api/v1/spaces/{space}/leave"),
    );
    let member = format!("/api/v1/spaces/{space}/members/{}", ben.id);
    for (by, method, path) in [(&ben, "POST", &leave), (&anna, "DELETE", &member)] {
        join(&house, &anna, &space, &ben).await;
        assert_eq!(
            house.ask_as(&ben.token, "GET", &shown, None).await.status,
            StatusCode::OK
        );
        let gone = house.ask_as(&by.token, method, path, None).await;
        assert_eq!(gone.json, json!({ "ok": true }), "{}", gone.text);
        house
            .ask_as(&ben.token, "GET", &shown, None)
            .await
            .assert_problem(StatusCode::NOT_FOUND, "NOT_FOUND");
        let refused = call(&house, &ben.token, &space, "todo.list", json!({})).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
    }
    let owner = house.ask_as(&anna.token, "POST", &leave, None).await;
    owner.assert_problem(StatusCode::CONFLICT, "OWNER_STAYS");
}

#[tokio::test]
async fn roles_decide_who_invites_and_whose_email_is_seen() {
    let house = TestHouse::open().await;
    let (anna, ben) = (
        person(&house, "anna@example.org").await,
        person(&house, "ben@example.org").await,
    );
    let space = make(&house, &anna, "club").await;
    join(&house, &anna, &space, &ben).await;
    let refused = invite(&house, &ben, &space, "eva@example.org").await;
    refused.assert_problem(StatusCode::FORBIDDEN, "SPACE_ROLE_NEEDED");
    let path = format!("/api/v1/spaces/{space}");
    let seen = house.ask_as(&ben.token, "GET", &path, None).await;
    assert!(!seen.text.contains(anna.email), "{}", seen.text);

    let role = json!({ "role": "admin" });
    let member = format!("/api/v1/spaces/{space}/members/{}", ben.id);
    let raised = house.ask_as(&anna.token, "POST", &member, Some(&role)).await;
    assert_eq!(raised.status, StatusCode::OK, "{}", raised.text);
    let invited = invite(&house, &ben, &space, "eva@example.org").await;
    assert_eq!(invited.status, StatusCode::CREATED, "{}", invited.text);
    let seen = house.ask_as(&ben.token, "GET", &path, None).await;
    assert!(seen.text.contains(anna.email), "{}", seen.text);

    let invitation = invited.json["invitation"]["id"].as_str().unwrap();
    let withdraw = format!("/api/v1/spaces/{space}/invitations/{invitation}");
    let withdrawn = house.ask_as(&ben.token, "DELETE", &withdraw, None).await;
    assert_eq!(withdrawn.status, StatusCode::OK, "{}", withdrawn.text);
    let open = format!("/api/v1/spaces/{space}/invitations");
    let open = house.ask_as(&anna.token, "GET", &open, None).await;
    assert_eq!(open.json, json!({ "invitations": [] }));
}

#[tokio::test]
async fn a_strangers_space_and_one_that_does_not_exist_are_told_apart_by_nobody() {
    let house = TestHouse::open().await;
    let (anna, eva) = (
        person(&house, "anna@example.org").await,
        person(&house, "eva@example.org").await,
    );
    let space = make(&house, &anna, "team").await;
    let (email, role) = (json!({ "email": "x@example.org" }), json!({ "role": "member" }));
    let next = json!({ "userId": eva.id });
    let mut told = Vec::new();
    for id in [space.as_str(), "none"] {
        for (method, path, body) in [
            ("GET", String::new(), None),
            ("POST", "/leave".to_owned(), None),
            ("GET", "/invitations".to_owned(), None),
            ("POST", "/invitations".to_owned(), Some(&email)),
            ("DELETE", "/invitations/x".to_owned(), None),
            ("POST", format!("/members/{}", anna.id), Some(&role)),
            ("DELETE", format!("/members/{}", anna.id), None),
            ("POST", "/hand-over".to_owned(), Some(&next)),
            ("DELETE", String::new(), None),
        ] {
            let path = format!("/api/v1/spaces/{id}{path}");
            let answer = house.ask_as(&eva.token, method, &path, body).await;
            answer.assert_problem(StatusCode::NOT_FOUND, "NOT_FOUND");
            told.push(answer.text);
        }
    }
    assert!(told.iter().all(|text| *text == told[0]), "{told:?}");
}

#[tokio::test]
async fn a_bad_request_names_the_field() {
    let house = TestHouse::open().await;
    let anna = person(&house, "anna@example.org").await;
    let space = make(&house, &anna, "team").await;
    let invitations = format!("/api/v1/spaces/{space}/invitations");
    for (path, body, field) in [
        (
            "/api/v1/spaces",
            json!({ "name": "A", "type": "personal" }),
            "type",
        ),
        ("/api/v1/spaces", json!({ "type": "team" }), "name"),
        (invitations.as_str(), json!({ "email": "nobody" }), "email"),
        (
            invitations.as_str(),
            json!({ "email": "a@b.org", "role": "owner" }),
            "role",
        ),
    ] {
        let answer = house.ask_as(&anna.token, "POST", path, Some(&body)).await;
        answer.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
        assert_eq!(answer.json["faults"][0]["field"], field, "{}", answer.text);
    }
}
