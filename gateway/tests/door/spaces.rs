//! Where a caller acts: what its own request says, and only where it is a member at that moment.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use events::{
    Appended, Commit, CommitStream, Delivery, Event, EventLog, ExpectedSeq, LogError, LogState, MemoryLog,
    RecordedCommit, Rejection, SpaceId, StreamSeq, Subject, UserId,
};
use identity::Identity;
use serde_json::{Value, json};

use crate::harness::{House, Plan, User, initialize, message, rpc};
use crate::stateless::modern;

/// A log during whose writing somebody is taken out of a space: between the door and the tool.
#[derive(Debug, Default)]
struct Meanwhile {
    log: MemoryLog,
    /// Who takes whom out of where, once everything is there.
    expelled: OnceLock<(Identity, UserId, SpaceId, UserId)>,
}

#[async_trait]
impl EventLog for Meanwhile {
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        let appended = self.log.append(commit, expected).await;
        let is_call = commit
            .events
            .iter()
            .any(|event| matches!(event, Event::CallStarted(_)));
        if let (true, Some((identity, owner, space, member))) = (is_call, self.expelled.get()) {
            // The second time there is nobody to take out.
            drop(identity.remove_member(owner, space, member).await);
        }
        appended
    }

    async fn last(&self, subject: &Subject) -> Result<Option<RecordedCommit>, LogError> {
        self.log.last(subject).await
    }

    async fn read_subject(&self, subject: &Subject) -> Result<Vec<RecordedCommit>, LogError> {
        self.log.read_subject(subject).await
    }

    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        self.log.follow(after).await
    }

    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError> {
        self.log.at(seq).await
    }

    async fn state(&self) -> Result<LogState, LogError> {
        self.log.state().await
    }
}

async fn call_there(house: &House, user: &User, space: &SpaceId, tool: &str, arguments: Value) -> Value {
    let call = json!({"name": tool, "arguments": arguments});
    let asked = modern(house, user, "tools/call", call).header("x-mana-space", space.as_str());
    message(asked.send().await.unwrap()).await["result"].clone()
}

#[tokio::test]
async fn every_request_acts_in_the_space_it_names_so_that_a_switch_counts_at_once() {
    let house = House::start().await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let team = house.team(&anna, &ben).await;
    for (space, title) in [(&anna.space, "mine"), (&team, "ours"), (&anna.space, "mine too")] {
        let habit = json!({ "title": title });
        call_there(&house, &anna, space, "habits.create", habit).await;
        let spaces = call_there(&house, &anna, space, "spaces.list", json!({})).await;
        assert_eq!(spaces["structuredContent"]["activeSpaceId"], space.as_str());
    }
    let titles = async |user: &User, space: &SpaceId| {
        let listed = call_there(&house, user, space, "habits.list", json!({})).await;
        let habits = listed["structuredContent"]["habits"].as_array().unwrap().clone();
        habits
            .iter()
            .map(|habit| habit["title"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(titles(&anna, &anna.space).await, ["mine", "mine too"]);
    assert_eq!(titles(&anna, &team).await, ["ours"]);
    assert_eq!(titles(&ben, &team).await, ["ours"], "its other member reads it");
    house.stop().await;
}

#[tokio::test]
async fn who_is_taken_out_of_a_space_is_refused_from_the_next_request_on_in_an_open_session_too() {
    let house = House::start().await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let team = house.team(&anna, &ben).await;
    let opened = house
        .post(&ben.token, initialize())
        .header("x-mana-space", team.as_str());
    let session = opened.send().await.unwrap().headers()["mcp-session-id"].clone();
    let status = async || {
        let call = rpc("tools/call", json!({"name": "habits.list", "arguments": {}}));
        let asked = house
            .post(&ben.token, call)
            .header("mcp-session-id", &session)
            .header("x-mana-space", team.as_str());
        asked.send().await.unwrap().status()
    };
    assert_eq!(status().await, 200);
    house
        .identity
        .remove_member(&anna.id, &team, &ben.id)
        .await
        .unwrap();
    assert_eq!(status().await, 403);
    house.stop().await;
}

#[tokio::test]
async fn a_call_whose_caller_is_taken_out_after_the_door_neither_reads_nor_writes_there() {
    let log = Arc::new(Meanwhile::default());
    let house = House::build(Plan {
        log: log.clone(),
        ..Plan::default()
    })
    .await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let team = house.team(&anna, &ben).await;
    call_there(&house, &anna, &team, "habits.create", json!({"title": "canary"})).await;
    let expelled = (
        house.identity.clone(),
        anna.id.clone(),
        team.clone(),
        ben.id.clone(),
    );
    log.expelled.set(expelled).unwrap();
    for (tool, arguments) in [
        ("habits.create", json!({"title": "after"})),
        ("habits.list", json!({})),
    ] {
        house
            .identity
            .add_member(&team, &ben.id, identity::SpaceRole::Member)
            .await
            .unwrap();
        let answer = call_there(&house, &ben, &team, tool, arguments).await;
        assert_eq!(answer["isError"], true, "{tool}: {answer}");
        assert!(!answer.to_string().contains("canary"), "{tool}: {answer}");
    }
    assert_eq!(house.events_of("RecordChanged").await.len(), 1, "Anna's alone");
    house.stop().await;
}
