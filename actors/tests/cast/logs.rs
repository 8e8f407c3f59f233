//! Logs that interfere.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use events::{
    Appended, Commit, CommitId, CommitStream, Delivery, Event, EventLog, ExpectedSeq, LogError, LogState,
    MemoryLog, RecordedCommit, Rejection, StreamSeq, Subject, TickId, TickStarted,
};

/// A log in memory on which another runner begins each tick a moment before ours does.
#[derive(Debug, Default)]
pub(crate) struct Contested(pub(crate) MemoryLog);

/// A log that can be appended to, but whose reader panics when it follows.
#[derive(Default)]
pub(crate) struct Unfollowable {
    pub(crate) log: MemoryLog,
    pub(crate) is_broken: AtomicBool,
}

impl fmt::Debug for Unfollowable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unfollowable")
    }
}

#[async_trait]
impl EventLog for Contested {
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        if let [Event::TickStarted(ours)] = &commit.events[..] {
            let theirs = TickStarted {
                tick_id: TickId::derived(&["another runner"]),
                ..ours.clone()
            };
            let id = CommitId::derived(&["another runner", ours.tick_id.as_str()]);
            let foreign = Commit::new(id, commit.subject.clone(), commit.time, vec![theirs.into()]);
            let _ = self.0.append(&foreign, ExpectedSeq::Any).await?;
        }
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
        self.0.state().await
    }
}

/// A log that takes nothing while it is lost.
#[derive(Debug, Default)]
pub(crate) struct Losable {
    pub(crate) log: MemoryLog,
    pub(crate) is_lost: AtomicBool,
}

#[async_trait]
impl EventLog for Losable {
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        if self.is_lost.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable("it is lost".to_owned()));
        }
        self.log.append(commit, expected).await
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

#[async_trait]
impl EventLog for Unfollowable {
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
        assert!(
            !self.is_broken.load(Ordering::SeqCst),
            "this log cannot be followed"
        );
        self.log.follow(after).await
    }

    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError> {
        self.log.at(seq).await
    }

    async fn state(&self) -> Result<LogState, LogError> {
        self.log.state().await
    }
}
