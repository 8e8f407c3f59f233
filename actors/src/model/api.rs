//! Which API a model speaks, and the one place that chooses between them.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::names::Names;
use super::turn::{ToolResult, Turn};
use super::{anthropic, openai};
use crate::brain::ToolInfo;

/// The language of a model's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// Anthropic's Messages.
    Anthropic,
    /// Chat Completions.
    OpenAi,
}

/// What every request of a conversation has in common.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) model: &'a str,
    pub(super) max_tokens: u32,
    /// What Chat Completions calls the limit.
    pub(super) max_tokens_member: &'a str,
    pub(super) system: &'a str,
    pub(super) tools: &'a [Value],
    pub(super) messages: &'a [Value],
    pub(super) schema: Option<&'a Value>,
}

impl Api {
    /// Its name in settings and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Anthropic => anthropic::PATH,
            Self::OpenAi => openai::PATH,
        }
    }

    /// The headers that name the caller. Their values never show in debug output.
    pub(super) fn headers(self, key: Option<&SecretString>) -> Result<HeaderMap, InvalidHeaderValue> {
        let mut headers = HeaderMap::new();
        if self == Self::Anthropic {
            let version = HeaderValue::from_static(anthropic::VERSION);
            headers.insert(HeaderName::from_static("anthropic-version"), version);
        }
        if let Some(key) = key {
            let (name, value) = match self {
                Self::Anthropic => (
                    HeaderName::from_static("x-api-key"),
                    key.expose_secret().to_owned(),
                ),
                Self::OpenAi => (AUTHORIZATION, format!("Bearer {}", key.expose_secret())),
            };
            let mut value = HeaderValue::from_str(&value)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }

    pub(super) fn tools(self, names: &Names, tools: &[ToolInfo]) -> Vec<Value> {
        match self {
            Self::Anthropic => anthropic::tools(names, tools),
            Self::OpenAi => openai::tools(names, tools),
        }
    }

    pub(super) fn body(self, request: &Request<'_>) -> Map<String, Value> {
        let Request {
            model,
            max_tokens,
            max_tokens_member,
            system,
            tools,
            messages,
            schema,
        } = *request;
        match self {
            Self::Anthropic => anthropic::body(model, max_tokens, system, tools, messages, schema),
            Self::OpenAi => {
                let limit = (max_tokens_member, max_tokens);
                openai::body(model, limit, system, tools, messages, schema)
            }
        }
    }

    pub(super) fn user(self, results: &[ToolResult], text: Option<&str>) -> Vec<Value> {
        match self {
            Self::Anthropic => anthropic::user(results, text),
            Self::OpenAi => openai::user(results, text),
        }
    }

    pub(super) fn read(self, answer: &Value) -> Result<Turn, String> {
        match self {
            Self::Anthropic => anthropic::read(answer),
            Self::OpenAi => openai::read(answer),
        }
    }
}
