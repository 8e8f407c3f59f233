//! The port: what any log must do.

pub(crate) mod bounded;

use std::fmt;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;

use crate::chain::Link;
use crate::codec::CodecError;
use crate::commit::{Commit, RecordedCommit, StreamSeq};
use crate::ids::CommitId;
use crate::seal::Seal;
use crate::subject::Subject;

/// Appends commits and gives them back in order.
///
/// Appending answers in three ways that must not be confused: appended, *rejected* (the log said no, nothing was
/// written, and asking again changes nothing), or *failed* (the log could not be asked; nothing is known to have
/// been written, and the same commit may be tried again).
#[async_trait]
pub trait EventLog: fmt::Debug + Send + Sync + 'static {
    /// Appends `commit` if its subject's last commit is where `expected` says.
    ///
    /// A retry of a commit that is already in the log under this guard, or is its subject's last one, answers
    /// [`Appended`] with `duplicate`: the decision was made and stands.
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError>;

    /// The last commit of `subject`.
    async fn last(&self, subject: &Subject) -> Result<Option<RecordedCommit>, LogError>;

    /// Every commit of `subject`, oldest first; ends at the log's present end.
    async fn read_subject(&self, subject: &Subject) -> Result<Vec<RecordedCommit>, LogError>;

    /// As [`EventLog::read_subject`], what is stored after `after` alone.
    ///
    /// Reads all of it and leaves out what came before, unless the driver knows better.
    async fn read_subject_after(
        &self,
        subject: &Subject,
        after: StreamSeq,
    ) -> Result<Vec<RecordedCommit>, LogError> {
        let mut commits = self.read_subject(subject).await?;
        commits.retain(|recorded| recorded.seq > after);
        Ok(commits)
    }

    /// Everything after `after`, oldest first, then what is yet to come. It does not end; an error item does not
    /// end it either, but a reader that must not miss anything follows anew from its own checkpoint.
    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError>;

    /// Everything stored after `after` up to and including `until`, oldest first. It ends there, also when what stood
    /// last was purged, before or meanwhile; it does not wait for what is yet to be appended.
    async fn read(
        &self,
        after: StreamSeq,
        until: StreamSeq,
    ) -> Result<BoxStream<'_, Result<Delivery, LogError>>, LogError> {
        bounded::read(bounded::WholeLog(self), after, until).await
    }

    /// The first message that is stored after `after`; `None` when there is none.
    ///
    /// Asks for one place after the other unless the driver knows better.
    async fn next_after(&self, after: StreamSeq) -> Result<Option<Delivery>, LogError> {
        let end = self.state().await?.last_seq;
        let mut seq = after.next();
        while seq <= end {
            let found = self.at(seq).await?;
            if found.is_some() {
                return Ok(found);
            }
            seq = seq.next();
        }
        Ok(None)
    }

    /// The commit at `seq`, `None` where there is none (yet, or any more).
    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError>;

    /// Which log this is and how far it goes.
    async fn state(&self) -> Result<LogState, LogError>;

    /// Erases the commits of `subject` up to and including `up_to`, all of them for `None`, so that no byte of them is
    /// left in the log's files; says how many there were. What is after stays, sequences are never used again, and
    /// asking twice changes nothing.
    ///
    /// It is not one step: a reader may meanwhile see some of them gone, and an erasure that fails midway is asked
    /// for again. Afterwards the guard of a subject without commits expects [`StreamSeq::ZERO`] again.
    async fn purge(&self, subject: &Subject, up_to: Option<StreamSeq>) -> Result<u64, LogError> {
        let _ = (subject, up_to);
        Err(LogError::Unfit("this log cannot erase".to_owned()))
    }
}

/// What [`EventLog::follow`] yields.
pub type CommitStream = BoxStream<'static, Result<Delivery, LogError>>;

/// Where a subject's last commit must be for an append to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedSeq {
    /// Exactly there; [`StreamSeq::ZERO`] for a subject without commits.
    Exactly(StreamSeq),
    /// Anywhere: many may write, and order among them does not matter.
    Any,
}

/// A commit is in the log.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Where.
    pub seq: StreamSeq,
    /// It was there already: an earlier try had succeeded.
    pub duplicate: bool,
}

/// The log said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Somebody else appended to the subject first.
    #[error("{subject} moved on: expected its last commit at {expected}, found {found}")]
    WrongSequence {
        /// The subject.
        subject: String,
        /// What the writer expected.
        expected: StreamSeq,
        /// Where the last commit is.
        found: StreamSeq,
    },
    /// The commit can never be stored.
    #[error("commit of {bytes} bytes is larger than the log takes ({bytes_max})")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The log's limit.
        bytes_max: usize,
    },
}

/// The log could not be asked, or gave back what is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No answer. The commit may be tried again under the same id.
    #[error("the log does not answer: {0}")]
    Unavailable(String),
    /// As many appends as the log takes at once are waiting for their answer. Nothing was sent: slow down, and try
    /// the same commit again.
    #[error("the log is busy: {in_flight_max} appends are in flight")]
    Busy {
        /// The limit that was reached.
        in_flight_max: usize,
    },
    /// The server is there but not as it must be; the text says how to mend it.
    #[error("{0}")]
    Unfit(String),
    /// A commit could not be written or read.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A message that is in the log but cannot be read. Folds park it; nothing is skipped in silence.
#[derive(Debug)]
pub struct Undecodable {
    /// Its place.
    pub seq: StreamSeq,
    /// Its subject as it stands there.
    pub subject: String,
    /// Its id as it stands there.
    pub id: String,
    /// The body, kept whole.
    pub body: Vec<u8>,
    /// What its subject's chain needs of it: damage is still placed in the chain.
    pub link: Option<Link>,
    /// Its seal.
    pub seal: Seal,
    /// Why.
    pub error: CodecError,
}

/// One message of the log.
#[derive(Debug)]
pub enum Delivery {
    /// A commit.
    Commit(RecordedCommit),
    /// Something that is not readable as one.
    Undecodable(Undecodable),
}

impl Delivery {
    /// Its place.
    pub fn seq(&self) -> StreamSeq {
        match self {
            Self::Commit(recorded) => recorded.seq,
            Self::Undecodable(message) => message.seq,
        }
    }

    /// The id a checkpoint remembers it by.
    pub fn commit_id(&self) -> Option<CommitId> {
        match self {
            Self::Commit(recorded) => Some(recorded.commit.id),
            Self::Undecodable(message) => message.id.parse().ok(),
        }
    }

    /// Its subject as it stands there.
    pub fn subject(&self) -> String {
        match self {
            Self::Commit(recorded) => recorded.commit.subject.to_string(),
            Self::Undecodable(message) => message.subject.clone(),
        }
    }

    /// The subject and what its chain needs; `None` on a subject without a chain.
    pub fn link(&self) -> Option<(String, Link)> {
        match self {
            Self::Commit(recorded) => Some((recorded.commit.subject.to_string(), recorded.link?)),
            Self::Undecodable(message) => Some((message.subject.clone(), message.link?)),
        }
    }

    /// What to keep of it outside the log; `None` for a commit that was not read from one.
    pub fn seal(&self) -> Option<Seal> {
        match self {
            Self::Commit(recorded) => recorded.seal,
            Self::Undecodable(message) => Some(message.seal),
        }
    }

    /// The commit, or the reason there is none.
    pub fn into_commit(self) -> Result<RecordedCommit, LogError> {
        match self {
            Self::Commit(recorded) => Ok(recorded),
            Self::Undecodable(message) => Err(message.error.into()),
        }
    }
}

/// Tells one log from another: a stream that was deleted and made anew is a different log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamIdentity {
    /// The stream's name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
}

/// Which log, and how far it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// Which.
    pub identity: StreamIdentity,
    /// The last message's place, [`StreamSeq::ZERO`] when there is none.
    pub last_seq: StreamSeq,
    /// Messages stored.
    pub messages: u64,
    /// Bytes stored.
    pub bytes: u64,
}

/// Reads everything after `after` up to the log's end at the time of asking, handing each to `each`; says how far
/// that is, which is past what was read last when the log's newest messages were purged.
///
/// # Errors
/// What the log or `each` says; reading stops there.
pub async fn read_to_end<E: From<LogError>>(
    log: &dyn EventLog,
    after: StreamSeq,
    mut each: impl FnMut(Delivery) -> Result<(), E>,
) -> Result<StreamSeq, E> {
    let end = log.state().await?.last_seq;
    if end <= after {
        return Ok(after);
    }
    let mut commits = log.read(after, end).await?;
    while let Some(delivery) = commits.next().await {
        each(delivery?)?;
    }
    Ok(end)
}
