//! Why the admin API did not do what it was asked, in one line.

use std::error::Error as _;

use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use crate::exit::CommandError;
use crate::output::printable;

/// Characters of a server's own words that are passed on.
const DETAIL_CHARS_MAX: usize = 300;

/// A request that came to nothing. The text names the cure where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// No connection, or it broke.
    #[error("cannot reach {url}: {reason}; is `dramatis up` running there? (--api says where)")]
    Unreachable {
        /// The server.
        url: String,
        /// The operating system's or TLS library's words.
        reason: String,
    },
    /// Connected, and then silence.
    #[error("{url} did not answer in time; see its log, or try again")]
    TimedOut {
        /// The server.
        url: String,
    },
    /// The server said no.
    #[error("{detail}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What a person should read.
        detail: String,
    },
    /// Something answered, but not with what this API answers.
    #[error("{url} does not answer like a Dramatis server ({reason}); check --api")]
    NotOurs {
        /// The server.
        url: String,
        /// What was wrong with the answer.
        reason: String,
    },
}

/// RFC 9457, with the `error` member that older clients read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    error: Option<serde_json::Value>,
}

impl ApiError {
    /// From an exchange that broke off.
    pub(super) fn from_transport(base: &Url, error: &reqwest::Error) -> Self {
        let url = shown(base);
        if error.is_timeout() && !error.is_connect() {
            return Self::TimedOut { url };
        }
        let mut cause = error.source();
        let mut reason = error.to_string();
        while let Some(inner) = cause {
            reason = inner.to_string();
            cause = inner.source();
        }
        Self::Unreachable { url, reason }
    }

    /// From an answer that is not a success.
    pub(super) fn from_refusal(base: &Url, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let problem: Option<Problem> = serde_json::from_slice(body).ok();
        let Some(problem) = problem else {
            return Self::from_foreign_refusal(base, status, headers);
        };
        let error = problem
            .error
            .as_ref()
            .and_then(|error| error.as_str().map(str::to_owned));
        let said = problem
            .detail
            .or(error)
            .or(problem.title)
            .unwrap_or_else(|| status.to_string());
        let said: String = events::capped(&printable(&said), DETAIL_CHARS_MAX);
        let detail = match status {
            StatusCode::UNAUTHORIZED => format!(
                "{} does not accept the admin token: {said}; get a new one and set MANA_ADMIN_JWT",
                shown(base)
            ),
            StatusCode::FORBIDDEN => {
                format!("the token's account may not do this: {said}; use one with the admin role")
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                match headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()) {
                    Some(after) => format!("{said}; try again in {} s", printable(after)),
                    None => format!("{said}; try again in a moment"),
                }
            }
            _ => said,
        };
        Self::Refused { status, detail }
    }

    /// A refusal without a problem body: a proxy, another program, or a path that is not there.
    fn from_foreign_refusal(base: &Url, status: StatusCode, headers: &HeaderMap) -> Self {
        let url = shown(base);
        match (status, headers.get(LOCATION).and_then(|to| to.to_str().ok())) {
            (status, Some(to)) if status.is_redirection() => Self::NotOurs {
                url,
                reason: format!(
                    "it sends elsewhere: {}",
                    events::capped(&printable(to), DETAIL_CHARS_MAX)
                ),
            },
            (status, _) if status.is_server_error() => Self::Refused {
                status,
                detail: format!("{url} answers {status}; see its log"),
            },
            _ => Self::NotOurs {
                url,
                reason: format!("it answers {status}"),
            },
        }
    }

    /// The HTTP status, where the server said no.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl From<ApiError> for CommandError {
    fn from(error: ApiError) -> Self {
        let text = error.to_string();
        match error {
            ApiError::Unreachable { .. } | ApiError::TimedOut { .. } => Self::Unavailable(text),
            ApiError::NotOurs { .. } => Self::Failed(text),
            ApiError::Refused { status, .. } => match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::NotAllowed(text),
                StatusCode::NOT_FOUND => Self::NotFound(text),
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT => Self::Unavailable(text),
                _ => Self::Failed(text),
            },
        }
    }
}

/// The server's address without a user name or password somebody put into it.
fn shown(base: &Url) -> String {
    let mut url = base.clone();
    // Refused only by addresses that cannot have either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.as_str().trim_end_matches('/').to_owned()
}
