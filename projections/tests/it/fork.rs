//! Another log than the one the tables were folded from is refused, in each way it can be another.

use std::sync::Arc;

use async_trait::async_trait;
use events::{
    Appended, Commit, CommitStream, Delivery, EventLog, ExpectedSeq, LogError, LogState, MemoryLog,
    RecordedCommit, Rejection, StreamSeq, Subject,
};
use projections::{FoldError, Projector, ProjectorState, rebuild, verify};
use tokio_util::sync::CancellationToken;

use crate::support::*;

/// A log with another birthday.
#[derive(Debug)]
struct MadeAnew(Arc<MemoryLog>);

#[async_trait]
impl EventLog for MadeAnew {
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        self.0.append(commit, expected).await
    }
    async fn last(&self, subject: &Subject) -> Result<Option<RecordedCommit>, LogError> {
        self.0.last(subject).await
    }
    async fn read_subject(&self, subject: &Subject) -> Result<Vec<RecordedCommit>, LogError> {
        self.0.read_subject(subject).await
    }
    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        self.0.follow(after).await
    }
    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError> {
        self.0.at(seq).await
    }
    async fn state(&self) -> Result<LogState, LogError> {
        let mut state = self.0.state().await?;
        state.identity.created = at(1_000);
        Ok(state)
    }
}

async fn is_refused(bench: &Bench, log: Arc<dyn EventLog>) {
    let before = bench.tables.checksums().await.unwrap();
    let (projector, handle) = Projector::new(log.clone(), bench.tables.clone(), clock());
    let ran = tokio::time::timeout(LIMIT, projector.run(CancellationToken::new())).await;
    let error = ran.unwrap_or(Ok(())).unwrap_err();
    assert!(matches!(error, FoldError::Halt { .. }), "{error:?}");
    assert!(error.to_string().contains("`dramatis rebuild`"), "{error}");
    let status = handle.status();
    assert_eq!(
        (status.state, status.reason),
        (ProjectorState::Halted, Some(error.to_string()))
    );
    let waited = handle.wait_for(StreamSeq(1_000), LIMIT).await.unwrap_err();
    assert_eq!(waited.reason, Some(error.to_string()));

    match verify(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet).await {
        Ok(report) => assert!(!report.chain.holds(), "{report:?}"),
        Err(error) => assert!(matches!(error, FoldError::Halt { .. }), "{error:?}"),
    }
    assert_eq!(bench.tables.checksums().await.unwrap(), before);
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_refused_until_the_tables_are_rebuilt_from_it() {
    let (bench, _) = Bench::folded(day_of("anna")).await;
    let shorter = log_of(day_of("anna")[..4].to_vec()).await;
    is_refused(&bench, shorter.clone()).await;

    let report = rebuild(shorter.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    assert_eq!(report.seq, StreamSeq(4));
    happen(shorter.as_ref(), of_persona("ben"), vec![enrolled("ben")]).await;
    fold_to_end(shorter.clone(), &bench.tables, 10).await.unwrap();
    assert_eq!(bench.tables.checksums().await.unwrap(), reference(shorter).await);
}

#[tokio::test]
async fn a_log_that_lost_its_end_and_went_on_is_refused() {
    let (bench, _) = Bench::folded(day_of("anna")).await;
    let log = log_of(day_of("anna")[..4].to_vec()).await;
    for (subject, events) in day_of("ben") {
        happen(log.as_ref(), subject, events).await;
    }
    is_refused(&bench, log).await;
}

#[tokio::test]
async fn a_log_made_anew_is_refused_even_with_the_same_commits() {
    let (bench, log) = Bench::folded(day_of("anna")).await;
    is_refused(&bench, Arc::new(MadeAnew(log))).await;
}

#[tokio::test]
async fn an_empty_log_does_not_empty_the_tables() {
    let (bench, _) = Bench::folded(day_of("anna")).await;
    let before = bench.tables.checksums().await.unwrap();
    let empty = MemoryLog::new();
    let error = rebuild(&empty, &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap_err();
    assert!(matches!(error, FoldError::Halt { .. }), "{error:?}");
    assert_eq!(bench.tables.checksums().await.unwrap(), before);
}
