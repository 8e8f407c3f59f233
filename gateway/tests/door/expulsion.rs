//! Who is to be erased: what is under way is waited for, and nothing comes after it.

use std::sync::Arc;
use std::time::Duration;

use events::Event;
use gateway::{Hint, Scope, StillServed};
use serde_json::json;
use tokio::sync::Notify;

use crate::harness::{House, Plan, SOON, Whatever, initialize, message, rpc, tool};

/// A house with a tool that says when it has begun and ends when it is told to.
async fn house_with_a_slow_tool() -> (House, Arc<Notify>, Arc<Notify>) {
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
    let plan = Plan {
        tools: vec![slow],
        ..Plan::default()
    };
    (House::build(plan).await, release, started)
}

#[tokio::test]
async fn an_expulsion_waits_for_the_running_call_and_lets_nothing_new_begin() {
    let (house, release, started) = house_with_a_slow_tool().await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let (session, bens) = (house.open_session(&anna).await, house.open_session(&ben).await);
    let stream = house
        .http
        .get(format!("{}/mcp", house.url))
        .bearer_auth(&anna.token)
        .header("mcp-session-id", &session)
        .header("accept", "text/event-stream");
    let stream = stream.send().await.unwrap();
    let call = house
        .post(&anna.token, rpc("tools/call", json!({"name": "slow.wait"})))
        .header("mcp-session-id", &session);
    let answer = async { message(call.send().await.unwrap()).await };
    let during = async {
        started.notified().await;
        // The first try gives up, and shuts the door all the same.
        let hasty = house.gateway.expel(&anna.id, Duration::from_millis(1)).await;
        assert_eq!(hasty, Err(StillServed(1)));
        assert_eq!(house.call_in(&anna.token, &session).await.status(), 401);
        let opened = house.post(&anna.token, initialize()).send().await.unwrap();
        assert_eq!(opened.status(), 401);
        assert_eq!(house.call_in(&ben.token, &bens).await.status(), 200);
        let expelled = house.gateway.expel(&anna.id, SOON);
        let (expelled, ()) = tokio::join!(expelled, async { release.notify_one() });
        assert_eq!(expelled, Ok(()));
    };
    let (answer, ()) = tokio::join!(answer, during);
    assert_eq!(answer["result"]["structuredContent"]["number"], 7, "{answer}");
    let ends = house.events_of("SessionClosed").await;
    let Some(Event::SessionClosed(end)) = ends.first() else {
        panic!("the session has ended: {ends:?}")
    };
    assert_eq!((ends.len(), end.reason.as_str()), (1, "erased"));
    tokio::time::timeout(SOON, stream.bytes())
        .await
        .expect("the open stream is cut")
        .unwrap();
    assert_eq!(house.call_in(&ben.token, &bens).await.status(), 200);
    house.stop().await;
}

#[tokio::test]
async fn a_write_is_in_the_log_before_the_expulsion_ends_or_never() {
    let house = House::start().await;
    for round in 0..10 {
        let anna = house.user(&format!("anna{round}")).await;
        let session = house.open_session(&anna).await;
        let writes = (0..8).map(|number| {
            let arguments = json!({"title": format!("task {number}")});
            let create = rpc(
                "tools/call",
                json!({"name": "todo.create", "arguments": arguments}),
            );
            house
                .post(&anna.token, create)
                .header("mcp-session-id", &session)
                .send()
        });
        let expel = async {
            tokio::time::timeout(Duration::from_millis(round), std::future::pending::<()>())
                .await
                .unwrap_err();
            house.gateway.expel(&anna.id, SOON).await.unwrap();
            house.events().await.len()
        };
        let (_, before) = tokio::join!(futures::future::join_all(writes), expel);
        assert_eq!(house.events().await.len(), before, "round {round}");
    }
    house.stop().await;
}

#[tokio::test]
async fn somebody_who_is_not_here_is_expelled_at_once() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    assert_eq!(house.gateway.expel(&anna.id, Duration::ZERO).await, Ok(()));
    assert_eq!(
        house
            .post(&anna.token, initialize())
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
    house.stop().await;
}
