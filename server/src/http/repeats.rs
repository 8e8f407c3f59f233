//! `Idempotency-Key`: who did not hear an answer sends the same request again, and it is answered and not done again.
//!
//! ```text
//! key is new ─────────────────▶ done, by a task of its own ─▶ answer kept ─▶ answered
//! key is kept, same request ──▶ waits until it is done ─────────────────────▶ answered the same
//! key is kept, another request ▶ 422
//! ```
//!
//! A client that goes away does not stop what it began: its next try finds the answer. Keys are an account's own, are
//! kept for a day, and are in memory: docs/adr/0032 says why, and what holds over a restart.

mod kept;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use events::Clock as _;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use super::App;
use super::caller::{Authenticated, ExternalRunner};
use super::endpoint::Access;
use super::operators::Operator;
use super::problem::Problem;
pub(crate) use kept::KeptAnswers;
use kept::{Answer, Begun, Doing, Place};

/// What a client names its request with.
pub(crate) const KEY_HEADER: &str = "idempotency-key";
/// Says of an answer that it was given before.
const REPLAYED_HEADER: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters of a key.
const KEY_CHARS_MAX: usize = 200;
/// Bytes of an answer that is kept.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

/// What an endpoint that takes keys is, for the layer around it.
#[derive(Debug, Clone)]
pub(crate) struct Around {
    pub(crate) app: App,
    pub(crate) access: Access,
    pub(crate) body_bytes_max: usize,
}

/// Says what the instruments of this file mean.
pub(crate) fn describe_metrics() {
    metrics::describe_gauge!(
        "dramatis_idempotency_keys",
        "Answers kept for requests that may be sent again"
    );
    metrics::describe_counter!(
        "dramatis_idempotency_requests_total",
        "Requests with an idempotency key, by what it was: new, replayed, mismatch or full"
    );
    metrics::gauge!("dramatis_idempotency_keys").set(0.0);
    for what in ["new", "replayed", "mismatch", "full"] {
        count(what, 0);
    }
}

fn count(what: &'static str, by: u64) {
    metrics::counter!("dramatis_idempotency_requests_total", "key" => what).increment(by);
}

/// Does a request with a key once, however often it comes.
pub(crate) async fn once(State(around): State<Around>, request: Request, next: Next) -> Response {
    if !request.headers().contains_key(KEY_HEADER) {
        return next.run(request).await;
    }
    match keyed(&around, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn keyed(around: &Around, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let Some(account) = account(around, &mut parts).await else {
        // Who nobody is, is told so by the handler, in its own words.
        return Ok(next.run(Request::from_parts(parts, body)).await);
    };
    let key = key(&parts)?;
    let body = to_bytes(body, around.body_bytes_max)
        .await
        .map_err(|_| Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE))?;
    let place = Place {
        account,
        key,
        request: digest(&parts, &body),
    };
    loop {
        match around
            .app
            .operators
            .kept
            .begin(&place, around.app.clock.monotonic())
        {
            Begun::New(doing) => {
                count("new", 1);
                let request = Request::from_parts(parts, Body::from(body));
                return act(around, request, next, doing).await;
            }
            Begun::Before(mut told) => {
                // A failure that is not kept leaves the key free again, and this request takes its turn.
                if let Ok(answer) = told.wait_for(Option::is_some).await {
                    count("replayed", 1);
                    return replayed(answer.as_ref());
                }
            }
            Begun::Another => {
                count("mismatch", 1);
                let detail =
                    "this Idempotency-Key was sent with another request; take a new key for a new request";
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                return Err(Problem::new(status, "IDEMPOTENCY_KEY_REUSED", detail));
            }
            Begun::Full { retry_after_s } => {
                count("full", 1);
                let detail =
                    "as many keys of this account are kept as may be; send the request without one, or later";
                return Err(Problem::too_often("IDEMPOTENCY_KEYS_FULL", retry_after_s, detail));
            }
        }
    }
}

/// Whose keys they are; `None` for who is not let in.
async fn account(around: &Around, parts: &mut Parts) -> Option<String> {
    let app = &around.app;
    match around.access {
        Access::Open => None,
        Access::Token => {
            let caller = Authenticated::from_request_parts(parts, app).await.ok()?.0;
            Some(caller.user_id.to_string())
        }
        Access::Admin => {
            let caller = Operator::from_request_parts(parts, app).await.ok()?.0;
            Some(caller.user_id.to_string())
        }
        Access::ServiceKey => {
            ExternalRunner::from_request_parts(parts, app).await.ok()?;
            Some("(service key)".to_owned())
        }
    }
}

fn key(parts: &Parts) -> Result<String, Problem> {
    let mut values = parts.headers.get_all(KEY_HEADER).iter();
    let key = values.next().and_then(|key| key.to_str().ok()).filter(|key| {
        values.next().is_none() && (1..=KEY_CHARS_MAX).contains(&key.len()) && !key.contains(' ')
    });
    key.map(ToOwned::to_owned).ok_or_else(|| {
        Problem::bad_request(
            "INVALID_FIELDS",
            format!("Idempotency-Key: send it once, with 1 to {KEY_CHARS_MAX} characters and no blanks"),
        )
    })
}

/// What makes two requests the same: method, address and every byte of the body.
fn digest(parts: &Parts, body: &Bytes) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [parts.method.as_str(), &parts.uri.to_string()] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.update(body);
    digest.finalize().into()
}

/// Does it in a task of its own, which goes on when the client goes away.
async fn act(around: &Around, request: Request, next: Next, doing: Doing) -> Result<Response, Problem> {
    let acting = async move {
        let (parts, body) = next.run(request).await.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        if is_final(parts.status) {
            doing.done(Answer {
                status: parts.status,
                content_type: parts.headers.get(header::CONTENT_TYPE).cloned(),
                body: (body.len() <= ANSWER_BYTES_MAX).then(|| body.clone()),
            });
        }
        Response::from_parts(parts, Body::from(body))
    };
    let acting = around.app.operators.tasks.spawn(acting.in_current_span());
    acting
        .await
        .map_err(|error| Problem::internal("a request with an idempotency key broke off", &error))
}

/// Whether it was decided. Who was not let in, came too often or found a part down may try again with the same key.
fn is_final(status: StatusCode) -> bool {
    let again = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    !status.is_server_error() && !again.contains(&status)
}

fn replayed(answer: Option<&Answer>) -> Result<Response, Problem> {
    let Some(Answer {
        status,
        content_type,
        body: Some(body),
    }) = answer
    else {
        let detail = "the request was done, and its answer was too large to be kept; ask for what it made";
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "IDEMPOTENCY_ANSWER_GONE",
            detail,
        ));
    };
    let mut response = (*status, Body::from(body.clone())).into_response();
    let headers = response.headers_mut();
    headers.insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, content_type.clone());
    }
    Ok(response)
}
