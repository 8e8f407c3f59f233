use std::collections::{BTreeMap, BTreeSet};

use events::testing::{id, sample_time};

use super::super::PersonaView;
use super::*;
use crate::diary::Diary;

fn tools() -> Vec<ToolInfo> {
    let tool = |name: &str, schema: Value| ToolInfo {
        name: name.to_owned(),
        module: "todo".to_owned(),
        description: String::new(),
        input_schema: schema,
        read_only: false,
        destructive: false,
    };
    vec![
        tool(
            "todo.create",
            json!({"type": "object", "required": ["title"], "properties": {
                "title": {"type": "string", "maxLength": 500},
                "dueDate": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
                "priority": {"enum": ["low", "high"]},
            }}),
        ),
        tool(
            "todo.complete",
            json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}),
        ),
    ]
}

fn persona() -> PersonaView {
    PersonaView {
        persona_id: id("chaos"),
        name: "Zazie".to_owned(),
        archetype: "chaos".to_owned(),
        system_prompt: String::new(),
        module_mix: BTreeMap::from([("todo".to_owned(), 1.0)]),
    }
}

fn lived(tick_number: u64, seed: u64) -> Vec<EdgeCall> {
    let (persona, tools, diary) = (persona(), tools(), Diary::default());
    edges(&TickView {
        persona: &persona,
        tick_number,
        seed,
        started_at: sample_time(),
        tools: &tools,
        past: &[],
        calls_left: 40,
        diary: &diary,
        space: None,
    })
}

#[test]
fn every_class_comes_to_every_field_that_it_fits_and_the_same_seed_does_the_same() {
    let mut tried: BTreeSet<(String, String, &str)> = BTreeSet::new();
    for number in 1..40 {
        let calls = lived(number, 7);
        assert_eq!(calls, lived(number, 7));
        assert!(calls.len() <= CALLS_MAX + 1);
        assert!(calls.iter().all(|edge| edge.call.intent == Intent::Chaos));
        for edge in calls {
            tried.insert((edge.call.tool, edge.field, edge.class.name()));
        }
    }
    let known = tools();
    let wanted: BTreeSet<(String, String, &str)> = pairs(&known)
        .into_iter()
        .map(|(tool, field, class)| (tool.name.clone(), field, class.name()))
        .collect();
    // Whatever wants an id besides the edge waits until there is one; here that is the whole call of complete.
    let missing: Vec<_> = wanted.difference(&tried).collect();
    assert!(
        missing
            .iter()
            .all(|(tool, field, _)| tool == "todo.complete" && field == WHOLE_CALL),
        "{missing:?}"
    );
    assert!(tried.len() >= 50, "{}", tried.len());
    assert_ne!(lived(1, 7), lived(1, 8));
}

#[test]
fn each_class_has_a_word_of_its_own_and_something_to_send() {
    let names: BTreeSet<&str> = EdgeClass::ALL.iter().map(|class| class.name()).collect();
    assert_eq!(names.len(), EdgeClass::ALL.len());
    let arguments = json!({"title": "a"});
    for class in EdgeClass::ALL {
        let raw = class.raw("title", arguments.as_object().unwrap());
        let sends = class.value().is_some() || raw.is_some() || *class == EdgeClass::Replayed;
        assert!(sends, "{class:?}");
    }
    let twins = [EdgeClass::ComposedTwin, EdgeClass::DecomposedTwin].map(|class| class.value().unwrap());
    assert_ne!(twins[0], twins[1]);
}

#[test]
fn what_json_values_cannot_say_is_said_as_text() {
    let arguments = json!({"title": "a", "n": 1});
    let arguments = arguments.as_object().unwrap();
    let half = EdgeClass::LoneSurrogate.raw("title", arguments).unwrap();
    assert_eq!(half, r#"{"n":1,"title":"half \ud800 a character"}"#);
    assert!(serde_json::from_str::<Value>(&half).is_err());
    let twice = EdgeClass::Contradiction.raw("title", arguments).unwrap();
    assert_eq!(twice, r#"{"n":1,"title":"one","title":2}"#);
    assert_eq!(with_raw(&Map::new(), "a", "1"), r#"{"a":1}"#);
}
