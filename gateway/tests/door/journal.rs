//! Calls that are written down in the gateway's journal first: what a gateway that died left there is in the log, once.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use events::{
    Appended, Commit, CommitStream, Delivery, Event, EventLog, ExpectedSeq, LogError, LogState, MemoryLog,
    RecordedCommit, Rejection, StreamSeq, Subject,
};
use gateway::{GatewaySettings, Hint, Scope};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::harness::{House, Plan, SOON, User, Whatever, rpc, tool};

/// A log that can be away: nothing is appended meanwhile.
#[derive(Debug, Default)]
struct Away {
    kept: MemoryLog,
    is_away: AtomicBool,
}

#[async_trait]
impl EventLog for Away {
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable("test".to_owned()));
        }
        self.kept.append(commit, expected).await
    }
    async fn last(&self, subject: &Subject) -> Result<Option<RecordedCommit>, LogError> {
        self.kept.last(subject).await
    }
    async fn read_subject(&self, subject: &Subject) -> Result<Vec<RecordedCommit>, LogError> {
        self.kept.read_subject(subject).await
    }
    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        self.kept.follow(after).await
    }
    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError> {
        self.kept.at(seq).await
    }
    async fn state(&self) -> Result<LogState, LogError> {
        self.kept.state().await
    }
}

/// A house with a journal and a tool that says when it has begun and ends when it is told to.
struct Journaled {
    house: House,
    log: Arc<Away>,
    folder: tempfile::TempDir,
    started: Arc<Notify>,
    release: Arc<Notify>,
    tasks: TaskTracker,
}

impl Journaled {
    async fn start() -> Self {
        let (started, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (starts, waits) = (started.clone(), release.clone());
        let slow = tool("slow.wait", Scope::UserSpace, Hint::Read, move |_, _| {
            let (starts, waits) = (starts.clone(), waits.clone());
            async move {
                starts.notify_one();
                waits.notified().await;
                Ok(Whatever { number: 7 })
            }
        });
        let (log, folder) = (Arc::new(Away::default()), tempfile::tempdir().unwrap());
        let plan = Plan {
            tools: vec![slow],
            log: log.clone(),
            settings: settings(folder.path()),
            ..Plan::default()
        };
        Self {
            house: House::build(plan).await,
            log,
            folder,
            started,
            release,
            tasks: TaskTracker::new(),
        }
    }

    /// Calls the slow tool from another task, and returns once it runs.
    async fn call_slow(&self, user: &User, session: &str) {
        let call = self
            .house
            .post(&user.token, rpc("tools/call", json!({"name": "slow.wait"})))
            .header("mcp-session-id", session);
        self.tasks.spawn(call.send());
        self.started.notified().await;
    }

    /// What is in the files of the journal.
    fn written(&self) -> String {
        let files = fs::read_dir(self.folder.path()).unwrap();
        files
            .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
            .collect()
    }
}

fn settings(folder: &Path) -> GatewaySettings {
    GatewaySettings {
        call_journal: Some(folder.to_owned()),
        ..GatewaySettings::default()
    }
}

/// What the log says of the calls of `user`, in its order: each start, and each end with its outcome.
async fn told(house: &House, user: &User) -> Vec<String> {
    let subject = Subject::Session(user.id.clone());
    let commits = house.log.read_subject(&subject).await.unwrap();
    let events = commits.into_iter().flat_map(|recorded| recorded.commit.events);
    events
        .filter_map(|event| match event {
            Event::CallStarted(started) => Some(format!("+{}", started.tool)),
            Event::CallEnded(ended) => Some(format!("-{}", ended.outcome.as_str())),
            _ => None,
        })
        .collect()
}

async fn comes_to(house: &House, user: &User, expected: &[&str]) {
    let is_told =
        testkit::wait_until_async(SOON, || async { told(house, user).await.len() >= expected.len() });
    assert!(is_told.await, "{:?}", told(house, user).await);
    assert_eq!(told(house, user).await, expected);
}

#[tokio::test]
async fn what_is_written_down_comes_into_the_log_and_leaves_the_journal() {
    let house = Journaled::start().await;
    let anna = house.house.user("anna").await;
    let session = house.house.open_session(&anna).await;
    for _ in 0..3 {
        assert_eq!(house.house.call_in(&anna.token, &session).await.status(), 200);
    }
    let is_told = testkit::wait_until_async(SOON, || async { told(&house.house, &anna).await.len() == 6 });
    assert!(is_told.await, "{:?}", told(&house.house, &anna).await);
    let is_empty = testkit::wait_until_async(SOON, || async { house.written().is_empty() });
    assert!(is_empty.await, "{}", house.written());
    house.house.stop().await;
}

#[tokio::test]
async fn what_a_gateway_that_died_left_is_in_the_log_once_and_what_ran_then_is_unknown() {
    let house = Journaled::start().await;
    let anna = house.house.user("anna").await;
    let session = house.house.open_session(&anna).await;
    // One call whose start is in the log and its end is not.
    house.call_slow(&anna, &session).await;
    comes_to(&house.house, &anna, &["+slow.wait"]).await;
    house.log.is_away.store(true, Ordering::SeqCst);
    house.release.notify_one();
    // One call of which the log has nothing.
    let ben = house.house.user("ben").await;
    let answer = house
        .house
        .post(
            &ben.token,
            rpc(
                "tools/call",
                json!({"name": "spaces.list", "_meta": {
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities": {},
                }}),
            ),
        )
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "spaces.list");
    assert_eq!(
        answer.send().await.unwrap().status(),
        200,
        "a call does not wait for the log"
    );
    let is_written = testkit::wait_until_async(SOON, || async {
        house.written().matches("CallEnded").count() == 2
    });
    assert!(is_written.await, "{}", house.written());
    // And what a process that was killed in the middle of a call leaves: a start alone.
    let killed = tempfile::tempdir().unwrap();
    for file in fs::read_dir(house.folder.path()).unwrap() {
        let file = file.unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        let mut lines: Vec<_> = text.split_inclusive('\n').collect();
        let last = lines
            .iter()
            .rposition(|line| line.contains("CallEnded") && line.contains(ben.id.as_str()));
        lines.remove(last.unwrap());
        fs::write(killed.path().join(file.file_name()), lines.concat()).unwrap();
    }
    house.house.gateway.drain(Duration::from_secs(1)).await;
    assert!(
        house.written().contains("CallEnded"),
        "what is not in the log stays"
    );
    house.log.is_away.store(false, Ordering::SeqCst);

    let next = house.house.another_door(settings(killed.path())).await;
    comes_to(&next, &anna, &["+slow.wait", "-ok"]).await;
    comes_to(&next, &ben, &["+spaces.list", "-unknown"]).await;
    let is_forgotten = testkit::wait_until_async(SOON, || async {
        fs::read_dir(killed.path()).unwrap().next().is_none()
    });
    assert!(is_forgotten.await);

    // The same once more, as by a process that died before it could delete the files: all of it is there already.
    let folded = house.house.tables.clone();
    let head = house.log.state().await.unwrap().last_seq;
    let is_folded = testkit::wait_until_async(SOON, || async {
        folded.unfinished_calls(head).await.unwrap().is_empty()
    });
    assert!(is_folded.await);
    let third = house.house.another_door(settings(house.folder.path())).await;
    let is_forgotten = testkit::wait_until_async(SOON, || async { house.written().is_empty() });
    assert!(is_forgotten.await);
    comes_to(&third, &anna, &["+slow.wait", "-ok"]).await;
    comes_to(&third, &ben, &["+spaces.list", "-unknown"]).await;
    third.stop().await;
    next.stop().await;
    house.house.stop().await;
}

#[tokio::test]
async fn of_somebody_who_is_shut_out_nothing_is_replayed() {
    let house = Journaled::start().await;
    let anna = house.house.user("anna").await;
    let session = house.house.open_session(&anna).await;
    house.log.is_away.store(true, Ordering::SeqCst);
    assert_eq!(house.house.call_in(&anna.token, &session).await.status(), 200);
    house.house.gateway.drain(Duration::from_secs(1)).await;
    assert!(house.written().contains(anna.id.as_str()));
    house.house.identity.suspend(&anna.id).await.unwrap();
    house.log.is_away.store(false, Ordering::SeqCst);
    let next = house.house.another_door(settings(house.folder.path())).await;
    // Who is to be erased waits for it.
    next.gateway.expel(&anna.id, SOON).await.unwrap();
    assert_eq!(house.written(), "");
    assert_eq!(told(&next, &anna).await, Vec::<String>::new());
    next.stop().await;
    house.house.stop().await;
}

#[tokio::test]
async fn when_an_expulsion_has_ended_no_byte_of_its_user_is_in_the_journal() {
    let house = Journaled::start().await;
    let (anna, ben) = (house.house.user("anna").await, house.house.user("ben").await);
    let session = house.house.open_session(&anna).await;
    let bens = house.house.open_session(&ben).await;
    // Somebody else's call is under way all the time.
    house.call_slow(&ben, &bens).await;
    assert_eq!(house.house.call_in(&anna.token, &session).await.status(), 200);
    house.house.gateway.expel(&anna.id, SOON).await.unwrap();
    assert!(!house.written().contains(anna.id.as_str()), "{}", house.written());
    assert_eq!(told(&house.house, &anna).await, ["+spaces.list", "-ok"]);
    house.release.notify_one();
    house.house.stop().await;
}
