use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use events::{
    Appended, Commit, CommitStream, Delivery, EventLog, ExpectedSeq, LogError, LogState, MemoryLog,
    RecordedCommit, Rejection, StreamSeq, Subject,
};

/// A log that can be told not to answer.
#[derive(Debug, Default)]
pub(super) struct MutableLog {
    pub(super) inner: MemoryLog,
    is_mute: AtomicBool,
}

impl MutableLog {
    /// Whether it answers from now on.
    pub(super) fn mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, Ordering::SeqCst);
    }

    /// What stands on a subject, mute or not.
    pub(super) async fn inner_read(&self, subject: &Subject) -> Vec<RecordedCommit> {
        self.inner.read_subject(subject).await.unwrap()
    }

    fn answers(&self) -> Result<&MemoryLog, LogError> {
        if self.is_mute.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable(
                "nats://secret-host:4222 refused".to_owned(),
            ));
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl EventLog for MutableLog {
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        self.answers()?.append(commit, expected).await
    }

    async fn last(&self, subject: &Subject) -> Result<Option<RecordedCommit>, LogError> {
        self.answers()?.last(subject).await
    }

    async fn read_subject(&self, subject: &Subject) -> Result<Vec<RecordedCommit>, LogError> {
        let commits = self.answers()?.read_subject(subject).await;
        // Over a network others get their turn between a read and what is made of it.
        tokio::task::yield_now().await;
        commits
    }

    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        self.inner.follow(after).await
    }

    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError> {
        self.answers()?.at(seq).await
    }

    async fn state(&self) -> Result<LogState, LogError> {
        self.answers()?.state().await
    }
}
