use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::brain::dice::Origin;
use crate::brain::{PersonaView, TickView};

fn tools() -> Vec<ToolInfo> {
    let described: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/fixtures/tools.json")).expect("JSON");
    described
        .into_iter()
        .map(|tool| {
            let name = tool["name"].as_str().expect("a name").to_owned();
            ToolInfo {
                module: name.split('.').next().expect("a module").to_owned(),
                name,
                description: String::new(),
                input_schema: tool["inputSchema"].clone(),
                read_only: tool["readOnly"] == true,
                destructive: false,
            }
        })
        .collect()
}

fn dice(seed: u64) -> Dice {
    let persona = PersonaView {
        persona_id: events::PersonaId::derived(&["x"]),
        name: "X".to_owned(),
        archetype: String::new(),
        system_prompt: String::new(),
        module_mix: std::collections::BTreeMap::new(),
    };
    let started_at = events::testing::sample_time();
    let view = TickView {
        diary: &crate::diary::Diary::default(),
        space: None,
        persona: &persona,
        tick_number: 1,
        seed,
        started_at,
        tools: &[],
        past: &[],
        calls_left: 1,
    };
    Origin::of(&view).dice("slips")
}

/// Arguments that are right for each tool.
fn right(tool: &ToolInfo) -> Map<String, Value> {
    let arguments = match tool.name.as_str() {
        "habits.create" | "todo.create" | "notes.create" => json!({"title": "x"}),
        "habits.update" => json!({"id": "018f0000-0000-7000-8000-000000000001", "title": "x"}),
        "habits.archive" | "todo.complete" => json!({"id": "018f0000-0000-7000-8000-000000000001"}),
        "journal.add" => json!({"content": "x"}),
        _ => json!({}),
    };
    arguments.as_object().expect("an object").clone()
}

fn is_valid(tools: &[ToolInfo], name: &str, arguments: &Map<String, Value>) -> bool {
    let tool = tools
        .iter()
        .find(|tool| tool.name == name)
        .expect("the tool exists");
    let options = jsonschema::draft202012::options().should_validate_formats(true);
    options
        .build(&tool.input_schema)
        .expect("a schema")
        .is_valid(&Value::Object(arguments.clone()))
}

#[test]
fn every_mistake_is_what_its_name_says() {
    let tools = tools();
    let mut made = BTreeSet::new();
    for tool in &tools {
        let arguments = right(tool);
        assert!(is_valid(&tools, &tool.name, &arguments), "{}", tool.name);
        for (mistake, seed) in Mistake::ALL
            .into_iter()
            .flat_map(|mistake| (0..20).map(move |seed| (mistake, seed)))
        {
            let Some(slip) = make(mistake, tool, &arguments, &tools, &mut dice(seed)) else {
                continue;
            };
            made.insert(mistake.name());
            let fits = is_valid(&tools, &slip.tool, &slip.arguments);
            let field = slip.fields.first().cloned().unwrap_or_default();
            let context = format!("{slip:?}");
            match mistake {
                Mistake::StaleId => {
                    assert!(fits, "{context}");
                    assert_ne!(slip.arguments["id"], arguments["id"], "{context}");
                }
                Mistake::DoubleSubmit => assert_eq!((&slip.tool, &slip.arguments), (&tool.name, &arguments)),
                Mistake::WrongTool => {
                    assert!(
                        !fits && slip.tool != tool.name && slip.arguments == arguments,
                        "{context}"
                    );
                }
                Mistake::MissingRequired => {
                    assert!(!fits && !slip.arguments.contains_key(&field), "{context}");
                }
                _ => assert!(!fits && slip.arguments.contains_key(&field), "{context}"),
            }
        }
    }
    assert_eq!(made, Mistake::ALL.map(Mistake::name).into());
}

#[test]
fn a_mistake_that_a_call_leaves_no_room_for_is_not_made() {
    let tools = tools();
    let spaces_list = tools
        .iter()
        .find(|tool| tool.name == "spaces.list")
        .expect("it is there");
    let alone = std::slice::from_ref(spaces_list);
    assert_eq!(slip(spaces_list, &Map::new(), alone, &mut dice(1)), None);
}

#[test]
fn nothing_destructive_is_called_by_mistake() {
    let tools = tools();
    for tool in &tools {
        for seed in 0..50 {
            let slip = make(Mistake::WrongTool, tool, &right(tool), &tools, &mut dice(seed));
            assert!(slip.is_none_or(|slip| slip.tool != "habits.archive"));
        }
    }
}

#[test]
fn a_field_is_named_only_as_a_word_of_its_own() {
    assert!(names_field("title: required", "title"));
    assert!(names_field("`dueDate` must be a date-time", "dueDate"));
    assert!(names_field("No habit has the ID 7.", "id"));
    assert!(!names_field("invalid request", "id"));
    assert!(!names_field("subtitle is odd", "title"));
    assert!(!names_field("title_id is odd", "title"));
}
