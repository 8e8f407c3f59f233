//! Chat Completions: OpenAI, and Ollama, vLLM, llama.cpp and others by their base URL.
//!
//! Servers of this family differ: some leave out the usage, some say `stop` although there are calls, some write
//! arguments that are not JSON. What is there counts before what is said about it.

use serde_json::{Map, Value, json};

use super::names::Names;
use super::turn::{Stop, ToolResult, Turn, Usage, WireCall};
use crate::brain::ToolInfo;

/// Where messages are sent, below the base URL.
pub(super) const PATH: &str = "/chat/completions";

pub(super) fn tools(names: &Names, tools: &[ToolInfo]) -> Vec<Value> {
    let described = tools.iter().filter_map(|tool| {
        let function = json!({
            "name": names.wire(&tool.name)?,
            "description": tool.description,
            "parameters": tool.input_schema,
        });
        Some(json!({"type": "function", "function": function}))
    });
    described.collect()
}

/// The body of a request. With `schema` the answer has to be JSON of that form.
pub(super) fn body(
    model: &str,
    max_tokens: (&str, u32),
    system: &str,
    tools: &[Value],
    messages: &[Value],
    schema: Option<&Value>,
) -> Map<String, Value> {
    let mut all = vec![json!({"role": "system", "content": system})];
    all.extend_from_slice(messages);
    let mut body = Map::new();
    body.insert("model".to_owned(), model.into());
    body.insert(max_tokens.0.to_owned(), max_tokens.1.into());
    body.insert("messages".to_owned(), all.into());
    if !tools.is_empty() {
        body.insert("tools".to_owned(), tools.into());
    }
    if let Some(schema) = schema {
        let format = json!({
            "type": "json_schema",
            "json_schema": {"name": "ratings", "strict": true, "schema": schema},
        });
        body.insert("response_format".to_owned(), format);
    }
    body
}

/// What is said to the model: one message for the result of each call, then the text. There is no flag for errors,
/// so they say so themselves.
pub(super) fn user(results: &[ToolResult], text: Option<&str>) -> Vec<Value> {
    let result = |result: &ToolResult| {
        let content = if result.is_error {
            json!({"is_error": true, "error": result.content}).to_string()
        } else {
            result.content.clone()
        };
        json!({"role": "tool", "tool_call_id": result.wire_id, "content": content})
    };
    let mut messages: Vec<Value> = results.iter().map(result).collect();
    messages.extend(text.map(|text| json!({"role": "user", "content": text})));
    messages
}

/// Reads an answer; `Err` says what is missing.
pub(super) fn read(answer: &Value) -> Result<Turn, String> {
    let choice = answer.pointer("/choices/0").ok_or("choices")?;
    let message = choice
        .get("message")
        .and_then(Value::as_object)
        .ok_or("message")?;
    let calls = message.get("tool_calls").and_then(Value::as_array);
    let calls = calls.into_iter().flatten().map(call);
    let calls = calls.collect::<Result<Vec<_>, _>>()?;
    let finish = choice.get("finish_reason").and_then(Value::as_str);
    let text = |member: &str| {
        let text = message.get(member).and_then(Value::as_str).unwrap_or_default();
        text.to_owned()
    };
    let stop = match (finish, text("refusal")) {
        (_, refusal) if !refusal.is_empty() => Stop::Refused(refusal),
        (Some("content_filter"), _) => Stop::Refused("content filter".to_owned()),
        (Some("length"), _) => Stop::Cut,
        _ => Stop::Ended,
    };
    Ok(Turn {
        raw: Value::Object(message.clone()),
        calls,
        text: text("content"),
        stop,
        stop_word: finish.unwrap_or("none given").to_owned(),
        usage: usage(answer),
    })
}

fn call(call: &Value) -> Result<WireCall, String> {
    let text = |pointer: &str| call.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let arguments = match call.pointer("/function/arguments") {
        // Some servers write an object where the API has text.
        Some(object @ Value::Object(_)) => Ok(object.clone()),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(json!({})),
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(object @ Value::Object(_)) => Ok(object),
            Ok(_) => Err("the arguments are not a JSON object".to_owned()),
            Err(error) => Err(format!("the arguments are not JSON: {error}")),
        },
        _ => Err("the arguments are missing".to_owned()),
    };
    Ok(WireCall {
        wire_id: text("/id").ok_or("the id of a call")?,
        name: text("/function/name").ok_or("the name of a call")?,
        arguments,
    })
}

fn usage(answer: &Value) -> Usage {
    let count = |pointer: &str| answer.get("usage")?.pointer(pointer)?.as_u64();
    let cached = count("/prompt_tokens_details/cached_tokens");
    Usage {
        // Cached tokens are among the prompt's here.
        input: count("/prompt_tokens").map(|all| all.saturating_sub(cached.unwrap_or(0))),
        cached,
        cache_write: None,
        output: count("/completion_tokens"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(message: &Value, finish: &str) -> Value {
        json!({"choices": [{"message": message, "finish_reason": finish}]})
    }

    #[test]
    fn calls_count_whatever_the_reason_says_and_bad_arguments_stay_bad() {
        let calls = json!([
            {"id": "a", "type": "function", "function": {"name": "todo__list", "arguments": ""}},
            {"id": "b", "type": "function", "function": {"name": "todo__create", "arguments": "{\"title\": "}},
            {"id": "c", "type": "function", "function": {"name": "todo__create", "arguments": "[]"}},
            {"id": "d", "type": "function", "function": {"name": "todo__create", "arguments": {"title": "x"}}},
        ]);
        let message = json!({"role": "assistant", "content": null, "tool_calls": calls});
        let turn = read(&answer(&message, "stop")).unwrap();
        assert_eq!((turn.stop, turn.raw), (Stop::Ended, message));
        let good: Vec<bool> = turn.calls.iter().map(|call| call.arguments.is_ok()).collect();
        assert_eq!(good, [true, false, false, true]);
    }

    #[test]
    fn cached_tokens_are_not_counted_twice_and_a_missing_usage_is_unknown() {
        let mut body = answer(&json!({"content": "hi"}), "stop");
        assert_eq!(read(&body).unwrap().usage, Usage::default());
        body["usage"] = json!({"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 80}});
        let usage = read(&body).unwrap().usage;
        assert_eq!(
            (usage.input, usage.cached, usage.output),
            (Some(20), Some(80), Some(5))
        );
        assert_eq!(usage.conversation_tokens(), Some(105));
    }

    #[test]
    fn refusals_and_cuts_are_told_apart() {
        let stop = |message: Value, finish: &str| read(&answer(&message, finish)).unwrap().stop;
        assert_eq!(stop(json!({"content": ""}), "length"), Stop::Cut);
        assert_eq!(
            stop(json!({"content": ""}), "content_filter"),
            Stop::Refused("content filter".to_owned())
        );
        assert_eq!(
            stop(json!({"content": null, "refusal": "no"}), "stop"),
            Stop::Refused("no".to_owned())
        );
    }

    #[test]
    fn errors_say_so_in_their_content() {
        let results = [ToolResult {
            wire_id: "a".to_owned(),
            content: "title: required".to_owned(),
            is_error: true,
        }];
        let messages = user(&results, None);
        assert_eq!(messages[0]["tool_call_id"], "a");
        assert_eq!(
            messages[0]["content"],
            r#"{"is_error":true,"error":"title: required"}"#
        );
    }
}
