//! What every actor and tick is handed: the ports, the settings, and what keeps track of running work.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use events::{Clock, EventLog, Ids, TickQueue};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::brains::Brains;
use crate::expectations::Expectations;
use crate::passes::Passes;
use crate::purse::Purse;
use crate::recall::Recall;
use crate::report::TickProgress;
use crate::roster_actor::ReadUpTo;
use crate::settings::CastSettings;

/// Progress lines kept for a slow reader.
const PROGRESS_LINES_MAX: usize = 1_024;

/// How long a connection to the gateway may take to open.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Shared by the whole tree; made once per [`crate::Cast::start`].
#[derive(Debug)]
pub(crate) struct Stage {
    // Dependencies.
    pub(crate) log: Arc<dyn EventLog>,
    /// Where ticks are offered and taken, when runners share them.
    pub(crate) queue: Option<Arc<dyn TickQueue>>,
    pub(crate) brains: Brains,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) http: reqwest::Client,
    // Configuration.
    pub(crate) settings: CastSettings,
    /// This life of this runner. It is part of every commit id, so that two runners which reach for the same tick
    /// number make two commits, of which the log takes one.
    pub(crate) runner: String,
    // What all ticks share.
    /// What models may cost, and have cost.
    pub(crate) purse: Purse,
    /// With what personas come back.
    pub(crate) passes: Passes,
    /// Where they were last looked at.
    pub(crate) recall: Recall,
    /// What personas expect of one another in shared spaces.
    pub(crate) expectations: Expectations,
    /// How far the roster has read.
    pub(crate) read: ReadUpTo,
    /// Whether a slow answer counts against a module.
    pub(crate) rates_slowness: AtomicBool,
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
        queue: Option<Arc<dyn TickQueue>>,
        brains: Brains,
        clock: Arc<dyn Clock>,
        ids: &dyn Ids,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            http: http_client(&settings.base_url, CONNECT_WITHIN)?,
            log,
            queue,
            brains,
            clock,
            purse: Purse::new(settings.model.spend),
            passes: Passes::default(),
            recall: Recall::default(),
            expectations: Expectations::default(),
            read: ReadUpTo::default(),
            rates_slowness: AtomicBool::new(true),
            settings,
            runner: ids.uuid().to_string(),
            tracker: TaskTracker::new(),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            progress: broadcast::Sender::new(PROGRESS_LINES_MAX),
        })
    }

    /// Whether other runners may live ticks of the same personas.
    pub(crate) fn shares_ticks(&self) -> bool {
        self.queue.is_some()
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
pub(crate) fn http_client(
    base_url: &str,
    connect_within: Duration,
) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect_within)
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
