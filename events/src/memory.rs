//! A log in memory, for tests. It keeps the bytes, so that every append and read goes through the codec, and what is
//! done to the bytes can be tested.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::chain::{ChainHash, ChainStamp, Content};
use crate::codec::encode_body;
use crate::commit::{Commit, RecordedCommit, StreamSeq};
use crate::ids::CommitId;
use crate::log::{
    Appended, CommitStream, Delivery, EventLog, ExpectedSeq, LogError, LogState, Rejection, StreamIdentity,
};
use crate::seal::Seal;
use crate::stored::Stored;
use crate::subject::{Subject, is_chained};

/// Bytes one commit may have, as a nats-server's default `max_payload`.
const COMMIT_BYTES_MAX: usize = 1024 * 1024;

/// A message of a [`MemoryLog`] as it is kept, open to tests that damage it: [`MemoryLog::tamper`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryMessage {
    /// The commit's id.
    pub id: String,
    /// The subject.
    pub subject: String,
    /// The writer's time.
    pub time: String,
    /// The writer's trace context.
    pub traceparent: Option<String>,
    /// The chain header.
    pub chain: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl MemoryMessage {
    fn content(&self) -> Content<'_> {
        Content {
            id: &self.id,
            subject: &self.subject,
            time: &self.time,
            traceparent: self.traceparent.as_deref(),
            body: &self.body,
        }
    }

    fn seal(&self) -> Seal {
        let optional = [&self.traceparent, &self.chain].map(|text| text.as_deref().unwrap_or_default());
        let texts = [self.id.as_str(), &self.time].into_iter().chain(optional);
        Seal::of(
            &self.subject,
            texts.map(str::as_bytes).chain([self.body.as_slice()]),
        )
    }

    fn stored(&self, seq: u64) -> Stored<'_> {
        Stored {
            seq: StreamSeq(seq),
            content: self.content(),
            stamp: self.chain.as_deref(),
            seal: self.seal(),
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    messages: BTreeMap<u64, MemoryMessage>,
    last_seq: u64,
    /// Ids are never forgotten: a retry of an erased commit does not bring it back.
    ids: HashMap<String, u64>,
    subjects: HashMap<String, Vec<u64>>,
}

impl Kept {
    fn push(&mut self, message: MemoryMessage) -> u64 {
        self.last_seq += 1;
        let seq = self.last_seq;
        self.ids.entry(message.id.clone()).or_insert(seq);
        self.subjects
            .entry(message.subject.clone())
            .or_default()
            .push(seq);
        self.messages.insert(seq, message);
        seq
    }

    fn of<'a>(&'a self, subject: &str) -> impl DoubleEndedIterator<Item = Stored<'a>> {
        let places = self.subjects.get(subject).map(Vec::as_slice).unwrap_or_default();
        places
            .iter()
            .filter_map(|seq| Some(self.messages.get(seq)?.stored(*seq)))
    }
}

/// The stamp of a commit with `content` after `last` on its subject; none on a subject without a chain.
fn stamp_after(last: Option<&Stored<'_>>, content: &Content<'_>) -> Option<ChainStamp> {
    let before = last
        .and_then(Stored::stamp)
        .map_or_else(|| ChainHash::genesis(content.subject), |stamp| stamp.own);
    is_chained(content.subject).then(|| ChainStamp::new(before, content.hash()))
}

/// See the module.
#[derive(Debug)]
pub struct MemoryLog {
    kept: Arc<Mutex<Kept>>,
    last_seq: watch::Sender<u64>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self {
            kept: Arc::default(),
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
        let garbage = MemoryMessage {
            id: "garbage".to_owned(),
            subject: subject.to_owned(),
            time: Timestamp::UNIX_EPOCH.to_string(),
            traceparent: None,
            chain: None,
            body: body.to_vec(),
        };
        let seq = lock(&self.kept).push(garbage);
        self.last_seq.send_replace(seq);
        StreamSeq(seq)
    }

    /// Lets `change` do to the stored messages what no append would, for tests of how damage is noticed.
    pub fn tamper(&self, change: impl FnOnce(&mut BTreeMap<u64, MemoryMessage>)) {
        let mut kept = lock(&self.kept);
        change(&mut kept.messages);
        let mut subjects: HashMap<String, Vec<u64>> = HashMap::new();
        for (seq, message) in &kept.messages {
            subjects.entry(message.subject.clone()).or_default().push(*seq);
        }
        kept.subjects = subjects;
    }

    /// Every commit so far, oldest first.
    ///
    /// # Panics
    /// When the log holds what is not a commit.
    #[expect(
        clippy::expect_used,
        reason = "a test helper: garbage is put there by the test itself"
    )]
    pub fn commits(&self) -> Vec<RecordedCommit> {
        lock(&self.kept)
            .messages
            .iter()
            .map(|(seq, message)| {
                let delivery = message.stored(*seq).read();
                delivery.into_commit().expect("the log holds commits")
            })
            .collect()
    }

    /// The place of the commit named `id`.
    pub fn find(&self, id: CommitId) -> Option<StreamSeq> {
        lock(&self.kept).ids.get(&id.to_string()).copied().map(StreamSeq)
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut message = MemoryMessage {
            id: commit.id.to_string(),
            subject: commit.subject.to_string(),
            time: commit.time.to_string(),
            traceparent: commit.traceparent.clone(),
            chain: None,
            body,
        };
        let mut kept = lock(&self.kept);
        if let Some(earlier) = kept.ids.get(&message.id) {
            return Ok(Ok(Appended {
                seq: StreamSeq(*earlier),
                duplicate: true,
            }));
        }
        let last = kept.of(&message.subject).next_back();
        let found = last.map_or(StreamSeq::ZERO, |last| last.seq);
        if let ExpectedSeq::Exactly(expected) = expected
            && expected != found
        {
            return Ok(Err(Rejection::WrongSequence {
                subject: message.subject,
                expected,
                found,
            }));
        }
        let stamp = stamp_after(last.as_ref(), &message.content());
        message.chain = stamp.map(|stamp| stamp.to_string());
        let seq = kept.push(message);
        self.last_seq.send_replace(seq);
        Ok(Ok(Appended {
            seq: StreamSeq(seq),
            duplicate: false,
        }))
    }

    async fn last(&self, subject: &Subject) -> Result<Option<RecordedCommit>, LogError> {
        let kept = lock(&self.kept);
        let last = kept.of(&subject.to_string()).next_back();
        last.map(|stored| stored.read().into_commit()).transpose()
    }

    async fn read_subject(&self, subject: &Subject) -> Result<Vec<RecordedCommit>, LogError> {
        lock(&self.kept)
            .of(&subject.to_string())
            .map(|stored| stored.read().into_commit())
            .collect()
    }

    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        let start = (self.kept.clone(), self.last_seq.subscribe(), after.0);
        Ok(stream::unfold(start, |(kept, mut last_seq, mut at)| async move {
            loop {
                last_seq.wait_for(|last| *last > at).await.ok()?;
                let next = {
                    let kept = lock(&kept);
                    let next = kept.messages.range(at + 1..).next();
                    next.map(|(seq, message)| message.stored(*seq).read())
                };
                // Nothing is left of what was appended: wait for more.
                let Some(delivery) = next else {
                    at = *last_seq.borrow();
                    continue;
                };
                at = delivery.seq().0;
                return Some((Ok(delivery), (kept, last_seq, at)));
            }
        })
        .boxed())
    }

    async fn next_after(&self, after: StreamSeq) -> Result<Option<Delivery>, LogError> {
        let kept = lock(&self.kept);
        let next = kept.messages.range(after.next().0..).next();
        Ok(next.map(|(seq, message)| message.stored(*seq).read()))
    }

    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError> {
        let kept = lock(&self.kept);
        Ok(kept
            .messages
            .get(&seq.0)
            .map(|message| message.stored(seq.0).read()))
    }

    async fn state(&self) -> Result<LogState, LogError> {
        let kept = lock(&self.kept);
        let bytes = kept.messages.values().map(|message| message.body.len() as u64);
        Ok(LogState {
            identity: StreamIdentity {
                name: "memory".to_owned(),
                created: Timestamp::UNIX_EPOCH,
            },
            last_seq: StreamSeq(kept.last_seq),
            messages: kept.messages.len() as u64,
            bytes: bytes.sum(),
        })
    }

    async fn purge(&self, subject: &Subject, up_to: Option<StreamSeq>) -> Result<u64, LogError> {
        let mut kept = lock(&self.kept);
        let up_to = up_to.map_or(kept.last_seq, |up_to| up_to.0);
        let places = kept.subjects.entry(subject.to_string()).or_default();
        let erased: Vec<u64> = places.iter().copied().filter(|seq| *seq <= up_to).collect();
        places.retain(|seq| *seq > up_to);
        for seq in &erased {
            kept.messages.remove(seq);
        }
        Ok(erased.len() as u64)
    }
}
