use events::{PersonaId, Subject};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, TestHouse, sample};

const ANNA: &str = "persona.anna@mana.test";
const BEN: &str = "persona.ben@mana.test";
const ALL: &str = "/api/v1/personas/admin";

pub(super) async fn events_of(house: &TestHouse, id: &str) -> Vec<String> {
    let subject = Subject::Persona(PersonaId::try_new(id).unwrap());
    let commits = house.log.inner_read(&subject).await;
    commits
        .iter()
        .flat_map(|recorded| &recorded.commit.events)
        .map(|event| event.type_name().to_owned())
        .collect()
}

#[tokio::test]
async fn a_persona_created_twice_is_one_persona_and_one_event() {
    let house = TestHouse::open().await;
    let first = house
        .ask_as_admin("POST", ALL, Some(&sample::persona(ANNA)))
        .await;
    let second = house
        .ask_as_admin("POST", "/api/v1/admin/personas", Some(&sample::persona(ANNA)))
        .await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text);
    assert_eq!(
        first.json,
        json!({ "ok": true, "userId": first.json["userId"], "email": ANNA })
    );
    assert_eq!(second.json, first.json);
    assert_eq!(
        events_of(&house, first.json["userId"].as_str().unwrap()).await,
        ["PersonaEnrolled"]
    );
    let list = house.ask_as_admin("GET", ALL, None).await;
    assert_eq!(list.json["personas"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_changed_description_is_one_revision_and_back_again_is_another() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let mut changed = sample::persona(ANNA);
    changed["tickCadence"] = json!("hourly");
    house.ask_as_admin("POST", ALL, Some(&changed)).await;
    house.ask_as_admin("POST", ALL, Some(&changed)).await;
    house.enrol(ANNA).await;
    assert_eq!(
        events_of(&house, &id).await,
        ["PersonaEnrolled", "PersonaRevised", "PersonaRevised"]
    );
    let detail = house.ask_as_admin("GET", &format!("{ALL}/{id}"), None).await;
    assert_eq!(detail.json["persona"]["tickCadence"], "daily");
}

#[tokio::test]
async fn what_an_older_client_does_not_send_stays_as_it_was() {
    let house = TestHouse::open().await;
    let mut full = sample::persona(ANNA);
    full["timeZone"] = json!("America/Lima");
    full["partners"] = json!([BEN]);
    let id = house.ask_as_admin("POST", ALL, Some(&full)).await.json["userId"]
        .as_str()
        .unwrap()
        .to_owned();
    house.enrol(ANNA).await;
    let detail = house.ask_as_admin("GET", &format!("{ALL}/{id}"), None).await;
    assert_eq!(detail.json["persona"]["timeZone"], "America/Lima");
    assert_eq!(detail.json["persona"]["partners"], json!([BEN]));
    assert_eq!(events_of(&house, &id).await, ["PersonaEnrolled"]);
}

#[tokio::test]
async fn the_list_and_the_detail_have_the_shapes_older_clients_know() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    house
        .ask_as_runner(
            "POST",
            &format!("/api/v1/personas/internal/{id}/actions"),
            Some(&sample::actions()),
        )
        .await;
    house
        .ask_as_runner(
            "POST",
            &format!("/api/v1/personas/internal/{id}/feedback"),
            Some(&sample::feedback()),
        )
        .await;

    let list = house.ask_as_admin("GET", ALL, None).await;
    let row = &list.json["personas"][0];
    let members = [
        "actions7d",
        "archetype",
        "createdAt",
        "email",
        "lastActiveAt",
        "name",
        "tickCadence",
        "userId",
    ];
    assert_eq!(Answer::members(row), members);
    assert_eq!((&row["userId"], &row["actions7d"]), (&json!(id), &json!(3)));
    for time in [&row["createdAt"], &row["lastActiveAt"]] {
        let time = time.as_str().unwrap();
        assert!(
            time.len() == "2026-01-05T08:00:00.000Z".len() && time.ends_with('Z'),
            "{time}"
        );
    }

    let detail = house
        .ask_as_admin("GET", &format!("/api/v1/admin/personas/{id}"), None)
        .await;
    assert_eq!(
        Answer::members(&detail.json),
        ["feedbackByModule", "persona", "recentActions"]
    );
    assert_eq!(
        detail.json["persona"]["moduleMix"],
        json!({ "habits": 1.0, "todo": 3.0 })
    );
    assert_eq!(detail.json["persona"]["systemPrompt"], "Du bist Anna.");
    let ratings = json!([
        { "module": "notes", "avgRating": 5.0, "count": 1 },
        { "module": "todo", "avgRating": 2.0, "count": 1 },
    ]);
    assert_eq!(detail.json["feedbackByModule"], ratings);
    let failed = detail.json["recentActions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|action| action["result"] == "error");
    let failed = failed.unwrap();
    assert_eq!(failed["id"], "tick-1-1-todo.list");
    assert_eq!(
        (&failed["toolName"], &failed["errorMessage"]),
        (&json!("todo.list"), &json!("no such list"))
    );
}

#[tokio::test]
async fn every_fault_of_a_description_is_named_together() {
    let house = TestHouse::open().await;
    let body = json!({
        "email": "anna@example.org",
        "archetype": "",
        "systemPrompt": 5,
        "moduleMix": { "todo": -1, "notes": "much" },
        "tickCadence": "yearly",
        "timeZone": "Mars/Olympus",
        "partners": ["me@example.org"],
    });
    let answer = house.ask_as_admin("POST", ALL, Some(&body)).await;
    answer.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    let faults: Vec<&str> = answer.json["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["field"].as_str().unwrap())
        .collect();
    let expected = [
        "email",
        "password",
        "archetype",
        "systemPrompt",
        "moduleMix.todo",
        "moduleMix.notes",
        "tickCadence",
        "timeZone",
        "partners[0]",
    ];
    assert_eq!(faults, expected);
    assert_eq!(house.commits().await, 0);
}

#[tokio::test]
async fn a_mix_of_nothing_is_refused() {
    let house = TestHouse::open().await;
    for mix in [json!({}), json!({ "todo": 0 }), json!([1]), Value::Null] {
        let mut body = sample::persona(ANNA);
        body["moduleMix"] = mix;
        let answer = house.ask_as_admin("POST", ALL, Some(&body)).await;
        answer.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    }
}

#[tokio::test]
async fn a_person_in_the_way_of_a_persona_is_left_alone() {
    let house = TestHouse::open().await;
    let (token, id) = house.register(ANNA).await;
    let answer = house
        .ask_as_admin("POST", ALL, Some(&sample::persona(ANNA)))
        .await;
    answer.assert_problem(StatusCode::CONFLICT, "NOT_A_PERSONA");
    let answer = house.ask_as_admin("DELETE", &format!("{ALL}/{id}"), None).await;
    answer.assert_problem(StatusCode::BAD_REQUEST, "NOT_A_PERSONA");
    assert_eq!(house.commits().await, 0);
    let spaces = house
        .ask_as(&token, "GET", "/api/auth/organization/list", None)
        .await;
    assert_eq!(spaces.status, StatusCode::OK);
    assert_eq!(
        house
            .ask("POST", "/api/v1/auth/login", Some(&sample::credentials(ANNA)))
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn an_account_without_its_event_gets_it_on_the_next_try() {
    let house = TestHouse::open().await;
    house.log.mute(true);
    let broken = house
        .ask_as_admin("POST", ALL, Some(&sample::persona(ANNA)))
        .await;
    broken.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "LOG_UNAVAILABLE");
    house.log.mute(false);
    let id = house.enrol(ANNA).await;
    assert_eq!(events_of(&house, &id).await, ["PersonaEnrolled"]);
}

#[tokio::test]
async fn partners_share_one_space_whoever_comes_first() {
    let house = TestHouse::open().await;
    for (email, partner) in [(ANNA, BEN), (BEN, ANNA), (ANNA, BEN)] {
        let mut body = sample::persona(email);
        body["partners"] = json!([partner]);
        assert_eq!(
            house.ask_as_admin("POST", ALL, Some(&body)).await.status,
            StatusCode::OK
        );
    }
    let mut shared = Vec::new();
    for email in [ANNA, BEN] {
        let login = house
            .ask("POST", "/api/v1/auth/login", Some(&sample::persona(email)))
            .await;
        let token = login.json["token"].as_str().unwrap();
        let spaces = house
            .ask_as(token, "GET", "/api/auth/organization/list", None)
            .await;
        assert_eq!(spaces.json.as_array().unwrap().len(), 2, "{}", spaces.text);
        shared.push(spaces.json[1]["id"].clone());
    }
    assert_eq!(shared[0], shared[1]);
}

#[tokio::test]
async fn personas_are_for_admins_only() {
    let house = TestHouse::open().await;
    let (token, id) = house.register("eva@example.org").await;
    let one = format!("{ALL}/{id}");
    let body = sample::persona(ANNA);
    for (method, path, body) in [
        ("POST", ALL, Some(&body)),
        ("GET", ALL, None),
        ("GET", one.as_str(), None),
        ("DELETE", one.as_str(), None),
        ("POST", "/api/v1/admin/runner/tick", None),
        ("POST", "/api/v1/admin/runner/pause", None),
        ("POST", "/api/v1/admin/runner/resume", None),
        ("GET", "/api/v1/admin/runner", None),
        ("GET", "/api/v1/admin/report", None),
    ] {
        house
            .ask(method, path, body)
            .await
            .assert_problem(StatusCode::UNAUTHORIZED, "TOKEN_MISSING");
        house
            .ask_as(&token, method, path, body)
            .await
            .assert_problem(StatusCode::FORBIDDEN, "ADMIN_ONLY");
        house
            .ask_as_runner(method, path, body)
            .await
            .assert_problem(StatusCode::UNAUTHORIZED, "TOKEN_MISSING");
    }
}

#[tokio::test]
async fn ids_that_are_nobodys_are_not_found() {
    let house = TestHouse::open().await;
    for id in ["nobody", "%00", "%F0%9F%90%8E", &"x".repeat(300)] {
        for method in ["GET", "DELETE"] {
            let answer = house.ask_as_admin(method, &format!("{ALL}/{id}"), None).await;
            answer.assert_problem(StatusCode::NOT_FOUND, "PERSONA_NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn a_write_the_tables_do_not_show_yet_is_answered_as_stored() {
    let mut house = TestHouse::open().await;
    house.without_fold();
    let stored = house
        .ask_as_admin("POST", ALL, Some(&sample::persona(ANNA)))
        .await;
    assert_eq!(
        (stored.status, &stored.json["ok"]),
        (StatusCode::ACCEPTED, &json!(true))
    );
    assert_eq!(
        events_of(&house, stored.json["userId"].as_str().unwrap()).await,
        ["PersonaEnrolled"]
    );
}
