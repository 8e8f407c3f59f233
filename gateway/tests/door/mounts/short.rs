//! Calls through to a mounted server that can hear nothing but their answer, and those that can hear more.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::shop::Running;
use super::{house, mount, until};
use crate::harness::{House, User, message, rpc};

/// A call in a session of a client that can do nothing for a server.
async fn call_in(house: &House, user: &User, session: &str, params: Value) -> reqwest::Response {
    let request = house.post(&user.token, rpc("tools/call", params));
    request.header("mcp-session-id", session).send().await.unwrap()
}

fn is_json(response: &reqwest::Response) -> bool {
    response.headers()["content-type"] == "application/json"
}

#[tokio::test]
async fn a_call_that_can_hear_nothing_else_is_answered_with_its_answer_alone() {
    let shop = Running::start().await;
    let house = house(vec![mount(&shop)]).await;
    let anna = house.user("anna").await;
    let echo = json!({"name": "shop.echo", "arguments": {"text": "{\"a\":1}"}});
    let session = house.open_session(&anna).await;
    let answer = call_in(&house, &anna, &session, echo.clone()).await;
    assert!(is_json(&answer));
    let answer = message(answer).await;
    assert_eq!(answer["result"]["content"][0]["text"], "{\"a\":1}", "{answer}");
    assert_eq!(answer["result"].get("resultType"), None);

    let refused = json!({"name": "shop.refuse", "arguments": {}});
    let answer = message(call_in(&house, &anna, &session, refused).await).await;
    assert_eq!(answer["error"]["code"], -32_042, "{answer}");
    assert_eq!(answer["error"]["data"], json!({"a": 1}));

    let answer = crate::stateless::modern(&house, &anna, "tools/call", echo)
        .send()
        .await
        .unwrap();
    assert!(is_json(&answer));
    let answer = message(answer).await;
    assert_eq!(answer["result"]["content"][0]["text"], "{\"a\":1}", "{answer}");
    assert_eq!(answer["result"]["resultType"], "complete");
    house.stop().await;
}

#[tokio::test]
async fn whoever_wants_progress_hears_of_it_before_the_answer() {
    let shop = Running::start().await;
    let house = house(vec![mount(&shop)]).await;
    let anna = house.user("anna").await;
    let session = house.open_session(&anna).await;
    let params = json!({"name": "shop.progress", "arguments": {}, "_meta": {"progressToken": "mine"}});
    let answer = call_in(&house, &anna, &session, params).await;
    let body = answer.text().await.unwrap();
    assert_eq!(body.matches("notifications/progress").count(), 2, "{body}");
    assert_eq!(body.matches("\"progressToken\":\"mine\"").count(), 2, "{body}");
    assert!(body.contains("done"), "{body}");
    house.stop().await;
}

#[tokio::test]
async fn a_client_without_a_session_that_goes_away_ends_its_call_at_the_server() {
    let shop = Running::start().await;
    let house = house(vec![mount(&shop)]).await;
    let anna = house.user("anna").await;
    let params = json!({"name": "shop.wait", "arguments": {}});
    let waiting = crate::stateless::modern(&house, &anna, "tools/call", params)
        .timeout(Duration::from_mins(1))
        .send();
    tokio::select! {
        answer = waiting => panic!("{answer:?}"),
        () = until(|| shop.shared.calls.load(Ordering::SeqCst) == 1) => {}
    }
    until(|| shop.shared.cancelled.load(Ordering::SeqCst) == 1).await;
    house.stop().await;
}
