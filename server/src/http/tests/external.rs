use events::{Cause, Event, PersonaId, RatingSource, Subject, TickTrigger};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, TestHouse, sample};

const ANNA: &str = "persona.anna@mana.test";
const BEN: &str = "persona.ben@mana.test";
const DUE: &str = "/api/v1/personas/internal/due";

fn actions_of(id: &str) -> String {
    format!("/api/v1/personas/internal/{id}/actions")
}

fn feedback_of(id: &str) -> String {
    format!("/api/v1/internal/personas/{id}/feedback")
}

async fn events_of(house: &TestHouse, id: &str) -> Vec<Event> {
    let subject = Subject::Persona(PersonaId::try_new(id).unwrap());
    let commits = house.log.inner_read(&subject).await;
    commits
        .into_iter()
        .flat_map(|recorded| recorded.commit.events)
        .collect()
}

#[tokio::test]
async fn without_the_service_key_nobody_gets_in() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let (actions, feedback) = (actions_of(&id), feedback_of(&id));
    for (method, path) in [
        ("GET", DUE),
        ("POST", actions.as_str()),
        ("POST", feedback.as_str()),
    ] {
        let body = (method == "POST").then(sample::actions);
        let missing = house.ask(method, path, body.as_ref()).await;
        missing.assert_problem(StatusCode::UNAUTHORIZED, "SERVICE_KEY_MISSING");
        let mut wrong = super::request(method, path, body.as_ref());
        wrong
            .headers_mut()
            .insert("x-service-key", "service-key-of-this-tesT".parse().unwrap());
        house
            .send(wrong)
            .await
            .assert_problem(StatusCode::UNAUTHORIZED, "SERVICE_KEY_WRONG");
        let admin = house.ask_as_admin(method, path, body.as_ref()).await;
        admin.assert_problem(StatusCode::UNAUTHORIZED, "SERVICE_KEY_MISSING");
    }
}

#[tokio::test]
async fn due_lists_who_never_ran_in_the_shape_older_runners_read() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    for path in [DUE, "/api/v1/internal/personas/due"] {
        let due = house.ask_as_runner("GET", path, None).await;
        assert_eq!(Answer::members(&due.json), ["personas", "serverTime"]);
        let expected = json!([{
            "userId": id,
            "email": ANNA,
            "archetype": "adhd-student",
            "systemPrompt": "Du bist Anna.",
            "moduleMix": { "habits": 1.0, "todo": 3.0 },
            "tickCadence": "daily",
            "lastActiveAt": null,
        }]);
        assert_eq!(due.json["personas"], expected);
    }
    house
        .ask_as_runner("POST", &actions_of(&id), Some(&sample::actions()))
        .await;
    let due = house.ask_as_runner("GET", DUE, None).await;
    assert_eq!(
        due.json["personas"],
        json!([]),
        "who acted today is not due again"
    );
}

#[tokio::test]
async fn a_batch_of_actions_sent_twice_is_written_once() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let first = house
        .ask_as_runner("POST", &actions_of(&id), Some(&sample::actions()))
        .await;
    assert_eq!(
        (first.status, first.json),
        (StatusCode::OK, json!({ "ok": true, "written": 3 }))
    );
    let commits = house.commits().await;
    let second = house
        .ask_as_runner("POST", &actions_of(&id), Some(&sample::actions()))
        .await;
    assert_eq!(second.json, json!({ "ok": true, "written": 0 }));
    assert_eq!(house.commits().await, commits);
    let counts = house.app.tables.counts().await.unwrap();
    assert_eq!((counts.actions, counts.ticks), (3, 1));
}

#[tokio::test]
async fn reported_actions_are_the_events_of_a_tick_from_outside() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    house
        .ask_as_runner("POST", &actions_of(&id), Some(&sample::actions()))
        .await;
    let events = events_of(&house, &id).await;
    let types: Vec<&str> = events.iter().skip(1).map(Event::type_name).collect();
    let expected = [
        "TickStarted",
        "ToolCalled",
        "ToolReturned",
        "ToolCalled",
        "ToolFailed",
        "ToolCalled",
        "ToolReturned",
        "TickFinished",
    ];
    assert_eq!(types, expected);
    let Event::TickStarted(started) = &events[1] else {
        panic!("a tick begins first")
    };
    assert_eq!((started.trigger, started.number), (TickTrigger::External, 1));
    let Event::ToolCalled(called) = &events[2] else {
        panic!("then its first call")
    };
    assert_eq!(called.call_id.as_str(), "tick-1-0-todo.create");
    let Event::ToolFailed(failed) = &events[5] else {
        panic!("the second call failed")
    };
    assert_eq!(failed.call_id.as_str(), "tick-1-1-todo.list");
    assert_eq!(
        (failed.error.as_str(), failed.cause),
        ("no such list", Cause::App)
    );
    let Event::ToolCalled(called) = &events[6] else {
        panic!("the third call")
    };
    assert_eq!(called.module, "notes");
}

#[tokio::test]
async fn five_hundred_actions_fit_and_one_more_does_not() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let batch = |count: usize| {
        let error = "ü".repeat(5_000);
        let action = |index: usize| {
            json!({ "tickId": format!("tick-{}", index % 2), "toolName": "todo.list", "result": "error",
                    "errorMessage": if count <= 500 { error.as_str() } else { "" } })
        };
        json!({ "actions": (0..count).map(action).collect::<Vec<Value>>() })
    };
    let too_many = house
        .ask_as_runner("POST", &actions_of(&id), Some(&batch(501)))
        .await;
    too_many.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    assert!(
        too_many.json["detail"]
            .as_str()
            .unwrap()
            .starts_with("actions: may have 500 items"),
        "{}",
        too_many.text
    );

    let too_large = house
        .ask_as_runner("POST", &actions_of(&id), Some(&batch(500)))
        .await;
    too_large.assert_problem(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE");

    let mut fitting = batch(500);
    for action in fitting["actions"].as_array_mut().unwrap() {
        action["errorMessage"] = json!("\u{1}".repeat(1_000));
    }
    let written = house
        .ask_as_runner("POST", &actions_of(&id), Some(&fitting))
        .await;
    assert_eq!(
        written.json,
        json!({ "ok": true, "written": 500 }),
        "{}",
        written.text
    );
    let counts = house.app.tables.counts().await.unwrap();
    assert_eq!((counts.actions, counts.ticks, counts.parked), (500, 2, 0));
}

#[tokio::test]
async fn a_bad_action_is_named_by_its_index_and_nothing_is_written() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let body = json!({ "actions": [
        { "tickId": "t", "toolName": "todo.list", "result": "ok" },
        { "tickId": "t", "toolName": "todo.list", "result": "maybe" },
        { "toolName": 4, "result": "ok", "latencyMs": -1 },
        "todo.list",
    ] });
    let answer = house.ask_as_runner("POST", &actions_of(&id), Some(&body)).await;
    answer.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    let faults: Vec<&str> = answer.json["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["field"].as_str().unwrap())
        .collect();
    let expected = [
        "actions[1].result",
        "actions[2].tickId",
        "actions[2].toolName",
        "actions[2].latencyMs",
        "actions[3]",
    ];
    assert_eq!(faults[..4], expected[..4]);
    assert!(faults.contains(&"actions[3]"), "{faults:?}");
    assert_eq!(house.commits().await, 1);
}

#[tokio::test]
async fn a_batch_of_feedback_sent_twice_is_written_once() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    house
        .ask_as_runner("POST", &actions_of(&id), Some(&sample::actions()))
        .await;
    let first = house
        .ask_as_runner("POST", &feedback_of(&id), Some(&sample::feedback()))
        .await;
    assert_eq!(
        (first.status, first.json),
        (StatusCode::OK, json!({ "ok": true, "written": 2 }))
    );
    let second = house
        .ask_as_runner("POST", &feedback_of(&id), Some(&sample::feedback()))
        .await;
    assert_eq!(second.json, json!({ "ok": true, "written": 0 }));
    assert_eq!(house.app.tables.counts().await.unwrap().feedback, 2);
    let rated: Vec<_> = events_of(&house, &id)
        .await
        .into_iter()
        .filter_map(|event| {
            if let Event::Rated(rated) = event {
                Some((rated.rating, rated.source))
            } else {
                None
            }
        })
        .collect();
    assert_eq!(rated, [(2, RatingSource::External), (5, RatingSource::External)]);
}

#[tokio::test]
async fn feedback_without_actions_makes_its_tick_known() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    house
        .ask_as_runner("POST", &feedback_of(&id), Some(&sample::feedback()))
        .await;
    let late = house
        .ask_as_runner("POST", &actions_of(&id), Some(&sample::actions()))
        .await;
    assert_eq!(late.json, json!({ "ok": true, "written": 3 }));
    let counts = house.app.tables.counts().await.unwrap();
    assert_eq!(
        (counts.ticks, counts.feedback, counts.actions, counts.parked),
        (1, 2, 3, 0)
    );
}

#[tokio::test]
async fn a_rating_that_is_no_whole_number_from_one_to_five_is_refused_by_its_index() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    for rating in [json!(0), json!(6), json!(3.5), json!("4"), json!(-1), Value::Null] {
        let body = json!({ "feedback": [
            { "tickId": "t", "module": "todo", "rating": 3 },
            { "tickId": "t", "module": "notes", "rating": rating },
        ] });
        let answer = house.ask_as_runner("POST", &feedback_of(&id), Some(&body)).await;
        answer.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
        assert_eq!(
            answer.json["faults"][0]["field"], "feedback[1].rating",
            "{}",
            answer.text
        );
    }
    assert_eq!(house.commits().await, 1);
}

#[tokio::test]
async fn a_rating_the_runner_could_not_read_is_recorded_as_failed_and_not_as_three_stars() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let body =
        json!({ "feedback": [{ "tickId": "t", "module": "__parse", "rating": 3, "notes": "I liked it" }] });
    for written in [1, 0] {
        let answer = house.ask_as_runner("POST", &feedback_of(&id), Some(&body)).await;
        assert_eq!(answer.json, json!({ "ok": true, "written": written }));
    }
    let events = events_of(&house, &id).await;
    assert!(!events.iter().any(|event| matches!(event, Event::Rated(_))));
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::RatingFailed(failed) if failed.module == "__parse"))
    );
}

#[tokio::test]
async fn one_hundred_and_one_ratings_are_too_many() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let one = |index: usize| json!({ "tickId": "t", "module": format!("m{index}"), "rating": 3 });
    let body = |count: usize| json!({ "feedback": (0..count).map(one).collect::<Vec<Value>>() });
    let answer = house
        .ask_as_runner("POST", &feedback_of(&id), Some(&body(101)))
        .await;
    answer.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    let answer = house
        .ask_as_runner("POST", &feedback_of(&id), Some(&body(100)))
        .await;
    assert_eq!(answer.json, json!({ "ok": true, "written": 100 }));
}

#[tokio::test]
async fn reports_about_nobody_are_refused() {
    let house = TestHouse::open().await;
    let (_, human) = house.register("eva@example.org").await;
    let erased = house.enrol(ANNA).await;
    house
        .ask_as_admin("DELETE", &format!("/api/v1/personas/admin/{erased}"), None)
        .await;
    let commits = house.commits().await;
    for id in ["nobody", human.as_str(), erased.as_str()] {
        let actions = house
            .ask_as_runner("POST", &actions_of(id), Some(&sample::actions()))
            .await;
        actions.assert_problem(StatusCode::NOT_FOUND, "PERSONA_NOT_FOUND");
        let feedback = house
            .ask_as_runner("POST", &feedback_of(id), Some(&sample::feedback()))
            .await;
        feedback.assert_problem(StatusCode::NOT_FOUND, "PERSONA_NOT_FOUND");
    }
    assert_eq!(house.commits().await, commits);
}

#[tokio::test]
async fn a_tick_of_another_persona_is_not_written_into() {
    let house = TestHouse::open().await;
    let (anna, ben) = (house.enrol(ANNA).await, house.enrol(BEN).await);
    house
        .ask_as_runner("POST", &actions_of(&anna), Some(&sample::actions()))
        .await;
    house
        .ask_as_runner("POST", &feedback_of(&anna), Some(&sample::feedback()))
        .await;
    let commits = house.commits().await;
    let actions = house
        .ask_as_runner("POST", &actions_of(&ben), Some(&sample::actions()))
        .await;
    actions.assert_problem(StatusCode::CONFLICT, "TICK_OF_ANOTHER_PERSONA");
    let feedback = house
        .ask_as_runner("POST", &feedback_of(&ben), Some(&sample::feedback()))
        .await;
    feedback.assert_problem(StatusCode::CONFLICT, "TICK_OF_ANOTHER_PERSONA");
    assert_eq!(house.commits().await, commits);
}

#[tokio::test]
async fn two_equal_reports_at_once_write_each_row_once() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let (path, body) = (actions_of(&id), sample::actions());
    let (one, other) = tokio::join!(
        house.ask_as_runner("POST", &path, Some(&body)),
        house.ask_as_runner("POST", &path, Some(&body))
    );
    let written = one.json["written"].as_u64().unwrap() + other.json["written"].as_u64().unwrap();
    assert_eq!(written, 3);
    assert_eq!(house.app.tables.counts().await.unwrap().actions, 3);
}

#[tokio::test]
async fn two_reports_of_one_tick_at_once_begin_it_once() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let path = actions_of(&id);
    let report =
        |tool: &str| json!({ "actions": [{ "tickId": "tick-1", "toolName": tool, "result": "ok" }] });
    let (list, create) = (report("todo.list"), report("todo.create"));
    let answers = tokio::join!(
        house.ask_as_runner("POST", &path, Some(&list)),
        house.ask_as_runner("POST", &path, Some(&create)),
    );
    let expected = json!({ "ok": true, "written": 1 });
    assert_eq!((&answers.0.json, &answers.1.json), (&expected, &expected));
    let events = events_of(&house, &id).await;
    assert_eq!(
        events
            .iter()
            .filter(|event| matches!(event, Event::TickStarted(_)))
            .count(),
        1
    );
    assert_eq!(
        events
            .iter()
            .filter(|event| matches!(event, Event::ToolCalled(_)))
            .count(),
        2
    );
}

#[tokio::test]
async fn a_log_that_does_not_answer_is_a_503_that_may_be_tried_again() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    house.log.mute(true);
    let answer = house
        .ask_as_runner("POST", &actions_of(&id), Some(&sample::actions()))
        .await;
    answer.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "LOG_UNAVAILABLE");
    house.log.mute(false);
    let answer = house
        .ask_as_runner("POST", &actions_of(&id), Some(&sample::actions()))
        .await;
    assert_eq!(answer.json, json!({ "ok": true, "written": 3 }));
}
