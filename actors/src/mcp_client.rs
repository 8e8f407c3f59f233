//! A persona's MCP session: opened with its own token, closed when its tick ends.

mod raw;

use std::collections::HashMap;
use std::time::Duration;

use events::{CallId, SpaceId, Twin};
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::ServiceError;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig, ContentBlock,
    ErrorCode, Implementation, JsonObject, MetaObject, RequestMetaObject, Tool,
};
use rmcp::service::{RoleClient, RunningService, ServiceExt as _};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::brain::ToolInfo;
use crate::stage::Stage;

/// What we call ourselves.
const CLIENT_NAME: &str = "dramatis-persona";
/// The request `_meta` member the caller's own call id travels in.
const CALL_ID_META: &str = "dramatis/callId";
/// The member a span travels in.
const TRACEPARENT_META: &str = "traceparent";
/// The header that names the space a session acts in.
const SPACE_HEADER: HeaderName = HeaderName::from_static("x-mana-space");
/// How long the handshake and the tool list may take together.
const OPEN_WITHIN: Duration = Duration::from_secs(20);
/// How long one call may take.
const CALL_WITHIN: Duration = Duration::from_mins(1);
/// How long the goodbye may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// The session could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The handshake failed.
    #[error("the MCP session does not open: {0}")]
    Handshake(String),
    /// The tools could not be listed.
    #[error("the tools cannot be listed: {0}")]
    Tools(String),
    /// It took too long.
    #[error("the MCP session did not open within {} s", OPEN_WITHIN.as_secs())]
    TooSlow,
}

/// Where a session is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the app's own door.
    App,
    /// At a calibration twin's.
    Twin(Twin),
}

impl Place {
    fn path(self) -> String {
        match self {
            Self::App => "/mcp".to_owned(),
            Self::Twin(twin) => format!("/mcp/calibration/{}", twin.as_str()),
        }
    }
}

/// How a call was answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// The tool did it.
    Result { structured: Value, bytes: u64 },
    /// The tool, or the gateway in its place, refused: a result marked as an error.
    ToolError { message: String },
    /// The server answered with a JSON-RPC error.
    ProtocolError { message: String, is_internal: bool },
    /// No answer came back.
    Unanswered { message: String },
}

/// One session with its tools. Close it: dropping it leaves the goodbye to chance.
#[derive(Debug)]
pub(crate) struct McpSession {
    service: RunningService<RoleClient, ClientConfig>,
    tools: Vec<ToolInfo>,
    /// What it was opened with.
    token: SecretString,
    space: Option<SpaceId>,
}

impl McpSession {
    /// Opens a session with `token` in `space`, its owner's own where there is none, and lists its tools.
    pub(crate) async fn open(
        stage: &Stage,
        token: &SecretString,
        space: Option<&SpaceId>,
        place: Place,
    ) -> Result<Self, SessionError> {
        let open = async {
            let service = Self::handshake(stage, token, space, place).await?;
            match service.list_all_tools().await {
                Ok(tools) => Ok(Self {
                    service,
                    tools: tools.into_iter().map(tool_info).collect(),
                    token: token.clone(),
                    space: space.cloned(),
                }),
                Err(error) => {
                    close(service).await;
                    Err(SessionError::Tools(error.to_string()))
                }
            }
        };
        stage
            .within(OPEN_WITHIN, Box::pin(open))
            .await
            .unwrap_or(Err(SessionError::TooSlow))
    }

    async fn handshake(
        stage: &Stage,
        token: &SecretString,
        space: Option<&SpaceId>,
        place: Place,
    ) -> Result<RunningService<RoleClient, ClientConfig>, SessionError> {
        let config = StreamableHttpClientTransportConfig::with_uri(format!("{}{}", stage.settings.base_url, place.path()))
            .auth_header(token.expose_secret())
            // A session that is lost stays lost: no call goes out twice behind our back.
            .reinit_on_expired_session(false)
            .custom_headers(space_header(space)?);
        let transport = StreamableHttpClientTransport::with_client(stage.http.clone(), config);
        let client = Implementation::new(CLIENT_NAME, env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), client)
            .serve(transport)
            .await
            .map_err(|error| SessionError::Handshake(error.to_string()))
    }

    /// Opens another session beside this one, with the same token.
    pub(crate) async fn open_beside(&self, stage: &Stage, place: Place) -> Result<Self, SessionError> {
        Self::open(stage, &self.token, None, place).await
    }

    /// The tools on offer, in the gateway's order.
    pub(crate) fn tools(&self) -> &[ToolInfo] {
        &self.tools
    }

    /// Sends one call, as part of the span `traceparent` names, and waits for its answer.
    pub(crate) async fn call(
        &self,
        stage: &Stage,
        call_id: &CallId,
        tool: &str,
        arguments: JsonObject,
        traceparent: Option<String>,
    ) -> Answer {
        let mut params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let mut meta = JsonObject::from_iter([(CALL_ID_META.to_owned(), Value::from(call_id.as_str()))]);
        if let Some(parent) = traceparent {
            meta.insert(TRACEPARENT_META.to_owned(), parent.into());
        }
        params.meta = Some(RequestMetaObject(MetaObject(meta)));
        match stage
            .within(CALL_WITHIN, self.service.call_tool_once(params))
            .await
        {
            None => Answer::Unanswered {
                message: format!("no answer within {} s", CALL_WITHIN.as_secs()),
            },
            Some(Ok(CallToolResponse::Complete(result))) => answer(result),
            Some(Ok(_)) => Answer::ToolError {
                message: "the tool asked for more than a result".to_owned(),
            },
            Some(Err(ServiceError::McpError(error))) => Answer::ProtocolError {
                is_internal: error.code == ErrorCode::INTERNAL_ERROR,
                message: format!("{} ({})", error.message, error.code.0),
            },
            Some(Err(error)) => Answer::Unanswered {
                message: error.to_string(),
            },
        }
    }

    /// Says goodbye (DELETE) and waits for it.
    pub(crate) async fn close(self) {
        close(self.service).await;
    }
}

fn space_header(space: Option<&SpaceId>) -> Result<HashMap<HeaderName, HeaderValue>, SessionError> {
    let header = |space: &SpaceId| HeaderValue::from_str(space.as_str()).map(|value| (SPACE_HEADER, value));
    let header = space.map(header).transpose();
    let header = header.map_err(|_| SessionError::Handshake("the space's id is no header".to_owned()))?;
    Ok(header.into_iter().collect())
}

async fn close(mut service: RunningService<RoleClient, ClientConfig>) {
    if !matches!(service.close_with_timeout(CLOSE_WITHIN).await, Ok(Some(_))) {
        tracing::debug!("an MCP session did not close in time; the gateway ends it when it is idle");
    }
}

fn tool_info(tool: Tool) -> ToolInfo {
    let name = tool.name.into_owned();
    let hints = tool.annotations.unwrap_or_default();
    let read_only = hints.read_only_hint.unwrap_or(false);
    ToolInfo {
        module: module_of(&name).to_owned(),
        description: tool.description.unwrap_or_default().into_owned(),
        input_schema: Value::Object(tool.input_schema.as_ref().clone()),
        read_only,
        // The specification's own default: what says nothing may destroy.
        destructive: !read_only && hints.destructive_hint.unwrap_or(true),
        name,
    }
}

/// The module a tool belongs to: its name up to the first dot.
pub(crate) fn module_of(tool: &str) -> &str {
    tool.split_once('.').map_or(tool, |(module, _)| module)
}

fn answer(result: CallToolResult) -> Answer {
    let text = text_of(&result.content);
    if result.is_error == Some(true) {
        let told = if text.is_empty() {
            result.structured_content.unwrap_or_default().to_string()
        } else {
            text
        };
        return Answer::ToolError { message: told };
    }
    let bytes = serde_json::to_vec(&result.content).map_or(0, |content| content.len() as u64);
    let structured = result
        .structured_content
        .unwrap_or_else(|| serde_json::from_str(&text).unwrap_or(Value::String(text)));
    Answer::Result { structured, bytes }
}

fn text_of(content: &[ContentBlock]) -> String {
    content
        .iter()
        .filter_map(|block| block.as_text())
        .map(|text| text.text.as_str())
        .collect::<Vec<_>>()
        .join("\n")
}
