//! Every call on the record: before the tool runs, and with one outcome after.

use std::sync::Arc;
use std::time::Duration;

use events::{
    CallEnded, CallOutcome, CallStarted, Commit, Event, EventLog as _, ExpectedSeq, MemoryLog, Subject,
};
use gateway::{Hint, PolicyRules, RecordCalls, Scope, ToolError};
use serde_json::json;
use tokio::sync::Notify;

use crate::harness::{
    House, Plan, SOON, User, Whatever, call, error_code, message, refused, rpc, tool, try_call,
};

/// What the log says of one call.
#[derive(Debug, Clone)]
struct Told {
    started: CallStarted,
    ended: Option<CallEnded>,
}

impl Told {
    /// Tool, outcome and fault; `pending` without an end.
    fn spelled(&self) -> (String, &'static str, Option<String>) {
        let ended = self.ended.as_ref();
        (
            self.started.tool.clone(),
            ended.map_or("pending", |ended| ended.outcome.as_str()),
            ended.and_then(|ended| ended.fault.clone()),
        )
    }
}

/// All calls of `user` in the order they were taken. An end before its start would be none.
async fn told(house: &House, user: &User) -> Vec<Told> {
    let subject = Subject::Session(user.id.clone());
    let commits = house.log.read_subject(&subject).await.unwrap();
    let mut calls: Vec<Told> = Vec::new();
    for event in commits.into_iter().flat_map(|recorded| recorded.commit.events) {
        match event {
            Event::CallStarted(started) => calls.push(Told { started, ended: None }),
            Event::CallEnded(ended) => {
                let call = calls
                    .iter_mut()
                    .find(|call| call.started.call_id == ended.call_id);
                let call = call.expect("no end comes before its start");
                assert!(call.ended.is_none(), "one outcome: {call:?}");
                call.ended = Some(ended);
            }
            _ => {}
        }
    }
    calls
}

/// The same, once all of them have ended.
async fn ended(house: &House, user: &User, count: usize) -> Vec<Told> {
    let has_ended = testkit::wait_until_async(SOON, || async {
        let calls = told(house, user).await;
        calls.len() == count && calls.iter().all(|call| call.ended.is_some())
    });
    assert!(has_ended.await, "{:?}", told(house, user).await);
    told(house, user).await
}

#[tokio::test]
async fn every_call_is_on_the_record_with_one_outcome_whatever_comes_of_it() {
    let plan = Plan {
        tools: vec![
            tool("test.fails", Scope::UserSpace, Hint::Read, |_, _| async {
                Err(ToolError::failed("broken", std::io::Error::other("cause")))
            }),
            tool("test.panics", Scope::UserSpace, Hint::Read, |_, _| async {
                panic!("out of order")
            }),
            tool("test.rejects", Scope::UserSpace, Hint::Read, |_, _| async {
                Err(ToolError::Rejected("no".to_owned()))
            }),
            tool("test.wipe", Scope::UserSpace, Hint::Destructive, |_, _| async {
                Ok(Whatever { number: 1 })
            }),
        ],
        ..Plan::default()
    };
    let house = House::build(plan).await;
    let anna = house.user("anna").await;
    let client = house.connect(&anna).await;
    call(&client, "spaces.list", json!({})).await;
    refused(&client, "todo.create", json!({"titel": "Milch"})).await;
    refused(&client, "test.rejects", json!({})).await;
    error_code(&client, "test.fails", json!({})).await;
    error_code(&client, "test.panics", json!({})).await;
    refused(&client, "test.wipe", json!({})).await;
    error_code(&client, "no.such", json!({})).await;
    error_code(&client, "my secret thought", json!({})).await;

    let calls = ended(&house, &anna, 8).await;
    let spelled: Vec<_> = calls.iter().map(Told::spelled).collect();
    let fault = |word: &str| Some(word.to_owned());
    let expected = [
        ("spaces.list", "ok", None),
        ("todo.create", "error", fault("invalid")),
        ("test.rejects", "error", fault("rejected")),
        ("test.fails", "error", fault("failed")),
        ("test.panics", "error", fault("panicked")),
        ("test.wipe", "refused", None),
        ("no.such", "refused", None),
        ("(malformed)", "refused", None),
    ];
    assert_eq!(
        spelled,
        expected.map(|(tool, outcome, fault)| (tool.to_owned(), outcome, fault))
    );
    let started = &calls[1].started;
    assert_eq!(started.input_hash, events::input_hash(&json!({"titel": "Milch"})));
    assert_eq!((&started.user_id, &started.space_id), (&anna.id, &anna.space));
    assert!(started.session_id.is_some() && started.arguments.is_none());
    let everything = format!("{:?}", house.events().await);
    assert!(!everything.contains("Milch") && !everything.contains("secret thought"));
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn a_tool_runs_only_once_its_call_is_in_the_log() {
    let log: Arc<MemoryLog> = Arc::new(MemoryLog::new());
    let seen = log.clone();
    let plan = Plan {
        log: log.clone(),
        tools: vec![tool(
            "test.looks",
            Scope::UserSpace,
            Hint::Read,
            move |context, _| {
                let log = seen.clone();
                async move {
                    let subject = Subject::Session(context.principal.user_id.clone());
                    let commits = log.read_subject(&subject).await.unwrap();
                    let starts = commits
                        .iter()
                        .flat_map(|recorded| &recorded.commit.events)
                        .filter(|event| matches!(event, Event::CallStarted(_)));
                    Ok(Whatever {
                        number: u32::try_from(starts.count()).unwrap(),
                    })
                }
            },
        )],
        ..Plan::default()
    };
    let house = House::build(plan).await;
    let client = house.connect(&house.user("anna").await).await;
    for number in 1..=5 {
        assert_eq!(
            call(&client, "test.looks", json!({})).await,
            json!({"number": number})
        );
    }
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn a_persona_s_own_id_of_a_call_is_kept_and_its_trace_goes_on() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let body = rpc(
        "tools/call",
        json!({"name": "spaces.list", "arguments": {}, "_meta": {
            "dramatis/callId": "mine", "traceparent": trace,
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }}),
    );
    let response = house
        .post(&anna.token, body)
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "spaces.list")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    message(response).await;
    let calls = ended(&house, &anna, 1).await;
    let started = &calls[0].started;
    assert_eq!(started.client_call_id.as_ref().unwrap().as_str(), "mine");
    assert_ne!(started.call_id.as_str(), "mine");
    assert!(started.session_id.is_none(), "the call came without a session");
    let commits = house
        .log
        .read_subject(&Subject::Session(anna.id.clone()))
        .await
        .unwrap();
    assert_eq!(commits[0].commit.traceparent.as_deref(), Some(trace));
    house.stop().await;
}

#[tokio::test]
async fn arguments_are_kept_only_where_asked_for_and_only_sealed_with_the_caller_s_key() {
    let house = House::with(|settings| settings.record_calls = RecordCalls::WithArguments).await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let team = house.team(&ben, &anna).await;
    let body = rpc(
        "tools/call",
        json!({"name": "todo.create", "arguments": {"title": "Geheimnis"}}),
    );
    let session = {
        let response = house
            .post(&anna.token, crate::harness::initialize())
            .header("x-mana-space", team.as_str())
            .send()
            .await
            .unwrap();
        response.headers()["mcp-session-id"].to_str().unwrap().to_owned()
    };
    let response = house
        .post(&anna.token, body)
        .header("x-mana-space", team.as_str())
        .header("mcp-session-id", session)
        .send()
        .await
        .unwrap();
    message(response).await;
    let calls = ended(&house, &anna, 1).await;
    let sealed = calls[0].started.arguments.clone().expect("they were asked for");
    assert!(!format!("{:?}", house.events().await).contains("Geheimnis"));
    let own = house.identity.space_key(&anna.space).await.unwrap();
    let opened = gateway::field_crypto::open(&own.key, &sealed).unwrap();
    assert_eq!(opened, json!({"title": "Geheimnis"}));
    let team_key = house.identity.space_key(&team).await.unwrap();
    gateway::field_crypto::open(&team_key.key, &sealed).unwrap_err();
    house.stop().await;
}

#[tokio::test]
async fn with_the_record_off_calls_leave_nothing_and_refusals_still_do() {
    let house = House::with(|settings| {
        settings.record_calls = RecordCalls::Off;
        settings.policy.rules = PolicyRules::built_in().with_calls_per_window(1);
    })
    .await;
    let anna = house.user("anna").await;
    let client = house.connect(&anna).await;
    call(&client, "spaces.list", json!({})).await;
    refused(&client, "spaces.list", json!({})).await;
    assert_eq!(told(&house, &anna).await.len(), 0);
    assert_eq!(house.events_of("CallRefused").await.len(), 1);
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn a_stop_waits_until_the_last_outcome_is_in_the_log() {
    let (running, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (in_tool, may_go) = (running.clone(), go.clone());
    let plan = Plan {
        tools: vec![tool("test.waits", Scope::UserSpace, Hint::Read, move |_, _| {
            let (running, go) = (in_tool.clone(), may_go.clone());
            async move {
                running.notify_one();
                go.notified().await;
                Ok(Whatever { number: 1 })
            }
        })],
        ..Plan::default()
    };
    let house = House::build(plan).await;
    let anna = house.user("anna").await;
    let client = house.connect(&anna).await;
    let tasks = tokio_util::task::TaskTracker::new();
    let answered = tasks.spawn(async move {
        let answer = try_call(&client, "test.waits", json!({})).await;
        (client, answer)
    });
    running.notified().await;
    assert_eq!(told(&house, &anna).await[0].spelled().1, "pending");
    let drained = house.gateway.clone();
    let drain = tasks.spawn(async move { drained.drain(Duration::from_secs(5)).await });
    go.notify_one();
    drain.await.unwrap();
    assert_eq!(told(&house, &anna).await[0].spelled().1, "ok");
    let (client, answer) = answered.await.unwrap();
    answer.unwrap();
    drop(client);
    house.stop().await;
}

#[tokio::test]
async fn a_call_its_client_cancels_stops_and_is_cancelled_on_the_record() {
    let running = Arc::new(Notify::new());
    let in_tool = running.clone();
    let plan = Plan {
        tools: vec![tool("test.never", Scope::UserSpace, Hint::Read, move |_, _| {
            let running = in_tool.clone();
            async move {
                running.notify_one();
                std::future::pending().await
            }
        })],
        ..Plan::default()
    };
    let house = House::build(plan).await;
    let anna = house.user("anna").await;
    let session = house.open_session(&anna).await;
    let call = rpc("tools/call", json!({"name": "test.never", "arguments": {}}));
    let asking = house
        .post(&anna.token, call)
        .header("mcp-session-id", &session)
        .send();
    let asking = tokio_util::task::TaskTracker::new().spawn(asking);
    running.notified().await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    let told_so = house
        .post(&anna.token, cancel.to_string())
        .header("mcp-session-id", &session)
        .send()
        .await
        .unwrap();
    assert_eq!(told_so.status(), 202);
    assert_eq!(ended(&house, &anna, 1).await[0].spelled().1, "cancelled");
    asking.abort();
    house.stop().await;
}

#[tokio::test]
async fn what_an_earlier_run_left_without_an_end_is_closed_as_unknown_and_nothing_else_is() {
    let log: Arc<MemoryLog> = Arc::new(MemoryLog::new());
    let user: events::UserId = "left-behind".parse().unwrap();
    let subject = Subject::Session(user.clone());
    let start = |call: &str| CallStarted {
        call_id: call.parse().unwrap(),
        client_call_id: None,
        session_id: None,
        user_id: user.clone(),
        space_id: "space".parse().unwrap(),
        tool: "todo.create".to_owned(),
        input_hash: "00".to_owned(),
        arguments: None,
        policy_version: 1,
        started_at: events::testing::sample_time(),
    };
    let ended_ok = CallEnded {
        call_id: "done".parse().unwrap(),
        outcome: CallOutcome::Ok,
        fault: None,
        duration_ms: Some(1),
        ended_at: events::testing::sample_time(),
    };
    let commit = Commit::new(
        uuid::Uuid::from_u128(1).into(),
        subject.clone(),
        events::testing::sample_time(),
        vec![start("done").into(), start("open").into(), ended_ok.into()],
    );
    let _ = log.append(&commit, ExpectedSeq::Any).await.unwrap().unwrap();
    let house = House::build(Plan {
        log: log.clone(),
        ..Plan::default()
    })
    .await;
    let is_closed = testkit::wait_until_async(SOON, || async {
        log.read_subject(&subject).await.unwrap().len() == 2
    });
    assert!(is_closed.await);
    let last = log.last(&subject).await.unwrap().unwrap();
    let [Event::CallEnded(ended)] = &last.commit.events[..] else {
        panic!("{last:?}")
    };
    assert_eq!(
        (ended.call_id.as_str(), ended.outcome),
        ("open", CallOutcome::Unknown)
    );
    house.stop().await;
}
