//! What a role without a door of its own tells whoever keeps it running: whether it lives, whether it does its work, and
//! its metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::future::BoxFuture;
use http::StatusCode;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::exit::CommandError;
use crate::house::{at_once, listen};
use crate::lifecycle::{Lifecycle, TaskKind};

/// How long a role may take to say how it is.
const WITHIN: Duration = Duration::from_secs(2);

/// How a role is: facts for everybody, `Err` while it does not do its work.
pub(crate) type Look = Arc<dyn Fn() -> BoxFuture<'static, Result<Value, Value>> + Send + Sync>;

#[derive(Clone)]
struct Probes {
    role: &'static str,
    look: Look,
    metrics: PrometheusHandle,
}

/// Answers at `address` until `stop`, and says where that is.
///
/// # Errors
/// [`CommandError::Unavailable`] when the address cannot be listened at.
pub(crate) async fn serve(
    address: SocketAddr,
    role: &'static str,
    look: Look,
    metrics: PrometheusHandle,
    lifecycle: &Lifecycle,
    stop: &CancellationToken,
) -> Result<SocketAddr, CommandError> {
    let listener = listen(address, "--probes").await?;
    let address = listener
        .local_addr()
        .map_err(|error| CommandError::Failed(error.to_string()))?;
    let router = Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(show_metrics))
        .with_state(Probes { role, look, metrics });
    let stop = stop.clone();
    lifecycle.spawn(TaskKind::Http, async move {
        let served = axum::serve(at_once(listener), router).with_graceful_shutdown(stop.cancelled_owned());
        served.await.map_err(|error| error.to_string())
    });
    Ok(address)
}

async fn live(State(probes): State<Probes>) -> Json<Value> {
    Json(json!({ "status": "live", "role": probes.role, "version": env!("CARGO_PKG_VERSION") }))
}

async fn show_metrics(State(probes): State<Probes>) -> String {
    probes.metrics.render()
}

async fn ready(State(probes): State<Probes>) -> Response {
    let looked = tokio::time::timeout(WITHIN, (probes.look)()).await;
    let (status, word, facts) = match looked {
        Ok(Ok(facts)) => (StatusCode::OK, "ready", facts),
        Ok(Err(facts)) => (StatusCode::SERVICE_UNAVAILABLE, "not ready", facts),
        Err(_elapsed) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready",
            json!({ "reason": "no answer in time" }),
        ),
    };
    let body = json!({ "status": word, "role": probes.role, "facts": facts });
    (status, Json(body)).into_response()
}
