//! What clients see of the tools. A change here changes what models and other programs rely on.

use gateway::{ENCRYPTION_REGISTRY, Hint, Scope, module_names, tools};
use serde_json::{Value, json};

#[test]
fn the_tools_are_the_eleven_of_the_contract_sorted_by_name() {
    let names: Vec<_> = tools().iter().map(|tool| tool.name).collect();
    let expected = [
        "habits.archive",
        "habits.create",
        "habits.list",
        "habits.update",
        "journal.add",
        "notes.create",
        "notes.search",
        "spaces.list",
        "todo.complete",
        "todo.create",
        "todo.list",
    ];
    assert_eq!(names, expected);
    assert_eq!(module_names(), ["habits", "journal", "notes", "spaces", "todo"]);
}

#[test]
fn none_of_them_is_for_admins_or_destroys() {
    assert!(
        tools()
            .iter()
            .all(|tool| tool.scope == Scope::UserSpace && tool.hint != Hint::Destructive)
    );
}

#[test]
fn what_tools_say_they_seal_is_what_the_registry_seals() {
    for tool in tools() {
        if let Some(declared) = tool.encrypted_fields {
            assert!(
                ENCRYPTION_REGISTRY.contains(&declared),
                "{} and the registry differ",
                tool.name
            );
        }
    }
    for entry in ENCRYPTION_REGISTRY {
        let is_declared = tools()
            .iter()
            .any(|tool| tool.encrypted_fields.as_ref() == Some(entry));
        assert!(is_declared, "no tool says it seals {}", entry.table);
    }
}

#[test]
fn listed_tools() {
    let listed = gateway::ToolRegistry::built_in().unwrap().describe_for_clients();
    for tool in listed.as_array().unwrap() {
        let input = &tool["inputSchema"];
        assert_eq!(
            input["$schema"], "https://json-schema.org/draft/2020-12/schema",
            "{}",
            tool["name"]
        );
        assert_eq!(input["type"], "object", "{}", tool["name"]);
        assert_eq!(input["additionalProperties"], json!(false), "{}", tool["name"]);
        assert_eq!(tool["outputSchema"]["type"], "object", "{}", tool["name"]);
        assert!(
            !holds_reference(tool),
            "{} refers to another schema",
            tool["name"]
        );
    }
    insta::assert_json_snapshot!(listed);
}

fn holds_reference(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.contains_key("$ref") || members.values().any(holds_reference),
        Value::Array(items) => items.iter().any(holds_reference),
        _ => false,
    }
}
