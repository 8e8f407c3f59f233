//! What a fake model server answers, and every way in which it does not.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::{FakeApi, anthropic, openai};

/// Dollars for a million tokens read and written.
pub(super) const PRICES: (f64, f64) = (2.0, 10.0);
/// Bytes of text that make a token here.
const TOKEN_BYTES: usize = 4;

/// A reply to one request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A message: what it says, the calls it wants made (id, name on the wire, arguments as text), and why it stopped,
    /// in the API's own word (`None`: the fitting one).
    Message {
        /// What it says.
        text: String,
        /// Id, name on the wire, arguments as JSON text.
        calls: Vec<(String, String, String)>,
        /// Why it stopped.
        stop: Option<String>,
        /// Members put into the answer last of all; null takes one out.
        extra: Value,
    },
    /// A status with headers and a body.
    Status {
        /// The status.
        code: u16,
        /// Headers.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: Value,
    },
    /// A body that is not JSON, with status 200.
    MalformedJson,
    /// The first half of an answer, then the connection is gone. It is billed.
    CutMidBody,
    /// Another reply, after a while.
    Slow(Duration, Box<Reply>),
}

impl Reply {
    /// It says this and is done.
    pub fn say(text: impl Into<String>) -> Self {
        Self::Message {
            text: text.into(),
            calls: Vec::new(),
            stop: None,
            extra: json!({}),
        }
    }

    /// It wants these calls made: id, name on the wire, arguments.
    pub fn call<const N: usize>(calls: [(&str, &str, Value); N]) -> Self {
        let calls =
            calls.map(|(id, name, arguments)| (id.to_owned(), name.to_owned(), arguments.to_string()));
        Self::Message {
            text: String::new(),
            calls: calls.into(),
            stop: None,
            extra: json!({}),
        }
    }

    /// The same with this reason to stop.
    #[must_use]
    pub fn stopping(mut self, word: &str) -> Self {
        if let Self::Message { stop, .. } = &mut self {
            *stop = Some(word.to_owned());
        }
        self
    }

    /// The same with these members of the answer set last of all; null takes one out.
    #[must_use]
    pub fn with(mut self, members: Value) -> Self {
        if let Self::Message { extra, .. } = &mut self {
            *extra = members;
        }
        self
    }

    /// 429 that says when to come back.
    pub fn rate_limited(retry_after: &str) -> Self {
        Self::Status {
            code: 429,
            headers: vec![("retry-after", retry_after.to_owned())],
            body: json!({"type": "error", "error": {"type": "rate_limit_error", "message": "too many requests"}}),
        }
    }

    /// 529: overloaded, without a word on when to come back.
    pub fn overloaded() -> Self {
        Self::Status {
            code: 529,
            headers: Vec::new(),
            body: json!({"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}}),
        }
    }

    /// 429 because the money is spent.
    pub fn spend_limit(api: FakeApi) -> Self {
        let error = match api {
            FakeApi::Anthropic => json!({"type": "rate_limit_error", "message": "spend limit",
                "details": {"error_code": "enforced_spend_limit_reached"}}),
            FakeApi::OpenAi => {
                json!({"type": "insufficient_quota", "code": "insufficient_quota", "message": "quota"})
            }
        };
        Self::Status {
            code: 429,
            headers: Vec::new(),
            body: json!({"error": error}),
        }
    }

    /// What goes over the wire, and what it costs. A status costs nothing; what was worked out does.
    pub(super) fn deliver(
        self,
        api: FakeApi,
        request: &Value,
        number: u64,
        request_bytes: usize,
    ) -> Delivery {
        match self {
            Self::Slow(wait, reply) => {
                let delivery = reply.deliver(api, request, number, request_bytes);
                Delivery { wait, ..delivery }
            }
            Self::Status { code, headers, body } => Delivery {
                status: StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                headers,
                bytes: body.to_string().into_bytes(),
                ..Delivery::default()
            },
            Self::MalformedJson => Delivery {
                bytes: b"{\"content\": [".to_vec(),
                micro_usd: cost(request_bytes / TOKEN_BYTES, 10),
                ..Delivery::default()
            },
            Self::CutMidBody => {
                let whole = Self::say("half of this").deliver(api, request, number, request_bytes);
                Delivery {
                    is_cut: true,
                    ..whole
                }
            }
            Self::Message {
                text,
                calls,
                stop,
                extra,
            } => {
                let written = text.len()
                    + calls
                        .iter()
                        .map(|(_, name, input)| name.len() + input.len())
                        .sum::<usize>();
                let (input, output) = (request_bytes / TOKEN_BYTES, written / TOKEN_BYTES + 5);
                let tokens = (input, output);
                let mut answer = match api {
                    FakeApi::Anthropic => anthropic::message(request, number, &text, &calls, stop, tokens),
                    FakeApi::OpenAi => openai::message(number, &text, &calls, stop, tokens),
                };
                if let (Some(answer), Some(extra)) = (answer.as_object_mut(), extra.as_object()) {
                    for (member, value) in extra {
                        if value.is_null() {
                            answer.remove(member);
                        } else {
                            answer.insert(member.clone(), value.clone());
                        }
                    }
                }
                Delivery {
                    bytes: answer.to_string().into_bytes(),
                    micro_usd: cost(input, output),
                    ..Delivery::default()
                }
            }
        }
    }
}

fn cost(input: usize, output: usize) -> f64 {
    input as f64 * PRICES.0 + output as f64 * PRICES.1
}

/// What goes over the wire.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    bytes: Vec<u8>,
    wait: Duration,
    is_cut: bool,
    pub(super) micro_usd: f64,
}

impl Delivery {
    #[expect(
        clippy::disallowed_methods,
        reason = "a slow server is slow by the wall clock"
    )]
    pub(super) async fn send(self) -> Response {
        tokio::time::sleep(self.wait).await;
        let mut response = if self.is_cut {
            let half = Bytes::from(
                self.bytes
                    .get(..self.bytes.len() / 2)
                    .unwrap_or_default()
                    .to_vec(),
            );
            let chunks: Vec<Result<Bytes, std::io::Error>> =
                vec![Ok(half), Err(std::io::Error::other("the connection is gone"))];
            Body::from_stream(Stream(chunks.into_iter())).into_response()
        } else {
            (self.status, self.bytes).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(
            "content-type",
            axum::http::HeaderValue::from_static("application/json"),
        );
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// A stream of what is there already.
struct Stream(std::vec::IntoIter<Result<Bytes, std::io::Error>>);

impl futures::Stream for Stream {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

/// A refusal in the API's own form.
pub(super) fn refusal(api: FakeApi, status: StatusCode, message: &str) -> Response {
    let kind = match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        _ => "invalid_request_error",
    };
    let body = match api {
        FakeApi::Anthropic => {
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req"})
        }
        FakeApi::OpenAi => json!({"error": {"type": kind, "message": message, "param": null, "code": null}}),
    };
    (status, body.to_string()).into_response()
}
