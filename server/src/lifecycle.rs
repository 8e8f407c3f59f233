//! Every task of the house: named, tracked, and with a rule for when it ends before it should.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a task is, which decides what its end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskKind {
    /// Watches the child nats-server.
    NatsChild,
    /// Folds the log into tables.
    Projector,
    /// Serves HTTP and MCP.
    Http,
    /// Waits for the cast to give up.
    CastWatch,
    /// Finishes erasures that broke off.
    Erasures,
    /// Keeps metric histograms small.
    MetricsUpkeep,
    /// Answers questions over NATS.
    Queries,
    /// Tells live dashboards what happens.
    LiveFeed,
    /// Looks for what a person should look at.
    Alarms,
}

impl TaskKind {
    /// Whether the house cannot go on without it.
    fn is_essential(self) -> bool {
        match self {
            Self::NatsChild | Self::Http | Self::CastWatch => true,
            // A fold halts for a person to look at. The house stays, not ready, with the reason: ended, it would be started
            // anew by whoever keeps it running, and go on past what it halted for.
            Self::Projector | Self::Erasures | Self::MetricsUpkeep
            // Those who only look must not bring down those who act.
            | Self::Queries | Self::LiveFeed | Self::Alarms => false,
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NatsChild => "nats-server",
            Self::Projector => "projector",
            Self::Http => "HTTP server",
            Self::CastWatch => "cast",
            Self::Erasures => "erasures",
            Self::MetricsUpkeep => "metrics upkeep",
            Self::Queries => "NATS queries",
            Self::LiveFeed => "live feed",
            Self::Alarms => "alarms",
        })
    }
}

/// Spawns tasks and tells when one of them has ended the house.
#[derive(Debug, Clone)]
pub(crate) struct Lifecycle {
    tracker: TaskTracker,
    stopping: CancellationToken,
    failed: mpsc::Sender<String>,
    failures: Arc<Mutex<mpsc::Receiver<String>>>,
}

impl Lifecycle {
    /// Without tasks yet.
    pub(crate) fn new() -> Self {
        let (failed, failures) = mpsc::channel(8);
        Self {
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            failed,
            failures: Arc::new(Mutex::new(failures)),
        }
    }

    /// Runs `task`. If it is essential and ends before [`Lifecycle::begin_stop`], the house has failed.
    pub(crate) fn spawn(
        &self,
        kind: TaskKind,
        task: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let (stopping, failed) = (self.stopping.clone(), self.failed.clone());
        // Dropping the handle is fine: the tracker waits for the task, and its result is dealt with inside.
        drop(self.tracker.spawn(async move {
            let ended = task.await;
            if stopping.is_cancelled() || !kind.is_essential() {
                return;
            }
            let reason = ended.err().unwrap_or_else(|| "ended by itself".to_owned());
            tracing::error!(task = %kind, %reason, "an essential task ended");
            // A full queue means an earlier failure is already being dealt with.
            drop(failed.try_send(format!("{kind}: {reason}")));
        }));
    }

    /// Waits until an essential task has ended, and says which and why.
    pub(crate) async fn failure(&self) -> String {
        let mut failures = self.failures.lock().await;
        failures
            .recv()
            .await
            .unwrap_or_else(|| "all tasks are gone".to_owned())
    }

    /// From here on the end of a task is expected.
    pub(crate) fn begin_stop(&self) {
        self.stopping.cancel();
    }

    /// Waits until every task has ended.
    pub(crate) async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
