//! How sessions end: at rest, at the limit, and when the house closes.

use std::sync::Arc;
use std::time::Duration;

use events::Event;
use gateway::{Hint, Scope};
use serde_json::json;
use tokio::sync::Notify;

use crate::harness::{House, Plan, SOON, Whatever, call, message, rpc, tool};

fn reasons(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::SessionClosed(closed) => Some(closed.reason.clone()),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_session_at_rest_is_closed_and_recorded() {
    let house = House::with(|settings| settings.session_idle = Duration::from_millis(100)).await;
    let anna = house.user("anna").await;
    let session = house.open_session(&anna).await;
    let closed = testkit::wait_until_async(SOON, || async {
        !house.events_of("SessionClosed").await.is_empty()
    })
    .await;
    assert!(closed);
    assert_eq!(reasons(&house.events_of("SessionClosed").await), ["idle"]);
    assert_eq!(house.call_in(&anna.token, &session).await.status(), 404);
    assert_eq!(house.gateway.observe().sessions, 0);
    house.stop().await;
}

#[tokio::test]
async fn a_running_call_and_an_open_stream_keep_their_sessions() {
    let release = Arc::new(Notify::new());
    let waits = release.clone();
    let slow = tool("slow.wait", Scope::UserSpace, Hint::Read, move |_, _| {
        let waits = waits.clone();
        async move {
            waits.notified().await;
            Ok(Whatever { number: 7 })
        }
    });
    let mut plan = Plan {
        tools: vec![slow],
        ..Plan::default()
    };
    // Long enough to open all three on a busy machine before the first is at rest for that long.
    plan.settings.session_idle = Duration::from_millis(500);
    plan.settings.patience = Duration::from_millis(50);
    let house = House::build(plan).await;
    let anna = house.user("anna").await;
    let (calling, listening, resting) = (
        house.open_session(&anna).await,
        house.open_session(&anna).await,
        house.open_session(&anna).await,
    );
    let call = house
        .post(&anna.token, rpc("tools/call", json!({"name": "slow.wait"})))
        .header("mcp-session-id", &calling);
    let call = call.send().await.unwrap();
    let stream = house
        .http
        .get(format!("{}/mcp", house.url))
        .bearer_auth(&anna.token);
    let stream = stream
        .header("mcp-session-id", &listening)
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    assert_eq!(stream.status(), 200);
    let one_closed =
        testkit::wait_until_async(SOON, || async { house.gateway.observe().sessions == 2 }).await;
    assert!(one_closed, "only the one at rest is closed");
    assert_eq!(house.call_in(&anna.token, &resting).await.status(), 404);
    release.notify_one();
    assert_eq!(message(call).await["result"]["structuredContent"]["number"], 7);
    drop(stream);
    assert!(testkit::wait_until_async(SOON, || async { house.gateway.observe().sessions == 0 }).await);
    house.stop().await;
}

#[tokio::test]
async fn at_the_limit_the_longest_at_rest_makes_room_for_the_same_user_only() {
    let house = House::with(|settings| settings.sessions_per_user_max = 2).await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let bens = house.open_session(&ben).await;
    let first = house.open_session(&anna).await;
    let second = house.open_session(&anna).await;
    let third = house.open_session(&anna).await;
    let mut alive = Vec::new();
    for session in [&first, &second, &third] {
        alive.push(house.call_in(&anna.token, session).await.status().as_u16());
    }
    assert_eq!(alive, [404, 200, 200], "the first rested longest");
    assert_eq!(house.call_in(&ben.token, &bens).await.status(), 200);
    house.stop().await;
}

#[tokio::test]
async fn a_drain_lets_the_running_call_finish_turns_new_ones_away_and_records_the_ends() {
    let (release, started) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (waits, starts) = (release.clone(), started.clone());
    let slow = tool("slow.wait", Scope::UserSpace, Hint::Read, move |_, _| {
        let (waits, starts) = (waits.clone(), starts.clone());
        async move {
            starts.notify_one();
            waits.notified().await;
            Ok(Whatever { number: 7 })
        }
    });
    let house = House::build(Plan {
        tools: vec![slow],
        ..Plan::default()
    })
    .await;
    let anna = house.user("anna").await;
    let session = house.open_session(&anna).await;
    let call = house
        .post(&anna.token, rpc("tools/call", json!({"name": "slow.wait"})))
        .header("mcp-session-id", &session);
    let stream = house
        .http
        .get(format!("{}/mcp", house.url))
        .bearer_auth(&anna.token);
    let stream = stream
        .header("mcp-session-id", &session)
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    let answer = async { message(call.send().await.unwrap()).await };
    let during = async {
        started.notified().await;
        let drain = house.gateway.drain(SOON);
        let meanwhile = async {
            assert!(testkit::wait_until_async(SOON, || async { house.gateway.observe().draining }).await);
            let refused = house.call_in(&anna.token, &session).await;
            assert_eq!(refused.status(), 503);
            assert!(refused.headers().contains_key("retry-after"));
            release.notify_one();
        };
        tokio::join!(drain, meanwhile);
    };
    let (answer, ()) = tokio::join!(answer, during);
    assert_eq!(answer["result"]["structuredContent"]["number"], 7, "{answer}");
    assert_eq!(reasons(&house.events_of("SessionClosed").await), ["shutdown"]);
    tokio::time::timeout(SOON, stream.bytes())
        .await
        .expect("the open stream is cut")
        .unwrap();
    house.stop().await;
}

#[tokio::test]
async fn many_users_at_once_each_get_their_own_answers() {
    let house = House::start().await;
    let mut users = Vec::new();
    for number in 0..8 {
        users.push(house.user(&format!("user{number}")).await);
    }
    let lives = users.iter().map(|user| async {
        let client = house.connect(user).await;
        call(&client, "todo.create", json!({"title": user.id.as_str()})).await;
        for _ in 0..5 {
            let spaces = call(&client, "spaces.list", json!({})).await;
            assert_eq!(spaces["activeSpaceId"], user.space.as_str());
            let tasks = call(&client, "todo.list", json!({})).await;
            assert_eq!(tasks["tasks"][0]["title"], user.id.as_str());
            assert_eq!(tasks["tasks"].as_array().unwrap().len(), 1);
        }
        client.cancel().await.unwrap();
    });
    futures::future::join_all(lives).await;
    assert_eq!(house.events_of("SessionOpened").await.len(), 8);
    house.stop().await;
}
