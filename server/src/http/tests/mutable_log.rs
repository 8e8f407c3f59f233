use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
    /// How many more purges are answered; `None` for any number.
    purges: Mutex<Option<u32>>,
    /// Records wait here while somebody else holds it.
    pub(super) records: tokio::sync::Mutex<()>,
    /// How many records have come to be appended.
    pub(super) records_wanted: AtomicUsize,
}

impl MutableLog {
    /// Whether it answers from now on.
    pub(super) fn mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, Ordering::SeqCst);
    }

    /// How many purges it answers from now on.
    pub(super) fn let_purge(&self, purges: Option<u32>) {
        *self.purges.lock().unwrap() = purges;
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
        if matches!(commit.subject, Subject::Record(_)) {
            self.records_wanted.fetch_add(1, Ordering::SeqCst);
            let _turn = self.records.lock().await;
            return self.answers()?.append(commit, expected).await;
        }
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

    async fn purge(&self, subject: &Subject, up_to: Option<StreamSeq>) -> Result<u64, LogError> {
        let is_spent = {
            let mut purges = self.purges.lock().unwrap();
            let is_spent = *purges == Some(0);
            *purges = purges.map(|left| left.saturating_sub(1));
            is_spent
        };
        if is_spent {
            return Err(LogError::Unavailable("no answer to a purge".to_owned()));
        }
        self.answers()?.purge(subject, up_to).await
    }

    async fn state(&self) -> Result<LogState, LogError> {
        self.answers()?.state().await
    }
}
