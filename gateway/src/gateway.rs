//! The room itself: what it holds, its routes, and how it stops.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use events::{Clock, EventLog, Ids, RecordId, SpaceId, UserId};
use futures::StreamExt as _;
use http::{HeaderName, Method, header};
use identity::Identity;
use projections::{ProjectorHandle, Tables};
use rmcp::RoleServer;
use rmcp::service::Peer;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::annex::Annex;
use crate::call_log::{self, CallLog, Left, Replay, Unfinished};
use crate::door::host_origin::Allowed;
use crate::door::ownership::SESSION_HEADER;
use crate::door::short;
use crate::door::space::SPACE_HEADER;
use crate::door::{Door, MCP_PATH};
use crate::error::GatewayError;
use crate::guests::Guests;
use crate::keys::KeyCache;
use crate::lifecycle;
use crate::mcp::Mcp;
use crate::metadata::{self, METADATA_PATH};
use crate::mounts::{MountSnapshot, Mounts};
use crate::notices::{Listeners, Notices};
use crate::policy::{self, LivePolicy, Windows};
use crate::records::Records;
use crate::registry::ToolRegistry;
use crate::seal::Seal;
use crate::sessions::manager::Manager;
use crate::sessions::{Session, Sessions};
use crate::settings::{GatewaySettings, RecordCalls};
use crate::sync::SyncStreams;
use crate::telemetry;
use crate::tool::ToolError;

/// How long clients that listen for changes may take to hear that there will be none.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(1);
/// Sessions ended at once.
const ENDED_AT_ONCE: usize = 16;

/// The gateway. A handle that is cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    // dependencies
    pub(crate) identity: Identity,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) log: Arc<dyn EventLog>,

    // configuration
    pub(crate) settings: GatewaySettings,
    pub(crate) public_url: String,
    pub(crate) metadata_url: String,
    pub(crate) allowed: Allowed,
    pub(crate) registry: ToolRegistry,
    pub(crate) annex: Option<Arc<dyn Annex>>,
    pub(crate) seal: Arc<Seal>,
    /// Where calls that came the short way would speak to their client; built-in tools never do.
    pub(crate) nobody: Peer<RoleServer>,

    // state
    pub(crate) records: Records,
    pub(crate) calls: CallLog,
    pub(crate) guests: Arc<Guests>,
    pub(crate) sessions: Sessions,
    pub(crate) listeners: Listeners,
    pub(crate) sync: SyncStreams,
    pub(crate) policy: LivePolicy,
    pub(crate) rates: Windows,
    pub(crate) mounts: Mounts,

    // stopping
    is_draining: AtomicBool,
    pub(crate) under_way: TaskTracker,
    pub(crate) listening: TaskTracker,
    pub(crate) background: TaskTracker,
    pub(crate) stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

/// What the gateway is doing right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GatewaySnapshot {
    /// Open MCP sessions.
    pub sessions: usize,
    /// Requests that have come in and not been answered to the last byte.
    pub requests_under_way: usize,
    /// Tools clients are shown.
    pub tools: usize,
    /// Whether the tools' schemas are compiled and ready.
    pub registry_loaded: bool,
    /// Whether new requests are turned away.
    pub draining: bool,
}

impl Gateway {
    /// The door over the built-in tools. Call it inside a Tokio runtime: it starts the reaper of idle sessions.
    ///
    /// # Errors
    /// [`GatewayError`] for settings that cannot be meant.
    pub fn new(
        settings: GatewaySettings,
        identity: Identity,
        log: Arc<dyn EventLog>,
        tables: Tables,
        projector: ProjectorHandle,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self, GatewayError> {
        Self::with_registry(
            ToolRegistry::built_in()?,
            settings,
            identity,
            log,
            tables,
            projector,
            clock,
            ids,
            None,
        )
    }

    /// As [`Gateway::new`], over other tools and with an annex.
    #[expect(
        clippy::too_many_arguments,
        reason = "the room's dependencies, each handed in by name once"
    )]
    pub fn with_registry(
        registry: ToolRegistry,
        settings: GatewaySettings,
        identity: Identity,
        log: Arc<dyn EventLog>,
        tables: Tables,
        projector: ProjectorHandle,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        annex: Option<Arc<dyn Annex>>,
    ) -> Result<Self, GatewayError> {
        check_limits(&settings)?;
        let allowed = Allowed::try_new(
            &settings.public_url,
            &settings.allowed_hosts,
            &settings.allowed_origins,
        )?;
        telemetry::describe(&registry);
        let records = Records {
            log: log.clone(),
            tables,
            projector,
            identity: identity.clone(),
            field_form: settings.field_form,
            keys: Arc::new(KeyCache::new(identity.clone(), clock.clone())),
            clock: clock.clone(),
            ids: ids.clone(),
            read_your_writes: settings.read_your_writes,
        };
        let seal = Arc::new(Seal::shared(&identity, ids.clone()));
        let stop = CancellationToken::new();
        let public_url = settings.public_url.trim_end_matches('/').to_owned();
        let background = TaskTracker::new();
        let guests: Arc<Guests> = Arc::default();
        let (calls, left) = call_log(&settings, &log, &clock, &ids, &background, &stop)?;
        let mounts = Mounts::new(&settings.mounts, &identity, clock.clone())?;
        let inner = Arc::new(Inner {
            calls,
            metadata_url: format!("{public_url}{METADATA_PATH}/mcp"),
            public_url,
            guests,
            sessions: Sessions::new(
                clock.clone(),
                seal.clone(),
                settings.sessions_per_user_max,
                settings.sessions_max,
            ),
            seal,
            nobody: short::nobody(&background, &stop),
            annex: annex.or_else(|| mounts.annex()),
            listeners: Listeners::default(),
            sync: SyncStreams::default(),
            identity,
            log,
            ids,
            allowed,
            registry,
            records,
            policy: LivePolicy::new(settings.policy.rules.clone(), settings.policy.file.clone()),
            rates: Windows::default(),
            mounts,
            is_draining: AtomicBool::new(false),
            under_way: TaskTracker::new(),
            listening: TaskTracker::new(),
            background,
            _stop_when_dropped: stop.clone().drop_guard(),
            stop,
            clock,
            settings,
        });
        inner.background.spawn(lifecycle::reap(
            Arc::downgrade(&inner),
            inner.clock.clone(),
            inner.stop.clone(),
            lifecycle::reap_every(&inner.settings),
        ));
        if inner.settings.policy.file.is_some() {
            inner.background.spawn(policy::watch(
                Arc::downgrade(&inner),
                inner.clock.clone(),
                inner.stop.clone(),
            ));
        }
        let has_left = left.as_ref().is_some_and(|left| !left.is_empty());
        if inner.settings.record_calls != RecordCalls::Off || has_left {
            let unfinished = Unfinished {
                log: inner.log.clone(),
                tables: inner.records.tables.clone(),
                projector: inner.records.projector.clone(),
                clock: inner.clock.clone(),
                replay: left.map(|left| Replay {
                    left,
                    identity: inner.identity.clone(),
                    guests: inner.guests.clone(),
                }),
            };
            let closing = call_log::close_unfinished(unfinished, inner.stop.clone());
            inner.background.spawn(closing);
        }
        inner.mounts.keep(&inner, &inner.stop);
        let gateway = Self { inner };
        if let Some(annex) = &gateway.inner.annex {
            annex.attach(gateway.notices());
        }
        Ok(gateway)
    }

    /// The way to tell clients of a change.
    pub fn notices(&self) -> Notices {
        Notices(Arc::downgrade(&self.inner))
    }

    /// `/mcp`, with everything that guards it. Each has sessions' streams of its own: there is to be one.
    pub fn door(&self) -> Door {
        let inner = &self.inner;
        let config = StreamableHttpServerConfig::default()
            // The door in front has checked Host, Origin and size, with refusals in our own form.
            .disable_allowed_hosts()
            .with_max_request_body_bytes(inner.settings.body_bytes_max)
            .with_json_response(true)
            .with_cancellation_token(inner.stop.child_token());
        let handler = Mcp::new(inner.clone());
        let sessions = Arc::new(Manager::new(inner.clone()));
        let behind = StreamableHttpService::new(move || Ok(handler.clone()), sessions, config);
        Door::new(inner.clone(), behind)
    }

    /// [`MCP_PATH`] with a `door` of this gateway, its metadata and what else it answers, for web pages as well.
    pub fn router(&self, door: Door) -> Router {
        let metadata = Router::new()
            .route(METADATA_PATH, get(metadata::protected_resource))
            .route(&format!("{METADATA_PATH}/mcp"), get(metadata::protected_resource))
            .with_state(self.clone());
        Router::new()
            .route_service(MCP_PATH, door)
            .merge(metadata)
            .merge(self.calibration())
            .route_layer(self.cors())
    }

    /// Lets pages of the configured origins ask, and no others.
    pub fn cors(&self) -> CorsLayer {
        let allowed = self.inner.allowed.clone();
        let from_client = [
            "accept",
            "authorization",
            "content-type",
            "last-event-id",
            "x-client-id",
            "mcp-protocol-version",
            "mcp-method",
            "mcp-name",
            "traceparent",
            "tracestate",
        ];
        let from_client = from_client
            .into_iter()
            .chain([SESSION_HEADER, SPACE_HEADER])
            .map(HeaderName::from_static);
        CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(move |origin, _| {
                origin
                    .to_str()
                    .is_ok_and(|origin| allowed.is_origin_allowed(origin))
            }))
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers(from_client.collect::<Vec<_>>())
            .expose_headers([HeaderName::from_static(SESSION_HEADER), header::WWW_AUTHENTICATE])
    }

    /// Turns new requests away, waits `within` at most for those under way, ends all sessions and cuts what is left.
    pub async fn drain(&self, within: Duration) {
        let inner = &self.inner;
        inner.is_draining.store(true, Ordering::SeqCst);
        inner.under_way.close();
        inner.listeners.end(None);
        inner.sync.stop.cancel();
        // Whichever is first: calls that outlast the limit are cancelled with their sessions.
        tokio::select! {
            () = inner.under_way.wait() => {}
            () = inner.clock.sleep(within) => {
                tracing::warn!(requests = inner.under_way.len(), "stopping with requests still under way");
            }
        }
        inner.end_all(inner.sessions.take_all(), "shutdown").await;
        inner.listening.close();
        // Whichever is first: their clients have heard the last word, or will see the connection end.
        tokio::select! {
            () = inner.listening.wait() => {}
            () = inner.clock.sleep(LAST_WORD_WITHIN) => {}
        }
        inner.stop.cancel();
        inner.mounts.stop().await;
        inner.background.close();
        inner.background.wait().await;
    }

    /// Serves the account no more, waits `within` at most for what it has under way, and ends its sessions. When
    /// this has succeeded, nothing of the account is appended through this door any more.
    ///
    /// It holds for the life of the process; over a restart it is the account's suspension that shuts it out.
    ///
    /// # Errors
    /// [`StillServed`] when calls outlast the limit. They lose nothing, and no new ones are let in: try again.
    pub async fn expel(&self, user_id: &UserId, within: Duration) -> Result<(), StillServed> {
        let inner = &self.inner;
        inner.guests.expel(user_id);
        inner.listeners.end(Some(user_id));
        tokio::select! {
            // Asked first, so that somebody without anything under way is gone however short the limit.
            biased;
            () = inner.guests.gone(user_id) => {}
            // Nothing is lost with the wait: the count goes on.
            () = inner.clock.sleep(within) => return Err(StillServed(inner.guests.served(user_id))),
        }
        // Their calls are in the log by now, and soon in no file of this gateway.
        if !self.calls_recorded(within).await {
            return Err(StillServed(0));
        }
        inner.end_all(inner.sessions.take_of(user_id), "erased").await;
        inner.mounts.end_user(user_id);
        Ok(())
    }

    /// Waits, `within` at most, until all that happened to calls answered before this is in the log and in no file of this
    /// gateway: answers go out before it is. Says whether it is.
    pub async fn calls_recorded(&self, within: Duration) -> bool {
        let inner = &self.inner;
        tokio::select! {
            () = inner.calls.journal_emptied() => true,
            // Nothing is lost with the wait: the journal is emptied all the same.
            () = inner.clock.sleep(within) => false,
        }
    }

    /// A record for whoever was granted it: its sealed fields under `data_key`, or as they stand without one. Whether it
    /// was granted is the caller's to know.
    ///
    /// # Errors
    /// [`ToolError`] when it cannot be read.
    pub async fn granted_record(
        &self,
        space: &SpaceId,
        table: &str,
        id: &RecordId,
        data_key: Option<&[u8; 32]>,
    ) -> Result<Option<BTreeMap<String, serde_json::Value>>, ToolError> {
        self.inner.records.granted(space, table, id, data_key).await
    }

    /// Waits until every mounted server was asked for its tools once, `within` at most. What is away by then is
    /// offered when it comes.
    pub async fn mounts_settled(&self, within: Duration) {
        self.inner.mounts.settled(within).await;
    }

    /// How each mounted server is.
    pub fn mounts(&self) -> Vec<MountSnapshot> {
        self.inner.mounts.observe()
    }

    /// What the gateway is doing right now.
    pub fn observe(&self) -> GatewaySnapshot {
        let inner = &self.inner;
        let tools = inner.registry.visible_names().len();
        GatewaySnapshot {
            sessions: inner.sessions.len(),
            requests_under_way: inner.under_way.len(),
            tools,
            registry_loaded: tools > 0,
            draining: inner.is_draining(),
        }
    }
}

/// Somebody who is not to be served any more still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} requests or calls are still under way")]
pub struct StillServed(
    /// How many requests and calls are under way.
    pub usize,
);

/// The record of calls, over a journal where there is to be one; and what an earlier run left in that.
fn call_log(
    settings: &GatewaySettings,
    log: &Arc<dyn EventLog>,
    clock: &Arc<dyn Clock>,
    ids: &Arc<dyn Ids>,
    background: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(CallLog, Option<Left>), GatewayError> {
    let (log, clock, ids) = (log.clone(), clock.clone(), ids.clone());
    let (background, stop) = (background.clone(), stop.clone());
    let Some(folder) = &settings.call_journal else {
        return Ok((CallLog::new(log, clock, ids, background, stop), None));
    };
    let opened = CallLog::with_journal(folder, log, clock, ids, background, stop);
    let (calls, left) = opened.map_err(|source| GatewayError::Journal {
        folder: folder.clone(),
        source,
    })?;
    Ok((calls, Some(left)))
}

fn check_limits(settings: &GatewaySettings) -> Result<(), GatewayError> {
    let limits = [
        ("body_bytes_max", settings.body_bytes_max == 0),
        ("sessions_per_user_max", settings.sessions_per_user_max == 0),
        ("sessions_max", settings.sessions_max == 0),
        ("list_page_max", settings.list_page_max == 0),
        ("session_idle", settings.session_idle.is_zero()),
    ];
    match limits.into_iter().find(|(_, is_zero)| *is_zero) {
        Some((name, _)) => Err(GatewayError::ZeroLimit { name }),
        None => Ok(()),
    }
}

impl Inner {
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::SeqCst)
    }

    /// Closes and records sessions that were taken out of the table.
    async fn end_all(&self, sessions: Vec<Arc<Session>>, reason: &'static str) {
        let ended = futures::stream::iter(sessions)
            .map(|session| async move { self.record_end(&session, reason).await });
        ended.buffer_unordered(ENDED_AT_ONCE).collect::<()>().await;
    }
}
