use std::time::Duration;

use events::Subject;
use futures::StreamExt as _;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::{Answer, TestHouse, request, sample};
use crate::http::queries;

const ANNA: &str = "persona.anna@mana.test";
const SESSION: &str = "/api/v1/dashboard/session";
/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

/// The `name=value` of the cookie that an answer sets.
fn cookie_of(answer: &Answer) -> String {
    let set = answer.header("set-cookie");
    set.split(';').next().unwrap().to_owned()
}

async fn signed_in(house: &TestHouse) -> String {
    let token = json!({ "token": house.admin_token });
    let answer = house.ask("POST", SESSION, Some(&token)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    cookie_of(&answer)
}

async fn with_cookie(house: &TestHouse, cookie: &str, method: &str, path: &str, site: &str) -> Answer {
    let mut request = request(method, path, None);
    let headers = request.headers_mut();
    headers.insert(header::COOKIE, cookie.parse().unwrap());
    headers.insert("sec-fetch-site", site.parse().unwrap());
    house.send(request).await
}

/// One more commit about Anna.
async fn rename(house: &TestHouse, name: &str) {
    let mut described = sample::persona(ANNA);
    described["name"] = json!(name);
    let answer = house
        .ask_as_admin("POST", "/api/v1/admin/personas", Some(&described))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
}

fn all_paths() -> Vec<&'static str> {
    queries::endpoints()
        .iter()
        .map(|endpoint| endpoint.paths[0])
        .collect()
}

#[tokio::test]
async fn an_admin_signs_in_by_password_or_token_and_gets_a_cookie_no_script_can_read() {
    let house = TestHouse::open().await;
    let password = json!({ "email": "admin@example.org", "password": "admin-password" });
    for how in [password, json!({ "token": house.admin_token })] {
        let answer = house.ask("POST", SESSION, Some(&how)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let set = answer.header("set-cookie");
        for part in ["HttpOnly", "SameSite=Strict", "Path=/api/v1", "Max-Age=3"] {
            assert!(set.contains(part), "{part} in {set}");
        }
        assert!(
            !answer.text.contains(&house.admin_token),
            "the token is in the cookie alone"
        );
        let who = with_cookie(&house, &cookie_of(&answer), "GET", SESSION, "same-origin").await;
        assert_eq!(who.json["user"]["email"], "admin@example.org");
    }
    let cookie = signed_in(&house).await;
    let out = with_cookie(&house, &cookie, "DELETE", SESSION, "same-origin").await;
    assert!(out.header("set-cookie").contains("Max-Age=0"));
}

#[tokio::test]
async fn nobody_else_signs_in_and_a_wrong_password_sets_no_cookie() {
    let house = TestHouse::open().await;
    let (token, _) = house.register("someone@example.org").await;
    let cases = [
        (json!({ "token": token }), StatusCode::FORBIDDEN, "ADMIN_ONLY"),
        (
            sample::credentials("someone@example.org"),
            StatusCode::FORBIDDEN,
            "ADMIN_ONLY",
        ),
        (
            json!({ "token": "x.y.z" }),
            StatusCode::UNAUTHORIZED,
            "TOKEN_INVALID",
        ),
        (
            json!({ "email": "admin@example.org", "password": "wrong-password" }),
            StatusCode::UNAUTHORIZED,
            "BAD_CREDENTIALS",
        ),
        (json!({}), StatusCode::BAD_REQUEST, "INVALID_FIELDS"),
    ];
    for (body, status, code) in cases {
        let answer = house.ask("POST", SESSION, Some(&body)).await;
        answer.assert_problem(status, code);
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    let mut elsewhere = request("POST", SESSION, Some(&json!({ "token": house.admin_token })));
    elsewhere
        .headers_mut()
        .insert("sec-fetch-site", "cross-site".parse().unwrap());
    house
        .send(elsewhere)
        .await
        .assert_problem(StatusCode::FORBIDDEN, "CROSS_SITE");
}

#[tokio::test]
async fn every_question_is_for_admins_and_a_cookie_only_for_pages_of_this_origin() {
    let house = TestHouse::open().await;
    let (token, _) = house.register("someone@example.org").await;
    let cookie = signed_in(&house).await;
    let acts = [
        ("POST", "/api/v1/replay"),
        ("DELETE", "/api/v1/replay"),
        ("POST", "/api/v1/parked/retry"),
        ("GET", "/api/v1/feed"),
    ];
    let reads = all_paths().into_iter().map(|path| ("GET", path));
    for (method, path) in reads.chain(acts) {
        house
            .ask(method, path, None)
            .await
            .assert_problem(StatusCode::UNAUTHORIZED, "TOKEN_MISSING");
        let other = house.ask_as(&token, method, path, None).await;
        other.assert_problem(StatusCode::FORBIDDEN, "ADMIN_ONLY");
        for site in ["cross-site", "same-site"] {
            let foreign = with_cookie(&house, &cookie, method, path, site).await;
            foreign.assert_problem(StatusCode::FORBIDDEN, "CROSS_SITE");
        }
    }
    // A cookie opens what the dashboard needs, and no more.
    let personas = with_cookie(&house, &cookie, "GET", "/api/v1/admin/personas", "same-origin").await;
    personas.assert_problem(StatusCode::UNAUTHORIZED, "TOKEN_MISSING");
    let mcp = with_cookie(&house, &cookie, "POST", "/mcp", "same-origin").await;
    assert_eq!(mcp.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_question_is_answered_as_of_a_sequence_by_header_and_by_cookie() {
    let house = TestHouse::open().await;
    let persona = house.enrol(ANNA).await;
    let body = json!({ "all": true });
    let ticked = house
        .ask_as_admin("POST", "/api/v1/admin/runner/tick", Some(&body))
        .await;
    assert_eq!(ticked.json["succeeded"], 1, "{}", ticked.text);
    house.settled().await;
    let story = house
        .ask_as_admin(
            "GET",
            &format!("/api/v1/queries/personas.story?persona={persona}"),
            None,
        )
        .await;
    let tick = story.json["items"][0]["tick_id"].as_str().unwrap().to_owned();
    assert!(
        story.json["items"][0]["actions"].as_array().unwrap().len() >= 3,
        "{}",
        story.text
    );
    let cookie = signed_in(&house).await;
    for path in all_paths() {
        let about = match path.rsplit('/').next().unwrap() {
            "personas.get" | "personas.story" => format!("{path}?persona={persona}"),
            "ticks.trace" => format!("{path}?tick={tick}"),
            "events.get" => format!("{path}?seq=1"),
            _ => path.to_owned(),
        };
        let answer = with_cookie(&house, &cookie, "GET", &about, "same-origin").await;
        assert_eq!(answer.status, StatusCode::OK, "{about}: {}", answer.text);
        assert!(answer.json["as_of_seq"].is_u64(), "{about}: {}", answer.text);
        assert_eq!(answer.header("cache-control"), "no-store");
        let odd = house.ask_as_admin("GET", &format!("{path}?oddity=1"), None).await;
        odd.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    }
    let lines = house.app.operators.audit.lines();
    assert!(
        lines
            .iter()
            .any(|line| line.what == "personas.story" && line.about.contains(&persona))
    );
    assert!(lines.iter().all(|line| line.email == "admin@example.org"));
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_and_what_is_not_there_is_not_found() {
    let house = TestHouse::open().await;
    for (question, status, code) in [
        ("personas.list?limit=0", StatusCode::BAD_REQUEST, "INVALID_FIELDS"),
        (
            "personas.list?limit=501",
            StatusCode::BAD_REQUEST,
            "INVALID_FIELDS",
        ),
        (
            "personas.list?cursor=x",
            StatusCode::BAD_REQUEST,
            "INVALID_FIELDS",
        ),
        (
            "personas.list?days=1&days=2",
            StatusCode::BAD_REQUEST,
            "INVALID_FIELDS",
        ),
        (
            "feedback.heatmap?source=hearsay",
            StatusCode::BAD_REQUEST,
            "INVALID_FIELDS",
        ),
        (
            "actions.recent?result=odd",
            StatusCode::BAD_REQUEST,
            "INVALID_FIELDS",
        ),
        ("personas.get", StatusCode::BAD_REQUEST, "INVALID_FIELDS"),
        (
            "personas.get?persona=nobody",
            StatusCode::NOT_FOUND,
            "PERSONA_NOT_FOUND",
        ),
        (
            "personas.story?persona=nobody",
            StatusCode::NOT_FOUND,
            "PERSONA_NOT_FOUND",
        ),
        ("ticks.trace?tick=none", StatusCode::NOT_FOUND, "TICK_NOT_FOUND"),
        ("events.get?seq=999999", StatusCode::NOT_FOUND, "EVENT_NOT_FOUND"),
        ("events.get?seq=0", StatusCode::NOT_FOUND, "EVENT_NOT_FOUND"),
        ("events.get?seq=-1", StatusCode::BAD_REQUEST, "INVALID_FIELDS"),
    ] {
        let answer = house
            .ask_as_admin("GET", &format!("/api/v1/queries/{question}"), None)
            .await;
        answer.assert_problem(status, code);
    }
}

#[tokio::test]
async fn the_page_is_there_in_production_too_under_a_strict_policy() {
    let house = TestHouse::open_as(true).await;
    let page = house.ask("GET", "/", None).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("require-trusted-types-for 'script'"));
    assert!(!policy.contains("unsafe"), "{policy}");
    let script = house.ask("GET", "/dashboard/app.js", None).await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    let mut again = request("GET", "/dashboard/app.js", None);
    again
        .headers_mut()
        .insert(header::IF_NONE_MATCH, script.header("etag").parse().unwrap());
    assert_eq!(house.send(again).await.status, StatusCode::NOT_MODIFIED);
    for odd in ["/dashboard/app.ts", "/dashboard/..%2Fapp.js", "/dashboard/"] {
        assert_eq!(
            house.ask("GET", odd, None).await.status,
            StatusCode::NOT_FOUND,
            "{odd}"
        );
    }
}

/// The frames of a feed, each its id and its data.
struct Frames {
    body: futures::stream::BoxStream<'static, axum::body::Bytes>,
    text: String,
}

impl Frames {
    async fn open(house: &TestHouse, last: Option<u64>) -> Self {
        let mut asked = request("GET", "/api/v1/feed", None);
        let bearer = format!("Bearer {}", house.admin_token).parse().unwrap();
        asked.headers_mut().insert(header::AUTHORIZATION, bearer);
        if let Some(last) = last {
            asked
                .headers_mut()
                .insert("last-event-id", last.to_string().parse().unwrap());
        }
        let response = respond(house, asked).await;
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().into_data_stream();
        Self {
            body: body.map(Result::unwrap).boxed(),
            text: String::new(),
        }
    }

    /// The next one; `None` at the end of the stream.
    async fn next(&mut self) -> Option<(u64, Value)> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = frame
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.map(ToOwned::to_owned)
                };
                let found = field("data").map(|data| {
                    (
                        field("id").unwrap().parse().unwrap(),
                        serde_json::from_str(&data).unwrap(),
                    )
                });
                self.text = rest.to_owned();
                if found.is_some() {
                    return found;
                }
                continue;
            }
            let chunk = tokio::time::timeout(LIMIT, self.body.next())
                .await
                .expect("the feed goes on")?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

async fn respond(house: &TestHouse, asked: Request<axum::body::Body>) -> axum::response::Response {
    use tower::ServiceExt as _;
    house.front.clone().oneshot(asked).await.unwrap()
}

#[tokio::test]
async fn the_feed_tells_what_happens_with_its_sequence_and_goes_on_where_a_viewer_was() {
    let house = TestHouse::open().await;
    let persona = house.enrol(ANNA).await;
    let mut frames = Frames::open(&house, None).await;
    let (id, first) = frames.next().await.unwrap();
    assert_eq!((id, &first["items"][0]["type"]), (1, &json!("PersonaEnrolled")));
    assert_eq!(
        first["items"][0]["subject"],
        Subject::Persona(events::testing::id(&persona)).to_string()
    );

    for name in ["Annika", "Annabel"] {
        rename(&house, name).await;
    }
    let (mut seen, mut last) = (Vec::new(), id);
    while seen.len() < 2 {
        let (id, frame) = frames.next().await.unwrap();
        assert_eq!(frame["after"], last, "no commit is between two frames");
        last = id;
        seen.extend(
            frame["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["seq"].as_u64().unwrap()),
        );
    }
    let mut again = Frames::open(&house, Some(1)).await;
    let (_, frame) = again.next().await.unwrap();
    assert_eq!(frame["items"][0]["seq"], seen[0]);

    house.app.operators.stop().await;
    assert!(
        frames.next().await.is_none(),
        "a house that closes ends its feeds"
    );
}

#[tokio::test]
async fn viewers_that_do_not_read_hold_nobody_up_and_there_are_only_so_many() {
    let house = TestHouse::open().await;
    house.enrol(ANNA).await;
    let mut stalled = Vec::new();
    loop {
        let mut asked = request("GET", "/api/v1/feed", None);
        let bearer = format!("Bearer {}", house.admin_token).parse().unwrap();
        asked.headers_mut().insert(header::AUTHORIZATION, bearer);
        let response = respond(&house, asked).await;
        if response.status() != StatusCode::OK {
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            break;
        }
        stalled.push(response);
        assert!(stalled.len() <= 32);
    }
    assert_eq!(stalled.len(), 32);
    // Nobody reads any of them, and writing goes on.
    for number in 0..20 {
        rename(&house, &format!("Anna {number}")).await;
    }
    stalled.pop();
    let mut frames = Frames::open(&house, None).await;
    assert!(frames.next().await.is_some(), "a place that was given up is free");
}

#[tokio::test]
async fn a_rebuild_from_the_page_ends_with_equal_checksums_and_is_alone() {
    let house = TestHouse::open().await;
    house.enrol(ANNA).await;
    house
        .ask_as_admin("POST", "/api/v1/admin/runner/tick", Some(&json!({ "all": true })))
        .await;
    house.settled().await;
    let status = async || {
        house
            .ask_as_admin("GET", "/api/v1/queries/replay.status", None)
            .await
            .json
    };
    assert_eq!(status().await["stage"], "idle");

    let started = house.ask_as_admin("POST", "/api/v1/replay", None).await;
    assert_eq!(
        (started.status, &started.json["stage"]),
        (StatusCode::ACCEPTED, &json!("folding")),
        "{}",
        started.text
    );
    let shares = std::sync::Mutex::new(Vec::new());
    let is_over = || async {
        let status = status().await;
        shares.lock().unwrap().push(status["share"].as_f64().unwrap());
        status["stage"] != "folding"
    };
    assert!(
        testkit::wait_until_async(LIMIT, is_over).await,
        "{}",
        status().await
    );
    let ended = status().await;
    assert_eq!(
        (&ended["stage"], &ended["share"]),
        (&json!("done"), &json!(1.0)),
        "{ended}"
    );
    assert_eq!(
        (&ended["is_equal"], &ended["before"]),
        (&json!(true), &ended["after"]),
        "{ended}"
    );
    assert_eq!(ended["started_by"], "admin@example.org");
    assert!(shares.lock().unwrap().is_sorted(), "a bar never goes back");
    let again = house.ask_as_admin("POST", "/api/v1/replay", None).await;
    assert_eq!(
        again.status,
        StatusCode::ACCEPTED,
        "one that has ended makes room"
    );
}

#[tokio::test]
async fn a_second_rebuild_beside_one_that_runs_is_refused_and_a_stop_keeps_the_tables() {
    let house = TestHouse::open().await;
    house.enrol(ANNA).await;
    house
        .ask_as_admin("POST", "/api/v1/admin/runner/tick", Some(&json!({ "all": true })))
        .await;
    // A log that does not answer keeps a rebuild from ending.
    house.log.mute(true);
    let started = house.ask_as_admin("POST", "/api/v1/replay", None).await;
    assert_eq!(started.status, StatusCode::ACCEPTED, "{}", started.text);
    let second = house.ask_as_admin("POST", "/api/v1/replay", None).await;
    let status = async || {
        house
            .ask_as_admin("GET", "/api/v1/queries/replay.status", None)
            .await
            .json
    };
    // It may have given up by then, which is no conflict.
    if second.status != StatusCode::ACCEPTED {
        second.assert_problem(StatusCode::CONFLICT, "REPLAY_RUNNING");
    }
    house.ask_as_admin("DELETE", "/api/v1/replay", None).await;
    house.log.mute(false);
    let is_over = || async { status().await["stage"] != "folding" };
    assert!(
        testkit::wait_until_async(LIMIT, is_over).await,
        "{}",
        status().await
    );
    assert_eq!(house.app.tables.counts().await.unwrap().personas, 1);
}
