//! The tools, but those that ask back.
#![expect(
    deprecated,
    reason = "sampling and logging are deprecated, and still part of what the suite asks for"
)]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use events::{Clock as _, Event, EventLog as _, Subject};
use gateway::{About, Change, Hint, Principal, Scope, ToolSpec};
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, ElicitRequest,
    ErrorData, LoggingLevel,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};

use crate::fixtures::{Fixtures, PNG, of};
use crate::questions;

/// A sound without samples.
const WAV: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";
/// Between two messages of one tool.
const PAUSE: Duration = Duration::from_millis(50);

const PLAIN: [&str; 28] = [
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_tool_with_logging",
    "test_tool_with_progress",
    "test_error_handling",
    "test_reconnection",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "test_missing_capability",
    "test_streaming_elicitation",
    "test_logging_tool",
    "test_trigger_tool_change",
    "test_trigger_prompt_change",
    "test_input_required_result_elicitation",
    "test_input_required_result_sampling",
    "test_input_required_result_list_roots",
    "test_input_required_result_request_state",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_multi_round",
    "test_input_required_result_tampered_state",
    "test_input_required_result_capabilities",
    "test_slow",
    "test_slow_count",
    "test_slow_ends",
    "test_panic",
];

/// All tools, those that ask back among them.
pub(crate) fn all(fixtures: &Arc<Fixtures>) -> Vec<ToolSpec> {
    let described = |name: &'static str, schema: Value| {
        let about = About {
            name,
            title: name,
            description: "For the conformance suite",
            scope: Scope::UserSpace,
            hint: Hint::Read,
            idempotent: true,
            encrypted: None,
        };
        let fixtures = fixtures.clone();
        ToolSpec::raw(
            about,
            schema.as_object().cloned().unwrap_or_default(),
            move |called, params, context| {
                let fixtures = fixtures.clone();
                async move {
                    if params.name.starts_with("test_input_required_result_") {
                        return questions::call(&fixtures, &params, &context);
                    }
                    call(&fixtures, &called.principal, &params, &context).await
                }
            },
        )
    };
    let takes = |field: &str| json!({"type": "object", "properties": {field: {"type": "string"}}, "required": [field]});
    let plain = PLAIN
        .iter()
        .map(|name| described(name, json!({"type": "object", "properties": {}})));
    let address = json!({
        "$anchor": "addressDef",
        "type": "object",
        "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
    });
    let draft_2020_12 = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": address},
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}, {"required": ["name"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": []},
        "additionalProperties": false,
    });
    let mirrored = json!({
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
        "required": ["region"],
    });
    let others = [
        described("test_sampling", takes("prompt")),
        described("test_elicitation", takes("message")),
        described("json_schema_2020_12_tool", draft_2020_12),
        described("test_header", mirrored),
    ];
    plain.chain(others).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "callers write the blocks in place")]
fn content(blocks: Value) -> Result<CallToolResponse, ErrorData> {
    let result: CallToolResult = of(json!({"resultType": "complete", "content": blocks}))?;
    Ok(result.into())
}

#[expect(clippy::unnecessary_wraps, reason = "what a tool answers")]
fn text(text: impl Into<String>) -> Result<CallToolResponse, ErrorData> {
    Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
}

async fn pause() {
    events::SystemClock::new().sleep(PAUSE).await;
}

/// How the caller's calls of `tool` have ended, one word each, as the record has it.
async fn ends_on_record(fixtures: &Fixtures, caller: &Principal, tool: &str) -> Result<String, ErrorData> {
    let subject = Subject::Session(caller.user_id.clone());
    let commits = fixtures.log.read_subject(&subject).await;
    let commits = commits.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    let (mut calls, mut ends) = (HashSet::new(), Vec::new());
    for event in commits.iter().flat_map(|one| &one.commit.events) {
        match event {
            Event::CallStarted(started) if started.tool == tool => {
                calls.insert(started.call_id.clone());
            }
            Event::CallEnded(ended) if calls.contains(&ended.call_id) => ends.push(ended.outcome.as_str()),
            _ => {}
        }
    }
    Ok(ends.join(" "))
}

async fn call(
    fixtures: &Fixtures,
    caller: &Principal,
    call: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let argument = |name: &str| {
        let arguments = call.arguments.as_ref();
        let value = arguments.and_then(|arguments| arguments.get(name)?.as_str());
        value.unwrap_or_default().to_owned()
    };
    match call.name.as_ref() {
        "test_tool_with_logging" => {
            for said in [
                "Tool execution started",
                "Tool processing data",
                "Tool execution completed",
            ] {
                log(context, said).await?;
                pause().await;
            }
            text("Tool with logging executed successfully")
        }
        "test_logging_tool" => {
            if matches!(
                context.meta.log_level(),
                Some(LoggingLevel::Debug | LoggingLevel::Info)
            ) {
                log(context, "as asked").await?;
            }
            text("done")
        }
        "test_tool_with_progress" => {
            for progress in [0, 50, 100] {
                progressed(context, progress).await?;
                pause().await;
            }
            text("done")
        }
        "test_error_handling" => {
            let told = ContentBlock::text("This tool intentionally returns an error for testing");
            Ok(CallToolResult::error(vec![told]).into())
        }
        "test_reconnection" => {
            gateway::let_stream_go(context);
            pause().await;
            pause().await;
            text("the answer came on another connection")
        }
        "test_slow" => {
            // Longer than any patience; ended by whoever gives the call up.
            let _counted = Counted::new(&fixtures.slow);
            events::SystemClock::new().sleep(Duration::from_mins(10)).await;
            text("done at last")
        }
        "test_slow_count" => text(fixtures.slow.load(Ordering::SeqCst).to_string()),
        "test_slow_ends" => text(ends_on_record(fixtures, caller, "test_slow").await?),
        #[expect(clippy::panic, reason = "the fixture of a tool that breaks down")]
        "test_panic" => panic!("as the test wants it"),
        "test_missing_capability" => {
            let declared = context.client_capabilities().unwrap_or_default();
            if declared.sampling.is_none() {
                let needed = ClientCapabilities::builder().enable_sampling().build();
                return Err(ErrorData::missing_required_client_capability(needed));
            }
            text("the client can sample")
        }
        "test_streaming_elicitation" => text("nothing was asked on the way"),
        "test_trigger_tool_change" => changed(fixtures, caller, Change::Tools).await,
        "test_trigger_prompt_change" => changed(fixtures, caller, Change::Prompts).await,
        "test_sampling" => {
            let message = json!({"role": "user", "content": {"type": "text", "text": argument("prompt")}});
            let asked = of(json!({"messages": [message], "maxTokens": 100}))?;
            let answer = context.peer.create_message(asked).await;
            let answer = answer.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
            let answer = serde_json::to_value(answer).unwrap_or_default();
            text(format!(
                "LLM response: {}",
                answer["content"]["text"].as_str().unwrap_or_default()
            ))
        }
        "test_elicitation" => {
            let fields = json!({"response": {"type": "string", "description": "User's response"}});
            elicit(context, &argument("message"), fields, &["response"]).await
        }
        "test_elicitation_sep1034_defaults" => elicit(context, "Please review", with_defaults(), &[]).await,
        "test_elicitation_sep1330_enums" => elicit(context, "Please choose", with_choices(), &[]).await,
        "json_schema_2020_12_tool" | "test_header" => text("called"),
        name => contents(name),
    }
}

/// The answers that are always the same.
fn contents(name: &str) -> Result<CallToolResponse, ErrorData> {
    let picture = json!({"type": "image", "data": PNG, "mimeType": "image/png"});
    match name {
        "test_simple_text" => text("This is a simple text response for testing."),
        "test_image_content" => content(json!([picture])),
        "test_audio_content" => content(json!([{"type": "audio", "data": WAV, "mimeType": "audio/wav"}])),
        "test_embedded_resource" => content(json!([{"type": "resource", "resource": {
            "uri": "test://embedded-resource",
            "mimeType": "text/plain",
            "text": "This is an embedded resource content.",
        }}])),
        "test_multiple_content_types" => content(json!([
            {"type": "text", "text": "Multiple content types test:"},
            picture,
            {"type": "resource", "resource": {
                "uri": "test://mixed-content-resource",
                "mimeType": "application/json",
                "text": "{\"test\":\"data\",\"value\":123}",
            }},
        ])),
        _ => Err(ErrorData::invalid_params("there is no such tool", None)),
    }
}

/// While one lives, a call is under way.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn log(context: &RequestContext<RoleServer>, said: &str) -> Result<(), ErrorData> {
    let message = of(json!({"level": "info", "logger": "fixtures", "data": said}))?;
    let sent = context.peer.notify_logging_message(message).await;
    sent.map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

async fn progressed(context: &RequestContext<RoleServer>, progress: u32) -> Result<(), ErrorData> {
    let Some(token) = context.meta.get_progress_token() else {
        return Ok(());
    };
    let token = serde_json::to_value(token).unwrap_or_default();
    let message = of(json!({"progressToken": token, "progress": progress, "total": 100}))?;
    let sent = context.peer.notify_progress(message).await;
    sent.map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

async fn changed(
    fixtures: &Fixtures,
    caller: &Principal,
    change: Change,
) -> Result<CallToolResponse, ErrorData> {
    if let Some(notices) = fixtures.notices() {
        notices.announce(&change, Some(&caller.user_id)).await;
    }
    text("changed")
}

async fn elicit(
    context: &RequestContext<RoleServer>,
    message: &str,
    fields: Value,
    required: &[&str],
) -> Result<CallToolResponse, ErrorData> {
    let schema = json!({"type": "object", "properties": fields, "required": required});
    let params = json!({"mode": "form", "message": message, "requestedSchema": schema});
    let asked: ElicitRequest = of(json!({"method": "elicitation/create", "params": params}))?;
    let answer = context.peer.send_request(asked.into()).await;
    let answer = answer.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    let answer = serde_json::to_value(answer).unwrap_or_default();
    text(format!(
        "action={}, content={}",
        answer["action"], answer["content"]
    ))
}

fn with_defaults() -> Value {
    json!({
        "name": {"type": "string", "description": "User name", "default": "John Doe"},
        "age": {"type": "integer", "description": "User age", "default": 30},
        "score": {"type": "number", "description": "User score", "default": 95.5},
        "status": {
            "type": "string",
            "description": "User status",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": {"type": "boolean", "description": "Verification status", "default": true},
    })
}

fn with_choices() -> Value {
    let plain = ["option1", "option2", "option3"];
    let titled = [
        json!({"const": "value1", "title": "First Option"}),
        json!({"const": "value2", "title": "Second Option"}),
        json!({"const": "value3", "title": "Third Option"}),
    ];
    json!({
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    })
}
