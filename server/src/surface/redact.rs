//! What of an event others may see: ids, numbers, times and words of ours. Text that somebody wrote, prompts, errors,
//! arguments and app data stay in the house.
//!
//! Each type names what is shown and what is not, so that a new field is hidden until somebody decides; a test holds
//! the lists to the types.

use events::Event;
use serde_json::{Map, Value, json};

/// What of a type's data is shown, and what is left out.
struct Rule {
    type_name: &'static str,
    shown: &'static [&'static str],
    /// Named so that leaving a field out is a decision; the test compares.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "what is not shown is hidden, listed or not")
    )]
    hidden: &'static [&'static str],
}

const fn rule(
    type_name: &'static str,
    shown: &'static [&'static str],
    hidden: &'static [&'static str],
) -> Rule {
    Rule {
        type_name,
        shown,
        hidden,
    }
}

const DESCRIPTION_SHOWN: &[&str] = &[
    "persona_id",
    "name",
    "archetype",
    "module_mix",
    "cadence",
    "time_zone",
];
const DESCRIPTION_HIDDEN: &[&str] = &["email", "system_prompt", "partners"];

const RULES: &[Rule] = &[
    rule("PersonaEnrolled", DESCRIPTION_SHOWN, DESCRIPTION_HIDDEN),
    rule("PersonaRevised", DESCRIPTION_SHOWN, DESCRIPTION_HIDDEN),
    rule("PersonaErased", &["persona_id"], &["spaces"]),
    rule("PersonaHalted", &["persona_id", "restarts"], &["reason"]),
    rule(
        "TickStarted",
        &[
            "tick_id",
            "persona_id",
            "number",
            "due_at",
            "started_at",
            "trigger",
            "brain",
            "model",
            "prompt_version",
            "seed",
        ],
        &[],
    ),
    rule("SpaceEntered", &["tick_id", "space_type"], &["space_id"]),
    rule(
        "ToolCalled",
        &[
            "tick_id",
            "call_id",
            "index",
            "tool",
            "module",
            "intent",
            "mistake",
            "retry_of",
            "called_at",
        ],
        &["input_hash", "act_hash"],
    ),
    rule(
        "ToolReturned",
        &["tick_id", "call_id", "latency_ms", "result_bytes"],
        &[],
    ),
    rule(
        "ToolFailed",
        &["tick_id", "call_id", "latency_ms", "cause"],
        &["error"],
    ),
    rule(
        "ModelAsked",
        &[
            "tick_id",
            "request_id",
            "brain",
            "model",
            "purpose",
            "reserved_micro_usd",
            "asked_at",
        ],
        &[],
    ),
    rule(
        "ModelCalled",
        &[
            "tick_id",
            "request_id",
            "model",
            "input_tokens",
            "cached_tokens",
            "cache_write_tokens",
            "output_tokens",
            "cost_micro_usd",
            "retries",
            "stop_reason",
            "latency_ms",
        ],
        &["error"],
    ),
    rule(
        "Rated",
        &[
            "tick_id",
            "module",
            "rating",
            "evidence",
            "source",
            "friction",
            "rubric_version",
            "brain",
            "model",
            "prompt_version",
        ],
        &["notes", "unsupported", "answers"],
    ),
    rule("RatingFailed", &["tick_id", "module"], &["reason"]),
    rule(
        "TwinRated",
        &[
            "tick_id",
            "twin",
            "rating",
            "calls",
            "errors",
            "friction",
            "source",
            "rubric_version",
            "brain",
            "model",
            "prompt_version",
            "rated_at",
        ],
        &["failed"],
    ),
    rule(
        "EdgeTried",
        &["tick_id", "call_id", "tool", "field", "class", "verdict"],
        &["detail"],
    ),
    rule("DiaryWritten", &["tick_id"], &["made", "closed"]),
    rule(
        "ExpectationRaised",
        &["tick_id", "call_id"],
        &["space_id", "thing", "partners"],
    ),
    rule(
        "ExpectationChecked",
        &["tick_id", "outcome", "call_id"],
        &["space_id", "thing"],
    ),
    rule(
        "TickFinished",
        &[
            "tick_id",
            "outcome",
            "calls",
            "errors",
            "retries",
            "cost_micro_usd",
            "resume_at",
            "finished_at",
        ],
        &["reason"],
    ),
    rule("TickInterrupted", &["tick_id", "found_at"], &["reason"]),
    rule(
        "SessionOpened",
        &["session_id", "user_id", "protocol", "opened_at"],
        &["space_id", "client"],
    ),
    rule("SessionClosed", &["session_id", "reason", "closed_at"], &[]),
    rule(
        "CallRefused",
        &["user_id", "tool", "rule", "policy_version", "mode", "refused_at"],
        &["space_id", "call_id"],
    ),
    rule(
        "CallStarted",
        &[
            "call_id",
            "session_id",
            "user_id",
            "tool",
            "policy_version",
            "started_at",
        ],
        &["client_call_id", "space_id", "input_hash", "arguments"],
    ),
    rule(
        "CallEnded",
        &["call_id", "outcome", "fault", "duration_ms", "ended_at"],
        &[],
    ),
    rule("SpaceErased", &["space_id"], &[]),
    rule("DeployMarked", &["name", "deployed_at"], &["note"]),
    // Never on a live subject: app data, even as ciphertext, is nobody's but the space's.
    rule(
        "RecordChanged",
        &[],
        &[
            "space_id",
            "table",
            "record_id",
            "op",
            "fields",
            "actor",
            "tool",
            "call_id",
            "synced",
            "changed_at",
        ],
    ),
];

/// Characters of a tool's name that are shown; MCP allows no more.
const TOOL_CHARS_MAX: usize = 128;

/// The event as others see it: type, version, the data that is shown, and the names of what is not.
pub(super) fn redacted(ordinal: u32, event: &Event) -> Value {
    let data = serde_json::to_value(event)
        .ok()
        .and_then(|mut event| event.get_mut("data").map(Value::take));
    let Some(Value::Object(data)) = data else {
        return json!({ "ordinal": ordinal, "type": event.type_name(), "v": event.version(), "data": {}, "redacted": [] });
    };
    let shown = RULES
        .iter()
        .find(|rule| rule.type_name == event.type_name())
        .map_or(&[][..], |rule| rule.shown);
    let (mut kept, mut left_out) = (Map::new(), Vec::new());
    for (name, value) in data {
        if shown.contains(&name.as_str()) && (name != "tool" || is_tool_name(&value)) {
            kept.insert(name, value);
        } else {
            left_out.push(name);
        }
    }
    json!({
        "ordinal": ordinal,
        "type": event.type_name(),
        "v": event.version(),
        "data": kept,
        "redacted": left_out,
    })
}

/// A caller may call anything by any name; what cannot be a tool's name is text of its own.
fn is_tool_name(value: &Value) -> bool {
    value.as_str().is_some_and(|name| {
        name.len() <= TOOL_CHARS_MAX
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/'))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use events::testing::samples;

    #[test]
    fn every_field_of_every_type_is_shown_or_left_out_on_purpose() {
        let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
        for event in samples() {
            let value = serde_json::to_value(&event).unwrap();
            for name in value["data"].as_object().unwrap().keys() {
                seen.insert((event.type_name().to_owned(), name.clone()));
            }
        }
        let mut listed: BTreeSet<(String, String)> = BTreeSet::new();
        for rule in RULES {
            for name in rule.shown.iter().chain(rule.hidden) {
                let is_new = listed.insert((rule.type_name.to_owned(), (*name).to_owned()));
                assert!(is_new, "{} {name} is listed twice", rule.type_name);
            }
        }
        let undecided: Vec<_> = seen.difference(&listed).collect();
        assert!(undecided.is_empty(), "neither shown nor hidden: {undecided:?}");
        for (type_name, _) in Event::TYPES {
            assert!(
                RULES.iter().any(|rule| rule.type_name == *type_name),
                "{type_name} has no rule"
            );
        }
    }

    #[test]
    fn text_that_somebody_wrote_is_left_out_and_named() {
        for event in samples() {
            let seen = redacted(0, &event);
            for name in [
                "notes",
                "error",
                "system_prompt",
                "email",
                "arguments",
                "fields",
                "client",
            ] {
                assert!(seen["data"].get(name).is_none(), "{seen}");
            }
            if event.type_name() == "Rated" {
                assert!(
                    seen["redacted"].as_array().unwrap().contains(&"notes".into()),
                    "{seen}"
                );
                assert!(seen["data"]["rating"].is_u64());
            }
        }
    }

    #[test]
    fn a_name_that_no_tool_can_have_is_text_of_the_callers() {
        assert!(is_tool_name(&"todo.create".into()));
        assert!(!is_tool_name(&"my secret: hunter2".into()));
        assert!(!is_tool_name(&"x".repeat(129).into()));
        assert!(!is_tool_name(&Value::Null));
    }
}
