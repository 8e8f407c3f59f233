//! What a refusal or failure looks like on the wire: RFC 9457 problem details.
//!
//! Every error answer has a stable `code` for programs, a `detail` for people, and an `error` member with the
//! same text, which clients of the system before this one read. Causes are logged, never sent.

use std::fmt::Display;

use axum::Json;
use axum::response::{IntoResponse, Response};
use events::{LogError, Rejection};
use http::{HeaderValue, StatusCode, header};
use projections::TablesError;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::Fault;

/// How long a client is asked to wait before it tries again, where we cannot know better.
const RETRY_AFTER_S: u64 = 2;

/// An answer that says no, or says that we could not. Boxed, because it is rare and every handler returns it.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    detail: String,
    challenge: Option<&'static str>,
    retry_after_s: Option<u64>,
    members: Map<String, Value>,
}

impl Problem {
    /// A problem with its stable code and what a person should know or do.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self(Box::new(Parts {
            status,
            code,
            detail,
            challenge: None,
            retry_after_s: None,
            members: Map::new(),
        }))
    }

    /// 400: the request is not what the endpoint takes.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401: who the caller is, is not proven. `challenge` becomes `WWW-Authenticate`.
    pub(crate) fn unauthorized(
        code: &'static str,
        challenge: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let mut problem = Self::new(StatusCode::UNAUTHORIZED, code, detail);
        problem.0.challenge = Some(challenge);
        problem
    }

    /// 404: there is no such thing.
    pub(crate) fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 503 with `Retry-After`: something this answer needs is not there now. Trying again is safe.
    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        problem.0.retry_after_s = Some(RETRY_AFTER_S);
        problem
    }

    /// 429 with `Retry-After`: asked too often.
    pub(crate) fn too_often(code: &'static str, retry_after_s: u64, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail);
        problem.0.retry_after_s = Some(retry_after_s);
        problem
    }

    /// 500: our fault. `cause` goes to the log only.
    pub(crate) fn internal(what: &'static str, cause: &dyn Display) -> Self {
        tracing::error!(error = %cause, "{what}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL",
            "something went wrong here; the log says what",
        )
    }

    /// The problem that a bare status stands for, where the HTTP library itself refused.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => (
                "NOT_FOUND",
                "there is nothing at this address; /openapi.json lists what there is",
            ),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("METHOD_NOT_ALLOWED", "this address does not take that method")
            }
            StatusCode::PAYLOAD_TOO_LARGE => ("BODY_TOO_LARGE", "the body is larger than this address takes"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("UNSUPPORTED_MEDIA_TYPE", "send application/json"),
            status if status.is_server_error() => {
                ("INTERNAL", "something went wrong here; the log says what")
            }
            _ => ("BAD_REQUEST", "the request is not what this address takes"),
        };
        Self::new(status, code, detail)
    }

    /// The same problem with one more member.
    #[must_use]
    pub(crate) fn with(mut self, member: &str, value: Value) -> Self {
        self.0.members.insert(member.to_owned(), value);
        self
    }

    /// Status, code and detail, for a wire that is not HTTP.
    pub(crate) fn summary(&self) -> (u16, &'static str, String) {
        (self.0.status.as_u16(), self.0.code, self.0.detail.clone())
    }

    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }
}

/// A refusal or failure (RFC 9457).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemBody<'a> {
    #[serde(rename = "type")]
    problem_type: &'a str,
    title: &'a str,
    status: u16,
    /// For people.
    detail: &'a str,
    /// For programs; does not change.
    code: &'a str,
    /// The detail again, where older clients look for it.
    error: &'a str,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Fault>>")]
    faults: Option<Value>,
    /// What some codes say besides.
    #[serde(flatten)]
    more: Map<String, Value>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut parts = *self.0;
        let body = ProblemBody {
            problem_type: "about:blank",
            title: parts.status.canonical_reason().unwrap_or("Error"),
            status: parts.status.as_u16(),
            detail: &parts.detail,
            code: parts.code,
            error: &parts.detail,
            faults: parts.members.shift_remove("faults"),
            more: parts.members,
        };
        let mut response = (parts.status, Json(body)).into_response();
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        if let Some(challenge) = parts.challenge {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = parts.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unavailable(cause) => {
                tracing::warn!(error = %cause, "the log does not answer an HTTP request");
                Self::unavailable("LOG_UNAVAILABLE", "the event log does not answer now; try again")
            }
            LogError::Busy { in_flight_max } => {
                tracing::warn!(in_flight_max, "the log takes no more appends at once");
                Self::unavailable("LOG_UNAVAILABLE", "the event log is busy now; try again")
            }
            LogError::Unfit(cause) => {
                tracing::error!(error = %cause, "the log is not as it must be");
                Self::unavailable(
                    "LOG_UNAVAILABLE",
                    "the event log is not usable now; the operator must mend it",
                )
            }
            LogError::Codec(cause) => Self::internal("the log holds what cannot be read", &cause),
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::WrongSequence { .. } => Self::unavailable(
                "PERSONA_BUSY",
                "the persona is acting and its log keeps moving; try again",
            ),
            Rejection::TooLarge { .. } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "BODY_TOO_LARGE",
                "this is more than the log takes at once",
            ),
        }
    }
}

impl From<TablesError> for Problem {
    fn from(error: TablesError) -> Self {
        tracing::error!(error = %error, "the tables cannot be read");
        Self::unavailable(
            "DATABASE_UNAVAILABLE",
            "the database does not answer now; try again",
        )
    }
}
