//! The shipped catalog keeps its own promises.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use catalog::{ARCHETYPES, Catalog};
use events::Cadence;

const MODULES: [&str; 5] = ["habits", "journal", "notes", "spaces", "todo"];

fn shipped() -> Catalog {
    Catalog::parse("personas.json", Catalog::embedded_text(), &MODULES)
        .expect("the shipped catalog has no fault")
}

#[test]
fn ten_personas_cover_every_archetype_and_at_least_two_are_newcomers() {
    let catalog = shipped();
    assert_eq!(catalog.personas.len(), 10);
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for persona in &catalog.personas {
        *count.entry(&persona.archetype).or_default() += 1;
    }
    assert_eq!(
        count.keys().copied().collect::<BTreeSet<_>>(),
        BTreeSet::from(ARCHETYPES.map(|archetype| if archetype == "chaos" {
            "adhd-student"
        } else {
            archetype
        }))
    );
    assert!(count["overwhelmed-newbie"] >= 2, "{count:?}");
}

#[test]
fn two_that_bring_edge_input_are_off_until_somebody_asks_for_them() {
    let catalog = shipped();
    assert!(
        catalog
            .personas
            .iter()
            .all(|persona| persona.archetype != "chaos")
    );
    let names: Vec<&str> = catalog
        .resting
        .iter()
        .map(|persona| persona.name.as_str())
        .collect();
    assert_eq!(names, ["Zazie", "Quinn"]);
    assert!(catalog.resting.iter().all(|persona| persona.archetype == "chaos"));
    let all = catalog.with_resting();
    assert_eq!((all.personas.len(), all.resting.len()), (12, 0));
}

#[test]
fn whether_one_is_enabled_is_said_with_true_or_false() {
    let text = Catalog::embedded_text().replace("\"enabled\": false", "\"enabled\": \"no\"");
    let error = Catalog::parse("personas.json", &text, &MODULES).expect_err("no is no word for it");
    assert!(
        error.to_string().contains("enabled: must be true or false"),
        "{error}"
    );
}

#[test]
fn personas_come_in_five_pairs() {
    let catalog = shipped();
    let pairs: BTreeSet<BTreeSet<&str>> = catalog
        .personas
        .iter()
        .map(|persona| {
            assert_eq!(persona.partners.len(), 1, "{}", persona.name);
            BTreeSet::from([persona.email.as_str(), persona.partners[0].as_str()])
        })
        .collect();
    assert_eq!(pairs.len(), 5);
}

#[test]
fn cadences_languages_and_time_zones_vary() {
    let catalog = shipped();
    for cadence in [Cadence::Daily, Cadence::Weekdays, Cadence::Hourly] {
        assert!(
            catalog.personas.iter().any(|persona| persona.cadence == cadence),
            "nobody is {cadence:?}"
        );
    }
    let of =
        |key: fn(&catalog::Persona) -> &str| catalog.personas.iter().map(key).collect::<BTreeSet<_>>().len();
    assert_eq!(of(|persona| &persona.language), 10);
    assert_eq!(of(|persona| &persona.time_zone), 10);
    assert_eq!(of(|persona| &persona.system_prompt), 10);
}

#[test]
fn every_module_is_in_somebodys_mix() {
    let catalog = shipped();
    for module in MODULES {
        assert!(
            catalog
                .personas
                .iter()
                .any(|persona| persona.module_mix.contains_key(module)),
            "{module}"
        );
    }
}

#[test]
fn the_people_the_vectors_and_examples_name_are_there() {
    let catalog = shipped();
    let find = |email: &str| catalog.personas.iter().find(|persona| persona.email == email);
    let anna = find("persona.anna@mana.test").expect("Anna");
    assert_eq!(
        (
            anna.name.as_str(),
            anna.archetype.as_str(),
            anna.language.as_str()
        ),
        ("Anna", "adhd-student", "de")
    );
    for email in [
        "persona.ben@mana.test",
        "persona.kai@mana.test",
        "persona.maya@mana.test",
    ] {
        assert!(find(email).is_some(), "{email}");
    }
}

#[test]
fn a_persona_is_written_with_the_keys_it_is_read_with() {
    let catalog = shipped();
    let written = serde_json::to_value(&catalog).expect("a catalog is JSON");
    let shipped_file: serde_json::Value = serde_json::from_str(Catalog::embedded_text()).expect("JSON");
    let again =
        Catalog::parse("again", &written.to_string(), &MODULES).expect("what was written can be read");
    assert_eq!(again.personas, catalog.personas);
    let keys = |value: &serde_json::Value| {
        value["personas"][0]
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(keys(&written), keys(&shipped_file));
}
