//! Whether the house lives, is ready, and how its parts are.

use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use events::{Clock as _, LogError};
use identity::IdentityError;
use projections::{ProjectorState, TablesError};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::App;
use super::endpoint::{Access, Endpoint};
use super::metrics;
use super::problem::Problem;

/// How long one part may take to say how it is.
const CHECK_TIME_LIMIT: Duration = Duration::from_secs(2);
/// Tables further behind the log than this are too stale to serve from.
const LAG_EVENTS_MAX: u64 = 10_000;

/// Whether the house is open, as its lifecycle says.
#[derive(Debug, Clone)]
pub(crate) struct Health(watch::Sender<Phase>);

/// Where the house is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    Stopping,
}

impl Health {
    /// Starting: alive, and not ready.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Phase::Starting))
    }

    /// Everything is up; requests are welcome.
    pub(crate) fn set_ready(&self) {
        self.0.send_if_modified(|phase| {
            // A stop that was asked for during the start stands.
            let is_starting = *phase == Phase::Starting;
            if is_starting {
                *phase = Phase::Ready;
            }
            is_starting
        });
    }

    /// The house is closing; send no more here.
    pub(crate) fn set_stopping(&self) {
        self.0.send_replace(Phase::Stopping);
    }

    fn word(&self) -> &'static str {
        match *self.0.borrow() {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Stopping => "stopping",
        }
    }

    fn is_ready(&self) -> bool {
        *self.0.borrow() == Phase::Ready
    }
}

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(&["/health"], health).about(Access::Open, "Liveness in the shape of older clients"),
        Endpoint::get(&["/livez"], live)
            .about(Access::Open, "Whether the process answers; asks nothing else"),
        Endpoint::get(&["/readyz"], ready)
            .about(
                Access::Open,
                "Whether requests are welcome, by dependency with ?verbose",
            )
            .reads(&["verbose"])
            .gives::<Readiness>()
            .refuses(&[503]),
        Endpoint::get(&["/metrics"], metrics::show)
            .about(Access::Open, "Metrics in the Prometheus text format")
            .answers_with("text/plain"),
    ]
}

/// Older clients look at `status` and `registry.loaded`.
async fn health(State(app): State<App>) -> Json<HealthSeen> {
    let tools = gateway::tools().len();
    Json(HealthSeen {
        status: "ok",
        service: "dramatis",
        version: env!("CARGO_PKG_VERSION"),
        phase: app.health.word(),
        mounts: mounts(&app),
        registry: RegistrySeen {
            loaded: tools > 0,
            tools,
            modules: gateway::module_names(),
        },
        uptime_seconds: app.clock.monotonic().as_secs(),
    })
}

/// Liveness in the shape of older clients.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct HealthSeen {
    status: &'static str,
    service: &'static str,
    version: &'static str,
    /// `starting`, `ready` or `stopping`.
    phase: &'static str,
    mounts: Vec<MountSeen>,
    registry: RegistrySeen,
    uptime_seconds: u64,
}

/// The tools that are built in.
#[derive(Debug, Serialize, JsonSchema)]
struct RegistrySeen {
    loaded: bool,
    tools: usize,
    modules: Vec<&'static str>,
}

/// How a mounted server is. What is wrong with one may name addresses, so that is for our log.
#[derive(Debug, Serialize, JsonSchema)]
struct MountSeen {
    name: String,
    up: bool,
    resting: bool,
    tools: usize,
    /// Tools that wait for approval.
    quarantined: usize,
}

/// Whether requests are welcome.
#[derive(Debug, Serialize, JsonSchema)]
struct Readiness {
    status: &'static str,
    /// With `?verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<Check>>,
}

/// The process answers.
#[derive(Debug, Serialize, JsonSchema)]
struct Liveness {
    status: &'static str,
}

fn mounts(app: &App) -> Vec<MountSeen> {
    let of = |mount: &gateway::MountSnapshot| MountSeen {
        name: mount.name.clone(),
        up: mount.is_up,
        resting: mount.is_resting,
        tools: mount.tools,
        quarantined: mount.quarantined.len(),
    };
    app.gateway.mounts().iter().map(of).collect()
}

async fn live() -> Json<Liveness> {
    Json(Liveness { status: "live" })
}

async fn ready(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    let is_verbose = query
        .unwrap_or_default()
        .split('&')
        .any(|part| part.split('=').next() == Some("verbose"));
    let checks = check_all(&app).await;
    let failing: Vec<&str> = checks
        .iter()
        .filter(|check| !check.is_ok)
        .map(|check| check.name)
        .collect();
    let is_ready = failing.is_empty() && app.health.is_ready();
    let phase = app.health.word();
    if is_ready {
        return Json(Readiness {
            status: "ready",
            checks: is_verbose.then(|| checks.into()),
        })
        .into_response();
    }
    let detail = match failing.as_slice() {
        [] => format!("the house is {phase}"),
        failing => format!("not ready: {}", failing.join(", ")),
    };
    let problem = Problem::unavailable("NOT_READY", detail)
        .with("phase", phase.into())
        .with("failing", json!(failing));
    if is_verbose {
        problem.with("checks", json!(checks))
    } else {
        problem
    }
    .into_response()
}

/// How one part is. Its text is ours and holds no address or cause: this page is open to all.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Check {
    name: &'static str,
    #[serde(rename = "ok")]
    is_ok: bool,
    took_ms: u64,
    /// What is known of the part, or why it is not well.
    facts: Map<String, Value>,
}

/// How each part is.
pub(crate) async fn check_all(app: &App) -> [Check; 6] {
    let (log, projection, database, cast) = tokio::join!(
        timed(app, "log", check_log(app)),
        timed(app, "projection", check_projection(app)),
        timed(app, "database", check_database(app)),
        timed(app, "cast", check_cast(app)),
    );
    let gateway = timed(app, "gateway", async { Ok(json!(app.gateway.observe())) }).await;
    // One that is away is theirs to mend, and everything else goes on without it.
    let mounted = timed(app, "mounts", async { Ok(json!({ "mounts": mounts(app) })) }).await;
    [log, projection, database, cast, gateway, mounted]
}

/// One part's answer within its time; no answer in time is an answer too.
async fn timed(app: &App, name: &'static str, check: impl Future<Output = Result<Value, Unwell>>) -> Check {
    let begin = app.clock.monotonic();
    let answer = tokio::time::timeout(CHECK_TIME_LIMIT, check).await;
    let took = app.clock.monotonic().saturating_sub(begin);
    let (is_ok, facts) = match answer {
        Ok(Ok(facts)) => (true, facts),
        Ok(Err(Unwell(facts))) => (false, facts),
        Err(_elapsed) => (false, json!({ "reason": "no answer in time" })),
    };
    let facts = match facts {
        Value::Object(facts) => facts,
        _ => Map::new(),
    };
    Check {
        name,
        is_ok,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        facts,
    }
}

/// Why a part is not well, in words for everybody.
struct Unwell(Value);

impl From<LogError> for Unwell {
    fn from(error: LogError) -> Self {
        tracing::warn!(error = %error, "the log is not ready");
        Self(json!({ "reason": "the log does not answer as it should" }))
    }
}

impl From<TablesError> for Unwell {
    fn from(error: TablesError) -> Self {
        tracing::warn!(error = %error, "the tables are not ready");
        Self(json!({ "reason": "the tables do not answer as they should" }))
    }
}

impl From<IdentityError> for Unwell {
    fn from(error: IdentityError) -> Self {
        tracing::warn!(error = %error, "identity is not ready");
        Self(json!({ "reason": "the accounts do not answer as they should" }))
    }
}

async fn check_log(app: &App) -> Result<Value, Unwell> {
    let state = app.log.state().await?;
    Ok(json!({ "lastSeq": state.last_seq, "messages": state.messages, "bytes": state.bytes }))
}

async fn check_projection(app: &App) -> Result<Value, Unwell> {
    let status = app.projector.status();
    let seq = app.projector.seq();
    let end = app.log.state().await?.last_seq;
    let lag_events = end.0.saturating_sub(seq.0);
    // Of a halt the cause alone: the reason may quote what could not be folded.
    let facts = json!({
        "state": status.state,
        "haltedBy": status.halted_by,
        "parked": status.parked,
        "seq": seq,
        "lagEvents": lag_events,
    });
    // One that stands by answers from tables that another process folds.
    let folds = matches!(status.state, ProjectorState::Running | ProjectorState::Standby);
    let is_ok = folds && lag_events <= LAG_EVENTS_MAX;
    if is_ok { Ok(facts) } else { Err(Unwell(facts)) }
}

async fn check_database(app: &App) -> Result<Value, Unwell> {
    app.tables.checkpoint().await?;
    // Nobody has this email: `.invalid` is reserved. Asking for it shows that the accounts can be read.
    app.identity.account_by_email("nobody@readiness.invalid").await?;
    Ok(json!({}))
}

async fn check_cast(app: &App) -> Result<Value, Unwell> {
    let cast = app.cast.observe().await;
    let spent = cast
        .supervisor
        .as_ref()
        .and_then(|supervisor| supervisor.spent.as_ref());
    let facts = json!({ "paused": cast.paused, "acting": cast.acting.len(), "waiting": cast.waiting.len() });
    if spent.is_some() {
        Err(Unwell(facts))
    } else {
        Ok(facts)
    }
}
