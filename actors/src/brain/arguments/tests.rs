use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::brain::dice::Origin;
use crate::brain::{PersonaView, TickView};

/// Shows one id for everything, or none.
#[derive(Debug)]
struct OneId(Option<&'static str>);

impl IdSource for OneId {
    fn id_for(&self, _field: &str, _dice: &mut Dice) -> Option<String> {
        self.0.map(str::to_owned)
    }
}

const ID: OneId = OneId(Some("018f0000-0000-7000-8000-000000000001"));

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
    Origin::of(&view).dice("test")
}

fn write(schema: &Value, ids: &OneId, optional_chance: f64, seed: u64) -> Option<Value> {
    let writer = Writer {
        module: "todo",
        words: Words::of("researcher"),
        now: events::testing::sample_time(),
        ids,
        looking_for: None,
        optional_chance,
    };
    writer.arguments(schema, &mut dice(seed)).map(Value::Object)
}

fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(schema)
        .expect("a schema")
}

/// What the gateway lists, read from the snapshot its own tests hold it to.
fn listed_by_the_gateway() -> Vec<Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../gateway/tests/snapshots/schemas__listed_tools.snap"
    );
    let snapshot = std::fs::read_to_string(path).expect("the gateway's snapshot of its tools");
    let (_, json) = snapshot.rsplit_once("\n---\n").expect("a header and the tools");
    let tools: Vec<Value> = serde_json::from_str(json).expect("JSON");
    tools
        .into_iter()
        .map(|tool| tool["inputSchema"].clone())
        .collect()
}

/// The eleven tools' schemas in two spellings and a list of the odd ones.
fn corpus() -> Vec<Value> {
    let tools: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/fixtures/tools.json")).expect("JSON");
    let mut schemas: Vec<Value> = tools
        .into_iter()
        .map(|tool| tool["inputSchema"].clone())
        .collect();
    assert_eq!(schemas.len(), 11);
    let odd: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/fixtures/schemas.json")).expect("JSON");
    schemas.extend(odd);
    schemas.extend(listed_by_the_gateway());
    schemas
}

#[test]
fn whatever_is_written_satisfies_the_schema_it_was_written_from() {
    for schema in corpus() {
        let validator = validator(&schema);
        for seed in 0..200 {
            let optional_chance = [0.0, 0.4, 1.0][usize::try_from(seed % 3).unwrap_or(0)];
            let written =
                write(&schema, &ID, optional_chance, seed).unwrap_or_else(|| panic!("nothing for {schema}"));
            let faults: Vec<String> = validator
                .iter_errors(&written)
                .map(|error| error.to_string())
                .collect();
            assert!(
                faults.is_empty(),
                "seed {seed}: {written} for {schema}: {faults:?}"
            );
        }
    }
}

#[test]
fn optional_fields_are_sometimes_filled_and_sometimes_not() {
    let schema = &corpus()[5];
    let filled = (0..100).filter(|seed| {
        write(schema, &ID, 0.4, *seed).is_some_and(|written| written.get("priority").is_some())
    });
    assert!((10..90).contains(&filled.count()));
}

#[test]
fn an_id_nobody_has_shown_is_not_made_up() {
    let required = json!({"type": "object", "properties": {"id": {"type": "string", "format": "uuid"}}, "required": ["id"]});
    let optional = json!({"type": "object", "properties": {"spaceId": {"type": "string", "format": "uuid"}}});
    for seed in 0..20 {
        assert_eq!(write(&required, &OneId(None), 1.0, seed), None);
        assert_eq!(write(&optional, &OneId(None), 1.0, seed), Some(json!({})));
    }
}

#[test]
fn a_schema_that_nothing_satisfies_gets_nothing() {
    for schema in [
        json!(false),
        json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 5, "maximum": 4}}, "required": ["n"]}),
        json!({"type": "object", "properties": {"s": {"type": "string", "minLength": 5, "maxLength": 4}}, "required": ["s"]}),
        json!({"$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}}, "$ref": "#/$defs/n"}),
        json!({"$ref": "#/$defs/gone"}),
        json!({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
    ] {
        assert_eq!(write(&schema, &ID, 1.0, 1), None, "{schema}");
    }
}

#[test]
fn dates_are_days_that_exist_and_are_near() {
    let schema = json!({"type": "object", "properties": {"dueDate": {"type": "string", "format": "date"}}, "required": ["dueDate"]});
    for seed in 0..50 {
        let written = write(&schema, &ID, 0.0, seed).expect("a date");
        let day: jiff::civil::Date = written["dueDate"]
            .as_str()
            .expect("text")
            .parse()
            .expect("a day that exists");
        let today = events::testing::sample_time()
            .to_zoned(jiff::tz::TimeZone::UTC)
            .date();
        assert!(
            day >= today && day <= today.saturating_add(jiff::Span::new().days(30)),
            "{day}"
        );
    }
}

/// Schemas made of what tools are made of.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (0usize..6, 0usize..40).prop_map(
            |(least, more)| json!({"type": "string", "minLength": least, "maxLength": least + more})
        ),
        (-50i64..50, 0i64..50)
            .prop_map(|(low, more)| json!({"type": "integer", "minimum": low, "maximum": low + more})),
        (-5.0f64..5.0, 0.0f64..9.0)
            .prop_map(|(low, more)| json!({"type": "number", "minimum": low, "maximum": low + more})),
        prop::collection::vec("[a-z]{1,6}", 1..4).prop_map(|words| json!({"type": "string", "enum": words})),
        Just(json!({"type": "boolean"})),
        Just(json!({"type": ["string", "null"], "format": "date-time"})),
        "\\^\\[a-f\\]\\{[1-4]\\}\\[0-9\\]\\+\\$"
            .prop_map(|pattern| json!({"type": "string", "pattern": pattern})),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            (inner.clone(), 0usize..3)
                .prop_map(|(items, least)| json!({"type": "array", "items": items, "minItems": least})),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| json!({"anyOf": [one, other]})),
            inner
                .clone()
                .prop_map(|one| json!({"anyOf": [one, {"type": "null"}]})),
            prop::collection::btree_map("[a-z]{3,6}", (inner, any::<bool>()), 0..4)
                .prop_map(|properties| object(&properties)),
        ]
    })
    .prop_map(|value| object(&[("value".to_owned(), (value, true))].into()))
}

fn object(properties: &std::collections::BTreeMap<String, (Value, bool)>) -> Value {
    let required: Vec<&String> = properties
        .iter()
        .filter(|(_, (_, is))| *is)
        .map(|(name, _)| name)
        .collect();
    let shapes: Map<String, Value> = properties
        .iter()
        .map(|(name, (schema, _))| (name.clone(), schema.clone()))
        .collect();
    json!({"type": "object", "properties": shapes, "required": required, "additionalProperties": false})
}

proptest! {
    #[test]
    fn arguments_satisfy_generated_schemas(schema in any_schema(), seed in any::<u64>()) {
        if let Some(written) = write(&schema, &ID, 0.5, seed) {
            prop_assert!(validator(&schema).is_valid(&written), "{} for {}", written, schema);
        } else {
            prop_assert!(false, "nothing was written for {}", schema);
        }
    }
}
