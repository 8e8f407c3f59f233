//! The Messages API of Anthropic.
//!
//! What current models refuse is not sent: no sampling parameters, no prefill, no forced tool choice, no thinking
//! switch. `system` and `tools` stay the same over a tick, and content goes back as it came.

use serde_json::{Map, Value, json};

use super::names::Names;
use super::turn::{Stop, ToolResult, Turn, Usage, WireCall};
use crate::brain::ToolInfo;

/// Where messages are sent, below the base URL.
pub(super) const PATH: &str = "/v1/messages";
/// The revision this is written against.
pub(super) const VERSION: &str = "2023-06-01";

pub(super) fn tools(names: &Names, tools: &[ToolInfo]) -> Vec<Value> {
    let described = tools.iter().filter_map(|tool| {
        let name = names.wire(&tool.name)?;
        Some(json!({"name": name, "description": tool.description, "input_schema": tool.input_schema}))
    });
    described.collect()
}

/// The body of a request. With `schema` the answer has to be JSON of that form.
pub(super) fn body(
    model: &str,
    max_tokens: u32,
    system: &str,
    tools: &[Value],
    messages: &[Value],
    schema: Option<&Value>,
) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("model".to_owned(), model.into());
    body.insert("max_tokens".to_owned(), max_tokens.into());
    body.insert("cache_control".to_owned(), json!({"type": "ephemeral"}));
    body.insert("system".to_owned(), system.into());
    if !tools.is_empty() {
        body.insert("tools".to_owned(), tools.into());
    }
    body.insert("messages".to_owned(), messages.into());
    if let Some(schema) = schema {
        let format = json!({"format": {"type": "json_schema", "schema": schema}});
        body.insert("output_config".to_owned(), format);
    }
    body
}

/// What is said to the model: the results of its calls before anything else, in one message.
pub(super) fn user(results: &[ToolResult], text: Option<&str>) -> Vec<Value> {
    let mut content: Vec<Value> = results.iter().map(result).collect();
    if let Some(text) = text {
        content.push(json!({"type": "text", "text": text}));
    }
    vec![json!({"role": "user", "content": content})]
}

fn result(result: &ToolResult) -> Value {
    json!({
        "type": "tool_result",
        "tool_use_id": result.wire_id,
        "content": result.content,
        "is_error": result.is_error,
    })
}

/// Reads an answer; `Err` says what is missing.
pub(super) fn read(answer: &Value) -> Result<Turn, String> {
    let content = answer.get("content").and_then(Value::as_array).ok_or("content")?;
    let stop_word = answer.get("stop_reason").and_then(Value::as_str);
    let stop_word = stop_word.ok_or("stop_reason")?.to_owned();
    let (mut calls, mut texts) = (Vec::new(), Vec::new());
    // Blocks are picked by their type: thinking and what is yet to be invented may stand anywhere between.
    for block in content {
        match block.get("type").and_then(Value::as_str) {
            Some("text") => texts.extend(block.get("text").and_then(Value::as_str)),
            Some("tool_use") => calls.push(call(block)?),
            _ => {}
        }
    }
    Ok(Turn {
        raw: json!({"role": "assistant", "content": content}),
        calls,
        text: texts.concat(),
        stop: stop(&stop_word, answer),
        stop_word,
        usage: usage(answer),
    })
}

fn call(block: &Value) -> Result<WireCall, String> {
    let text = |member: &str| block.get(member).and_then(Value::as_str).map(str::to_owned);
    let input = block.get("input").cloned().unwrap_or_default();
    Ok(WireCall {
        wire_id: text("id").ok_or("the id of a tool_use")?,
        name: text("name").ok_or("the name of a tool_use")?,
        arguments: if input.is_object() {
            Ok(input)
        } else {
            Err("the arguments are not a JSON object".to_owned())
        },
    })
}

fn stop(word: &str, answer: &Value) -> Stop {
    match word {
        "max_tokens" => Stop::Cut,
        "model_context_window_exceeded" => Stop::Full,
        "pause_turn" => Stop::Paused,
        "refusal" => {
            let category = answer.pointer("/stop_details/category").and_then(Value::as_str);
            Stop::Refused(category.unwrap_or("no category given").to_owned())
        }
        _ => Stop::Ended,
    }
}

fn usage(answer: &Value) -> Usage {
    let count = |member: &str| answer.get("usage")?.get(member)?.as_u64();
    Usage {
        input: count("input_tokens"),
        cached: count("cache_read_input_tokens"),
        cache_write: count("cache_creation_input_tokens"),
        output: count("output_tokens"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_by_type_and_go_back_as_they_came() {
        let content = json!([
            {"type": "thinking", "thinking": "hm", "signature": "x"},
            {"type": "text", "text": "First"},
            {"type": "of_tomorrow", "n": 1},
            {"type": "tool_use", "id": "tu_1", "name": "todo__list", "input": {}},
            {"type": "tool_use", "id": "tu_2", "name": "todo__create", "input": [1]},
        ]);
        let turn = read(&json!({"content": content, "stop_reason": "tool_use", "usage": {"input_tokens": 9, "output_tokens": 2}})).unwrap();
        assert_eq!(turn.raw["content"], content);
        assert_eq!(turn.text, "First");
        assert_eq!(turn.calls[0].arguments, Ok(json!({})));
        assert!(turn.calls[1].arguments.is_err());
        assert_eq!(turn.usage.conversation_tokens(), Some(11));
    }

    #[test]
    fn every_stop_reason_has_its_meaning_and_an_unknown_one_is_an_end() {
        let stop = |word: &str| {
            let answer = json!({"content": [], "stop_reason": word, "stop_details": {"category": "cyber"}});
            read(&answer).unwrap().stop
        };
        assert_eq!(
            ["end_turn", "tool_use", "stop_sequence", "of_tomorrow"].map(stop),
            [(); 4].map(|()| Stop::Ended)
        );
        assert_eq!(stop("max_tokens"), Stop::Cut);
        assert_eq!(stop("pause_turn"), Stop::Paused);
        assert_eq!(stop("model_context_window_exceeded"), Stop::Full);
        assert_eq!(stop("refusal"), Stop::Refused("cyber".to_owned()));
    }

    #[test]
    fn what_is_no_message_is_told_by_what_it_lacks() {
        assert_eq!(read(&json!({})), Err("content".to_owned()));
        assert_eq!(read(&json!({"content": []})), Err("stop_reason".to_owned()));
    }
}
