//! One decision is one message: a commit of one or more events, stored whole or not at all.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chain::{ChainHash, Link};
use crate::event::Event;
use crate::ids::{CommitId, TickId};
use crate::seal::Seal;
use crate::subject::Subject;

/// A message's place in the stream, from 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct StreamSeq(pub u64);

impl StreamSeq {
    /// Before the first message.
    pub const ZERO: Self = Self(0);

    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for StreamSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What one decision made happen, on its way to the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Names the decision; also the message id, so a retry is the same commit.
    pub id: CommitId,
    /// What it is about.
    pub subject: Subject,
    /// The writer's time.
    pub time: Timestamp,
    /// 1..n events, in order.
    pub events: Vec<Event>,
    /// The tick it belongs to, if any.
    pub tick: Option<TickId>,
    /// What all commits of one piece of work share: the tick, the session, the request.
    pub correlation: String,
    /// The commit or call that led to this one.
    pub causation: Option<String>,
    /// W3C trace context of the writer.
    pub traceparent: Option<String>,
}

impl Commit {
    /// A commit about `subject` whose correlation is its own id.
    pub fn new(id: CommitId, subject: Subject, time: Timestamp, events: Vec<Event>) -> Self {
        Self {
            id,
            subject,
            time,
            events,
            tick: None,
            correlation: id.to_string(),
            causation: None,
            traceparent: None,
        }
    }

    /// The same commit as part of `tick`, which it also correlates with.
    #[must_use]
    pub fn in_tick(mut self, tick: TickId) -> Self {
        self.correlation = tick.to_string();
        self.tick = Some(tick);
        self
    }

    /// The same commit, caused by `causation`.
    #[must_use]
    pub fn caused_by(mut self, causation: impl fmt::Display) -> Self {
        self.causation = Some(causation.to_string());
        self
    }
}

/// A commit as it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedCommit {
    /// Its place.
    pub seq: StreamSeq,
    /// What was appended.
    pub commit: Commit,
    /// What its subject's chain needs of it; `None` on a subject without a chain.
    pub link: Option<Link>,
    /// The seal of the message it was read from; `None` when it was not read from a log.
    pub seal: Option<Seal>,
}

impl RecordedCommit {
    /// Its own link of its subject's chain: what a head kept elsewhere is made of. `None` on a subject without a
    /// chain, and for a commit whose link cannot be read.
    pub fn chain(&self) -> Option<ChainHash> {
        Some(self.link?.stamp?.own)
    }

    /// The events with their ordinals, from 0. (sequence, ordinal) addresses an event for ever.
    pub fn events(&self) -> impl Iterator<Item = (u32, &Event)> {
        (0u32..).zip(&self.commit.events)
    }
}
