//! What is wrong with a catalog is said with file, key and reason, all of it at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use catalog::{Catalog, CatalogError};
use proptest::prelude::*;
use serde_json::{Value, json};

const MODULES: [&str; 2] = ["notes", "todo"];

/// Two personas without a fault, partners of one another.
fn sound() -> Value {
    let persona = |name: &str, partner: &str| {
        json!({
            "email": format!("persona.{name}@mana.test"), "name": name, "archetype": "solo-dev", "language": "en",
            "timeZone": "Europe/Dublin", "tickCadence": "daily", "moduleMix": {"todo": 2, "notes": 0},
            "partners": [format!("persona.{partner}@mana.test")], "systemPrompt": "You are somebody."
        })
    };
    json!({"personas": [persona("ann", "bob"), persona("bob", "ann")]})
}

/// `key: reason` of every fault.
fn faults(text: &str) -> Vec<String> {
    match Catalog::parse("cast.json", text, &MODULES) {
        Ok(_) => Vec::new(),
        Err(CatalogError::Faults(faults)) => faults
            .iter()
            .map(|fault| {
                assert_eq!(fault.file, "cast.json");
                format!("{}: {}", fault.key, fault.reason)
            })
            .collect(),
        Err(other) => panic!("{other}"),
    }
}

/// The faults after `value` was put at `pointer` of the sound catalog; `None` takes the key away.
fn faults_with(pointer: &str, value: Option<Value>) -> Vec<String> {
    let mut catalog = sound();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = catalog
        .pointer_mut(parent)
        .expect("a parent")
        .as_object_mut()
        .expect("an object");
    match value {
        Some(value) => parent.insert(key.to_owned(), value),
        None => parent.remove(key),
    };
    faults(&catalog.to_string())
}

#[track_caller]
fn only_fault(pointer: &str, value: Value, expected: &str) {
    assert_eq!(faults_with(pointer, Some(value)), [expected]);
}

#[test]
fn a_sound_catalog_has_no_fault() {
    assert_eq!(faults(&sound().to_string()), Vec::<String>::new());
}

#[test]
fn an_email_outside_the_test_domain_is_refused() {
    let reason = "must end in @mana.test, the domain reserved for personas";
    let found = faults_with("/personas/0/email", Some(json!("ann@example.com")));
    assert_eq!(
        found[0],
        format!("personas[0].email: \"ann@example.com\" {reason}")
    );
    for email in ["@mana.test", "Ann@mana.test", "a b@mana.test", "a@b@mana.test"] {
        let found = faults_with("/personas/0/email", Some(json!(email)));
        assert!(
            found[0].starts_with("personas[0].email: ") && found[0].contains("must have only"),
            "{found:?}"
        );
    }
}

#[test]
fn emails_and_names_are_unique() {
    let found = faults_with("/personas/1/email", Some(json!("persona.ann@mana.test")));
    assert!(
        found.contains(
            &"personas[1].email: \"persona.ann@mana.test\" is already personas[0].email".to_owned()
        )
    );
    only_fault(
        "/personas/1/name",
        json!("ann"),
        "personas[1].name: \"ann\" is already personas[0].name",
    );
}

#[test]
fn words_outside_their_lists_are_refused() {
    only_fault(
        "/personas/0/archetype",
        json!("wizard"),
        "personas[0].archetype: \"wizard\" is not one of adhd-student, ceo-busy, creative-parent, solo-dev, \
         researcher, freelancer, overwhelmed-newbie, chaos",
    );
    only_fault(
        "/personas/0/tickCadence",
        json!("weekly"),
        "personas[0].tickCadence: \"weekly\" is not one of daily, weekdays, hourly",
    );
    only_fault(
        "/personas/1/timeZone",
        json!("Europe/Atlantis"),
        "personas[1].timeZone: \"Europe/Atlantis\" is not an IANA time zone such as Europe/Berlin",
    );
    for tag in ["", "german", "de_DE", "DE", "de-"] {
        let expected = format!("personas[0].language: {tag:?} is not a language tag such as de or pt-BR");
        only_fault("/personas/0/language", json!(tag), &expected);
    }
}

#[test]
fn a_mix_names_known_modules_with_weights_of_zero_or_more_and_one_above() {
    let mix = "/personas/0/moduleMix";
    only_fault(
        mix,
        json!({"todo": 1, "chess": 1}),
        "personas[0].moduleMix.chess: there is no module \"chess\"; there are notes, todo",
    );
    only_fault(
        mix,
        json!({"todo": 1, "notes": -0.5}),
        "personas[0].moduleMix.notes: weight -0.5 must be 0 or more",
    );
    only_fault(
        mix,
        json!({"todo": "much"}),
        "personas[0].moduleMix.todo: must be a number, not text",
    );
    for empty in [json!({}), json!({"todo": 0, "notes": 0.0})] {
        only_fault(
            mix,
            empty,
            "personas[0].moduleMix: at least one weight must be above 0",
        );
    }
    let no_object = "personas[0].moduleMix: must be an object of module and weight, not an array";
    only_fault(mix, json!([]), no_object);
}

#[test]
fn a_weight_that_is_not_finite_does_not_get_in() {
    let text = sound().to_string().replacen("\"todo\":2", "\"todo\":1e999", 1);
    assert!(!faults(&text).is_empty());
}

#[test]
fn partners_exist_name_one_another_and_are_somebody_else() {
    let partners = "/personas/0/partners";
    let found = faults_with(partners, Some(json!(["persona.eve@mana.test"])));
    assert_eq!(
        found,
        [
            "personas[0].partners[0]: there is no persona \"persona.eve@mana.test\" in this catalog",
            "personas[1].partners[0]: \"persona.ann@mana.test\" does not name \"persona.bob@mana.test\" back",
        ]
    );
    let found = faults_with(
        partners,
        Some(json!(["persona.bob@mana.test", "persona.ann@mana.test"])),
    );
    assert_eq!(
        found,
        ["personas[0].partners[1]: a persona cannot be its own partner"]
    );
    let found = faults_with(
        partners,
        Some(json!(["persona.bob@mana.test", "persona.bob@mana.test"])),
    );
    assert_eq!(
        found,
        ["personas[0].partners[1]: \"persona.bob@mana.test\" is named twice"]
    );
    let found = faults_with(partners, None);
    assert_eq!(
        found,
        ["personas[1].partners[0]: \"persona.ann@mana.test\" does not name \"persona.bob@mana.test\" back"]
    );
}

#[test]
fn a_prompt_has_one_to_eight_thousand_characters() {
    let prompt = "/personas/0/systemPrompt";
    only_fault(
        prompt,
        json!(""),
        "personas[0].systemPrompt: must have 1 to 8000 characters, has 0",
    );
    only_fault(
        prompt,
        json!("ü".repeat(8_001)),
        "personas[0].systemPrompt: must have 1 to 8000 characters, has 8001",
    );
    assert_eq!(
        faults_with(prompt, Some(json!("ü".repeat(8_000)))),
        Vec::<String>::new()
    );
}

#[test]
fn an_unknown_key_is_refused_where_it_stands() {
    let found = faults_with("/personas/1/moduleMixx", Some(json!({})));
    assert!(
        found[0].starts_with("personas[1].moduleMixx: unknown key; known are email, "),
        "{found:?}"
    );
    let found = faults_with("/personas/1/a key", Some(json!(1)));
    assert!(
        found[0].starts_with("personas[1][\"a key\"]: unknown key"),
        "{found:?}"
    );
    assert_eq!(
        faults_with("/version", Some(json!(1))),
        ["version: unknown key; known is personas"]
    );
}

#[test]
fn every_required_key_is_missed() {
    for key in [
        "email",
        "name",
        "archetype",
        "language",
        "timeZone",
        "tickCadence",
        "moduleMix",
        "systemPrompt",
    ] {
        let found = faults_with(&format!("/personas/0/{key}"), None);
        assert!(
            found.contains(&format!("personas[0].{key}: is missing")),
            "{key}: {found:?}"
        );
    }
}

#[test]
fn wrong_types_and_broken_rules_are_reported_together_in_the_personas_order() {
    let text = json!({"personas": [
        {"email": 7, "name": ["x"], "archetype": null, "language": true, "timeZone": {}, "tickCadence": 1,
         "moduleMix": {"todo": "1", "notes": null}, "partners": ["x@mana.test", 3], "systemPrompt": 0.5},
        "nobody",
        {"email": "x@example.com", "name": "X", "archetype": "solo-dev", "language": "en", "timeZone": "UTC",
         "tickCadence": "daily", "moduleMix": {"todo": 0}, "partners": "me", "systemPrompt": " "}
    ]});
    assert_eq!(
        faults(&text.to_string()),
        [
            "personas[0].email: must be text, not a number",
            "personas[0].name: must be text, not an array",
            "personas[0].archetype: must be text, not null",
            "personas[0].language: must be text, not a boolean",
            "personas[0].timeZone: must be text, not an object",
            "personas[0].tickCadence: must be text, not a number",
            "personas[0].moduleMix.todo: must be a number, not text",
            "personas[0].moduleMix.notes: must be a number, not null",
            "personas[0].partners[1]: must be text, not a number",
            "personas[0].systemPrompt: must be text, not a number",
            "personas[0].partners[0]: there is no persona \"x@mana.test\" in this catalog",
            "personas[1]: must be an object, not text",
            "personas[2].partners: must be an array of emails, not text",
            "personas[2].email: \"x@example.com\" must end in @mana.test, the domain reserved for personas",
            "personas[2].systemPrompt: must have 1 to 8000 characters, has 1",
            "personas[2].moduleMix: at least one weight must be above 0",
        ]
    );
}

#[test]
fn a_file_of_another_shape_is_one_fault() {
    assert_eq!(
        faults("[]"),
        ["$: must be an object with the key personas, not an array"]
    );
    assert_eq!(faults("{}"), ["personas: is missing"]);
    assert_eq!(
        faults(r#"{"personas": []}"#),
        ["personas: must hold at least one persona"]
    );
    assert_eq!(
        faults(r#"{"personas": {}}"#),
        ["personas: must be an array, not an object"]
    );
    let found = faults("{\n  \"personas\": [,]\n}");
    assert_eq!(found, ["line 2 column 16: not JSON: expected value"]);
}

#[test]
fn the_error_text_has_one_fault_a_line() {
    let error = Catalog::parse("cast.json", r#"{"personas": [1, 2]}"#, &MODULES).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cast.json: personas[0]: must be an object, not a number\n\
         cast.json: personas[1]: must be an object, not a number"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cast.json");
    let error = Catalog::load(&path, &MODULES).unwrap_err();
    assert_eq!(error.to_string(), format!("{} cannot be read", path.display()));
    std::fs::write(&path, sound().to_string()).unwrap();
    assert_eq!(Catalog::load(&path, &MODULES).unwrap().personas.len(), 2);
}

proptest! {
    /// Whatever stands in the place of any one key, the loader answers and never panics; a wrong type never passes.
    #[test]
    fn any_value_in_any_place_is_taken_or_refused_in_words(
        key in prop::sample::select(vec!["email", "name", "archetype", "language", "timeZone", "tickCadence",
            "moduleMix", "partners", "systemPrompt"]),
        value in prop_oneof![
            Just(json!(null)), Just(json!(true)), any::<i64>().prop_map(|n| json!(n)), Just(json!([[]])),
            Just(json!({"todo": {}})),
        ],
    ) {
        let found = faults_with(&format!("/personas/0/{key}"), Some(value));
        let at = format!("personas[0].{key}");
        prop_assert!(found.iter().any(|fault| fault.starts_with(&at)), "{:?}", found);
    }
}
