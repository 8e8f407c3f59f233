//! `docs/events.md` says what the code says: every type with its version, every field of each, nothing else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use events::{Event, VERSION_FLOOR};

/// What the page says of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Always,
    Optional,
}

fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn page() -> String {
    fs::read_to_string(project_file("docs/events.md")).unwrap()
}

/// The rows of the first table under the heading `## heading`, as trimmed cells.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    page.lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## ") && !line.starts_with("### "))
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").map(|cell| cell.trim_matches('`')).collect())
        .collect()
}

/// Types with their versions, in the page's order.
fn documented_types(page: &str) -> Vec<(&str, u32)> {
    rows(page, "## Types")
        .iter()
        .map(|cells| (cells[0], cells[1].parse().unwrap()))
        .collect()
}

/// Type to its fields. A heading `### A, B` speaks of both.
fn documented_fields(page: &str) -> BTreeMap<String, BTreeMap<String, Presence>> {
    let headings = page
        .lines()
        .skip_while(|line| *line != "## Fields")
        .filter(|line| line.starts_with("### "));
    let mut types = BTreeMap::new();
    for heading in headings {
        let fields: BTreeMap<_, _> = rows(page, heading)
            .iter()
            .map(|cells| {
                let optional = cells[1].starts_with("optional");
                (
                    cells[0].to_owned(),
                    if optional {
                        Presence::Optional
                    } else {
                        Presence::Always
                    },
                )
            })
            .collect();
        for name in heading.trim_start_matches("### ").split(", ") {
            types.insert(name.to_owned(), fields.clone());
        }
    }
    types
}

/// Where the page and one event's data differ.
fn differences(documented: &BTreeMap<String, Presence>, data: &serde_json::Value) -> Vec<String> {
    let written: BTreeSet<&str> = data.as_object().unwrap().keys().map(String::as_str).collect();
    let undocumented = written.iter().filter(|field| !documented.contains_key(**field));
    let stale = documented
        .iter()
        .filter(|(field, presence)| **presence == Presence::Always && !written.contains(field.as_str()));
    undocumented
        .map(|field| format!("{field} is written but not on the page"))
        .chain(stale.map(|(field, _)| format!("{field} is on the page but not written")))
        .collect()
}

#[test]
fn the_table_of_types_is_the_code_s_list_with_its_versions() {
    assert_eq!(documented_types(&page()), Event::TYPES);
}

#[test]
fn every_field_of_every_type_is_described_and_no_other() {
    let page = page();
    let mut documented = documented_fields(&page);
    for event in events::testing::samples() {
        let name = event.type_name().to_owned();
        let fields = documented
            .remove(&name)
            .unwrap_or_else(|| panic!("no section for {name}"));
        let wire = serde_json::to_value(&event).unwrap();
        assert_eq!(
            differences(&fields, &wire["data"]),
            Vec::<String>::new(),
            "{name}"
        );
    }
    assert_eq!(
        documented.keys().collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "sections of types that do not exist"
    );
}

#[test]
fn a_field_too_many_or_too_few_is_noticed() {
    let page =
        "## Fields\n\n### A, B\n\n| field | what |\n|---|---|\n| `x` | one |\n| `y` | optional; two |\n";
    let documented = &documented_fields(page)["B"];
    assert_eq!(
        differences(documented, &serde_json::json!({"x": 1})),
        Vec::<String>::new()
    );
    assert_eq!(
        differences(documented, &serde_json::json!({"z": 1})),
        [
            "z is written but not on the page",
            "x is on the page but not written"
        ]
    );
}

#[test]
fn the_install_script_has_the_same_version_floor() {
    let (major, minor, patch) = VERSION_FLOOR;
    let script = fs::read_to_string(project_file("deploy/install-nats")).unwrap();
    assert!(
        script.contains(&format!("\nfloor={major}.{minor}.{patch}\n")),
        "floor of deploy/install-nats"
    );
}
