//! A log in memory, for tests. It keeps the bytes, so that every append and read goes through the codec.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::codec::{CodecError, decode_body, encode_body};
use crate::commit::{Commit, RecordedCommit, StreamSeq};
use crate::ids::CommitId;
use crate::log::{
    Appended, CommitStream, Delivery, EventLog, ExpectedSeq, LogError, LogState, Rejection, StreamIdentity,
    Undecodable,
};
use crate::subject::Subject;

/// Bytes one commit may have, as a nats-server's default `max_payload`.
const COMMIT_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, Clone)]
struct Stored {
    id: String,
    subject: String,
    time: Timestamp,
    traceparent: Option<String>,
    body: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub struct MemoryLog {
    stored: Arc<Mutex<Vec<Stored>>>,
    last_seq: watch::Sender<u64>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self {
            stored: Arc::default(),
            last_seq: watch::Sender::new(0),
        }
    }
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts bytes in the log that no append would write, for tests of what readers do with them.
    pub fn append_garbage(&self, subject: &str, body: &[u8]) -> StreamSeq {
        let garbage = Stored {
            id: "garbage".to_owned(),
            subject: subject.to_owned(),
            time: Timestamp::UNIX_EPOCH,
            traceparent: None,
            body: body.to_vec(),
        };
        let mut stored = lock(&self.stored);
        stored.push(garbage);
        let seq = stored.len() as u64;
        self.last_seq.send_replace(seq);
        StreamSeq(seq)
    }
}

fn lock(stored: &Mutex<Vec<Stored>>) -> MutexGuard<'_, Vec<Stored>> {
    stored.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(seq: u64, stored: &Stored) -> Delivery {
    match decode(stored) {
        Ok(commit) => Delivery::Commit(RecordedCommit {
            seq: StreamSeq(seq),
            commit,
        }),
        Err(error) => Delivery::Undecodable(Undecodable {
            seq: StreamSeq(seq),
            subject: stored.subject.clone(),
            id: stored.id.clone(),
            body: stored.body.clone(),
            error,
        }),
    }
}

fn decode(stored: &Stored) -> Result<Commit, CodecError> {
    let body = decode_body(&stored.body)?;
    Ok(Commit {
        id: stored
            .id
            .parse()
            .map_err(|_| CodecError::Header { name: "ce-id" })?,
        subject: stored
            .subject
            .parse()
            .map_err(|_| CodecError::Header { name: "subject" })?,
        time: stored.time,
        events: body.events,
        tick: body.tick,
        correlation: body.correlation,
        causation: body.causation,
        traceparent: stored.traceparent.clone(),
    })
}

/// The last message of `subject` as (sequence, message).
fn last_of<'a>(stored: &'a [Stored], subject: &str) -> Option<(u64, &'a Stored)> {
    (1u64..)
        .zip(stored)
        .filter(|(_, stored)| stored.subject == subject)
        .last()
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        let body = encode_body(commit)?;
        if body.len() > COMMIT_BYTES_MAX {
            return Ok(Err(Rejection::TooLarge {
                bytes: body.len(),
                bytes_max: COMMIT_BYTES_MAX,
            }));
        }
        let (id, subject) = (commit.id.to_string(), commit.subject.to_string());
        let mut stored = lock(&self.stored);
        if let Some(earlier) = stored.iter().position(|earlier| earlier.id == id) {
            return Ok(Ok(Appended {
                seq: StreamSeq(earlier as u64 + 1),
                duplicate: true,
            }));
        }
        let found = last_of(&stored, &subject).map_or(StreamSeq::ZERO, |(seq, _)| StreamSeq(seq));
        if let ExpectedSeq::Exactly(expected) = expected
            && expected != found
        {
            return Ok(Err(Rejection::WrongSequence {
                subject,
                expected,
                found,
            }));
        }
        let traceparent = commit.traceparent.clone();
        stored.push(Stored {
            id,
            subject,
            time: commit.time,
            traceparent,
            body,
        });
        let seq = stored.len() as u64;
        self.last_seq.send_replace(seq);
        Ok(Ok(Appended {
            seq: StreamSeq(seq),
            duplicate: false,
        }))
    }

    async fn last(&self, subject: &Subject) -> Result<Option<RecordedCommit>, LogError> {
        let delivery =
            last_of(&lock(&self.stored), &subject.to_string()).map(|(seq, stored)| read(seq, stored));
        delivery.map(Delivery::into_commit).transpose()
    }

    async fn read_subject(&self, subject: &Subject) -> Result<Vec<RecordedCommit>, LogError> {
        let subject = subject.to_string();
        (1u64..)
            .zip(lock(&self.stored).iter())
            .filter(|(_, stored)| stored.subject == subject)
            .map(|(seq, stored)| read(seq, stored).into_commit())
            .collect()
    }

    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        let (stored, last_seq) = (self.stored.clone(), self.last_seq.subscribe());
        let start = (stored, last_seq, after.0);
        Ok(stream::unfold(start, |(stored, mut last_seq, at)| async move {
            last_seq.wait_for(|last| *last > at).await.ok()?;
            let delivery = {
                let stored = lock(&stored);
                let index = usize::try_from(at).ok()?;
                read(at + 1, stored.get(index)?)
            };
            Some((Ok(delivery), (stored, last_seq, at + 1)))
        })
        .boxed())
    }

    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError> {
        let index = seq.0.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        Ok(index.and_then(|index| lock(&self.stored).get(index).map(|stored| read(seq.0, stored))))
    }

    async fn state(&self) -> Result<LogState, LogError> {
        let stored = lock(&self.stored);
        let messages = stored.len() as u64;
        Ok(LogState {
            identity: StreamIdentity {
                name: "memory".to_owned(),
                created: Timestamp::UNIX_EPOCH,
            },
            last_seq: StreamSeq(messages),
            messages,
            bytes: stored.iter().map(|stored| stored.body.len() as u64).sum(),
        })
    }
}

impl MemoryLog {
    /// Every commit so far, oldest first.
    ///
    /// # Panics
    /// When the log holds what is not a commit.
    #[expect(
        clippy::expect_used,
        reason = "a test helper: garbage is put there by the test itself"
    )]
    pub fn commits(&self) -> Vec<RecordedCommit> {
        (1u64..)
            .zip(lock(&self.stored).iter())
            .map(|(seq, stored)| read(seq, stored).into_commit().expect("the log holds commits"))
            .collect()
    }

    /// The place of the commit named `id`.
    pub fn find(&self, id: CommitId) -> Option<StreamSeq> {
        let id = id.to_string();
        lock(&self.stored)
            .iter()
            .position(|stored| stored.id == id)
            .map(|index| StreamSeq(index as u64 + 1))
    }
}
