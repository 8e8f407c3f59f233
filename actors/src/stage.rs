//! What every actor and tick is handed: the ports, the settings, and what keeps track of running work.

use std::sync::Arc;
use std::time::Duration;

use events::{Clock, EventLog, Ids};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::brain::Brain;
use crate::report::TickProgress;
use crate::settings::CastSettings;

/// Progress lines kept for a slow reader.
const PROGRESS_LINES_MAX: usize = 1_024;

/// Shared by the whole tree; made once per [`crate::Cast::start`].
#[derive(Debug)]
pub(crate) struct Stage {
    // Dependencies.
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) brain: Arc<dyn Brain>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) http: reqwest::Client,
    // Configuration.
    pub(crate) settings: CastSettings,
    /// This life of this runner. It is part of every commit id, so that two runners which reach for the same tick
    /// number make two commits, of which the log takes one.
    pub(crate) runner: String,
    // Running work.
    pub(crate) tracker: TaskTracker,
    /// Cancelled when no new work is taken any more.
    pub(crate) closing: CancellationToken,
    /// Cancelled when running ticks are cut.
    pub(crate) cut: CancellationToken,
    pub(crate) progress: broadcast::Sender<TickProgress>,
}

impl Stage {
    pub(crate) fn new(
        settings: CastSettings,
        log: Arc<dyn EventLog>,
        brain: Arc<dyn Brain>,
        clock: Arc<dyn Clock>,
        ids: &dyn Ids,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            http: http_client(&settings.base_url)?,
            log,
            brain,
            clock,
            settings,
            runner: ids.uuid().to_string(),
            tracker: TaskTracker::new(),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            progress: broadcast::Sender::new(PROGRESS_LINES_MAX),
        })
    }

    /// Tells whoever follows along; nobody may be there.
    pub(crate) fn tell(&self, progress: TickProgress) {
        // An error only says that nobody listens.
        let _ = self.progress.send(progress);
    }

    /// What `future` gives within `limit` of the clock's time, or `None`; it is dropped then.
    pub(crate) async fn within<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            output = future => Some(output),
            // The loser is dropped: callers hand in only what may be abandoned at any point.
            () = self.clock.sleep(limit) => None,
        }
    }
}

/// A client that follows no redirect (a token must not travel on) and asks no proxy for the way to this machine.
fn http_client(base_url: &str) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .user_agent(concat!("dramatis-persona/", env!("CARGO_PKG_VERSION")));
    let host = reqwest::Url::parse(base_url)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned));
    let is_local = host.is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str()));
    if is_local {
        builder.no_proxy().build()
    } else {
        builder.build()
    }
}
