//! Mounted servers: any MCP server becomes a module of ours, behind the same door and under the same rules.
//!
//! ```text
//!   our client ─▶ door ▸ dispatch: policy ▸ input against the server's schema
//!                                     │
//!                  mount: breaker ▸ session (one a user and MCP session) ▸ forward ─▶ server
//!                                     │                                       │
//!                  what it asks of the client, progress, logs ◀───────────────┘
//! ```
//!
//! What holds:
//! * What a server is told about a user is what the call says. Its token stays here; the server gets credentials of
//!   its own, in the user's name where they are exchanged for one, or none.
//! * A tool is offered as it was approved. One whose definition changed is kept from everybody until it is approved
//!   again.
//! * A server that is away takes nothing with it: its tools stay listed, marked, and calling them says so.
//! * No child process outlives us.

mod address;
mod annex;
mod breaker;
mod call;
mod child;
mod connection;
mod credential;
mod direct;
mod exchange;
mod forward;
mod http_client;
mod known;
mod mount;
mod offer;
mod pins;
mod relay;
mod sessions;
mod settings;
mod span;
mod wires;

use std::sync::{Arc, Weak};
use std::time::Duration;

use events::{Clock, SessionId, UserId};
use identity::Identity;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::known::{MountedTool, mounted_tools};
pub use self::mount::MountSnapshot;
pub use self::pins::{Pin, PinStore, Pins, PinsError};
pub use self::settings::{
    ClientAuthentication, MountSettings, MountsSettings, SubjectToken, TokenExchange, ToolOverride, Trust,
    Upstream,
};

use self::annex::PassedThrough;
use self::child::Children;
use self::exchange::Exchange;
use self::mount::Mount;
use self::sessions::Whose;
use crate::annex::Annex;
use crate::error::GatewayError;
use crate::gateway::Inner;
use crate::registry::Registered;
use crate::telemetry;

/// How often is looked whether something is to be done.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon a server that is away is asked again.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// Characters of a mount's name or prefix.
const NAME_CHARS_MAX: usize = 40;

/// All mounted servers of this process.
#[derive(Debug)]
pub(crate) struct Mounts {
    all: Vec<Arc<Mount>>,
    children: Arc<Children>,
    clock: Arc<dyn Clock>,
    refresh: Duration,
    session_idle: Duration,
    wants_callers_tokens: bool,
    tasks: TaskTracker,
}

impl Mounts {
    /// Nothing is connected to yet.
    ///
    /// # Errors
    /// [`GatewayError::Mount`] for settings that cannot be meant.
    pub(crate) fn new(
        settings: &MountsSettings,
        identity: &Identity,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, GatewayError> {
        let tasks = TaskTracker::new();
        let children = Arc::new(Children::new(
            settings.child_environment.clone(),
            settings.children_max,
            clock.clone(),
            tasks.clone(),
        ));
        let mut all: Vec<Arc<Mount>> = Vec::new();
        for mount in &settings.mounts {
            let refuse = |reason: String| GatewayError::Mount {
                name: mount.name.clone(),
                reason,
            };
            check(mount).map_err(refuse)?;
            let is_taken = |other: &Arc<Mount>| {
                other.settings.name == mount.name || other.settings.prefix == mount.prefix
            };
            if all.iter().any(is_taken) {
                return Err(refuse("another mount has its name or prefix".to_owned()));
            }
            let pins = PinStore::of(settings, &mount.name);
            let exchange = mount
                .token_exchange
                .clone()
                .map(|settings| Exchange::try_new(&mount.name, settings, identity.clone(), clock.clone()));
            let exchange = exchange
                .transpose()
                .map_err(|reason| refuse(format!("token_exchange: {reason}")))?;
            let mount = Mount::new(mount.clone(), pins, exchange, children.clone(), clock.clone());
            all.push(Arc::new(mount));
        }
        let is_wanted = |mount: &Arc<Mount>| {
            let exchange = mount.settings.token_exchange.as_ref();
            exchange.is_some_and(|exchange| exchange.subject == SubjectToken::Callers)
        };
        Ok(Self {
            wants_callers_tokens: all.iter().any(is_wanted),
            all,
            children,
            clock,
            refresh: settings.refresh,
            session_idle: settings.session_idle,
            tasks,
        })
    }

    /// Keeps the registry of `inner` at what the servers offer, until `stop`.
    pub(crate) fn keep(&self, inner: &Arc<Inner>, stop: &CancellationToken) {
        for mount in &self.all {
            let keeper = Keeper {
                mount: mount.clone(),
                inner: Arc::downgrade(inner),
                clock: self.clock.clone(),
                refresh: self.refresh,
                session_idle: self.session_idle,
            };
            let stop = stop.clone();
            // Whichever is first: a keeper that is cut leaves the last offer standing.
            drop(self.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = keeper.run() => {}
                }
            }));
        }
    }

    /// Puts what all servers offer into the registry. Answers with the tools that are others now.
    fn publish(&self, inner: &Inner) -> Vec<Arc<Registered>> {
        let offered = self.all.iter().flat_map(|mount| mount.offered()).collect();
        let replaced = inner.registry.set_mounted(offered);
        for name in replaced.shadowed {
            tracing::warn!(
                tool = name,
                "a mounted tool has the name of another one and is not offered"
            );
        }
        replaced.changed
    }

    /// Waits until every server was asked once, `within` at most.
    pub(crate) async fn settled(&self, within: Duration) {
        let start = self.clock.monotonic();
        while !self.all.iter().all(|mount| mount.was_tried())
            && self.clock.monotonic().saturating_sub(start) < within
        {
            self.clock.sleep(Duration::from_millis(10)).await;
        }
    }

    /// The rest of the protocol of the one server that keeps its own names, if there is one.
    pub(crate) fn annex(&self) -> Option<Arc<dyn Annex>> {
        let mount = self.all.iter().find(|mount| mount.settings.prefix.is_empty())?;
        Some(Arc::new(PassedThrough(mount.clone())))
    }

    /// Names of the servers that are away.
    pub(crate) fn degraded(&self) -> Vec<&str> {
        let away = self.all.iter().filter(|mount| !mount.is_up());
        away.map(|mount| mount.settings.name.as_str()).collect()
    }

    /// How each server is.
    pub(crate) fn observe(&self) -> Vec<MountSnapshot> {
        self.all.iter().map(|mount| mount.observe()).collect()
    }

    /// Closes what was opened for an MCP session that has ended.
    pub(crate) fn end_session(&self, session: &SessionId) {
        let session = session.clone();
        self.close_where(move |whose| matches!(whose, Whose::Users(_, Some(id)) if *id == session));
    }

    /// Whether a caller's own token is wanted, for a token endpoint.
    pub(crate) fn want_callers_tokens(&self) -> bool {
        self.wants_callers_tokens
    }

    /// Closes what was opened for a user who is not served any more, and forgets its tokens.
    pub(crate) fn end_user(&self, user: &UserId) {
        for exchange in self.all.iter().filter_map(|mount| mount.exchange.as_ref()) {
            exchange.forget_user(user);
        }
        let user = user.clone();
        self.close_where(move |whose| matches!(whose, Whose::Users(of, _) if *of == user));
    }

    /// A goodbye may take its time, and nobody waits for it but the stop.
    fn close_where(&self, is_over: impl Fn(&Whose) -> bool + Clone + Send + 'static) {
        for mount in &self.all {
            let (mount, is_over) = (mount.clone(), is_over.clone());
            drop(
                self.tasks
                    .spawn(async move { mount.sessions.close_where(is_over).await }),
            );
        }
    }

    /// Closes all sessions; every child process has ended when this returns.
    pub(crate) async fn stop(&self) {
        let closing = self.all.iter().map(|mount| mount.sessions.close_where(|_| true));
        futures::future::join_all(closing).await;
        self.children.stop().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What keeps one mount fresh.
struct Keeper {
    mount: Arc<Mount>,
    inner: Weak<Inner>,
    clock: Arc<dyn Clock>,
    refresh: Duration,
    session_idle: Duration,
}

impl Keeper {
    async fn run(self) {
        let mut asked_at = None;
        while self.inner.strong_count() > 0 {
            let now = self.clock.monotonic();
            let every = if self.mount.is_up() {
                self.refresh
            } else {
                RETRY_EVERY.min(self.refresh)
            };
            let is_due = asked_at.is_none_or(|at| now.saturating_sub(at) >= every);
            if is_due {
                asked_at = Some(now);
                if self.mount.refresh().await {
                    self.publish().await;
                }
            }
            if self.mount.follow_pins().await {
                self.publish().await;
            }
            self.mount.sessions.close_rested(self.session_idle).await;
            telemetry::mount_sessions(&self.mount.settings.name, self.mount.sessions.len());
            let mut changes = self.mount.changes.lock().await;
            // Whichever is first; a look given up loses nothing.
            tokio::select! {
                () = self.clock.sleep(LOOK_EVERY) => {}
                () = self.mount.tools_changed.notified() => asked_at = None,
                Some((change, user)) = changes.recv() => {
                    let Some(inner) = self.inner.upgrade() else { return };
                    inner.announce(&change, user.as_ref()).await;
                }
            }
        }
    }

    /// What is on offer now counts from here on: a tool that is kept back can be called until then.
    async fn publish(&self) {
        if let Some(inner) = self.inner.upgrade() {
            let changed = inner.mounts.publish(&inner);
            inner.announce_tools(&changed).await;
        }
    }
}

fn check(mount: &MountSettings) -> Result<(), String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if mount.name.is_empty() || mount.name.len() > NAME_CHARS_MAX || !mount.name.chars().all(is_name) {
        return Err(format!(
            "a mount's name has 1 to {NAME_CHARS_MAX} of a-z, 0-9 and -"
        ));
    }
    let is_prefix = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if mount.prefix.len() > NAME_CHARS_MAX || !mount.prefix.chars().all(is_prefix) {
        return Err(format!(
            "a prefix has at most {NAME_CHARS_MAX} letters, digits, _ and -"
        ));
    }
    match &mount.upstream {
        Upstream::Http { url } => address::endpoint(url, mount.allow_private_addresses)
            .map(drop)
            .map_err(|error| error.to_string()),
        Upstream::Stdio { .. } if mount.token_exchange.is_some() => {
            Err("a child process has no use for a token".to_owned())
        }
        Upstream::Stdio { command, .. } if command.is_empty() => Err("command is empty".to_owned()),
        Upstream::Stdio { .. } => Ok(()),
    }
}
