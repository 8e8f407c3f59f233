use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, TestHouse, request, sample};
use crate::http::{endpoints, openapi};

const ANNA: &str = "persona.anna@mana.test";

#[tokio::test]
async fn health_has_the_shape_older_clients_look_at() {
    let house = TestHouse::open().await;
    let health = house.ask("GET", "/health", None).await;
    assert_eq!(
        (health.status, &health.json["status"]),
        (StatusCode::OK, &json!("ok"))
    );
    assert_eq!(health.json["registry"]["loaded"], true);
    assert_eq!(health.json["registry"]["tools"], 11);
    assert_eq!(
        house.ask("GET", "/livez", None).await.json,
        json!({ "status": "live" })
    );
}

#[tokio::test]
async fn readiness_names_every_dependency() {
    let house = TestHouse::open().await;
    house.enrol(ANNA).await;
    let ready = house.ask("GET", "/readyz", None).await;
    assert_eq!(
        (ready.status, ready.json),
        (StatusCode::OK, json!({ "status": "ready" })),
        "{}",
        ready.text
    );
    for path in ["/readyz?verbose", "/readyz?verbose=1"] {
        let ready = house.ask("GET", path, None).await;
        let checks = ready.json["checks"].as_array().unwrap();
        let names: Vec<&str> = checks
            .iter()
            .map(|check| check["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            ["log", "projection", "database", "cast", "gateway", "mounts"]
        );
        assert_eq!(checks[0]["facts"]["lastSeq"], 1);
        assert_eq!(checks[1]["facts"]["lagEvents"], 0);
    }
}

#[tokio::test]
async fn a_house_that_misses_its_log_or_is_closing_is_alive_but_not_ready() {
    let house = TestHouse::open().await;
    house.log.mute(true);
    let answer = house.ask("GET", "/readyz?verbose", None).await;
    answer.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY");
    assert_eq!(answer.json["failing"], json!(["log", "projection"]));
    assert!(!answer.text.contains("secret-host"), "a cause stays here");
    assert_eq!(house.ask("GET", "/livez", None).await.status, StatusCode::OK);

    house.log.mute(false);
    house.wait_until_ready().await;
    house.app.health.set_stopping();
    house.app.health.set_ready();
    let answer = house.ask("GET", "/readyz", None).await;
    answer.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY");
    assert_eq!(answer.json["phase"], "stopping");
}

#[tokio::test]
async fn a_fold_that_halts_over_parked_commits_makes_the_house_unready_and_says_by_what() {
    let house = TestHouse::open().await;
    house.enrol(ANNA).await;
    let facts = async || {
        let answer = house.ask("GET", "/readyz?verbose", None).await;
        (answer.status, answer.json["checks"][1]["facts"].clone())
    };
    assert_eq!(
        (facts().await.0, &facts().await.1["haltedBy"]),
        (StatusCode::OK, &json!(null))
    );
    for number in 0..100 {
        let secret = format!("{{\"secret-{number}\":1}}");
        house
            .log
            .inner
            .append_garbage("dramatis.persona.nobody", secret.as_bytes());
    }
    let is_halted = testkit::wait_until_async(std::time::Duration::from_mins(1), || async {
        facts().await.1["state"] == "halted"
    });
    assert!(is_halted.await, "{:?}", facts().await);
    let (status, facts) = facts().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(facts["haltedBy"], "too_many_parked");
    assert!(!facts.to_string().contains("secret"), "{facts}");
    let metrics = house.ask("GET", "/metrics", None).await.text;
    for line in [
        "projection_halted{projection=\"tables\"} 1",
        "projection_parked_events{projection=\"tables\"} 100",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert_eq!(house.ask("GET", "/livez", None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn calls_of_people_and_of_personas_are_counted_apart() {
    let house = TestHouse::open().await;
    super::grants::granted(&house).await;
    let metrics = house.ask("GET", "/metrics", None).await.text;
    let counted = "gateway_tool_calls_total{tool=\"todo.create\",outcome=\"ok\",caller=";
    assert!(
        metrics.contains(&format!("{counted}\"human\"}} 1\n")),
        "{metrics}"
    );
    assert!(
        !metrics.contains(&format!("{counted}\"persona\"}} 1\n")),
        "{metrics}"
    );
}

#[tokio::test]
async fn metrics_are_text_for_prometheus() {
    let house = TestHouse::open().await;
    house.ask("GET", "/livez", None).await;
    let metrics = house.ask("GET", "/metrics", None).await;
    assert_eq!(metrics.status, StatusCode::OK);
    assert!(
        metrics
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    for line in [
        "# HELP dramatis_projection_lag_events ",
        "dramatis_log_up 1",
        "dramatis_http_requests_total{method=\"GET\",route=\"/livez\",status=\"200\"} ",
    ] {
        assert!(metrics.text.contains(line), "{line} is not in {}", metrics.text);
    }
}

#[tokio::test]
async fn diag_gives_tokens_for_personas_and_for_nobody_else() {
    let house = TestHouse::open().await;
    let id = house.enrol(ANNA).await;
    let login = house
        .ask("GET", "/diag/login?email=persona.anna%40mana.test", None)
        .await;
    assert_eq!(login.json["user"]["id"], json!(id));
    assert_eq!(login.header("cache-control"), "no-store");
    let token = login.json["token"].as_str().unwrap();
    assert_eq!(
        house
            .ask_as(token, "GET", "/api/auth/organization/list", None)
            .await
            .status,
        StatusCode::OK
    );

    house.register("eva@example.org").await;
    let person = house.ask("GET", "/diag/login?email=eva@example.org", None).await;
    person.assert_problem(StatusCode::FORBIDDEN, "NOT_A_PERSONA");
    let admin = house
        .ask("GET", "/diag/login?email=admin@example.org", None)
        .await;
    admin.assert_problem(StatusCode::FORBIDDEN, "NOT_A_PERSONA");
    let nobody = house.ask("GET", "/diag/login?email=nobody@mana.test", None).await;
    nobody.assert_problem(StatusCode::NOT_FOUND, "PERSONA_NOT_FOUND");
    house
        .ask("GET", "/diag/login", None)
        .await
        .assert_problem(StatusCode::BAD_REQUEST, "EMAIL_MISSING");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_use_diag() {
    let house = TestHouse::open().await;
    for (header, value) in [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
    ] {
        let mut tick = request("POST", "/diag/tick", None);
        tick.headers_mut().insert(header, value.parse().unwrap());
        house
            .send(tick)
            .await
            .assert_problem(StatusCode::FORBIDDEN, "CROSS_SITE");
    }
}

#[tokio::test]
async fn production_has_no_diag() {
    let house = TestHouse::open_as(true).await;
    house.enrol(ANNA).await;
    let login = house
        .ask("GET", "/diag/login?email=persona.anna@mana.test", None)
        .await;
    login.assert_problem(StatusCode::NOT_FOUND, "NOT_FOUND");
    house
        .ask("POST", "/diag/tick", None)
        .await
        .assert_problem(StatusCode::NOT_FOUND, "NOT_FOUND");
    let described = house.ask("GET", "/openapi.json", None).await;
    assert!(described.json["paths"].get("/diag/login").is_none());
}

#[tokio::test]
async fn a_persona_that_is_asked_to_act_acts_through_the_door_and_the_report_says_so() {
    let house = TestHouse::open().await;
    house.enrol(ANNA).await;
    let body = json!({ "persona": ANNA });
    let answer = house
        .ask_as_admin("POST", "/api/v1/admin/runner/tick", Some(&body))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let members = ["due", "durationMs", "failed", "skipped", "succeeded", "ticks"];
    assert_eq!(Answer::members(&answer.json), members);
    assert_eq!(
        (&answer.json["due"], &answer.json["succeeded"]),
        (&json!(1), &json!(1)),
        "{}",
        answer.text
    );
    assert_eq!(answer.json["ticks"][0]["email"], ANNA);
    assert!(
        answer.json["ticks"][0]["calls"].as_u64().unwrap() >= 3,
        "{}",
        answer.text
    );

    house.settled().await;
    let report = house.ask_as_admin("GET", "/api/v1/admin/report", None).await;
    assert_eq!(Answer::members(&report.json), ["counts", "report"]);
    assert_eq!(
        report.json["report"]["personas"][0]["calls"],
        report.json["counts"]["actions"]
    );
}

#[tokio::test]
async fn who_is_to_act_must_exist_and_be_said_once() {
    let house = TestHouse::open().await;
    for path in ["/diag/tick", "/api/v1/admin/runner/tick"] {
        let nobody = json!({ "persona": "nobody@mana.test" });
        let answer = house.ask_as_admin("POST", path, Some(&nobody)).await;
        answer.assert_problem(StatusCode::NOT_FOUND, "PERSONA_NOT_FOUND");
        let both = json!({ "persona": ANNA, "all": true });
        let answer = house.ask_as_admin("POST", path, Some(&both)).await;
        answer.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
        let none = house.ask_as_admin("POST", path, None).await;
        assert_eq!(
            (none.status, &none.json["due"]),
            (StatusCode::OK, &json!(0)),
            "{}",
            none.text
        );
    }
}

#[tokio::test]
async fn the_runner_can_be_paused_looked_at_and_resumed() {
    let house = TestHouse::open().await;
    for (verb, is_paused) in [("resume", false), ("pause", true)] {
        let answer = house
            .ask_as_admin("POST", &format!("/api/v1/admin/runner/{verb}"), None)
            .await;
        assert_eq!(answer.json, json!({ "ok": true, "paused": is_paused }));
        let snapshot = house.ask_as_admin("GET", "/api/v1/admin/runner", None).await;
        assert_eq!(snapshot.json["paused"], is_paused, "{}", snapshot.text);
    }
}

#[tokio::test]
async fn every_route_is_described_and_everything_described_is_a_route() {
    let house = TestHouse::open().await;
    let document = house.ask("GET", "/openapi.json", None).await.json;
    let described = document["paths"].as_object().unwrap();
    let routed: usize = endpoints(false).iter().map(|endpoint| endpoint.paths.len()).sum();
    let operations: usize = described
        .values()
        .map(|path| path.as_object().unwrap().len())
        .sum();
    // MCP with its three methods, and its metadata at two addresses, are the gateway's own.
    assert_eq!(operations, routed + 5);
    for (path, operations) in described {
        let concrete = path.replace("{id}", "nobody").replace("{file}", "style.css");
        for (method, operation) in operations.as_object().unwrap() {
            assert!(
                !operation["summary"].as_str().unwrap().is_empty(),
                "{method} {path}"
            );
            let answer = house.ask(&method.to_uppercase(), &concrete, None).await;
            assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_ne!(answer.json["code"], "NOT_FOUND", "{method} {path}");
            let status = answer.status.as_str();
            assert!(
                operation["responses"].get(status).is_some(),
                "{method} {path} answers {status} undescribed"
            );
        }
    }
}

#[test]
fn the_description_of_the_api_changes_only_on_purpose() {
    let document = openapi::document(&endpoints(false), "http://127.0.0.1:3069");
    let paths = document["paths"].as_object().unwrap();
    let lines: Vec<String> = paths
        .iter()
        .flat_map(|(path, operations)| {
            operations
                .as_object()
                .unwrap()
                .iter()
                .map(move |(method, operation)| {
                    let statuses = operation["responses"]
                        .as_object()
                        .unwrap()
                        .keys()
                        .cloned()
                        .collect::<Vec<_>>();
                    let access = operation["security"][0]
                        .as_object()
                        .and_then(|scheme| scheme.keys().next().cloned());
                    let access = access.unwrap_or_else(|| "open".to_owned());
                    format!(
                        "{} {path} [{access}] {}",
                        method.to_uppercase(),
                        statuses.join(" ")
                    )
                })
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_persona_sample_is_what_the_schema_describes() {
    let document = openapi::document(&endpoints(false), "http://127.0.0.1:3069");
    let body = &document["paths"]["/api/v1/personas/admin"]["post"]["requestBody"];
    let schema = &body["content"]["application/json"]["schema"];
    let sample = sample::persona(ANNA);
    for required in schema["required"].as_array().unwrap() {
        assert!(
            sample
                .get(required.as_str().unwrap())
                .is_some_and(|value| *value != Value::Null),
            "{required}"
        );
    }
}
