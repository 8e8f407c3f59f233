//! The body: read within its limit, and looked at before rmcp does, whose answers to broken messages are plain text.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use events::Clock;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::problem::{BrokenMessage, Problem};

const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;
/// How long a client may take to send its body.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// How much of a refused body is read and dropped, in multiples of the limit, so that the client hears the refusal
/// instead of a reset connection.
const DRAINED_LIMITS: usize = 4;

/// A message, as far as the door needs to know it: not yet what its parts mean.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// Empty for an answer of the client.
    pub(crate) method: Cow<'a, str>,
    /// As it was sent; a notification has none.
    pub(crate) id: Option<&'a RawValue>,
    /// As they were sent.
    pub(crate) params: Option<&'a RawValue>,
}

impl Message<'_> {
    /// Whether it begins a session.
    pub(crate) fn is_initialize(&self) -> bool {
        self.method == "initialize"
    }

    /// Whether a mounted server may be asked before it is answered.
    pub(crate) fn may_take_its_time(&self) -> bool {
        self.id.is_some()
            && matches!(
                self.method.as_ref(),
                "tools/call" | "resources/read" | "prompts/get"
            )
    }

    /// Whether its answer is a stream that lasts until somebody ends it.
    pub(crate) fn is_listen(&self) -> bool {
        self.method == "subscriptions/listen"
    }
}

/// The size a client says its body has.
pub(crate) fn declared_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Refuses a body for its size, after dropping enough of it that the refusal arrives.
pub(crate) async fn too_large(body: Body, bytes_max: usize, clock: &dyn Clock) -> Response {
    let drained = Limited::new(body, bytes_max.saturating_mul(DRAINED_LIMITS));
    let drain = async {
        let mut drained = std::pin::pin!(drained);
        while let Some(Ok(_)) = drained.frame().await {}
    };
    // Whichever is first: nothing is lost with the other one.
    tokio::select! {
        () = drain => {}
        () = clock.sleep(Duration::from_secs(5)) => {}
    }
    refuse_size(bytes_max).into_response()
}

fn refuse_size(bytes_max: usize) -> Problem {
    let detail = format!("the request body is larger than {bytes_max} bytes; send less at once");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

/// Reads the whole body.
pub(crate) async fn read(body: Body, bytes_max: usize, clock: &dyn Clock) -> Result<Bytes, Response> {
    let collected = tokio::select! {
        collected = Limited::new(body, bytes_max).collect() => collected,
        // The body is dropped half read: the connection is not used again.
        () = clock.sleep(READ_WITHIN) => {
            let detail = format!("the request body did not arrive within {} s", READ_WITHIN.as_secs());
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail).into_response());
        }
    };
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(refuse_size(bytes_max).into_response()),
        Err(_) => {
            let detail = "the request body broke off before its end";
            Err(Problem::new(StatusCode::BAD_REQUEST, "body_cut_short", detail).into_response())
        }
    }
}

/// The members that make a JSON-RPC message; unknown ones are rmcp's business.
#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    result: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

/// Tells what `body` is, or what is wrong with it.
pub(crate) fn examine(body: &[u8]) -> Result<Message<'_>, BrokenMessage> {
    let invalid = |message: &str| BrokenMessage {
        code: INVALID_REQUEST,
        message: format!("Invalid Request: {message}"),
    };
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if is_list {
        serde_json::from_slice::<IgnoredAny>(body).map_err(|error| unparsable(&error))?;
        return Err(invalid(
            "batches are not part of MCP; send one message in each request",
        ));
    }
    let envelope: Envelope<'_> = match serde_json::from_slice(body) {
        Ok(envelope) => envelope,
        Err(error) if error.classify() == Category::Data => {
            // Unreadable as an envelope, but is it JSON at all?
            serde_json::from_slice::<IgnoredAny>(body).map_err(|error| unparsable(&error))?;
            return Err(invalid(
                "the body must be one JSON-RPC object whose jsonrpc and method are strings",
            ));
        }
        Err(error) => return Err(unparsable(&error)),
    };
    if envelope.jsonrpc.as_deref() != Some("2.0") {
        return Err(invalid("jsonrpc must be \"2.0\""));
    }
    let is_answer = envelope.result.is_some() || envelope.error.is_some();
    match envelope.method {
        None if !is_answer => Err(invalid("method is missing")),
        method => Ok(Message {
            method: method.unwrap_or_default(),
            id: envelope.id,
            params: envelope.params,
        }),
    }
}

/// Where the JSON breaks; never what is there.
fn unparsable(error: &serde_json::Error) -> BrokenMessage {
    let message = format!(
        "Parse error: the body is not JSON at line {}, column {}",
        error.line(),
        error.column()
    );
    BrokenMessage {
        code: PARSE_ERROR,
        message,
    }
}

/// Gives rmcp's plain-text refusals the form that all others have.
pub(crate) async fn reshape(response: Response, is_json_request: bool) -> Response {
    let status = response.status();
    let is_plain = !response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.to_str()
            .is_ok_and(|kind| kind.contains("json") || kind.contains("event-stream"))
    });
    if !(status.is_client_error() || status.is_server_error()) || !is_plain {
        return response;
    }
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE && is_json_request {
        let message = "Invalid Request: this is no message that MCP knows (an id must be a string or a number, params an object)";
        return BrokenMessage {
            code: INVALID_REQUEST,
            message: message.to_owned(),
        }
        .into_response();
    }
    let allow = response
        .headers()
        .get(header::ALLOW)
        .and_then(|allow| allow.to_str().ok())
        .map(str::to_owned);
    let code = match status {
        StatusCode::NOT_ACCEPTABLE => "not_acceptable",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
        StatusCode::NOT_FOUND => "session_not_found",
        status if status.is_server_error() => "internal_error",
        _ => "bad_request",
    };
    // A server error's text may speak of the inside; rmcp has logged it.
    let detail = if status.is_server_error() {
        "the server could not handle this request".to_owned()
    } else {
        let body = Limited::new(response.into_body(), 4 * 1024).collect().await;
        body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned())
            .unwrap_or_default()
    };
    let problem = Problem::new(status, code, detail);
    match allow {
        Some(allow) => problem.with(header::ALLOW, allow).into_response(),
        None => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let initialize = br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
        assert!(examine(initialize).unwrap().is_initialize());
        let list = examine(br#"{"jsonrpc":"2.0","id":"a","method":"tools/list","params":{"x":1}}"#).unwrap();
        assert_eq!(list.method, "tools/list");
        assert_eq!(list.id.map(RawValue::get), Some(r#""a""#));
        assert_eq!(list.params.map(RawValue::get), Some(r#"{"x":1}"#));
        let answer = examine(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#).unwrap();
        assert_eq!(answer.method, "");
    }

    #[test]
    fn broken_messages_get_the_code_of_what_is_wrong() {
        for (body, code) in [
            ("", PARSE_ERROR),
            ("{", PARSE_ERROR),
            ("nonsense", PARSE_ERROR),
            ("[{]", PARSE_ERROR),
            ("\u{feff}{}", PARSE_ERROR),
            (r#"{"jsonrpc":5,"method":"x","#, PARSE_ERROR),
            ("[]", INVALID_REQUEST),
            (r#" [{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, INVALID_REQUEST),
            ("5", INVALID_REQUEST),
            ("{}", INVALID_REQUEST),
            (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, INVALID_REQUEST),
            (
                r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"ping"}"#,
                INVALID_REQUEST,
            ),
        ] {
            assert_eq!(
                examine(body.as_bytes()).err().map(|broken| broken.code),
                Some(code),
                "{body}"
            );
        }
    }

    #[test]
    fn endless_nesting_is_a_parse_error_and_no_stack_overflow() {
        let deep = "[".repeat(100_000);
        assert_eq!(
            examine(deep.as_bytes()).err().map(|broken| broken.code),
            Some(PARSE_ERROR)
        );
    }
}
