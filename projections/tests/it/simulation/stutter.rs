//! A log whose streams begin too early, as after a reconnect, and whose answers may get lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use events::{
    Appended, Commit, CommitStream, Delivery, EventLog, ExpectedSeq, LogError, LogState, MemoryLog,
    RecordedCommit, Rejection, StreamSeq, Subject,
};

#[derive(Debug)]
pub struct Stutter {
    pub log: Arc<MemoryLog>,
    /// Commits its streams give once more.
    pub too_early: u64,
    /// Whether the next answer to an append is lost.
    pub loses_answer: AtomicBool,
}

impl Stutter {
    /// A log as `log`, whose streams give `too_early` commits once more.
    pub fn new(log: Arc<MemoryLog>, too_early: u64) -> Arc<Self> {
        Arc::new(Self {
            log,
            too_early,
            loses_answer: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl EventLog for Stutter {
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        let answer = self.log.append(commit, expected).await;
        if self.loses_answer.swap(false, Ordering::SeqCst) {
            return Err(LogError::Unavailable("the answer was lost".to_owned()));
        }
        answer
    }

    async fn last(&self, subject: &Subject) -> Result<Option<RecordedCommit>, LogError> {
        self.log.last(subject).await
    }

    async fn read_subject(&self, subject: &Subject) -> Result<Vec<RecordedCommit>, LogError> {
        self.log.read_subject(subject).await
    }

    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        self.log
            .follow(StreamSeq(after.0.saturating_sub(self.too_early)))
            .await
    }

    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError> {
        self.log.at(seq).await
    }

    async fn state(&self) -> Result<LogState, LogError> {
        self.log.state().await
    }
}
