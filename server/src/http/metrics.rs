//! What `/metrics` shows of HTTP, the log and the tables. The rooms write their own instruments.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use events::{Clock as _, SystemClock};
use http::header;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::App;

/// How long the log may take to say how far it goes; a scrape must not hang.
const LOG_TIME_LIMIT: Duration = Duration::from_secs(2);

/// Says what the instruments of this file mean.
pub(crate) fn describe() {
    describe_gauge!("dramatis_log_up", "1 when the event log answers, else 0");
    describe_gauge!(
        "dramatis_log_last_seq",
        "Sequence of the last commit in the event log"
    );
    describe_counter!(
        "dramatis_operator_reads_total",
        "Questions operators asked, by question; the same one by the same account counts once a minute"
    );
    describe_gauge!("dramatis_log_bytes", Unit::Bytes, "Bytes the event log holds");
    describe_gauge!(
        "dramatis_projection_seq",
        "Sequence of the last commit folded into the tables"
    );
    describe_gauge!(
        "dramatis_projection_lag_events",
        "Commits in the log that are not in the tables yet"
    );
    describe_counter!(
        "dramatis_http_requests_total",
        "HTTP requests answered, by method, route and status"
    );
    describe_histogram!(
        "dramatis_http_request_duration_seconds",
        Unit::Seconds,
        "Time to answer HTTP requests"
    );
}

/// The Prometheus text, with the gauges of this moment.
pub(crate) async fn show(State(app): State<App>) -> Response {
    let seq = app.projector.seq();
    gauge!("dramatis_projection_seq").set(seq.0 as f64);
    match tokio::time::timeout(LOG_TIME_LIMIT, app.log.state()).await {
        Ok(Ok(state)) => {
            gauge!("dramatis_log_up").set(1.0);
            gauge!("dramatis_log_last_seq").set(state.last_seq.0 as f64);
            gauge!("dramatis_log_bytes").set(state.bytes as f64);
            // In events, not in per cent: a share reads well while thousands behind.
            gauge!("dramatis_projection_lag_events").set(state.last_seq.0.saturating_sub(seq.0) as f64);
        }
        _ => gauge!("dramatis_log_up").set(0.0),
    }
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, app.metrics.render()).into_response()
}

/// Counts and times every request by route, never by the ids in its path.
pub(crate) async fn observe_requests(
    State(clock): State<Arc<SystemClock>>,
    route: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().as_str().to_owned();
    let begin = clock.monotonic();
    let response = next.run(request).await;
    let took = clock.monotonic().saturating_sub(begin);
    let (route, status) = (route.as_str().to_owned(), response.status());
    tracing::debug!(
        method,
        route,
        status = status.as_u16(),
        duration_ms = took.as_millis(),
        "answered a request"
    );
    let labels = [
        ("method", method),
        ("route", route),
        ("status", status.as_str().to_owned()),
    ];
    counter!("dramatis_http_requests_total", &labels).increment(1);
    histogram!("dramatis_http_request_duration_seconds", &labels).record(took);
    response
}
