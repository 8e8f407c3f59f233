//! The HTTP surfaces beside MCP: accounts, spaces, sync, vault, administration, external runners, health, dashboard.
//!
//! ```text
//! request ─ named ─ browser headers ─ panics to problems ─ known hosts ─┬─ /mcp …   the gateway's own router
//!                                                                       └─ endpoints ─ time limit ─ body limit
//!                                                                           ─ who is it? ─ fields ─ handler
//! ```
//!
//! Handlers decide nothing about the world: they read tables, ask [`Identity`], append to a persona's subject,
//! and wait until the tables have passed what they appended.
//!
//! **To add an endpoint**: write the handler in the file of its story, add one [`Endpoint`] with its description
//! to that file's `endpoints()`. It is then routed, limited and described in `/openapi.json`.

mod answer;
mod auth;
mod body;
mod caller;
mod dashboard;
mod diag;
mod endpoint;
mod external;
mod feed;
mod fields;
mod grants;
mod health;
mod me;
mod metrics;
mod openapi;
mod operators;
mod persona_log;
mod personas;
mod problem;
mod queries;
mod repeats;
mod replay;
mod runner;
mod seal;
mod session;
mod shield;
mod spaces;
mod sync;
#[cfg(test)]
mod tests;
mod users;
mod vault;

use std::sync::Arc;
use std::time::Duration;

use actors::CastHandle;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use events::{EventLog, Ids, SystemClock};
use gateway::Gateway;
use http::StatusCode;
use identity::{Identity, RunnerKey};
use metrics_exporter_prometheus::PrometheusHandle;
use projections::{ProjectorHandle, Tables};
use secrecy::SecretString;

use crate::external_identity::HttpExternalIdentity;
use crate::house::HouseRole;
use endpoint::Endpoint;
pub(crate) use health::Health;
pub(crate) use openapi::openapi;
pub(crate) use operators::{Budgets, Operators};
pub(crate) use personas::finish_begun;
pub(crate) use problem::Problem;
pub(crate) use runner::{ActReport, TICK_TIME_LIMIT, hold_back, let_act};
pub(crate) use shield::Front;
use shield::KnownHosts;

/// What the handlers share: the rooms' handles, and how this house is set up.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// Accounts, tokens, vault and spaces.
    pub(crate) identity: Identity,
    /// The folded tables, to read.
    pub(crate) tables: Tables,
    /// The log, to append to persona subjects.
    pub(crate) log: Arc<dyn EventLog>,
    /// How far the tables are.
    pub(crate) projector: ProjectorHandle,
    /// MCP.
    pub(crate) gateway: Gateway,
    /// The personas' actors.
    pub(crate) cast: CastHandle,
    /// The time.
    pub(crate) clock: Arc<SystemClock>,
    /// Where ids without a natural key come from.
    pub(crate) ids: Arc<dyn Ids>,
    /// Whether the house is open.
    pub(crate) health: Health,
    /// Where accounts, spaces and vaults are kept, if not here.
    pub(crate) external: Option<Arc<HttpExternalIdentity>>,
    /// How it is set up.
    pub(crate) settings: HttpSettings,
    /// What `/metrics` shows.
    pub(crate) metrics: PrometheusHandle,
    /// What the people who run this house share.
    pub(crate) operators: Operators,
}

/// How the HTTP surfaces are set up.
#[derive(Debug, Clone)]
pub(crate) struct HttpSettings {
    /// Turns `/diag` off.
    pub(crate) production: bool,
    /// What of a house runs in this process.
    pub(crate) role: HouseRole,
    /// What external runners prove themselves with; without one there are none.
    pub(crate) service_key: Option<SecretString>,
    /// Whom data keys are wrapped for; without one none are handed out.
    pub(crate) runner_key: Option<Arc<RunnerKey>>,
    /// The address people reach this house at.
    pub(crate) public_url: String,
    /// Host names, with or without a port, that requests may be addressed to.
    pub(crate) allowed_hosts: Vec<String>,
    /// What the personas' passwords are derived from.
    pub(crate) seed_secret: SecretString,
    /// How long a write waits to be readable before it is answered as stored but not yet visible.
    pub(crate) admin_read_your_writes: Duration,
}

impl HttpSettings {
    /// `production` or `development`.
    fn environment(&self) -> &'static str {
        if self.production {
            "production"
        } else {
            "development"
        }
    }
}

/// Everything this house answers over HTTP.
pub(crate) fn front(app: App) -> Front {
    metrics::describe();
    queries::describe_metrics();
    repeats::describe_metrics();
    let hosts = KnownHosts::new(&app.settings.allowed_hosts);
    let ids = app.ids.clone();
    let door = app.gateway.door();
    let (gateway, cors) = (app.gateway.router(door.clone()), app.gateway.cors());
    let rooms = endpoints(app.settings.production)
        .into_iter()
        .fold(Router::new(), |router, endpoint| endpoint.mount(router, &app))
        .route_layer(from_fn_with_state(app.clock.clone(), metrics::observe_requests))
        .layer(from_fn(shield::errors_as_problems))
        .layer(cors)
        .with_state(app)
        .merge(gateway)
        .fallback(unknown_path);
    Front::new(ids, hosts, door, rooms)
}

/// The one table that routing and `/openapi.json` are made of.
fn endpoints(production: bool) -> Vec<Endpoint> {
    let mut endpoints = [
        health::endpoints(),
        auth::endpoints(),
        me::endpoints(),
        vault::endpoints(),
        spaces::endpoints(),
        sync::endpoints(),
        grants::endpoints(),
        seal::endpoints(),
        users::endpoints(),
        personas::endpoints(),
        runner::endpoints(),
        external::endpoints(),
        dashboard::endpoints(),
        session::endpoints(),
        queries::endpoints(),
        feed::endpoints(),
        replay::endpoints(),
        openapi::endpoints(),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    if !production {
        endpoints.extend(diag::endpoints());
    }
    endpoints
}

async fn unknown_path() -> Problem {
    Problem::of_status(StatusCode::NOT_FOUND)
}
