//! How far long work is, over NATS: `dramatis.job.<job>.progress`, at most four times a second and once at its end.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use events::{Clock, JOB_PREFIX};
use projections::Progress;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Time between two messages.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// How long the last message may take to be on its way.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// Work that is told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Job {
    /// The tables are folded again.
    Rebuild,
    /// The tables are compared with the log.
    Verify,
}

impl Job {
    /// Every job there is.
    pub(crate) const ALL: [Self; 2] = [Self::Rebuild, Self::Verify];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Rebuild => "rebuild",
            Self::Verify => "verify",
        }
    }

    /// Where it is told.
    pub(crate) fn subject(self) -> String {
        format!("{JOB_PREFIX}.{}.progress", self.as_str())
    }
}

/// How a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JobState {
    /// It goes on.
    Running,
    /// It has come to its end.
    Done,
    /// It was cut short, or found something wrong.
    Failed,
}

impl JobState {
    /// How a job is that came to its end, well or not.
    pub(crate) fn of(is_well: bool) -> Self {
        if is_well { Self::Done } else { Self::Failed }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct JobProgress {
    job: Job,
    state: JobState,
    /// The sequence it has reached.
    seq: u64,
    /// The sequence it ends at, as far as known.
    target: u64,
    /// Events folded.
    events: u64,
}

/// Tells about one job.
#[derive(Debug)]
pub(crate) struct JobFeed {
    progress: watch::Sender<JobProgress>,
    client: Client,
    telling: JoinSet<()>,
}

impl JobFeed {
    /// Begins to tell.
    pub(crate) fn start(client: Client, job: Job, clock: Arc<dyn Clock>) -> Self {
        let (progress, mut told) = watch::channel(JobProgress {
            job,
            state: JobState::Running,
            seq: 0,
            target: 0,
            events: 0,
        });
        let mut telling = JoinSet::new();
        let teller = client.clone();
        telling.spawn(async move {
            // What comes within a pause is passed over; the newest counts.
            while told.changed().await.is_ok() {
                let now = *told.borrow_and_update();
                tell(&teller, now).await;
                clock.sleep(TELL_EVERY).await;
            }
        });
        Self {
            progress,
            client,
            telling,
        }
    }

    /// Takes one report of the fold.
    pub(crate) fn update(&self, progress: Progress) {
        self.progress.send_modify(|told| {
            (told.seq, told.target, told.events) = (progress.seq.0, progress.target.0, progress.events);
        });
    }

    /// Tells how it ended.
    pub(crate) async fn finish(mut self, state: JobState) {
        self.telling.shutdown().await;
        let last = JobProgress {
            state,
            ..*self.progress.borrow()
        };
        tell(&self.client, last).await;
        // Whoever listens hears it or does not; the work is done either way.
        let _ = tokio::time::timeout(LAST_WITHIN, self.client.flush()).await;
    }
}

async fn tell(client: &Client, progress: JobProgress) {
    let Ok(body) = serde_json::to_vec(&progress) else {
        return;
    };
    if let Err(error) = client.publish(progress.job.subject(), body.into()).await {
        tracing::debug!(%error, "how far a job is was not told over NATS");
    }
}
