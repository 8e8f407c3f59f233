//! Event streams of our own making: the answer to a call that takes its time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use events::Clock;
use futures::{Stream, StreamExt as _};
use http::{HeaderValue, header};
use rmcp::transport::streamable_http_server::session::ServerSseMessage;

/// How often a silent stream shows that it is alive: sooner than proxies give up on one.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// A response that says `events` as they come, and a comment whenever there has been none for a while.
pub(crate) fn respond(
    events: impl Stream<Item = ServerSseMessage> + Send + 'static,
    clock: Arc<dyn Clock>,
) -> Response {
    let lines = futures::stream::unfold((Box::pin(events), clock), async |(mut events, clock)| {
        // Whichever is first; an event that is not there yet is waited for again.
        let bytes = tokio::select! {
            event = events.next() => text(&event?),
            () = clock.sleep(ALIVE_EVERY) => ":\n\n".to_owned(),
        };
        Some((
            Ok::<_, std::convert::Infallible>(Bytes::from(bytes)),
            (events, clock),
        ))
    });
    response(Body::from_stream(lines))
}

/// A response that is a stream of events.
pub(super) fn response(events: Body) -> Response {
    let mut response = events.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn text(event: &ServerSseMessage) -> String {
    let mut text = String::new();
    if let Some(id) = &event.event_id {
        text = format!("id: {id}\n");
    }
    if let Some(retry) = event.retry {
        text = format!("{text}retry: {}\n", retry.as_millis());
    }
    // JSON as serde writes it has no line breaks.
    let data = event.message.as_ref().map(serde_json::to_string);
    let data = data.transpose().ok().flatten().unwrap_or_default();
    format!("{text}data: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::SystemClock;
    use rmcp::model::{ErrorData, JsonRpcMessage};

    #[tokio::test]
    async fn events_are_written_as_the_standard_has_it() {
        let priming = ServerSseMessage::priming("a1", Duration::from_secs(1));
        let error = ErrorData::invalid_params("two\nlines", None);
        let message = ServerSseMessage::new("a2", JsonRpcMessage::error(error, None));
        let stream = futures::stream::iter([priming, message]);
        let response = respond(stream, Arc::new(SystemClock::new()));
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let (first, rest) = text.split_once("\n\n").unwrap();
        assert_eq!(first, "id: a1\nretry: 1000\ndata: ");
        assert!(rest.starts_with("id: a2\ndata: {\"jsonrpc\":\"2.0\""), "{rest}");
        assert_eq!(rest.matches('\n').count(), 3, "{rest}");
    }
}
