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

use async_nats::Client;
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

impl Surface {
    /// Over `client`, which nothing else uses.
    pub(crate) fn new(client: Client, app: App) -> Self {
        Self {
            client,
            app,
            alarms: Alarms::default(),
        }
    }

    /// Subscribes, and lets every part run until the house stops.
    ///
    /// # Errors
    /// What NATS said to a subscription, or the log to the question how far it is.
    pub(crate) async fn start(self, lifecycle: &Lifecycle, stop: &CancellationToken) -> Result<(), String> {
        let service = Service::subscribe(&self).await?;
        let feed = feed::Feed::open(&self).await?;
        lifecycle.spawn(TaskKind::Queries, service.run(stop.clone()));
        lifecycle.spawn(TaskKind::LiveFeed, feed.run(stop.clone()));
        lifecycle.spawn(TaskKind::Alarms, alarms::watch(self, stop.clone()));
        Ok(())
    }
}
