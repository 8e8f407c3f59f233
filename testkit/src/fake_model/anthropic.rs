//! What the Messages API checks, and the form of its answers.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What a request may hold. Sampling parameters are not among it: current models refuse them.
const MEMBERS: [&str; 12] = [
    "model",
    "max_tokens",
    "system",
    "messages",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "cache_control",
    "metadata",
    "stop_sequences",
    "service_tier",
];

type Refusal = (StatusCode, String);

fn bad(message: impl Into<String>) -> Refusal {
    (StatusCode::BAD_REQUEST, message.into())
}

pub(super) fn check(headers: &HeaderMap, body: &Value, key: &str) -> Result<(), Refusal> {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    if header("x-api-key") != key {
        return Err((
            StatusCode::UNAUTHORIZED,
            format!("invalid x-api-key {}", header("x-api-key")),
        ));
    }
    if header("anthropic-version") != "2023-06-01" {
        return Err(bad("anthropic-version: header is required"));
    }
    let members = body.as_object().ok_or_else(|| bad("the body is no object"))?;
    if let Some(odd) = members.keys().find(|member| !MEMBERS.contains(&member.as_str())) {
        return Err(bad(format!("{odd}: Extra inputs are not permitted")));
    }
    if !body["model"].is_string() {
        return Err(bad("model: Field required"));
    }
    if body["max_tokens"].as_u64().is_none_or(|tokens| tokens == 0) {
        return Err(bad("max_tokens: Field required"));
    }
    if matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool")) {
        return Err(bad("tool_choice: a forced choice is not supported by this model"));
    }
    if body["thinking"].get("budget_tokens").is_some() || body["thinking"]["type"] == "disabled" {
        return Err(bad("thinking: not supported by this model"));
    }
    check_tools(body)?;
    if let Some(schema) = body.pointer("/output_config/format/schema") {
        check_schema(schema, "output_config.format.schema")?;
    }
    check_messages(body)
}

fn check_tools(body: &Value) -> Result<(), Refusal> {
    let mut names = BTreeSet::new();
    for tool in body["tools"].as_array().into_iter().flatten() {
        let name = tool["name"].as_str().unwrap_or_default();
        let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 128 || !name.chars().all(is_safe) {
            return Err(bad(format!(
                "tools.{name}: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            )));
        }
        if !names.insert(name) {
            return Err(bad(format!("tools: Tool names must be unique: {name}")));
        }
        if tool["input_schema"]["type"] != "object" {
            return Err(bad(format!("tools.{name}.input_schema.type: Field required")));
        }
    }
    Ok(())
}

/// Structured outputs take a part of JSON Schema only.
pub(super) fn check_schema(schema: &Value, place: &str) -> Result<(), Refusal> {
    for member in [
        "minimum",
        "maximum",
        "pattern",
        "minLength",
        "maxLength",
        "maxItems",
    ] {
        if schema.get(member).is_some() {
            return Err(bad(format!("{place}: {member} is not supported")));
        }
    }
    if schema["minItems"].as_u64().is_some_and(|items| items > 1) {
        return Err(bad(format!("{place}: minItems is 0 or 1")));
    }
    if let Some(properties) = schema["properties"].as_object() {
        if schema["additionalProperties"] != false {
            return Err(bad(format!("{place}: additionalProperties must be false")));
        }
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (name, property) in properties {
            if !required.contains(&name.as_str()) {
                return Err(bad(format!("{place}.{name}: must be required")));
            }
            check_schema(property, &format!("{place}.{name}"))?;
        }
    }
    schema
        .get("items")
        .map_or(Ok(()), |items| check_schema(items, &format!("{place}[]")))
}

fn check_messages(body: &Value) -> Result<(), Refusal> {
    let messages = body["messages"]
        .as_array()
        .filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| bad("messages: at least one message is required"))?;
    if messages.last().is_some_and(|last| last["role"] != "user") {
        return Err(bad(
            "messages: this model does not support assistant message prefill",
        ));
    }
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let blocks: Vec<&Value> = message["content"].as_array().into_iter().flatten().collect();
        let is = |kind: &'static str| move |block: &&&Value| block["type"] == kind;
        if blocks
            .iter()
            .filter(is("text"))
            .any(|block| block["text"].as_str().is_none_or(|text| text.trim().is_empty()))
        {
            return Err(bad(format!(
                "messages.{at}: text content blocks must be non-empty"
            )));
        }
        match message["role"].as_str() {
            Some("assistant") => {
                if !open.is_empty() {
                    return Err(unanswered(at, &open));
                }
                for block in blocks.iter().filter(is("thinking")) {
                    if block["signature"] != binding(body, at) {
                        return Err(bad(format!(
                            "messages.{at}: block is bound to a different conversation"
                        )));
                    }
                }
                open = blocks
                    .iter()
                    .filter(is("tool_use"))
                    .filter_map(|block| block["id"].as_str())
                    .collect();
            }
            Some("user") => {
                let mut has_other = false;
                for block in &blocks {
                    if block["type"] != "tool_result" {
                        has_other = true;
                        continue;
                    }
                    if has_other {
                        return Err(bad(format!("messages.{at}: tool_result blocks must come first")));
                    }
                    let id = block["tool_use_id"].as_str().unwrap_or_default();
                    let Some(place) = open.iter().position(|open| *open == id) else {
                        return Err(bad(format!(
                            "messages.{at}: unexpected tool_use_id {id} in tool_result blocks"
                        )));
                    };
                    open.remove(place);
                }
                if !open.is_empty() {
                    return Err(unanswered(at, &open));
                }
            }
            _ => {
                return Err(bad(format!(
                    "messages.{at}.role: Input should be 'user' or 'assistant'"
                )));
            }
        }
    }
    Ok(())
}

fn unanswered(at: usize, open: &[&str]) -> Refusal {
    bad(format!(
        "messages.{at}: tool_use ids were found without tool_result blocks immediately after: {}",
        open.join(", ")
    ))
}

/// What a thinking block is bound to: system, tools, and the messages before it.
fn binding(body: &Value, at: usize) -> String {
    let before: Vec<&Value> = body["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .take(at)
        .collect();
    let text = json!([body["system"], body["tools"], before]).to_string();
    hex::encode(Sha256::digest(text))
}

pub(super) fn message(
    request: &Value,
    number: u64,
    text: &str,
    calls: &[(String, String, String)],
    stop: Option<String>,
    (input, output): (usize, usize),
) -> Value {
    let at = request["messages"].as_array().map_or(0, Vec::len);
    let mut content = vec![json!({"type": "thinking", "thinking": "", "signature": binding(request, at)})];
    if !text.is_empty() {
        content.push(json!({"type": "text", "text": text}));
    }
    for (id, name, arguments) in calls {
        let input: Value =
            serde_json::from_str(arguments).unwrap_or_else(|_| Value::String(arguments.clone()));
        content.push(json!({"type": "tool_use", "id": id, "name": name, "input": input}));
    }
    let fitting = if calls.is_empty() { "end_turn" } else { "tool_use" };
    json!({
        "id": format!("msg_{number}"),
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "content": content,
        "stop_reason": stop.unwrap_or_else(|| fitting.to_owned()),
        "stop_sequence": null,
        "usage": {
            "input_tokens": input,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output,
        },
    })
}
