use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use http::{Request, StatusCode, header};
use serde_json::Value;
use tower::ServiceExt as _;

use super::super::shield::{Front, KnownHosts};
use super::{TestHouse, request, sample};

fn raw(path: &str, content_type: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder()
        .method("POST")
        .uri(path)
        .header(header::HOST, "localhost");
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    request.body(body.into()).unwrap()
}

const LOGIN: &str = "/api/v1/auth/login";

#[tokio::test]
async fn an_unknown_path_is_a_problem() {
    let house = TestHouse::open().await;
    for path in [
        "/nothing",
        "/api/v1/nothing",
        "/api/v1/personas/admin/x/y",
        "/%2e%2e/etc/passwd",
    ] {
        house
            .ask("GET", path, None)
            .await
            .assert_problem(StatusCode::NOT_FOUND, "NOT_FOUND");
    }
}

#[tokio::test]
async fn a_wrong_method_is_a_problem_that_names_the_right_one() {
    let house = TestHouse::open().await;
    let answer = house.ask("DELETE", LOGIN, None).await;
    answer.assert_problem(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED");
    assert_eq!(answer.header("allow"), "POST");
}

#[tokio::test]
async fn malformed_json_is_refused_with_its_place() {
    let house = TestHouse::open().await;
    let answer = house
        .send(raw(LOGIN, Some("application/json"), "{\n  \"email\": nope}"))
        .await;
    answer.assert_problem(StatusCode::BAD_REQUEST, "MALFORMED_JSON");
    assert!(
        answer.json["detail"].as_str().unwrap().contains("line 2 column"),
        "{}",
        answer.text
    );
    for (body, code) in [
        (String::new(), "MALFORMED_JSON"),
        ("{\"email\":\"a\"} {}".to_owned(), "MALFORMED_JSON"),
        ("[".repeat(10_000), "MALFORMED_JSON"),
        ("[]".to_owned(), "NOT_AN_OBJECT"),
        ("\"text\"".to_owned(), "NOT_AN_OBJECT"),
    ] {
        let answer = house
            .send(raw(LOGIN, Some("application/json; charset=utf-8"), body))
            .await;
        answer.assert_problem(StatusCode::BAD_REQUEST, code);
    }
    let answer = house
        .send(raw(LOGIN, Some("application/json"), vec![0xff, 0xfe]))
        .await;
    answer.assert_problem(StatusCode::BAD_REQUEST, "MALFORMED_JSON");
}

#[tokio::test]
async fn another_media_type_is_refused() {
    let house = TestHouse::open().await;
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("text/json"),
    ] {
        let answer = house
            .send(raw(LOGIN, content_type, sample::credentials("a@b.c").to_string()))
            .await;
        answer.assert_problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_or_without_a_length() {
    let house = TestHouse::open().await;
    let large = |bytes: usize| format!("{{\"email\":\"{}\"}}", "x".repeat(bytes));
    let answer = house
        .send(raw(LOGIN, Some("application/json"), large(17 * 1024)))
        .await;
    answer.assert_problem(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE");

    let chunks = futures::stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024])));
    let answer = house
        .send(raw(LOGIN, Some("application/json"), Body::from_stream(chunks)))
        .await;
    answer.assert_problem(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE");

    let mut persona = raw(
        "/api/v1/personas/admin",
        Some("application/json"),
        large(1024 * 1024),
    );
    let bearer = format!("Bearer {}", house.admin_token).parse().unwrap();
    persona.headers_mut().insert(header::AUTHORIZATION, bearer);
    house
        .send(persona)
        .await
        .assert_problem(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE");
}

#[tokio::test]
async fn who_may_not_come_in_is_told_so_before_the_body_is_read() {
    let house = TestHouse::open().await;
    let answer = house.send(raw("/api/v1/personas/admin", None, "not json")).await;
    answer.assert_problem(StatusCode::UNAUTHORIZED, "TOKEN_MISSING");
}

#[tokio::test]
async fn a_host_that_is_not_ours_is_refused_on_every_route() {
    let house = TestHouse::open().await;
    for path in [
        "/",
        "/health",
        "/livez",
        "/metrics",
        "/mcp",
        "/diag/login?email=a",
        "/nothing",
    ] {
        for host in [Some("evil.example"), Some("localhost.evil.example"), None] {
            let mut request = request("GET", path, None);
            request.headers_mut().remove(header::HOST);
            if let Some(host) = host {
                request.headers_mut().insert(header::HOST, host.parse().unwrap());
            }
            house
                .send(request)
                .await
                .assert_problem(StatusCode::FORBIDDEN, "HOST_NOT_ALLOWED");
        }
    }
}

#[tokio::test]
async fn no_page_of_another_site_is_let_in_by_cors() {
    let house = TestHouse::open().await;
    let mut preflight = request("OPTIONS", "/api/v1/personas/admin", None);
    preflight
        .headers_mut()
        .insert(header::ORIGIN, "https://evil.example".parse().unwrap());
    preflight
        .headers_mut()
        .insert(header::ACCESS_CONTROL_REQUEST_METHOD, "POST".parse().unwrap());
    let answer = house.send(preflight).await;
    assert!(!answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    assert!(
        !answer
            .headers
            .contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS)
    );
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_browsers_careful() {
    let house = TestHouse::open().await;
    // The page itself holds nothing of anybody and may be kept as long as it is asked for each time.
    let kept = [
        ("/health", "no-store"),
        ("/nothing", "no-store"),
        ("/api/v1/personas/admin", "no-store"),
        ("/", "no-cache"),
    ];
    for (path, cache) in kept {
        let answer = house.ask("GET", path, None).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cache-control"), cache, "{path}");
        assert!(
            answer
                .header("content-security-policy")
                .starts_with("default-src 'none'")
        );
    }
}

#[tokio::test]
async fn a_panic_is_a_problem_that_tells_nothing() {
    async fn broken() -> &'static str {
        panic!("the secret is 42")
    }
    let house = TestHouse::open().await;
    let (ids, door) = (house.app.ids.clone(), house.app.gateway.door());
    let hosts = KnownHosts::new(&house.app.settings.allowed_hosts);
    let front = Front::new(ids, hosts, door, Router::new().route("/", get(broken)));
    let response = front.oneshot(request("GET", "/", None)).await.unwrap();
    assert!(response.headers().contains_key("x-request-id"));
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = to_bytes(response.into_body(), 10_000).await.unwrap();
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["code"], "INTERNAL");
    assert!(!problem.to_string().contains("42"));
}

#[tokio::test]
async fn a_handler_that_never_ends_is_given_up() {
    let limit = std::time::Duration::from_millis(20);
    let in_time = axum::middleware::from_fn_with_state(limit, crate::http::shield::in_time);
    let router: Router = Router::new()
        .route("/", get(std::future::pending::<&'static str>))
        .layer(in_time);
    let response = router.oneshot(request("GET", "/", None)).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
}
