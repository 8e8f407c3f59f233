//! How a question is answered that is not answered: a code and a line, in the headers that NATS micro services use.

use async_nats::HeaderMap;
use projections::TablesError;
use serde_json::{Value, json};

use crate::http::Problem;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// As in HTTP.
    pub(super) status: u16,
    /// For programs; does not change.
    pub(super) code: String,
    /// For people.
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn new(status: u16, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            detail: detail.into(),
        }
    }

    /// The question is not what the endpoint takes.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(400, "BAD_REQUEST", detail)
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        // A header is one line.
        let line: String = self
            .detail
            .chars()
            .map(|c| if c.is_ascii_graphic() { c } else { ' ' })
            .collect();
        headers.insert("Nats-Service-Error", line.as_str());
        headers.insert("Nats-Service-Error-Code", self.status.to_string());
        headers
    }

    pub(super) fn body(&self) -> Value {
        json!({ "code": self.code, "detail": self.detail })
    }
}

impl From<TablesError> for Refusal {
    fn from(error: TablesError) -> Self {
        tracing::warn!(%error, "a question over NATS could not be answered");
        Self::new(
            503,
            "UNAVAILABLE",
            "the tables do not answer as they should; try again",
        )
    }
}

impl From<events::LogError> for Refusal {
    fn from(error: events::LogError) -> Self {
        tracing::warn!(%error, "a question over NATS could not be answered");
        Self::new(
            503,
            "UNAVAILABLE",
            "the log does not answer as it should; try again",
        )
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let (status, code, detail) = problem.summary();
        Self::new(status, code, detail)
    }
}
