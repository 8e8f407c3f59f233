//! What other programs see of a house over NATS: a redacted live feed, alarms, progress of long work, and the micro
//! service `dramatis` that answers questions about the tables.
//!
//! ```text
//! log ── follow ──▶ feed ── redact ──▶ dramatis.live.persona.* / .session.*     at most once, with stream sequences
//!                                      dramatis.query.feed.since                what was missed, from the log
//! tables ── queries ─────────────────▶ dramatis.query.*                         micro service, as `nats micro` knows it
//! house ── alarms ───────────────────▶ dramatis.alarm.<severity>.<rule>
//! ```
//!
//! All of it goes over a connection of its own, so that nothing a reader does is felt by an append. Who may read what
//! is in `permissions.rs`, and who they are in [`crate::viewers`].
//!
//! **To add a question**: a line in [`endpoint::ENDPOINTS`] and an arm in `queries.rs`; the description of the whole
//! surface is made from the same table. **To add an event type**: a line in `redact.rs`, or nobody sees its data.

mod alarms;
mod asyncapi;
mod discovery;
mod endpoint;
mod feed;
mod jobs;
mod parameters;
mod permissions;
mod queries;
mod redact;
mod refusal;
mod service;

use std::sync::Arc;

use async_nats::Client;
use events::EventLog;
use projections::ProjectorHandle;
use tokio_util::sync::CancellationToken;

use alarms::Alarms;
pub(crate) use asyncapi::document as asyncapi;
pub(crate) use jobs::{Job, JobFeed, JobState};
pub(crate) use permissions::Permissions;

use crate::http::App;
use crate::lifecycle::{Lifecycle, TaskKind};
use service::Service;

/// What the tasks of the surface share.
#[derive(Debug, Clone)]
pub(crate) struct Surface {
    client: Client,
    app: App,
    alarms: Alarms,
}

/// A counter that is not there before it counts has no increase when it first does, and its alarm never comes.
fn start_at_zero() {
    for outcome in ["ok", "error", "refused"] {
        metrics::counter!("dramatis_nats_questions_total", "outcome" => outcome).increment(0);
    }
    metrics::counter!("dramatis_feed_messages_total").increment(0);
}

impl Surface {
    /// Over `client`, which nothing else uses.
    pub(crate) fn new(client: Client, app: App) -> Self {
        Self {
            client,
            app,
            alarms: Alarms::default(),
        }
    }

    /// Tells what happens until the house stops, while this process folds.
    ///
    /// # Errors
    /// What the log said to the question how far it is.
    pub(crate) async fn tell(&self, lifecycle: &Lifecycle, stop: &CancellationToken) -> Result<(), String> {
        let (log, projector) = (self.app.log.clone(), self.app.projector.clone());
        tell(self.client.clone(), log, projector, lifecycle, stop).await
    }

    /// Subscribes, answers and looks out until the house stops.
    ///
    /// # Errors
    /// What NATS said to a subscription.
    pub(crate) async fn start(self, lifecycle: &Lifecycle, stop: &CancellationToken) -> Result<(), String> {
        start_at_zero();
        let service = Service::subscribe(&self).await?;
        lifecycle.spawn(TaskKind::Queries, service.run(stop.clone()));
        lifecycle.spawn(TaskKind::Alarms, alarms::watch(self, stop.clone()));
        Ok(())
    }
}

/// The live feed alone: tells what happens until `stop`, while this process folds.
///
/// # Errors
/// What the log said to the question how far it is.
pub(crate) async fn tell(
    client: Client,
    log: Arc<dyn EventLog>,
    projector: ProjectorHandle,
    lifecycle: &Lifecycle,
    stop: &CancellationToken,
) -> Result<(), String> {
    let feed = feed::Feed::open(client, log, projector).await?;
    lifecycle.spawn(TaskKind::LiveFeed, feed.run(stop.clone()));
    Ok(())
}
