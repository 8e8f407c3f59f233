//! The loop: beside another, through garbage, through an absent log, and stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use events::testing::sample_time;
use events::{
    Appended, Commit, CommitStream, Delivery, EventLog, ExpectedSeq, LogError, LogState, ManualClock,
    MemoryLog, RecordedCommit, Rejection, StreamSeq, Subject,
};
use futures::StreamExt as _;
use projections::{FoldError, Projector, ProjectorState, Stage, Tables, TablesError};
use testkit::wait_until_async;
use tokio_util::sync::CancellationToken;

use crate::support::*;

#[tokio::test]
async fn two_projectors_on_one_database_fold_each_commit_once() {
    let bench = Bench::new().await;
    let elsewhere = Tables::open(bench.tables.path().unwrap()).await.unwrap();
    let log = log_of(day_of("anna")).await;
    let cancel = CancellationToken::new();
    let (one, one_handle) = Projector::new(log.clone(), bench.tables.clone(), clock());
    let (other, other_handle) = Projector::new(log.clone(), elsewhere, clock());
    let happenings = async {
        for number in 0..60 {
            let name = &format!("persona-{number}");
            for (subject, events) in [day_of(name), session_of(name)].concat() {
                happen(log.as_ref(), subject, events).await;
            }
            tokio::task::yield_now().await;
        }
        let end = log.state().await.unwrap().last_seq;
        let reached = (
            one_handle.wait_for(end, LIMIT).await,
            other_handle.wait_for(end, LIMIT).await,
        );
        cancel.cancel();
        reached
    };
    let (one, other, reached) = tokio::join!(
        one.with_batch_commits_max(3).run(cancel.clone()),
        other.with_batch_commits_max(4).run(cancel.clone()),
        happenings
    );
    one.unwrap();
    other.unwrap();
    assert!(reached.0.is_ok() && reached.1.is_ok(), "{reached:?}");
    assert_eq!(bench.tables.checksums().await.unwrap(), reference(log).await);
    assert_eq!(bench.tables.counts().await.unwrap().refusals, 2 * 60);
}

#[tokio::test]
async fn garbage_is_parked_and_what_follows_is_folded() {
    let log = log_of(day_of("anna")).await;
    let garbage = log.append_garbage("dramatis.persona.anna", b"\xff\x00 not json");
    happen(log.as_ref(), of_persona("ben"), vec![enrolled("ben")]).await;
    let bench = Bench::new().await;
    fold_to_end(log.clone(), &bench.tables, 100).await.unwrap();
    let parked = bench.tables.parked().await.unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!(
        (parked[0].seq, parked[0].stage, parked[0].commit_id),
        (garbage, Stage::Decode, None)
    );
    assert!(
        parked[0].reason.contains("commit body is not readable"),
        "{}",
        parked[0].reason
    );
    assert_eq!(bench.tables.counts().await.unwrap().personas, 2);

    // Garbage may also be the last there is: its place is no fork.
    log.append_garbage("dramatis.persona.anna", b"{}");
    fold_to_end(log.clone(), &bench.tables, 100).await.unwrap();
    happen(log.as_ref(), of_persona("cleo"), vec![enrolled("cleo")]).await;
    fold_to_end(log, &bench.tables, 100).await.unwrap();
    assert_eq!(bench.tables.counts().await.unwrap().parked, 2);
}

#[tokio::test]
async fn what_a_newer_program_wrote_halts_the_fold_right_before_it() {
    let log = log_of(day_of("anna")).await;
    let newer = br#"{"events":[{"type":"Rated","v":99,"data":{}}],"correlation":"c"}"#;
    log.append_garbage("dramatis.persona.anna", newer);
    happen(log.as_ref(), of_persona("ben"), vec![enrolled("ben")]).await;
    let bench = Bench::new().await;
    let error = fold_to_end(log, &bench.tables, 100).await.unwrap_err();
    assert!(matches!(error, FoldError::Halt { .. }), "{error:?}");
    assert!(
        error.to_string().contains("commit 8: Rated v99 is newer"),
        "{error}"
    );
    let counts = bench.tables.counts().await.unwrap();
    assert_eq!(
        (counts.as_of_seq, counts.personas, counts.parked),
        (StreamSeq(7), 1, 0)
    );
}

/// A log that fails its first few questions, and whose first streams say nothing.
#[derive(Debug)]
struct Troubled {
    log: Arc<MemoryLog>,
    failures: AtomicU32,
    mute_streams: AtomicU32,
}

impl Troubled {
    fn new(log: Arc<MemoryLog>, failures: u32, mute_streams: u32) -> Arc<Self> {
        Arc::new(Self {
            log,
            failures: failures.into(),
            mute_streams: mute_streams.into(),
        })
    }
}

fn takes_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        .is_ok()
}

#[async_trait]
impl EventLog for Troubled {
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        self.log.append(commit, expected).await
    }
    async fn last(&self, subject: &Subject) -> Result<Option<RecordedCommit>, LogError> {
        self.log.last(subject).await
    }
    async fn read_subject(&self, subject: &Subject) -> Result<Vec<RecordedCommit>, LogError> {
        self.log.read_subject(subject).await
    }
    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        if takes_one(&self.mute_streams) {
            return Ok(futures::stream::pending().boxed());
        }
        self.log.follow(after).await
    }
    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError> {
        self.log.at(seq).await
    }
    async fn state(&self) -> Result<LogState, LogError> {
        if takes_one(&self.failures) {
            return Err(LogError::Unavailable("connection refused".to_owned()));
        }
        self.log.state().await
    }
}

/// Runs a projector on a clock that the test moves on until the tables hold all of the log.
async fn fold_with_moving_clock(log: Arc<Troubled>, bench: &Bench) {
    let end = log.log.state().await.unwrap().last_seq;
    let clock = Arc::new(ManualClock::new(sample_time()));
    let cancel = CancellationToken::new();
    let (projector, handle) = Projector::new(log, bench.tables.clone(), clock.clone());
    let moved = async {
        let reached = wait_until_async(LIMIT, || {
            clock.advance(Duration::from_millis(500));
            let reached = handle.seq() >= end;
            async move { reached }
        })
        .await;
        cancel.cancel();
        reached
    };
    let (ran, reached) = tokio::join!(projector.run(cancel.clone()), moved);
    ran.unwrap();
    assert!(reached, "{:?}", handle.status());
    assert_eq!(handle.status().state, ProjectorState::Running);
    assert_eq!(handle.status().reason, None);
}

#[tokio::test]
async fn an_absent_log_is_waited_for() {
    let (bench, log) = (Bench::new().await, log_of(day_of("anna")).await);
    fold_with_moving_clock(Troubled::new(log.clone(), 7, 0), &bench).await;
    assert_eq!(bench.tables.checksums().await.unwrap(), reference(log).await);
}

#[tokio::test]
async fn a_stream_that_falls_silent_while_the_log_has_more_is_followed_anew() {
    let (bench, log) = (Bench::new().await, log_of(day_of("anna")).await);
    fold_with_moving_clock(Troubled::new(log.clone(), 0, 2), &bench).await;
    assert_eq!(bench.tables.checksums().await.unwrap(), reference(log).await);
}

#[tokio::test]
async fn waiting_for_what_never_happens_ends_and_says_how_far_the_tables_are() {
    let (bench, log) = Bench::folded(day_of("anna")).await;
    let (projector, handle) = Projector::new(log, bench.tables.clone(), clock());
    assert_eq!(handle.status().state, ProjectorState::Starting);
    let cancel = CancellationToken::new();
    let waiting = async {
        let reached = handle.wait_for(StreamSeq(7), LIMIT).await;
        let timeout = handle.wait_for(StreamSeq(8), Duration::from_millis(20)).await;
        cancel.cancel();
        (reached, timeout)
    };
    let (ran, (reached, timeout)) = tokio::join!(projector.run(cancel.clone()), waiting);
    ran.unwrap();
    assert_eq!(reached, Ok(StreamSeq(7)));
    assert_eq!(
        timeout.unwrap_err().to_string(),
        "the tables are at 7 and not at 8 yet"
    );
}

#[tokio::test]
async fn tables_of_a_newer_program_are_not_opened() {
    let bench = Bench::new().await;
    bench
        .by_hand(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'from the future', TRUE, x'00', 0)",
        )
        .await;
    let error = Tables::open(bench.tables.path().unwrap()).await.unwrap_err();
    assert!(
        matches!(error, TablesError::NewerSchema { version: 9999, .. }),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_may_be_opened_by_many_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tables.db");
    let opened = futures::future::join_all((0..8).map(|_| Tables::open(&path))).await;
    for tables in opened {
        assert_eq!(tables.unwrap().counts().await.unwrap().personas, 0);
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tables.db");
    std::fs::write(
        &path,
        "once upon a time there was no database, only this long text\n".repeat(200),
    )
    .unwrap();
    let error = Tables::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("tables.db"), "{error}");
}
