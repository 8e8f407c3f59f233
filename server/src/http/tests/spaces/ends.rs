use std::time::Duration;

use events::{Event, EventLog as _, SpaceId, Subject};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Person, TestHouse, call, join, make, person};
use crate::http::spaces::finish;

/// More than any process may go on with what it knew.
const LATER: Duration = Duration::from_mins(7);

async fn shared(house: &TestHouse) -> (Person, Person, String) {
    let (anna, ben) = (
        person(house, "anna@example.org").await,
        person(house, "ben@example.org").await,
    );
    let space = make(house, &anna, "family").await;
    join(house, &anna, &space, &ben).await;
    for title in ["milk", "bread"] {
        let made = call(
            house,
            &anna.token,
            &space,
            "todo.create",
            json!({ "title": title }),
        )
        .await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    }
    (anna, ben, space)
}

async fn tasks(house: &TestHouse, who: &Person, space: &str) -> String {
    call(house, &who.token, space, "todo.list", json!({})).await.text
}

async fn record_events(house: &TestHouse, space: &str) -> Vec<Event> {
    let space: SpaceId = space.parse().unwrap();
    let commits = house
        .log
        .inner
        .read_subject(&Subject::Record(space))
        .await
        .unwrap();
    commits
        .into_iter()
        .flat_map(|recorded| recorded.commit.events)
        .collect()
}

async fn hand_over(house: &TestHouse, by: &Person, space: &str, to: &str) -> super::Answer {
    let path = format!("/api/v1/spaces/{space}/hand-over");
    let body = json!({ "userId": to });
    house.ask_as(&by.token, "POST", &path, Some(&body)).await
}

#[tokio::test]
async fn an_owner_hands_its_space_over_leaves_and_is_erased_and_the_others_read_on() {
    let house = TestHouse::open().await;
    let (anna, ben, space) = shared(&house).await;
    let handed = hand_over(&house, &anna, &space, &ben.id).await;
    assert_eq!(handed.status, StatusCode::OK, "{}", handed.text);
    assert_eq!(handed.json["space"]["role"], "admin");
    let left = format!("/api/v1/spaces/{space}/leave");
    let left = house.ask_as(&anna.token, "POST", &left, None).await;
    assert_eq!(left.json, json!({ "ok": true }), "{}", left.text);
    let refused = call(&house, &anna.token, &space, "todo.list", json!({})).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);

    finish(&house.app).await.unwrap();
    assert_eq!(
        house.app.identity.handovers().await.unwrap().len(),
        1,
        "others may not know yet"
    );
    house.app.clock.advance(LATER);
    finish(&house.app).await.unwrap();
    assert!(house.app.identity.handovers().await.unwrap().is_empty());

    let path = format!("/api/v1/admin/users/{}", anna.id);
    let gone = house.ask_as_admin("DELETE", &path, None).await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text);
    let seen = tasks(&house, &ben, &space).await;
    assert!(seen.contains("milk") && seen.contains("bread"), "{seen}");
    let made = call(
        &house,
        &ben.token,
        &space,
        "todo.create",
        json!({"title": "eggs"}),
    )
    .await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
}

#[tokio::test]
async fn who_may_not_hand_over_is_told_why_in_a_code() {
    let house = TestHouse::open().await;
    let (anna, ben, space) = shared(&house).await;
    let eva = person(&house, "eva@example.org").await;
    hand_over(&house, &ben, &space, &ben.id)
        .await
        .assert_problem(StatusCode::FORBIDDEN, "SPACE_ROLE_NEEDED");
    for (by, to) in [(&eva, &eva.id), (&anna, &eva.id), (&anna, &"nobody".to_owned())] {
        hand_over(&house, by, &space, to)
            .await
            .assert_problem(StatusCode::NOT_FOUND, "NOT_FOUND");
    }
    let path = format!("/api/v1/spaces/{space}/hand-over");
    let unnamed = house.ask_as(&anna.token, "POST", &path, Some(&json!({}))).await;
    unnamed.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    assert_eq!(unnamed.json["faults"][0]["field"], "userId");

    let wrap = json!({ "recoveryWrappedMk": "AAAA", "recoveryIv": "AAAA" });
    let vault = "/api/v1/me/encryption-vault";
    house
        .ask_as(&ben.token, "POST", &format!("{vault}/recovery-wrap"), Some(&wrap))
        .await;
    let on = json!({ "enable": true });
    house
        .ask_as(&ben.token, "POST", &format!("{vault}/zero-knowledge"), Some(&on))
        .await;
    let refused = hand_over(&house, &anna, &space, &ben.id).await;
    refused.assert_problem(StatusCode::CONFLICT, "ZK_ACTIVE");
    assert!(
        refused.text.contains("the member's is a zero-knowledge account"),
        "{}",
        refused.text
    );
    assert!(tasks(&house, &anna, &space).await.contains("milk"));
}

#[tokio::test]
async fn zero_knowledge_waits_until_a_handed_over_space_is_sealed_anew() {
    let house = TestHouse::open().await;
    let (anna, ben, space) = shared(&house).await;
    hand_over(&house, &anna, &space, &ben.id).await;
    let wrap = json!({ "recoveryWrappedMk": "AAAA", "recoveryIv": "AAAA" });
    let vault = "/api/v1/me/encryption-vault";
    house
        .ask_as(
            &anna.token,
            "POST",
            &format!("{vault}/recovery-wrap"),
            Some(&wrap),
        )
        .await;
    let on = json!({ "enable": true });
    let path = format!("{vault}/zero-knowledge");
    let early = house.ask_as(&anna.token, "POST", &path, Some(&on)).await;
    early.assert_problem(StatusCode::CONFLICT, "HANDOVER_UNDER_WAY");
    house.app.clock.advance(LATER);
    finish(&house.app).await.unwrap();
    let then = house.ask_as(&anna.token, "POST", &path, Some(&on)).await;
    assert_eq!(then.status, StatusCode::OK, "{}", then.text);
    assert!(tasks(&house, &ben, &space).await.contains("milk"));
}

#[tokio::test]
async fn a_deleted_space_is_gone_for_everybody_from_tables_and_log() {
    let house = TestHouse::open().await;
    let (anna, ben, space) = shared(&house).await;
    let other = make(&house, &anna, "team").await;
    call(
        &house,
        &anna.token,
        &other,
        "todo.create",
        json!({"title": "stays"}),
    )
    .await;
    let here = format!("/api/v1/spaces/{space}");
    house
        .ask_as(&ben.token, "DELETE", &here, None)
        .await
        .assert_problem(StatusCode::FORBIDDEN, "SPACE_ROLE_NEEDED");
    let personal = house.ask_as(&anna.token, "GET", "/api/v1/spaces", None).await;
    let personal = format!(
        "/api/v1/spaces/{}",
        personal.json["spaces"][0]["id"].as_str().unwrap()
    );
    house
        .ask_as(&anna.token, "DELETE", &personal, None)
        .await
        .assert_problem(StatusCode::CONFLICT, "OWNER_STAYS");

    let deleted = house.ask_as(&anna.token, "DELETE", &here, None).await;
    assert_eq!(deleted.json, json!({ "ok": true }), "{}", deleted.text);
    for who in [&anna, &ben] {
        house
            .ask_as(&who.token, "GET", &here, None)
            .await
            .assert_problem(StatusCode::NOT_FOUND, "NOT_FOUND");
        let refused = call(&house, &who.token, &space, "todo.list", json!({})).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
    }
    let left = record_events(&house, &space).await;
    assert!(matches!(left[..], [Event::SpaceErased(_)]), "{left:?}");
    let id: SpaceId = space.parse().unwrap();
    assert!(house.app.tables.records(&id, "tasks").await.unwrap().is_empty());
    assert!(tasks(&house, &anna, &other).await.contains("stays"));

    // What slipped in behind it goes too, and then nothing is remembered any more.
    write_behind(&house, &id, &anna).await;
    assert_eq!(record_events(&house, &space).await.len(), 2);
    finish(&house.app).await.unwrap();
    assert_eq!(record_events(&house, &space).await.len(), 1);
    assert!(house.app.tables.records(&id, "tasks").await.unwrap().is_empty());
    assert_eq!(house.app.identity.deleted_spaces().await.unwrap().len(), 1);
    house.app.clock.advance(LATER);
    finish(&house.app).await.unwrap();
    assert!(house.app.identity.deleted_spaces().await.unwrap().is_empty());
}

/// A write that was under way when its space was deleted.
async fn write_behind(house: &TestHouse, space: &SpaceId, by: &Person) {
    let at = events::testing::sample_time();
    let late = events::RecordChanged {
        space_id: space.clone(),
        table: "tasks".to_owned(),
        record_id: "late".parse().unwrap(),
        op: events::RecordOp::Put,
        fields: [(
            "title".to_owned(),
            events::FieldWrite {
                value: Value::Null,
                at,
            },
        )]
        .into(),
        actor: by.id.parse().unwrap(),
        tool: None,
        call_id: None,
        synced: None,
        changed_at: at,
    };
    let id = events::CommitId::derived(&["late"]);
    let commit = events::Commit::new(id, Subject::Record(space.clone()), at, vec![late.into()]);
    let appended = house.app.log.append(&commit, events::ExpectedSeq::Any).await;
    assert!(appended.unwrap().is_ok());
    house.settled().await;
}

#[tokio::test]
async fn everything_is_sealed_anew_by_an_admin_a_page_at_a_time() {
    let house = TestHouse::open().await;
    let (anna, ben, _) = shared(&house).await;
    let path = "/api/v1/admin/seal/migrate";
    let by_person = house.ask_as(&anna.token, "POST", path, Some(&json!({}))).await;
    by_person.assert_problem(StatusCode::FORBIDDEN, "ADMIN_ONLY");
    let other = house
        .ask_as_admin("POST", path, Some(&json!({"to": "enc:1"})))
        .await;
    other.assert_problem(StatusCode::CONFLICT, "OTHER_FORM_WRITTEN");
    for (body, field) in [
        (json!({"to": "enc:3"}), "to"),
        (json!({"limit": 0}), "limit"),
        (json!({"after": "x"}), "after"),
    ] {
        let bad = house.ask_as_admin("POST", path, Some(&body)).await;
        bad.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
        assert_eq!(bad.json["faults"][0]["field"], field, "{}", bad.text);
    }
    // Of before: a device that seals for itself, in the form that opens anywhere.
    let key = house
        .ask_as(&ben.token, "GET", "/api/v1/me/encryption-vault/key", None)
        .await;
    let key = key.json["masterKey"].as_str().unwrap();
    let key = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, key).unwrap();
    let sealed = gateway::field_crypto::seal(&key.try_into().unwrap(), &json!("old"), [1; 12]);
    let fields = json!({"title": {"value": sealed, "at": "2026-01-01T00:00:00.000Z"}});
    let push = json!({"clientId": "c", "changes": [{"table": "tasks", "id": "old-1", "op": "update", "fields": fields}]});
    let pushed = house.ask_as(&ben.token, "POST", "/sync/todo", Some(&push)).await;
    assert_eq!(pushed.status, StatusCode::OK, "{}", pushed.text);

    let dry = house
        .ask_as_admin("POST", path, Some(&json!({"dryRun": true})))
        .await;
    assert_eq!(
        (&dry.json["resealed"], &dry.json["form"]),
        (&json!(1), &json!("enc:2")),
        "{}",
        dry.text
    );
    let (mut after, mut resealed, mut pages) = (Value::Null, 0, 0);
    loop {
        let page = json!({"to": "enc:2", "limit": 1, "after": after});
        let page = house.ask_as_admin("POST", path, Some(&page)).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        resealed += page.json["resealed"].as_u64().unwrap();
        pages += 1;
        after = page.json["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert!(pages >= 3 && resealed == 1, "{pages} pages, {resealed}");
    let again = house.ask_as_admin("POST", path, Some(&json!({}))).await;
    assert_eq!(again.json["resealed"], 0, "{}", again.text);
    let own = house.ask_as(&ben.token, "GET", "/api/v1/spaces", None).await;
    let own = own.json["spaces"][0]["id"].as_str().unwrap();
    assert!(tasks(&house, &ben, own).await.contains("old"));
}
