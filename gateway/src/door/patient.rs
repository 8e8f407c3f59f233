//! Answers that take their time on the long way without a session: signs of life from the moment patience ends, so that
//! neither the client nor a proxy between gives up on a connection over which nothing has come yet.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::response::Response;
use events::Clock;
use futures::StreamExt as _;
use http::header::CONTENT_TYPE;
use rmcp::model::ErrorData;
use serde_json::json;
use serde_json::value::RawValue;

use super::sse;
use crate::gateway::Inner;

/// Bytes of an answer that is put into an event; what mounted servers may say is bounded before.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The answer of `answering`, or where that takes longer than patience lasts, a stream that ends with it. The
/// connection's end is the request's end in either case.
pub(crate) async fn wait(
    inner: &Arc<Inner>,
    id: Option<Box<RawValue>>,
    mut answering: Answering,
) -> Response {
    // Whichever is first; an answer that is not there yet is waited for again, behind a stream.
    tokio::select! {
        answer = &mut answering => answer,
        () = inner.clock.sleep(inner.settings.patience) => {
            let begin = (State::Silent(Waiting { answering, id }), inner.clock.clone());
            let bytes = futures::stream::unfold(begin, |(state, clock)| next(state, clock));
            sse::response(Body::from_stream(bytes))
        }
    }
}

/// An answer that has not come, and the id of its request as it was sent.
struct Waiting {
    answering: Answering,
    id: Option<Box<RawValue>>,
}

enum State {
    /// Nothing has come, and nothing was said.
    Silent(Waiting),
    /// Nothing has come.
    Waiting(Waiting),
    /// The answer is a stream itself, with signs of life of its own.
    Streaming(BodyDataStream),
    /// All was said.
    Done,
}

type Step = Option<(Result<Bytes, Infallible>, (State, Arc<dyn Clock>))>;

async fn next(state: State, clock: Arc<dyn Clock>) -> Step {
    let alive = || Bytes::from_static(b":\n\n");
    match state {
        // At once, so that the head of the response is on its way.
        State::Silent(waiting) => Some((Ok(alive()), (State::Waiting(waiting), clock))),
        State::Waiting(mut waiting) => {
            // Whichever is first; the answer is waited for again.
            let answer = tokio::select! {
                answer = &mut waiting.answering => answer,
                () = clock.sleep(sse::ALIVE_EVERY) => {
                    return Some((Ok(alive()), (State::Waiting(waiting), clock)));
                }
            };
            if is_of(&answer, "text/event-stream") {
                let streaming = State::Streaming(answer.into_body().into_data_stream());
                return Box::pin(next(streaming, clock)).await;
            }
            let is_message = is_of(&answer, "application/json");
            let event = event(answer.into_body(), is_message, waiting.id).await;
            Some((Ok(event), (State::Done, clock)))
        }
        // A stream that breaks off has said all it will.
        State::Streaming(mut body) => {
            let bytes = body.next().await?.ok()?;
            Some((Ok(bytes), (State::Streaming(body), clock)))
        }
        State::Done => None,
    }
}

fn is_of(answer: &Response, kind: &str) -> bool {
    let header = answer.headers().get(CONTENT_TYPE);
    header.is_some_and(|header| header.as_bytes().starts_with(kind.as_bytes()))
}

/// The answer as the one event of a stream. What is no JSON-RPC message can no longer be told by a status.
async fn event(body: Body, is_message: bool, id: Option<Box<RawValue>>) -> Bytes {
    let message = match axum::body::to_bytes(body, ANSWER_BYTES_MAX).await {
        Ok(message) if is_message => message,
        _ => {
            let error = ErrorData::internal_error("the server could not handle this request", None);
            let error = json!({"jsonrpc": "2.0", "id": id, "error": error});
            error.to_string().into()
        }
    };
    // JSON as serde writes it has no line breaks.
    Bytes::from([b"data: ", message.as_ref(), b"\n\n"].concat())
}
