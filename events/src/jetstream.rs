//! The log on JetStream.
//!
//! Facts this rests on, measured with nats-server 2.15.1:
//! * an append whose acknowledgement was lost is answered `wrong last sequence` when tried again on one replica,
//!   and `duplicate` on three, so every refused or unknown append is resolved by reading back (`append.rs`);
//! * filtered consumers over many subjects are up to 68 times slower than unfiltered ones, so [`EventLog::follow`]
//!   never filters (`follow.rs`);
//! * the guard is per subject and counts in stream sequences, 0 for a subject without messages;
//! * a purge marks messages as gone and leaves their bytes in the files (`erase.rs`);
//! * acknowledged is not yet on disk, unless the server is told so (`fitness.rs`).

mod append;
mod connection;
mod damaged;
mod documents;
mod erase;
mod fitness;
mod follow;
mod headers;
mod heads;
mod import;
mod read;
mod set_up;
mod telemetry;
mod ticks;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::commit::{Commit, RecordedCommit, StreamSeq};
use crate::log::{Appended, CommitStream, Delivery, EventLog, ExpectedSeq, LogError, LogState, Rejection};
use crate::subject::Subject;

pub use documents::{DOCUMENTS_BUCKET, JetStreamDocuments};
pub use fitness::{Durability, ServerReport, VERSION_FLOOR, version_is_at_least_floor};
pub use import::{Imported, Importer};
pub use ticks::{JetStreamTicks, TICKS_STREAM_NAME};

/// The stream's name.
pub const STREAM_NAME: &str = "DRAMATIS";

/// How the driver reaches its stream.
#[derive(Debug, Clone)]
pub struct JetStreamSettings {
    /// Copies of each message: 1 on one server, 3 in a cluster.
    pub replicas: usize,
    /// How long one request that reads or manages may take before the log counts as not answering.
    pub timeout: Duration,
    /// How long one append may take in all, with everything it tries, before it is given back as
    /// [`LogError::Unavailable`].
    pub append_within: Duration,
    /// Appends that may wait for their answer at once; one more is given back as [`LogError::Busy`] after a short
    /// wait for room.
    pub in_flight_max: usize,
    /// What is known about when the server writes to disk.
    pub durability: Durability,
}

impl Default for JetStreamSettings {
    fn default() -> Self {
        Self {
            replicas: 1,
            timeout: Duration::from_secs(5),
            append_within: Duration::from_secs(2),
            in_flight_max: 1_024,
            durability: Durability::Ours,
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct JetStreamLog {
    // Dependencies.
    client: async_nats::Client,
    context: jetstream::Context,
    stream: stream::Stream<()>,
    // Configuration.
    settings: Arc<JetStreamSettings>,
    // State.
    room: Arc<Semaphore>,
    heads: Arc<heads::Heads>,
    // Metrics.
    telemetry: Arc<telemetry::Telemetry>,
}

impl JetStreamLog {
    /// Checks the server, and makes the stream or brings its settings up to date. A cluster that is not whole yet is
    /// waited for.
    ///
    /// # Errors
    /// [`LogError::Unfit`] for a server below the floor, without JetStream, or that may lose what it acknowledged;
    /// [`LogError::Unavailable`] when it does not answer in time.
    pub async fn open(client: async_nats::Client, settings: JetStreamSettings) -> Result<Self, LogError> {
        fitness::check_version(&client)?;
        fitness::check_durability(&client, &settings.durability)?;
        let context = jetstream::ContextBuilder::new()
            .timeout(settings.timeout)
            .build(client.clone());
        let stream = fitness::open_stream(&context, &settings).await?;
        Ok(Self {
            room: Arc::new(Semaphore::new(settings.in_flight_max)),
            heads: Arc::default(),
            telemetry: Arc::new(telemetry::Telemetry::new(settings.in_flight_max)),
            settings: Arc::new(settings),
            client,
            context,
            stream,
        })
    }

    /// The work queue on the same server. A tick that was taken and not kept for `kept_for` is handed to another runner.
    ///
    /// # Errors
    /// As [`JetStreamTicks::open`].
    pub async fn ticks(&self, kept_for: Duration) -> Result<JetStreamTicks, LogError> {
        JetStreamTicks::open(self.client.clone(), &self.settings, kept_for).await
    }
}

#[async_trait]
impl EventLog for JetStreamLog {
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        let outcome = self.append_bounded(commit, expected).await;
        self.telemetry.appended(&outcome);
        outcome
    }

    async fn last(&self, subject: &Subject) -> Result<Option<RecordedCommit>, LogError> {
        self.last_commit(subject).await
    }

    async fn read_subject(&self, subject: &Subject) -> Result<Vec<RecordedCommit>, LogError> {
        self.subject_commits(subject, StreamSeq::ZERO).await
    }

    async fn read_subject_after(
        &self,
        subject: &Subject,
        after: StreamSeq,
    ) -> Result<Vec<RecordedCommit>, LogError> {
        self.subject_commits(subject, after).await
    }

    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        self.follow_after(">", after).await
    }

    async fn next_after(&self, after: StreamSeq) -> Result<Option<Delivery>, LogError> {
        match self.next_message(">", after).await {
            Ok(next) => Ok(next.map(|message| headers::delivery_of_stored(&message))),
            Err(error) => Ok(Some(self.damaged_after(">", after).await.ok_or(error)?)),
        }
    }

    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError> {
        match self.message_at(seq).await {
            Ok(message) => Ok(message.map(|message| headers::delivery_of_stored(&message))),
            Err(error) => {
                let before = StreamSeq(seq.0.saturating_sub(1));
                let damaged = self.damaged_after(">", before).await;
                Ok(Some(damaged.filter(|there| there.seq() == seq).ok_or(error)?))
            }
        }
    }

    async fn state(&self) -> Result<LogState, LogError> {
        self.stream_state().await
    }

    async fn purge(&self, subject: &Subject, up_to: Option<StreamSeq>) -> Result<u64, LogError> {
        self.erase(subject, up_to).await
    }
}

fn unavailable(error: &dyn std::error::Error) -> LogError {
    LogError::Unavailable(error.to_string())
}
