//! What others see of a projector: how far it is, whether it goes on, and waiting for it.

use std::sync::Arc;
use std::time::Duration;

use events::{Delivery, StreamSeq};
use metrics::{describe_gauge, gauge};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{broadcast, watch};

use crate::checkpoint::NAME;
use crate::error::{FoldError, HaltCause};
use crate::waiting::Waiting;

/// Watches one projector. Clones watch the same one.
#[derive(Debug, Clone)]
pub struct ProjectorHandle {
    status: watch::Receiver<ProjectorStatus>,
    folded: broadcast::WeakSender<FoldedBatch>,
    waiting: Arc<Waiting>,
}

/// What this projector has just folded, as it was read. A clone is the same one.
#[derive(Debug, Clone)]
pub struct FoldedBatch {
    /// Where the tables were before it.
    pub after: StreamSeq,
    /// Its commits, oldest first; those that were parked are among them.
    pub commits: Arc<[Delivery]>,
}

impl FoldedBatch {
    pub(super) fn new(after: StreamSeq, commits: Vec<Delivery>) -> Self {
        Self {
            after,
            commits: commits.into(),
        }
    }
}

/// What a projector is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProjectorStatus {
    /// Whether it goes on.
    pub state: ProjectorState,
    /// Why it halted or what it waits for; `None` while all is well.
    pub reason: Option<String>,
    /// Why it halted, in a word that may be shown to anybody; the reason may quote what could not be folded.
    pub halted_by: Option<HaltCause>,
    /// The last commit in the tables.
    pub seq: StreamSeq,
    /// Commits that could not be folded.
    pub parked: u64,
}

/// Whether a projector goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProjectorState {
    /// It has not reached log and tables yet.
    #[default]
    Starting,
    /// It folds, or waits to be able to.
    Running,
    /// Another one folds, in this process or elsewhere; it follows that one and takes over when it stops.
    Standby,
    /// It has stopped, and a person must act.
    Halted,
}

/// The tables did not get that far in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tables are at {reached} and not at {wanted} yet{}", because(reason.as_deref()))]
pub struct WaitTimeout {
    /// What was waited for.
    pub wanted: StreamSeq,
    /// How far they are.
    pub reached: StreamSeq,
    /// What keeps the projector, if it knows.
    pub reason: Option<String>,
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

impl ProjectorStatus {
    pub(super) fn run_at(&mut self, seq: StreamSeq, parked: u64) {
        *self = Self {
            state: ProjectorState::Running,
            reason: None,
            halted_by: None,
            seq,
            parked,
        };
    }

    pub(super) fn stand_by_at(&mut self, seq: StreamSeq, parked: u64) {
        self.run_at(seq, parked);
        self.state = ProjectorState::Standby;
    }

    pub(super) fn halt(&mut self, error: &FoldError) {
        self.state = ProjectorState::Halted;
        self.reason = Some(error.to_string());
        self.halted_by = Some(match error {
            FoldError::Halt { cause, .. } => *cause,
            _ => HaltCause::Other,
        });
    }
}

impl ProjectorHandle {
    pub(super) fn new(
        status: watch::Receiver<ProjectorStatus>,
        folded: broadcast::WeakSender<FoldedBatch>,
        waiting: Arc<Waiting>,
    ) -> Self {
        Self {
            status,
            folded,
            waiting,
        }
    }

    /// What this projector folds from now on, once the tables hold it; it ends with the projector. While another one folds
    /// nothing comes. Who is slow misses batches, and sees it by [`FoldedBatch::after`]; the fold does not wait.
    ///
    /// `None` when the projector is gone already.
    pub fn folded(&self) -> Option<broadcast::Receiver<FoldedBatch>> {
        Some(self.folded.upgrade()?.subscribe())
    }

    /// Waits until the tables hold the commit at `seq`, whoever folds it, and says how far they are then. The limit is real time,
    /// whatever the virtual day: somebody is waiting for an answer.
    ///
    /// # Errors
    /// [`WaitTimeout`] after `timeout`, and at once when the projector has halted or is gone.
    pub async fn wait_for(&self, seq: StreamSeq, timeout: Duration) -> Result<StreamSeq, WaitTimeout> {
        if self.seq() >= seq {
            return Ok(self.seq());
        }
        let _one = self.waiting.one();
        let mut status = self.status.clone();
        let passed_or_over =
            status.wait_for(|status| status.seq >= seq || status.state == ProjectorState::Halted);
        // Both ways of not getting there leave the latest status behind, which says why.
        let _ = tokio::time::timeout(timeout, passed_or_over).await;
        let ProjectorStatus {
            seq: reached, reason, ..
        } = self.status();
        if reached >= seq {
            Ok(reached)
        } else {
            Err(WaitTimeout {
                wanted: seq,
                reached,
                reason,
            })
        }
    }

    /// What it is doing.
    pub fn status(&self) -> ProjectorStatus {
        self.status.borrow().clone()
    }

    /// The last commit in the tables.
    pub fn seq(&self) -> StreamSeq {
        self.status.borrow().seq
    }
}

/// Names the metrics, so that they are there before the first commit.
pub(super) fn describe_metrics() {
    describe_gauge!(
        "projection_seq",
        "Stream sequence of the last commit folded into the tables"
    );
    describe_gauge!(
        "projection_lag_events",
        "Stream sequences between the log's last known end and the tables"
    );
    describe_gauge!("projection_parked_events", "Commits that could not be folded");
    describe_gauge!(
        "projection_halted",
        "1 once the fold has halted, which needs a person"
    );
    show(StreamSeq::ZERO, StreamSeq::ZERO, 0);
    gauge!("projection_halted", "projection" => NAME).set(0.0);
}

/// Shows that the fold has halted. It does not go on by itself.
pub(super) fn show_halted() {
    gauge!("projection_halted", "projection" => NAME).set(1.0);
}

/// Shows how far the fold is and how far it has to go.
pub(super) fn show(seq: StreamSeq, log_end: StreamSeq, parked: u64) {
    gauge!("projection_seq", "projection" => NAME).set(seq.0 as f64);
    gauge!("projection_lag_events", "projection" => NAME).set(log_end.0.saturating_sub(seq.0) as f64);
    gauge!("projection_parked_events", "projection" => NAME).set(parked as f64);
}
