//! Calls that take their time: streams that break and go on, and calls that are given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gateway::{Hint, Scope, ToolSpec};
use serde_json::json;
use tokio::sync::Notify;

use crate::harness::{House, Plan, SOON, User, Whatever, message, rpc, tool};
use crate::lists::next;
use crate::stateless::modern;

/// A tool that waits until it is let go, and what became of its calls.
#[derive(Clone, Default)]
struct Slow {
    started: Arc<Notify>,
    release: Arc<Notify>,
    dropped: Arc<AtomicUsize>,
}

/// Counts the calls that end without an answer.
struct Unanswered(Arc<AtomicUsize>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Slow {
    fn tool(&self) -> ToolSpec {
        let slow = self.clone();
        tool("slow.wait", Scope::UserSpace, Hint::Read, move |_, _| {
            let slow = slow.clone();
            async move {
                let unanswered = Unanswered(slow.dropped.clone());
                slow.started.notify_one();
                slow.release.notified().await;
                std::mem::forget(unanswered);
                Ok(Whatever { number: 7 })
            }
        })
    }

    async fn house(&self) -> House {
        let mut plan = Plan {
            tools: vec![self.tool()],
            ..Plan::default()
        };
        plan.settings.patience = Duration::from_millis(50);
        House::build(plan).await
    }

    async fn is_dropped(&self) -> bool {
        testkit::wait_until_async(SOON, || async { self.dropped.load(Ordering::SeqCst) == 1 }).await
    }
}

fn slow_call(house: &House, user: &User, session: &str) -> reqwest::RequestBuilder {
    house
        .post(&user.token, rpc("tools/call", json!({"name": "slow.wait"})))
        .header("mcp-session-id", session)
}

fn resume(house: &House, user: &User, session: &str, last: &str) -> reqwest::RequestBuilder {
    let resumed = house
        .http
        .get(format!("{}/mcp", house.url))
        .bearer_auth(&user.token);
    resumed
        .header("mcp-session-id", session)
        .header("accept", "text/event-stream")
        .header("last-event-id", last)
}

/// The id of the first event, which carries nothing yet.
async fn first_id(stream: &mut reqwest::Response) -> String {
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let chunk = tokio::time::timeout(SOON, stream.chunk()).await.unwrap();
    let text = String::from_utf8(chunk.unwrap().unwrap().to_vec()).unwrap();
    let id = text.lines().find_map(|line| line.strip_prefix("id: "));
    id.expect("an event with an id").to_owned()
}

#[tokio::test]
async fn a_long_call_survives_its_connection_and_is_taken_up_again() {
    let slow = Slow::default();
    let house = slow.house().await;
    let anna = house.user("anna").await;
    let session = house.open_session(&anna).await;
    let mut stream = slow_call(&house, &anna, &session).send().await.unwrap();
    let last = first_id(&mut stream).await;
    drop(stream);
    let mut again = resume(&house, &anna, &session, &last).send().await.unwrap();
    slow.release.notify_one();
    assert_eq!(next(&mut again).await["result"]["structuredContent"]["number"], 7);
    let after = resume(&house, &anna, &session, &last).send().await.unwrap();
    assert_eq!(
        message(after).await["result"]["structuredContent"]["number"],
        7,
        "and once more"
    );
    house.stop().await;
}

#[tokio::test]
async fn an_event_id_opens_nothing_for_a_stranger_and_the_owner_goes_on() {
    let slow = Slow::default();
    let house = slow.house().await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let (annas, bens) = (house.open_session(&anna).await, house.open_session(&ben).await);
    let mut stream = slow_call(&house, &anna, &annas).send().await.unwrap();
    let last = first_id(&mut stream).await;
    slow.release.notify_one();
    assert_eq!(next(&mut stream).await["id"], 1);
    let in_hers = resume(&house, &ben, &annas, &last).send().await.unwrap();
    assert_eq!(in_hers.status(), 403);
    let in_his = resume(&house, &ben, &bens, &last).send().await.unwrap();
    assert_eq!(in_his.bytes().await.unwrap(), "", "nothing is replayed");
    let hers = resume(&house, &anna, &annas, &last).send().await.unwrap();
    assert_eq!(message(hers).await["id"], 1);
    house.stop().await;
}

#[tokio::test]
async fn a_cancelled_call_is_ended_and_has_no_answer() {
    let slow = Slow::default();
    let house = slow.house().await;
    let anna = house.user("anna").await;
    let session = house.open_session(&anna).await;
    let call = async { slow_call(&house, &anna, &session).send().await.unwrap() };
    let cancel = async {
        slow.started.notified().await;
        let notice =
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
        let notice = house.post(&anna.token, notice.to_string());
        let sent = notice.header("mcp-session-id", &session).send().await.unwrap();
        assert_eq!(sent.status(), 202);
    };
    let (answer, ()) = tokio::join!(call, cancel);
    assert!(slow.is_dropped().await, "the tool is ended");
    let said = answer.text().await.unwrap();
    assert!(!said.contains("jsonrpc"), "{said}");
    assert_eq!(
        house.call_in(&anna.token, &session).await.status(),
        200,
        "the session goes on"
    );
    house.stop().await;
}

#[tokio::test]
async fn a_stranger_cannot_cancel_a_call() {
    let slow = Slow::default();
    let house = slow.house().await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let (annas, bens) = (house.open_session(&anna).await, house.open_session(&ben).await);
    let mut stream = slow_call(&house, &anna, &annas).send().await.unwrap();
    let notice = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    for (session, status) in [(&annas, 403), (&bens, 202)] {
        let notice = house.post(&ben.token, notice.to_string());
        let sent = notice.header("mcp-session-id", session).send().await.unwrap();
        assert_eq!(sent.status(), status);
    }
    slow.release.notify_one();
    assert_eq!(
        next(&mut stream).await["result"]["structuredContent"]["number"],
        7
    );
    house.stop().await;
}

#[tokio::test]
async fn without_a_session_a_lost_connection_is_how_a_call_is_cancelled() {
    let slow = Slow::default();
    let house = slow.house().await;
    let anna = house.user("anna").await;
    let call = modern(&house, &anna, "tools/call", json!({"name": "slow.wait"})).send();
    // The client goes away as soon as the call is under way, and the connection with it.
    tokio::select! {
        _ = call => panic!("it waits"),
        () = slow.started.notified() => {}
    }
    assert!(slow.is_dropped().await, "the tool is ended");
    let mut stream = modern(&house, &anna, "tools/call", json!({"name": "slow.wait"}))
        .send()
        .await
        .unwrap();
    slow.release.notify_one();
    assert_eq!(
        next(&mut stream).await["result"]["structuredContent"]["number"],
        7
    );
    house.stop().await;
}

#[tokio::test]
async fn the_end_of_a_session_ends_its_calls() {
    let slow = Slow::default();
    let house = slow.house().await;
    let anna = house.user("anna").await;
    let session = house.open_session(&anna).await;
    let mut stream = slow_call(&house, &anna, &session).send().await.unwrap();
    first_id(&mut stream).await;
    let delete = house
        .http
        .delete(format!("{}/mcp", house.url))
        .bearer_auth(&anna.token);
    let ended = delete.header("mcp-session-id", &session).send().await.unwrap();
    assert_eq!(ended.status(), 204);
    assert!(slow.is_dropped().await, "the tool is ended");
    let rest = tokio::time::timeout(SOON, stream.text())
        .await
        .expect("the stream ends");
    assert!(!rest.unwrap().contains("jsonrpc"));
    house.stop().await;
}

#[tokio::test]
async fn two_requests_of_one_id_at_once_are_told_apart() {
    let slow = Slow::default();
    let house = slow.house().await;
    let anna = house.user("anna").await;
    let session = house.open_session(&anna).await;
    let mut stream = slow_call(&house, &anna, &session).send().await.unwrap();
    let second = house.call_in(&anna.token, &session).await;
    assert_eq!(message(second).await["error"]["code"], -32_600);
    slow.release.notify_one();
    assert_eq!(
        next(&mut stream).await["result"]["structuredContent"]["number"],
        7
    );
    assert_eq!(
        message(house.call_in(&anna.token, &session).await).await["result"]["isError"],
        false
    );
    house.stop().await;
}
