//! The live feed: every commit about a persona or a session, redacted, once the tables hold it.
//!
//! At most once, over plain NATS: a subscriber that is away or too slow misses messages, sees it by the sequences and
//! asks `feed.since` for them. Whoever folds tells, from what it has just read and folded: nothing is read twice, and no
//! house that stands by says everything a second time. When the fold has halted, the log is followed instead.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::HeaderMap;
use events::{Delivery, EventLog, RecordedCommit, STREAM_NAME, StreamSeq};
use futures::StreamExt as _;
use jiff::Timestamp;
use metrics::counter;
use projections::{FoldedBatch, ProjectorHandle, ProjectorState};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::redact::redacted;

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
    log: Arc<dyn EventLog>,
    projector: ProjectorHandle,
    folded: broadcast::Receiver<FoldedBatch>,
    /// The last place that was told, or needed no telling.
    at: StreamSeq,
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
        let folded = projector.folded().ok_or("nothing is folded any more")?;
        let at = log.state().await.map_err(|error| error.to_string())?.last_seq;
        Ok(Self {
            client,
            log,
            projector,
            folded,
            at,
            previous: None,
            last_of: HashMap::new(),
        })
    }

    /// Tells until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), String> {
        tokio::select! {
            // What was not told is in the log.
            () = stop.cancelled() => Ok(()),
            ended = self.tell_all() => ended,
        }
    }

    async fn tell_all(&mut self) -> Result<(), String> {
        loop {
            match self.folded.recv().await {
                Ok(batch) => self.tell_batch(&batch).await,
                // The next batch shows by its place that some are missing.
                Err(RecvError::Lagged(batches)) => {
                    tracing::debug!(batches, "the live feed missed what was folded");
                }
                Err(RecvError::Closed) if self.projector.status().state == ProjectorState::Halted => break,
                Err(RecvError::Closed) => return Ok(()),
            }
        }
        // Whoever looks for the cause wants to see what goes on.
        let mut commits = self
            .log
            .follow(self.at)
            .await
            .map_err(|error| error.to_string())?;
        while let Some(delivery) = commits.next().await {
            match delivery {
                Ok(delivery) => self.tell_one(&delivery).await,
                // The follower goes on by itself after an error.
                Err(error) => tracing::debug!(%error, "the live feed waits for the log"),
            }
        }
        Err("the log ended".to_owned())
    }

    async fn tell_batch(&mut self, batch: &FoldedBatch) {
        if batch.after > self.at {
            self.previous = self.previous.map(|_| batch.after.0);
        }
        for delivery in &*batch.commits {
            if delivery.seq() > self.at {
                self.tell_one(delivery).await;
            }
        }
    }

    async fn tell_one(&mut self, delivery: &Delivery) {
        self.at = delivery.seq();
        if let Delivery::Commit(recorded) = delivery {
            self.tell(recorded).await;
        }
    }

    async fn tell(&mut self, recorded: &RecordedCommit) {
        let Some(live) = recorded.commit.subject.live() else {
            return;
        };
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

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
