//! The revision without sessions, on the same endpoint.

use serde_json::{Value, json};

use crate::harness::{House, User, message};

const VERSION: &str = "2026-07-28";

pub(crate) fn modern(house: &House, user: &User, method: &str, mut params: Value) -> reqwest::RequestBuilder {
    let more = params["_meta"].take();
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "by-hand", "version": "1"},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        params["_meta"][key] = value.clone();
    }
    let request = house.post(&user.token, crate::harness::rpc(method, params.clone()));
    let request = request
        .header("mcp-protocol-version", VERSION)
        .header("mcp-method", method);
    match params["name"].as_str() {
        Some(name) => request.header("mcp-name", name),
        None => request,
    }
}

#[tokio::test]
async fn tools_are_discovered_listed_and_called_without_a_session() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    let discovered = message(
        modern(&house, &anna, "server/discover", json!({}))
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert!(
        discovered["result"]["supportedVersions"]
            .as_array()
            .unwrap()
            .contains(&json!(VERSION)),
        "{discovered}"
    );

    let listed = modern(&house, &anna, "tools/list", json!({}))
        .send()
        .await
        .unwrap();
    assert!(listed.headers().get("mcp-session-id").is_none());
    let listed = message(listed).await;
    assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 11);
    assert_eq!(listed["result"]["cacheScope"], "private");

    let call = json!({"name": "todo.create", "arguments": {"title": "Milch kaufen"}});
    let created = message(modern(&house, &anna, "tools/call", call).send().await.unwrap()).await;
    assert_eq!(
        created["result"]["structuredContent"]["task"]["title"], "Milch kaufen",
        "{created}"
    );
    assert_eq!(created["result"]["resultType"], "complete");
    assert!(house.events_of("SessionOpened").await.is_empty());
    house.stop().await;
}

#[tokio::test]
async fn headers_that_contradict_the_body_are_400() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    let call = json!({"name": "spaces.list", "arguments": {}});
    let request = modern(&house, &anna, "tools/call", call).build().unwrap();
    for (name, value) in [
        ("mcp-name", "todo.list"),
        ("mcp-method", "tools/list"),
        ("mcp-protocol-version", "2025-11-25"),
    ] {
        let mut request = request.try_clone().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        let response = house.http.execute(request).await.unwrap();
        assert_eq!(response.status(), 400, "{name}: {value}");
        assert_eq!(
            message(response).await["error"]["code"],
            -32_020,
            "{name}: {value}"
        );
    }
    house.stop().await;
}

#[tokio::test]
async fn a_session_id_means_nothing_here_and_opens_nothing() {
    let house = House::start().await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let annas = house.open_session(&anna).await;
    let call = json!({"name": "spaces.list", "arguments": {}});
    let ignored = modern(&house, &ben, "tools/call", call)
        .header("mcp-session-id", &annas)
        .send()
        .await
        .unwrap();
    let active = message(ignored).await["result"]["structuredContent"]["activeSpaceId"].clone();
    assert_eq!(active, ben.space.as_str(), "it is Ben's own space");
    // Claiming the revision in the header alone does not reach the session either.
    let old_body = crate::harness::rpc("tools/call", json!({"name": "spaces.list", "arguments": {}}));
    let disguised = house
        .post(&ben.token, old_body)
        .header("mcp-protocol-version", VERSION)
        .header("mcp-session-id", &annas);
    assert_eq!(disguised.send().await.unwrap().status(), 400);
    let delete = house
        .http
        .delete(format!("{}/mcp", house.url))
        .bearer_auth(&ben.token);
    let delete = delete
        .header("mcp-protocol-version", VERSION)
        .header("mcp-session-id", &annas);
    assert_eq!(delete.send().await.unwrap().status(), 405);
    assert_eq!(house.call_in(&anna.token, &annas).await.status(), 200);
    house.stop().await;
}

#[tokio::test]
async fn methods_this_revision_no_longer_has_are_404() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe"] {
        let answer = modern(&house, &anna, method, json!({})).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{method}");
        assert!(answer.headers().get("mcp-session-id").is_none());
        assert_eq!(message(answer).await["error"]["code"], -32_601, "{method}");
    }
    assert!(house.events_of("SessionOpened").await.is_empty());
    house.stop().await;
}

#[tokio::test]
async fn an_unknown_method_is_404_and_an_unknown_tool_is_invalid_params() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    let unknown = modern(&house, &anna, "tools/destroy", json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(unknown.status(), 404);
    assert_eq!(message(unknown).await["error"]["code"], -32_601);
    let unknown = modern(
        &house,
        &anna,
        "tools/call",
        json!({"name": "no.such", "arguments": {}}),
    );
    assert_eq!(
        message(unknown.send().await.unwrap()).await["error"]["code"],
        -32_602
    );
    house.stop().await;
}
