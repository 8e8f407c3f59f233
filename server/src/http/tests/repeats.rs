use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Answer, TestHouse, request, sample};
use crate::http::{Budgets, Operators, front};

const EVA: &str = "eva@example.org";
const ANNA: &str = "persona.anna@mana.test";
const SPACES: &str = "/api/v1/spaces";

fn keyed(token: &str, path: &str, key: &str, body: Option<&Value>) -> http::Request<axum::body::Body> {
    let mut asked = request("POST", path, body);
    let headers = asked.headers_mut();
    headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    headers.insert("idempotency-key", HeaderValue::from_str(key).unwrap());
    asked
}

async fn send(house: &TestHouse, token: &str, path: &str, key: &str, body: &Value) -> Answer {
    house.send(keyed(token, path, key, Some(body))).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.contains_key("idempotency-replayed")
}

fn verein() -> Value {
    json!({ "name": "Verein", "type": "club" })
}

/// How many spaces an account has, its personal one among them.
async fn spaces(house: &TestHouse, token: &str) -> usize {
    let spaces = house.ask_as(token, "GET", SPACES, None).await.json;
    spaces["spaces"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_same_request_is_answered_the_same_and_done_once() {
    let house = TestHouse::open().await;
    let (eva, _) = house.register(EVA).await;
    let first = send(&house, &eva, SPACES, "key-1", &verein()).await;
    assert_eq!(
        (first.status, is_replayed(&first)),
        (StatusCode::CREATED, false),
        "{}",
        first.text
    );
    for _ in 0..3 {
        let again = send(&house, &eva, SPACES, "key-1", &verein()).await;
        assert_eq!((again.status, is_replayed(&again)), (StatusCode::CREATED, true));
        assert_eq!(again.text, first.text);
        assert_eq!(again.header("content-type"), first.header("content-type"));
    }
    assert_eq!(spaces(&house, &eva).await, 2);
    let other = send(&house, &eva, SPACES, "key-2", &verein()).await;
    assert!(!is_replayed(&other));
    assert_eq!(spaces(&house, &eva).await, 3);
}

#[tokio::test]
async fn a_key_with_another_request_is_refused_and_does_nothing() {
    let house = TestHouse::open().await;
    let (eva, _) = house.register(EVA).await;
    let space = send(&house, &eva, SPACES, "key-1", &verein()).await.json["space"]["id"].clone();
    let others = [
        (SPACES.to_owned(), json!({ "name": "Familie", "type": "family" })),
        (format!("{SPACES}/{}/leave", space.as_str().unwrap()), json!({})),
    ];
    for (path, body) in others {
        send(&house, &eva, &path, "key-1", &body)
            .await
            .assert_problem(StatusCode::UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(spaces(&house, &eva).await, 2);
}

#[tokio::test]
async fn keys_are_an_accounts_own_and_prove_nothing() {
    let house = TestHouse::open().await;
    let (eva, _) = house.register(EVA).await;
    let (ida, _) = house.register("ida@example.org").await;
    let hers = send(&house, &eva, SPACES, "key-1", &verein()).await;
    let theirs = send(&house, &ida, SPACES, "key-1", &verein()).await;
    assert_ne!(hers.json["space"]["id"], theirs.json["space"]["id"]);
    let stranger = send(&house, "x.y.z", SPACES, "key-1", &verein()).await;
    stranger.assert_problem(StatusCode::UNAUTHORIZED, "TOKEN_INVALID");
    let pause = "/api/v1/admin/runner/pause";
    let done = house.send(keyed(&house.admin_token, pause, "key-1", None)).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    let user = house.send(keyed(&eva, pause, "key-1", None)).await;
    user.assert_problem(StatusCode::FORBIDDEN, "ADMIN_ONLY");
}

#[tokio::test]
async fn of_twenty_at_once_one_is_done_and_all_hear_the_same() {
    let house = TestHouse::open().await;
    let (eva, _) = house.register(EVA).await;
    let all = (0..20).map(|_| {
        let body = verein();
        let (house, eva) = (&house, &eva);
        async move { send(house, eva, SPACES, "key-1", &body).await }
    });
    let answers = futures::future::join_all(all).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::CREATED));
    assert!(answers.iter().all(|answer| answer.text == answers[0].text));
    assert_eq!(answers.iter().filter(|answer| !is_replayed(answer)).count(), 1);
    assert_eq!(spaces(&house, &eva).await, 2);
}

#[tokio::test]
async fn who_goes_away_finds_what_it_began() {
    let house = TestHouse::open().await;
    house.enrol(ANNA).await;
    let tick = json!({ "persona": ANNA });
    let path = "/api/v1/admin/runner/tick";
    let asked = keyed(&house.admin_token, path, "key-1", Some(&tick));
    let held = house.log.records.lock().await;
    let is_writing = || async { house.log.records_wanted.load(Ordering::SeqCst) > 0 };
    tokio::select! {
        _ = house.front.clone().oneshot(asked) => panic!("the tick ended before anybody could go away"),
        // The request is dropped here, as one whose client is gone.
        is_writing = testkit::wait_until_async(Duration::from_mins(1), is_writing) => assert!(is_writing),
    }
    drop(held);
    let answer = send(&house, &house.admin_token, path, "key-1", &tick).await;
    assert!(is_replayed(&answer), "{}", answer.text);
    assert_eq!(
        (answer.status, &answer.json["succeeded"]),
        (StatusCode::OK, &json!(1)),
        "{}",
        answer.text
    );
    house.settled().await;
    let ticks = house.ask_as_admin("GET", "/api/v1/admin/report", None).await.json;
    assert_eq!(ticks["counts"]["ticks"], 1);
}

#[tokio::test]
async fn a_refusal_is_kept_and_what_may_be_tried_again_is_not() {
    let house = TestHouse::open().await;
    let (eva, _) = house.register(EVA).await;
    let wrong = json!({ "name": "", "type": "club" });
    let refused = send(&house, &eva, SPACES, "key-1", &wrong).await;
    refused.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    let again = send(&house, &eva, SPACES, "key-1", &wrong).await;
    assert!(
        is_replayed(&again) && again.text == refused.text,
        "{}",
        again.text
    );

    let personas = "/api/v1/admin/personas";
    house.log.mute(true);
    let cut = send(
        &house,
        &house.admin_token,
        personas,
        "key-1",
        &sample::persona(ANNA),
    )
    .await;
    cut.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "LOG_UNAVAILABLE");
    house.log.mute(false);
    let healed = send(
        &house,
        &house.admin_token,
        personas,
        "key-1",
        &sample::persona(ANNA),
    )
    .await;
    assert_eq!(
        (healed.status, is_replayed(&healed)),
        (StatusCode::OK, false),
        "{}",
        healed.text
    );
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused() {
    let house = TestHouse::open().await;
    let (eva, _) = house.register(EVA).await;
    for key in ["", "two words", "x".repeat(201).as_str()] {
        let answer = send(&house, &eva, SPACES, key, &verein()).await;
        answer.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
        assert!(answer.text.contains("Idempotency-Key"), "{}", answer.text);
    }
    let mut twice = keyed(&eva, SPACES, "one", Some(&verein()));
    twice
        .headers_mut()
        .append("idempotency-key", HeaderValue::from_static("two"));
    house
        .send(twice)
        .await
        .assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    let large = json!({ "name": "x".repeat(20_000), "type": "club" });
    send(&house, &eva, SPACES, "large", &large)
        .await
        .assert_problem(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE");
    assert_eq!(spaces(&house, &eva).await, 1);
}

/// Keys are in memory. What is not done twice after a restart is what a natural key holds together.
#[tokio::test]
async fn over_a_restart_natural_keys_hold_and_others_do_not() {
    let mut house = TestHouse::open().await;
    let (eva, _) = house.register(EVA).await;
    let personas = "/api/v1/admin/personas";
    let enrolled = send(
        &house,
        &house.admin_token,
        personas,
        "key-1",
        &sample::persona(ANNA),
    )
    .await;
    let actions = format!(
        "/api/v1/internal/personas/{}/actions",
        enrolled.json["userId"].as_str().unwrap()
    );
    let reported = house
        .ask_as_runner("POST", &actions, Some(&sample::actions()))
        .await;
    assert_eq!(reported.json["written"], 3, "{}", reported.text);
    send(&house, &eva, SPACES, "key-1", &verein()).await;

    let mut app = house.app.clone();
    app.operators = Operators::new(Vec::new(), Budgets::default());
    house.front = front(app);
    let before = house.commits().await;
    let again = send(
        &house,
        &house.admin_token,
        personas,
        "key-1",
        &sample::persona(ANNA),
    )
    .await;
    assert!(!is_replayed(&again));
    assert_eq!(again.json, enrolled.json, "a persona is its email's");
    let again = house
        .ask_as_runner("POST", &actions, Some(&sample::actions()))
        .await;
    assert_eq!(again.json["written"], 0, "a report is its ticks'");
    assert_eq!(house.commits().await, before);
    send(&house, &eva, SPACES, "key-1", &verein()).await;
    assert_eq!(spaces(&house, &eva).await, 3, "a space has no natural key");
}
