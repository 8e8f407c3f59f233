//! What the people who run this house share: who reads what, a rebuild under way, how fast the log grows.

mod audit;
mod caller;
mod pace;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::repeats::KeptAnswers;
use super::replay::Replay;
use crate::config::Setting;
use audit::Audit;
pub(crate) use audit::ReadLine;
pub(crate) use caller::{Operator, SESSION_COOKIE, from_our_own_page};
use pace::Pace;

/// Feeds that may be open at once.
const VIEWERS_MAX: usize = 32;
/// How long a rebuild that was told to stop may take to end with the batch it is at.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// What models may cost, in dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "each ends with its unit")]
pub(crate) struct Budgets {
    /// On one day of UTC.
    pub(crate) day_usd: f64,
    /// In one month of UTC.
    pub(crate) month_usd: f64,
    /// For one persona on one day.
    pub(crate) persona_day_usd: f64,
    /// For one tick.
    pub(crate) tick_usd: f64,
}

/// See the module. Clones share all of it.
#[derive(Debug, Clone)]
pub(crate) struct Operators {
    /// Who read what.
    pub(crate) audit: Arc<Audit>,
    /// The rebuild that is under way, or the last one.
    pub(crate) replay: Arc<Replay>,
    /// How fast the log grows.
    pub(crate) pace: Arc<Pace>,
    /// Answers of requests that may be sent again.
    pub(crate) kept: Arc<KeptAnswers>,
    /// Places for viewers of the feed.
    pub(crate) viewers: Arc<Semaphore>,
    /// Told when the house closes: feeds end, and a rebuild stops where it can go on later.
    pub(crate) stop: CancellationToken,
    /// The rebuilds, and what was begun with an idempotency key.
    pub(crate) tasks: TaskTracker,
    /// Every setting with its source, secrets masked.
    pub(crate) settings: Arc<Vec<Setting>>,
    /// What models may cost.
    pub(crate) budgets: Budgets,
}

impl Operators {
    /// Nobody has looked yet.
    pub(crate) fn new(settings: Vec<Setting>, budgets: Budgets) -> Self {
        Self {
            audit: Arc::default(),
            replay: Arc::default(),
            pace: Arc::default(),
            kept: Arc::default(),
            viewers: Arc::new(Semaphore::new(VIEWERS_MAX)),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            settings: Arc::new(settings),
            budgets,
        }
    }

    /// Ends feeds and stops a rebuild.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_WITHIN, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("a rebuild does not stop in time; the next one goes on where it is");
        }
    }
}
