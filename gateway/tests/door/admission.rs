//! What is turned away before MCP sees it, and in which form.

use serde_json::{Value, json};

use crate::harness::{House, initialize, rpc};

#[tokio::test]
async fn without_a_good_token_the_answer_says_how_to_get_one() {
    let house = House::start().await;
    let list = rpc("tools/list", json!({}));
    let plain = house
        .http
        .post(format!("{}/mcp", house.url))
        .body(list.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(plain.status(), 401);
    let challenge = plain.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert_eq!(
        challenge,
        "Bearer resource_metadata=\"http://127.0.0.1:3069/.well-known/oauth-protected-resource/mcp\""
    );
    assert_eq!(plain.headers()["content-type"], "application/problem+json");
    let problem: Value = plain.json().await.unwrap();
    assert_eq!(
        (problem["status"].as_u64(), problem["code"].as_str()),
        (Some(401), Some("token_missing"))
    );
    assert!(
        problem["error"].as_str().unwrap().contains("/api/v1/auth/login"),
        "{problem}"
    );
    assert!(problem.get("jsonrpc").is_none());

    let broken = house.post("nonsense", list.clone()).send().await.unwrap();
    assert_eq!(broken.status(), 401);
    let challenge = broken.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(
        challenge.contains("error=\"invalid_token\", error_description=\""),
        "{challenge}"
    );
    assert!(
        !broken.text().await.unwrap().contains("nonsense"),
        "the token is not repeated"
    );

    let basic = house
        .http
        .post(format!("{}/mcp", house.url))
        .basic_auth("anna", Some("x"))
        .body(list.clone());
    assert_eq!(basic.send().await.unwrap().status(), 401);
    let in_query = house
        .http
        .post(format!("{}/mcp?access_token=x", house.url))
        .body(list.clone());
    assert_eq!(in_query.send().await.unwrap().status(), 401);
    let twice = house.post("one", list).header("authorization", "Bearer two");
    assert_eq!(twice.send().await.unwrap().status(), 400);
    house.stop().await;
}

#[tokio::test]
async fn every_request_needs_its_token_whatever_the_method() {
    let house = House::start().await;
    for method in [
        reqwest::Method::GET,
        reqwest::Method::DELETE,
        reqwest::Method::PUT,
    ] {
        let response = house
            .http
            .request(method, format!("{}/mcp", house.url))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 401);
    }
    house.stop().await;
}

#[tokio::test]
async fn an_erased_account_is_refused_with_a_token_that_has_not_expired() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    let session = house.open_session(&anna).await;
    house.identity.delete_account(&anna.id).await.unwrap();
    assert_eq!(house.call_in(&anna.token, &session).await.status(), 401);
    house.stop().await;
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_and_no_origin_is_fine() {
    let house =
        House::with(|settings| settings.allowed_origins = vec!["https://app.example".to_owned()]).await;
    let anna = house.user("anna").await;
    let send = |name: &'static str, value: &'static str| {
        house.post(&anna.token, initialize()).header(name, value).send()
    };
    for evil in ["evil.example", "127.0.0.1.evil.example", "evil.example:3069"] {
        assert_eq!(send("host", evil).await.unwrap().status(), 403, "Host: {evil}");
    }
    for evil in [
        "https://evil.example",
        "null",
        "http://app.example",
        "https://app.example:444",
    ] {
        assert_eq!(
            send("origin", evil).await.unwrap().status(),
            403,
            "Origin: {evil}"
        );
    }
    for good in ["https://app.example", "http://127.0.0.1:3069"] {
        let response = send("origin", good).await.unwrap();
        assert_eq!(response.status(), 200, "Origin: {good}");
        assert_eq!(response.headers()["access-control-allow-origin"], good);
        assert!(
            response.headers()["access-control-expose-headers"]
                .to_str()
                .unwrap()
                .contains("mcp-session-id")
        );
    }
    assert_eq!(
        house
            .post(&anna.token, initialize())
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    house.stop().await;
}

#[tokio::test]
async fn browsers_of_other_origins_get_no_leave_to_call() {
    let house =
        House::with(|settings| settings.allowed_origins = vec!["https://app.example".to_owned()]).await;
    let preflight = |origin: &'static str| {
        let request = house
            .http
            .request(reqwest::Method::OPTIONS, format!("{}/mcp", house.url));
        request
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .send()
    };
    let good = preflight("https://app.example").await.unwrap();
    assert_eq!(
        good.headers()["access-control-allow-origin"],
        "https://app.example"
    );
    assert!(
        good.headers()["access-control-allow-headers"]
            .to_str()
            .unwrap()
            .contains("x-mana-space")
    );
    assert!(
        preflight("https://evil.example")
            .await
            .unwrap()
            .headers()
            .get("access-control-allow-origin")
            .is_none()
    );
    house.stop().await;
}

#[tokio::test]
async fn a_space_of_others_is_403_and_so_is_one_that_does_not_exist() {
    let house = House::start().await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    for space in [ben.space.as_str(), "no-such-space"] {
        let response = house
            .post(&anna.token, initialize())
            .header("x-mana-space", space)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 403, "{space}");
        assert_eq!(response.json::<Value>().await.unwrap()["code"], "not_a_member");
    }
    let own = house
        .post(&anna.token, initialize())
        .header("x-mana-space", anna.space.as_str());
    assert_eq!(own.send().await.unwrap().status(), 200);
    let empty = house.post(&anna.token, initialize()).header("x-mana-space", "");
    assert_eq!(empty.send().await.unwrap().status(), 400);
    house.stop().await;
}

#[tokio::test]
async fn broken_messages_are_400_with_the_json_rpc_code_of_what_is_wrong() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    for (body, code) in [
        ("{\"jsonrpc\":", -32_700),
        ("", -32_700),
        ("\u{0}", -32_700),
        (
            "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}]",
            -32_600,
        ),
        ("[]", -32_600),
        ("\"text\"", -32_600),
        ("{\"id\":1,\"method\":\"tools/list\"}", -32_600),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"tools/list\"}",
            -32_600,
        ),
    ] {
        let response = house.post(&anna.token, body).send().await.unwrap();
        assert_eq!(response.status(), 400, "{body}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(
            (answer["error"]["code"].as_i64(), &answer["id"]),
            (Some(code), &Value::Null),
            "{body}: {answer}"
        );
    }
    house.stop().await;
}

#[tokio::test]
async fn what_rmcp_refuses_in_plain_text_comes_as_a_problem_too() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    let url = format!("{}/mcp", house.url);
    let bare = house
        .http
        .post(&url)
        .bearer_auth(&anna.token)
        .header("content-type", "application/json")
        .body(initialize());
    let text = house
        .http
        .post(&url)
        .bearer_auth(&anna.token)
        .header("accept", "application/json, text/event-stream");
    let text = text.header("content-type", "text/plain").body(initialize());
    let put = house.http.put(&url).bearer_auth(&anna.token);
    let without_session = house.post(&anna.token, rpc("tools/list", json!({})));
    for (request, status, code) in [
        (bare, 406, "not_acceptable"),
        (text, 415, "unsupported_media_type"),
        (put, 405, "method_not_allowed"),
        (without_session, 400, "bad_request"),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers().contains_key("allow"), status == 405);
        assert_eq!(response.json::<Value>().await.unwrap()["code"], code);
    }
    house.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_declared_or_not() {
    let house = House::with(|settings| settings.body_bytes_max = 64 * 1024).await;
    let anna = house.user("anna").await;
    let big = rpc("tools/list", json!({"padding": "x".repeat(100 * 1024)}));
    let declared = house.post(&anna.token, big.clone()).send().await.unwrap();
    assert_eq!(declared.status(), 413);
    assert_eq!(declared.json::<Value>().await.unwrap()["code"], "body_too_large");
    let nobody = house
        .http
        .post(format!("{}/mcp", house.url))
        .body(big.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(nobody.status(), 413, "the size is asked before the token");
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> = big
        .into_bytes()
        .chunks(9_000)
        .map(|chunk| Ok(chunk.to_vec()))
        .collect();
    let chunked = house.post(
        &anna.token,
        reqwest::Body::wrap_stream(futures::stream::iter(chunks)),
    );
    assert_eq!(chunked.send().await.unwrap().status(), 413);
    house.stop().await;
}

#[tokio::test]
async fn the_resource_metadata_is_open_to_all_and_names_the_endpoint() {
    let house = House::start().await;
    for path in ["", "/mcp"] {
        let response = house
            .http
            .get(format!(
                "{}/.well-known/oauth-protected-resource{path}",
                house.url
            ))
            .send()
            .await
            .unwrap();
        let metadata: Value = response.json().await.unwrap();
        assert_eq!(metadata["resource"], "http://127.0.0.1:3069/mcp");
        assert_eq!(
            metadata["authorization_servers"],
            json!(["http://127.0.0.1:3069"])
        );
    }
    house.stop().await;
}
