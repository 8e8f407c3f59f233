//! How all of a module is listed: the call that shows most of what is there.

use events::Intent;
use serde_json::{Map, Value};

use super::habits::{Act, act_of};
use super::schema::Schema;
use super::{PlannedCall, ToolInfo};

/// Names under which a tool takes how much it shall list.
const LIMITS: [&str; 6] = ["limit", "pageSize", "page_size", "first", "count", "maxResults"];

/// A call that lists a module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Look {
    pub(crate) call: PlannedCall,
    /// As much as it lists at most, where the tool says so.
    limit: Option<u64>,
}

impl Look {
    /// Whether the answer may have left something out: it lists as much as was asked for, or names a further page.
    pub(crate) fn is_full(&self, result: &Value) -> bool {
        let names_more = ["nextCursor", "next_cursor", "hasMore", "has_more"]
            .iter()
            .any(|name| {
                let more = result.get(*name);
                more.is_some_and(|more| !matches!(more, Value::Null | Value::Bool(false)))
            });
        names_more || self.limit.is_some_and(|limit| longest(result) >= limit)
    }
}

/// The call that lists as much of `module` as there is; `None` when the module has no tool that lists without being told
/// what.
pub(crate) fn look(tools: &[ToolInfo], module: &str) -> Option<Look> {
    let of_module = tools.iter().filter(|tool| tool.module == module);
    of_module
        .filter(|tool| act_of(tool) == Act::Browse)
        .find_map(listing)
}

fn listing(tool: &ToolInfo) -> Option<Look> {
    let schema = Schema::root(&tool.input_schema)?;
    if !schema.required().is_empty() {
        return None;
    }
    let (mut arguments, mut limit) = (Map::new(), None);
    for (name, property) in schema.properties() {
        let takes = |wanted: &str| property.types().iter().any(|name| name == wanted);
        if name.starts_with("include") && takes("boolean") {
            arguments.insert(name, Value::Bool(true));
        } else if LIMITS.contains(&name.as_str()) && takes("integer") {
            let most = property.get("maximum").and_then(Value::as_u64);
            let most = most.or_else(|| property.get("default").and_then(Value::as_u64));
            if let Some(most) = most {
                arguments.insert(name, most.into());
                limit = Some(most);
            }
        }
    }
    Some(Look {
        call: PlannedCall {
            tool: tool.name.clone(),
            arguments: Value::Object(arguments),
            intent: Intent::Valid,
            mistake: None,
            retry_of: None,
            unsent: None,
        },
        limit,
    })
}

/// The entries of the longest list in `value`.
fn longest(value: &Value) -> u64 {
    match value {
        Value::Array(items) => (items.len() as u64).max(items.iter().map(longest).max().unwrap_or(0)),
        Value::Object(members) => members.values().map(longest).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tool(name: &str, properties: &Value, required: &[&str]) -> ToolInfo {
        ToolInfo {
            name: name.to_owned(),
            module: "todo".to_owned(),
            description: String::new(),
            input_schema: json!({"type": "object", "properties": properties, "required": required}),
            read_only: true,
            destructive: false,
        }
    }

    #[test]
    fn all_is_asked_for_and_a_full_list_is_no_proof() {
        let tools = [
            tool("todo.get", &json!({"id": {"type": "string"}}), &["id"]),
            tool(
                "todo.list",
                &json!({"includeCompleted": {"type": "boolean"}, "limit": {"type": "integer", "maximum": 2}, "q": {"type": "string"}}),
                &[],
            ),
        ];
        let look = look(&tools, "todo").unwrap();
        assert_eq!(look.call.tool, "todo.list");
        assert_eq!(look.call.arguments, json!({"includeCompleted": true, "limit": 2}));
        assert!(!look.is_full(&json!({"tasks": [{"id": "a"}]})));
        assert!(look.is_full(&json!({"tasks": [{"id": "a"}, {"id": "b"}]})));
        assert!(look.is_full(&json!({"tasks": [], "nextCursor": "x"})));
    }

    #[test]
    fn a_module_that_lists_nothing_cannot_be_looked_through() {
        assert_eq!(look(&[tool("todo.get", &json!({}), &["id"])], "todo"), None);
        assert_eq!(look(&[], "todo"), None);
    }
}
