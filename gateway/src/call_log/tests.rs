//! A log whose answers come when the test says so, and what is in it then.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use events::testing::{id, sample_time};
use events::{
    Appended, CallEnded, CallOutcome, CallStarted, Commit, CommitStream, Delivery, ExpectedSeq, LogError,
    LogState, MemoryLog, RecordedCommit, Rejection, StreamSeq, Subject, SystemClock, SystemIds,
};
use tokio::sync::Semaphore;

use super::*;
use crate::guests::Guests;

/// Lets one append through for each permit; the next of `failing` appends get no answer, stored or not.
#[derive(Debug)]
struct GatedLog {
    kept: MemoryLog,
    gate: Semaphore,
    failing: Mutex<VecDeque<Failure>>,
    asked: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    Lost,
    StoredUnanswered,
}

#[async_trait]
impl EventLog for GatedLog {
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        let failure = self.failing.lock().unwrap().pop_front();
        match failure {
            Some(Failure::Lost) => Err(LogError::Unavailable("test".to_owned())),
            Some(Failure::StoredUnanswered) => {
                let _ = self.kept.append(commit, expected).await?;
                Err(LogError::Unavailable("test".to_owned()))
            }
            None => self.kept.append(commit, expected).await,
        }
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

/// Waits until `holds`, and fails with `what` when it does not come to that.
async fn soon<F: Future<Output = bool>>(what: &str, holds: impl FnMut() -> F) {
    assert!(
        testkit::wait_until_async(Duration::from_mins(1), holds).await,
        "{what}"
    );
}

struct Desk {
    log: Arc<GatedLog>,
    calls: CallLog,
    guests: Arc<Guests>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Desk {
    fn new(permits: usize, failing: &[Failure]) -> Self {
        let log = Arc::new(GatedLog {
            kept: MemoryLog::new(),
            gate: Semaphore::new(permits),
            failing: Mutex::new(failing.iter().copied().collect()),
            asked: AtomicUsize::new(0),
        });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let clock = Arc::new(SystemClock::new());
        let calls = CallLog::new(
            log.clone(),
            clock,
            Arc::new(SystemIds),
            tasks.clone(),
            stop.clone(),
        );
        Self {
            log,
            calls,
            guests: Arc::default(),
            tasks,
            stop,
        }
    }

    fn note(&self, event: impl Into<Event>) -> Note {
        let present = self.guests.enter(&id("anna")).unwrap();
        Note {
            events: vec![event.into()],
            traceparent: None,
            under_way: UnderWay::new(present, self.tasks.token()),
        }
    }

    fn start(&self, call: &str) -> Note {
        self.note(started(call))
    }

    fn end(&self, call: &str) {
        let ended = CallEnded {
            call_id: id(call),
            outcome: CallOutcome::Ok,
            fault: None,
            duration_ms: Some(1),
            ended_at: sample_time(),
        };
        self.calls.hand_over(&id("anna"), self.note(ended));
    }

    /// A call that waits to be recorded, from another task.
    fn recording(&self, call: &str) -> tokio::task::JoinHandle<Result<(), NotRecorded>> {
        let (calls, note) = (self.calls.clone(), self.start(call));
        self.tasks
            .spawn(async move { calls.record(&id("anna"), note).await })
    }

    async fn asked(&self, times: usize) {
        soon("the log is asked", || async {
            self.log.asked.load(Ordering::SeqCst) >= times
        })
        .await;
    }

    /// What is in the log, a line a commit: `+` for a start, `-` for an end.
    async fn commits(&self) -> Vec<String> {
        let commits = self
            .log
            .read_subject(&Subject::Session(id("anna")))
            .await
            .unwrap();
        let spelled = |event: &Event| match event {
            Event::CallStarted(started) => format!("+{}", started.call_id),
            Event::CallEnded(ended) => format!("-{}", ended.call_id),
            other => other.type_name().to_owned(),
        };
        commits
            .iter()
            .map(|recorded| {
                let events: Vec<_> = recorded.commit.events.iter().map(spelled).collect();
                events.join(" ")
            })
            .collect()
    }

    async fn commits_are(&self, expected: &[&str]) {
        let events = |commits: &[String]| commits.iter().map(|one| one.split(' ').count()).sum::<usize>();
        let all: usize = expected.iter().map(|one| one.split(' ').count()).sum();
        soon("everything is in the log", || async {
            events(&self.commits().await) >= all
        })
        .await;
        assert_eq!(self.commits().await, expected);
    }
}

fn started(call: &str) -> CallStarted {
    CallStarted {
        call_id: id(call),
        client_call_id: None,
        session_id: None,
        user_id: id("anna"),
        space_id: id("space"),
        tool: "todo.list".to_owned(),
        input_hash: "00".to_owned(),
        arguments: None,
        policy_version: 1,
        started_at: sample_time(),
    }
}

#[tokio::test]
async fn a_start_is_acknowledged_only_once_it_is_in_the_log() {
    let desk = Desk::new(0, &[]);
    let mut first = desk.recording("a");
    desk.asked(1).await;
    assert!(futures::poll!(&mut first).is_pending());
    desk.log.gate.add_permits(1);
    assert_eq!(first.await.unwrap(), Ok(()));
    assert_eq!(desk.commits().await, ["+a"]);
}

#[tokio::test]
async fn what_comes_while_a_commit_is_on_its_way_goes_together_as_the_next() {
    let desk = Desk::new(0, &[]);
    let first = desk.recording("a");
    desk.asked(1).await;
    let others: Vec<_> = ["b", "c", "d"].map(|call| desk.recording(call)).into();
    soon("they wait", || async { desk.guests.served(&id("anna")) == 4 }).await;
    desk.end("z");
    desk.log.gate.add_permits(2);
    assert_eq!(first.await.unwrap(), Ok(()));
    for other in others {
        assert_eq!(other.await.unwrap(), Ok(()));
    }
    let commits = desk.commits().await;
    assert_eq!(commits.len(), 2, "{commits:?}");
    assert_eq!(commits[1].split(' ').count(), 4, "{commits:?}");
}

#[tokio::test]
async fn the_end_of_one_call_goes_with_the_start_of_the_next() {
    let desk = Desk::new(usize::MAX >> 3, &[]);
    for call in ["a", "b", "c"] {
        desk.calls.record(&id("anna"), desk.start(call)).await.unwrap();
        desk.end(call);
    }
    desk.commits_are(&["+a", "-a +b", "-b +c", "-c"]).await;
}

#[tokio::test]
async fn an_end_that_nothing_follows_is_written_a_moment_later_and_holds_its_account_until_then() {
    let desk = Desk::new(0, &[]);
    desk.end("a");
    assert_eq!(desk.guests.served(&id("anna")), 1);
    desk.log.gate.add_permits(1);
    desk.commits_are(&["-a"]).await;
    desk.guests.gone(&id("anna")).await;
    desk.tasks.close();
    desk.tasks.wait().await;
    assert!(desk.calls.inner.lanes().is_empty(), "no lane is left behind");
}

#[tokio::test]
async fn starts_beyond_the_bound_are_refused_and_ends_are_not() {
    let desk = Desk::new(0, &[]);
    let first = desk.recording("first");
    desk.asked(1).await;
    let waiting: Vec<_> = (0..WAITING_MAX)
        .map(|number| desk.recording(&number.to_string()))
        .collect();
    soon("they wait", || async {
        desk.guests.served(&id("anna")) > WAITING_MAX
    })
    .await;
    // They have entered; each is in the queue once its task has run.
    soon("the queue is full", || async {
        let probe = desk.calls.clone();
        let lane = probe.inner.lanes().get(&id::<UserId>("anna")).cloned();
        lane.is_some_and(|lane| lane.is_full())
    })
    .await;
    assert_eq!(
        desk.calls.record(&id("anna"), desk.start("one-more")).await,
        Err(NotRecorded::Full)
    );
    desk.end("first");
    desk.log.gate.add_permits(1_000);
    assert_eq!(first.await.unwrap(), Ok(()));
    for one in waiting {
        assert_eq!(one.await.unwrap(), Ok(()));
    }
    soon("the end is there too", || async {
        desk.commits().await.join(" ").contains("-first")
    })
    .await;
}

#[tokio::test]
async fn while_the_log_does_not_answer_starts_are_refused_at_once_and_ends_are_kept_in_order() {
    for failure in [Failure::Lost, Failure::StoredUnanswered] {
        let desk = Desk::new(1, &[failure]);
        let lost = desk.recording("a");
        assert_eq!(lost.await.unwrap(), Err(NotRecorded::Unanswered));
        assert_eq!(
            desk.calls.record(&id("anna"), desk.start("b")).await,
            Err(NotRecorded::NotSent)
        );
        // What the caller of a call does that was not carried out, but will be in the log.
        desk.end("a");
        desk.log.gate.add_permits(1_000);
        desk.commits_are(&["+a", "-a"]).await;
        soon("calls are taken again", || async {
            desk.calls.record(&id("anna"), desk.start("c")).await.is_ok()
        })
        .await;
    }
}

#[tokio::test]
async fn whoever_waits_when_the_log_stops_answering_is_turned_away() {
    let desk = Desk::new(0, &[Failure::Lost]);
    let first = desk.recording("a");
    desk.asked(1).await;
    let second = desk.recording("b");
    soon("it waits", || async { desk.guests.served(&id("anna")) == 2 }).await;
    tokio::task::yield_now().await;
    desk.log.gate.add_permits(1);
    assert_eq!(first.await.unwrap(), Err(NotRecorded::Unanswered));
    assert_eq!(second.await.unwrap(), Err(NotRecorded::NotSent));
}

#[tokio::test]
async fn a_stopped_server_does_not_try_for_ever() {
    let desk = Desk::new(1, &[Failure::Lost; 100]);
    desk.log.gate.add_permits(1_000);
    assert_eq!(desk.recording("a").await.unwrap(), Err(NotRecorded::Unanswered));
    desk.stop.cancel();
    desk.tasks.close();
    desk.tasks.wait().await;
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled_on_the_record() {
    let desk = Desk::new(1_000, &[]);
    let note = desk.start("a");
    let open = OpenCall::new(
        desk.calls.clone(),
        Arc::new(SystemClock::new()),
        id("anna"),
        id("a"),
        None,
        Duration::ZERO,
        note.under_way.clone(),
    );
    desk.calls.record(&id("anna"), note).await.unwrap();
    drop(open);
    desk.commits_are(&["+a", "-a"]).await;
    let last = desk
        .log
        .last(&Subject::Session(id("anna")))
        .await
        .unwrap()
        .unwrap();
    let [Event::CallEnded(ended)] = &last.commit.events[..] else {
        panic!("{last:?}")
    };
    assert_eq!(ended.outcome, CallOutcome::Cancelled);
}

/// A desk with a journal in `folder`.
fn journaled(folder: &tempfile::TempDir, permits: usize, failing: &[Failure]) -> Desk {
    let mut desk = Desk::new(permits, failing);
    let (calls, _) = CallLog::with_journal(
        folder.path(),
        desk.log.clone(),
        Arc::new(SystemClock::new()),
        Arc::new(SystemIds),
        desk.tasks.clone(),
        desk.stop.clone(),
    )
    .unwrap();
    desk.calls = calls;
    desk
}

fn written(folder: &tempfile::TempDir) -> String {
    let files = std::fs::read_dir(folder.path()).unwrap();
    files
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect()
}

#[tokio::test]
async fn with_a_journal_a_start_is_acknowledged_at_once_and_goes_to_the_log_with_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let desk = journaled(&folder, 0, &[]);
    for call in ["a", "b"] {
        desk.calls.record(&id("anna"), desk.start(call)).await.unwrap();
        assert!(
            written(&folder).contains(&format!("\"{call}\"")),
            "before the tool runs"
        );
        desk.end(call);
    }
    assert_eq!(
        desk.guests.served(&id("anna")),
        4,
        "its account is held until then"
    );
    desk.log.gate.add_permits(1);
    desk.commits_are(&["+a -a +b -b"]).await;
    desk.guests.gone(&id("anna")).await;
    assert_eq!(written(&folder), "");
}

#[tokio::test]
async fn with_a_journal_starts_are_refused_too_while_the_log_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let desk = journaled(&folder, 1, &[Failure::Lost]);
    desk.calls.record(&id("anna"), desk.start("a")).await.unwrap();
    soon("the log is asked", || async {
        desk.calls.record(&id("anna"), desk.start("b")).await == Err(NotRecorded::NotSent)
    })
    .await;
    desk.end("a");
    desk.log.gate.add_permits(1_000);
    soon("calls are taken again", || async {
        desk.calls.record(&id("anna"), desk.start("c")).await.is_ok()
    })
    .await;
    soon("everything is in the log", || async {
        desk.commits().await.join(" ").contains("-a")
    })
    .await;
    assert!(!written(&folder).contains("\"a\""));
}

#[tokio::test]
async fn what_was_acknowledged_stays_in_the_journal_of_a_server_that_stops_without_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let desk = journaled(&folder, 1_000, &[Failure::Lost; 100]);
    desk.calls.record(&id("anna"), desk.start("a")).await.unwrap();
    desk.asked(1).await;
    desk.stop.cancel();
    desk.tasks.close();
    desk.tasks.wait().await;
    assert!(written(&folder).contains("\"a\""));
}
