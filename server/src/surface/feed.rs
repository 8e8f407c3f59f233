//! The live feed: every commit about a persona or a session, redacted, once the tables hold it.
//!
//! At most once, over plain NATS: a subscriber that is away or too slow misses messages, sees it by the sequences and
//! asks `feed.since` for them. Whoever folds tells; a house that stands by does not, or everything would be said twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use events::{CommitStream, Delivery, EventLog, RecordedCommit, STREAM_NAME, StreamSeq};
use futures::StreamExt as _;
use jiff::Timestamp;
use metrics::counter;
use projections::{ProjectorHandle, ProjectorState};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::redact::redacted;

/// How long the tables are waited for at a time; the feed waits again unless the fold has halted.
const TABLES_WITHIN: Duration = Duration::from_secs(5);
/// Subjects whose last sequence is remembered. One that was forgotten has no `Nats-Last-Sequence` once.
const SUBJECTS_MAX: usize = 64 * 1024;

/// One commit as others see it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct FeedMessage {
    /// Its place in the log.
    seq: u64,
    /// The place of the feed's message before it, whatever that was about; absent for the first of a run. Another one
    /// than the last that arrived says that some are missing.
    previous_seq: Option<u64>,
    /// The subject it stands under in the log.
    subject: String,
    /// The commit's id.
    id: String,
    /// The writer's time.
    #[schemars(with = "String")]
    time: Timestamp,
    /// The tick it belongs to.
    tick: Option<String>,
    /// What happened: `ordinal`, `type`, `v`, `data`, and the names of what is `redacted`.
    events: Vec<Value>,
}

impl FeedMessage {
    /// About how large it is on the wire.
    pub(super) fn bytes(&self) -> usize {
        serde_json::to_vec(self).map_or(0, |text| text.len())
    }
}

/// What others see of a commit; `None` where they see nothing of it.
pub(super) fn seen_by_others(recorded: &RecordedCommit, previous_seq: Option<u64>) -> Option<FeedMessage> {
    let commit = &recorded.commit;
    commit.subject.live()?;
    Some(FeedMessage {
        seq: recorded.seq.0,
        previous_seq,
        subject: commit.subject.to_string(),
        id: commit.id.to_string(),
        time: commit.time,
        tick: commit.tick.as_ref().map(ToString::to_string),
        events: recorded
            .events()
            .map(|(ordinal, event)| redacted(ordinal, event))
            .collect(),
    })
}

/// See the module.
pub(super) struct Feed {
    client: async_nats::Client,
    projector: ProjectorHandle,
    /// Where it began.
    at: StreamSeq,
    commits: CommitStream,
    previous: Option<u64>,
    last_of: HashMap<String, u64>,
}

impl Feed {
    /// From the log's present end on.
    ///
    /// # Errors
    /// What the log said.
    pub(super) async fn open(
        client: async_nats::Client,
        log: Arc<dyn EventLog>,
        projector: ProjectorHandle,
    ) -> Result<Self, String> {
        let state = log.state().await.map_err(|error| error.to_string())?;
        let commits = log.follow(state.last_seq).await;
        Ok(Self {
            client,
            projector,
            commits: commits.map_err(|error| error.to_string())?,
            at: state.last_seq,
            previous: None,
            last_of: HashMap::new(),
        })
    }

    /// Tells until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), String> {
        loop {
            let delivery = tokio::select! {
                // What was not told is in the log.
                () = stop.cancelled() => return Ok(()),
                delivery = self.commits.next() => delivery,
            };
            match delivery {
                Some(Ok(delivery)) => {
                    self.at = delivery.seq();
                    if let Delivery::Commit(recorded) = &delivery {
                        tokio::select! {
                            () = stop.cancelled() => return Ok(()),
                            () = self.tell(recorded) => {}
                        }
                    }
                }
                // The follower goes on by itself after an error.
                Some(Err(error)) => tracing::debug!(%error, "the live feed waits for the log"),
                None => return Err("the log ended".to_owned()),
            }
        }
    }

    async fn tell(&mut self, recorded: &RecordedCommit) {
        let Some(live) = recorded.commit.subject.live() else {
            return;
        };
        if !is_told_here(&self.projector, recorded.seq).await {
            return;
        }
        let Some(message) = seen_by_others(recorded, self.previous) else {
            return;
        };
        let headers = self.headers(&message);
        self.previous = Some(message.seq);
        if self.last_of.len() >= SUBJECTS_MAX {
            self.last_of.clear();
        }
        self.last_of.insert(message.subject.clone(), message.seq);
        let Ok(body) = serde_json::to_vec(&message) else {
            return;
        };
        // Waits only while this connection's own queue is full; appends go over another one.
        match self.client.publish_with_headers(live, headers, body.into()).await {
            Ok(()) => counter!("dramatis_feed_messages_total").increment(1),
            Err(error) => tracing::debug!(%error, stream.seq = message.seq, "the live feed missed a commit"),
        }
    }

    /// As the server's own repetition of a stream would have them.
    fn headers(&self, message: &FeedMessage) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Stream", STREAM_NAME);
        headers.insert("Nats-Subject", message.subject.as_str());
        headers.insert("Nats-Sequence", message.seq.to_string());
        if let Some(last) = self.last_of.get(&message.subject) {
            headers.insert("Nats-Last-Sequence", last.to_string());
        }
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-id", message.id.as_str());
        headers.insert("ce-type", "dramatis.feed.v1");
        headers.insert("ce-source", "/dramatis");
        headers.insert("ce-time", message.time.to_string());
        headers.insert("ce-subject", message.subject.as_str());
        headers.insert("Content-Type", "application/json");
        headers
    }
}

/// Whether this house folds; returns once the tables hold the commit, or never will.
async fn is_told_here(projector: &ProjectorHandle, seq: StreamSeq) -> bool {
    loop {
        let reached = projector.wait_for(seq, TABLES_WITHIN).await;
        match (reached, projector.status().state) {
            (_, ProjectorState::Standby) => return false,
            (Ok(_), _) | (Err(_), ProjectorState::Halted) => return true,
            (Err(_), ProjectorState::Starting | ProjectorState::Running) => {}
        }
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
