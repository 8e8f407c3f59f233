//! The calibration twins: one small toolset twice, once known to be good and once known to be bad.
//!
//! Personas use both now and then and rate them like anything else. What a rater gives the good one above the bad one is
//! what its stars are worth that day (`docs/adr/0026`). The twins are no part of the app: each has a path of its own that
//! no tool list names, is there for personas alone and only where the operator asks for it, keeps what it is told for as
//! long as a session lasts, and writes nothing down.

mod shelf;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use events::Twin;
use http::StatusCode;
use identity::AccountKind;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::door::bearer;
use crate::gateway::Gateway;
use crate::problem::Problem;
use shelf::Shelf;

/// Bytes of a request: a call of a toy.
const BODY_BYTES_MAX: usize = 64 * 1024;

impl Gateway {
    /// The twins' paths, where they are asked for; none otherwise.
    pub(crate) fn calibration(&self) -> Router {
        if self.inner.settings.calibration.is_none() {
            return Router::new();
        }
        let of = |twin| {
            let gateway = self.clone();
            let config = StreamableHttpServerConfig::default()
                // The guard in front has checked Host and Origin.
                .disable_allowed_hosts()
                .with_max_request_body_bytes(BODY_BYTES_MAX)
                .with_json_response(true)
                .with_cancellation_token(self.inner.stop.child_token());
            let made = move || Ok(Shelf::new(twin, gateway.inner.clone()));
            StreamableHttpService::new(made, Arc::new(LocalSessionManager::default()), config)
        };
        Router::new()
            .route_service("/mcp/calibration/good", of(Twin::Good))
            .route_service("/mcp/calibration/bad", of(Twin::Bad))
            .route_layer(from_fn_with_state(self.clone(), admit))
    }
}

/// Personas come in, and to everybody else there is nothing here.
async fn admit(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let inner = &gateway.inner;
    if inner.is_draining() {
        return Problem::unavailable("shutting_down", "the server is shutting down", 5).into_response();
    }
    if let Err(problem) = inner.allowed.check(request.uri(), request.headers()) {
        return problem.into_response();
    }
    match bearer::authenticate(&inner.identity, request.headers(), &inner.metadata_url).await {
        Ok(caller) if caller.kind == AccountKind::Persona => next.run(request).await,
        Ok(_) => Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here").into_response(),
        Err(problem) => problem.into_response(),
    }
}
