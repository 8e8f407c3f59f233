//! What the Chat Completions API checks, and the form of its answers.

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::anthropic::check_schema;

/// What a request may hold. Reasoning models refuse sampling parameters and `max_tokens`.
const MEMBERS: [&str; 10] = [
    "model",
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "max_completion_tokens",
    "reasoning_effort",
    "metadata",
    "store",
];

type Refusal = (StatusCode, String);

fn bad(message: impl Into<String>) -> Refusal {
    (StatusCode::BAD_REQUEST, message.into())
}

pub(super) fn check(headers: &HeaderMap, body: &Value, key: &str) -> Result<(), Refusal> {
    let given = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if given != format!("Bearer {key}") {
        return Err((
            StatusCode::UNAUTHORIZED,
            format!("Incorrect API key provided: {given}"),
        ));
    }
    let members = body.as_object().ok_or_else(|| bad("the body is no object"))?;
    if let Some(odd) = members.keys().find(|member| !MEMBERS.contains(&member.as_str())) {
        return Err(bad(format!(
            "Unsupported parameter: '{odd}' is not supported with this model"
        )));
    }
    if !body["model"].is_string() {
        return Err(bad("you must provide a model parameter"));
    }
    for tool in body["tools"].as_array().into_iter().flatten() {
        let name = tool["function"]["name"].as_str().unwrap_or_default();
        let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if tool["type"] != "function" || name.is_empty() || name.len() > 64 || !name.chars().all(is_safe) {
            return Err(bad(format!(
                "Invalid 'tools[].function.name': {name:?} does not match '^[a-zA-Z0-9_-]{{1,64}}$'"
            )));
        }
        if !tool["function"]["parameters"].is_object() {
            return Err(bad(format!("Invalid schema for function '{name}'")));
        }
    }
    if let Some(format) = body.get("response_format") {
        let is_complete = format["type"] == "json_schema" && format["json_schema"]["name"].is_string();
        if !is_complete {
            return Err(bad("response_format: json_schema.name is required"));
        }
        check_schema(&format["json_schema"]["schema"], "response_format")?;
    }
    check_messages(body)
}

fn check_messages(body: &Value) -> Result<(), Refusal> {
    let messages = body["messages"]
        .as_array()
        .filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| bad("messages: [] is too short"))?;
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            let Some(place) = open.iter().position(|open| *open == id) else {
                return Err(bad(format!(
                    "messages.[{at}]: messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
                )));
            };
            open.remove(place);
            if !message["content"].is_string() {
                return Err(bad(format!("messages.[{at}].content: expected a string")));
            }
            continue;
        }
        if !open.is_empty() {
            return Err(unanswered(&open));
        }
        match role {
            "system" | "developer" | "user" if message["content"].is_string() => {}
            "assistant" if message["content"].is_string() || message["tool_calls"].is_array() => {
                let calls = message["tool_calls"].as_array();
                open = calls
                    .into_iter()
                    .flatten()
                    .filter_map(|call| call["id"].as_str())
                    .collect();
            }
            _ => {
                return Err(bad(format!(
                    "messages.[{at}]: role {role:?} with this content is not supported"
                )));
            }
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err(unanswered(&open))
    }
}

fn unanswered(open: &[&str]) -> Refusal {
    bad(format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'; missing: {}",
        open.join(", ")
    ))
}

pub(super) fn message(
    number: u64,
    text: &str,
    calls: &[(String, String, String)],
    stop: Option<String>,
    (input, output): (usize, usize),
) -> Value {
    let content = if text.is_empty() { Value::Null } else { text.into() };
    let mut message = json!({"role": "assistant", "content": content, "refusal": null});
    if !calls.is_empty() {
        let calls = calls.iter().map(|(id, name, arguments)| {
            json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
        });
        message["tool_calls"] = calls.collect();
    }
    let fitting = if calls.is_empty() { "stop" } else { "tool_calls" };
    json!({
        "id": format!("chatcmpl-{number}"),
        "object": "chat.completion",
        "choices": [{
            "index": 0,
            "message": message,
            "finish_reason": stop.unwrap_or_else(|| fitting.to_owned()),
        }],
        "usage": {
            "prompt_tokens": input,
            "completion_tokens": output,
            "total_tokens": input + output,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    })
}
