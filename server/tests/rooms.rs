//! The arrows between the rooms, as cargo itself knows them, against `docs/architecture.md`.
//!
//! What a room may touch is a promise about the whole program ("actors never see a table"); a dependency is how
//! it would be broken, so dependencies are what is checked.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Crate to the crates it names.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Libraries that decide what a room can do, and the rooms that may name them.
const KEEPERS: [(&str, &[&str]); 11] = [
    ("sqlx", &["identity", "projections"]),
    ("async-nats", &["events", "server"]),
    ("rmcp", &["actors", "gateway"]),
    ("ractor", &["actors"]),
    ("axum", &["gateway", "server"]),
    ("reqwest", &["actors", "gateway", "server"]),
    ("argon2", &["identity"]),
    ("jsonwebtoken", &["identity"]),
    ("figment", &["server"]),
    ("opentelemetry", &["events", "server"]),
    ("opentelemetry_sdk", &["server"]),
];

/// Crates that nobody runs in production: their own binaries and helpers of tests.
const OUTSIDE_THE_PROGRAM: [&str; 2] = ["benches", "testkit"];

/// What goes into a crate's own build.
fn is_shipped(kind: DependencyKind) -> bool {
    kind != DependencyKind::Development
}

/// What only tests see.
fn is_for_tests(kind: DependencyKind) -> bool {
    kind == DependencyKind::Development
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(project().join("Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap()
}

/// What every room names, for the kinds of dependency that are `wanted`.
fn dependencies(metadata: &Metadata, wanted: fn(DependencyKind) -> bool) -> Arrows {
    let named = |room: &Package| {
        room.dependencies
            .iter()
            .filter(|it| wanted(it.kind))
            .map(|it| it.name.clone())
            .collect()
    };
    metadata
        .workspace_packages()
        .into_iter()
        .map(|room| (room.name.to_string(), named(room)))
        .collect()
}

/// Only what leads from room to room.
fn between_rooms(dependencies: &Arrows) -> Arrows {
    let rooms: BTreeSet<String> = dependencies.keys().cloned().collect();
    dependencies
        .iter()
        .map(|(room, named)| (room.clone(), named & &rooms))
        .collect()
}

/// The arrows of a page: lines `room -> room, room` of its block marked `arrows`.
fn documented_arrows(page: &str) -> Arrows {
    let lines = page.lines().skip_while(|line| *line != "```arrows").skip(1);
    lines
        .take_while(|line| *line != "```")
        .map(|line| {
            let (room, named) = line.split_once("->").unwrap();
            let named = named.split(',').map(str::trim).filter(|name| *name != "nothing");
            (room.trim().to_owned(), named.map(str::to_owned).collect())
        })
        .collect()
}

/// Libraries named by rooms that are not their keepers. What is not part of the program may name any.
fn strays(dependencies: &Arrows) -> Vec<String> {
    let mut strays = Vec::new();
    for (library, keepers) in KEEPERS {
        for (room, named) in dependencies {
            let is_outside = OUTSIDE_THE_PROGRAM.contains(&room.as_str());
            if named.contains(library) && !is_outside && !keepers.contains(&room.as_str()) {
                strays.push(format!("{room} -> {library}"));
            }
        }
    }
    strays
}

#[test]
fn rooms_depend_on_one_another_as_the_architecture_page_says() {
    let page = fs::read_to_string(project().join("docs/architecture.md")).unwrap();
    assert_eq!(
        between_rooms(&dependencies(&metadata(), is_shipped)),
        documented_arrows(&page)
    );
}

#[test]
fn tests_add_no_arrow_but_the_one_to_the_testkit() {
    let metadata = metadata();
    let shipped = between_rooms(&dependencies(&metadata, is_shipped));
    for (room, named) in between_rooms(&dependencies(&metadata, is_for_tests)) {
        let allowed = &shipped[&room] | &BTreeSet::from(["testkit".to_owned()]);
        assert!(
            named.is_subset(&allowed),
            "tests of {room} reach into {:?}",
            &named - &allowed
        );
    }
}

#[test]
fn sql_the_log_mcp_and_secrets_are_named_by_their_keepers_only() {
    assert_eq!(
        strays(&dependencies(&metadata(), is_shipped)),
        Vec::<String>::new()
    );
}

#[test]
fn the_program_is_built_without_what_stands_outside_it() {
    for (room, named) in between_rooms(&dependencies(&metadata(), is_shipped)) {
        let is_outside = OUTSIDE_THE_PROGRAM.contains(&room.as_str());
        let reaches_out = OUTSIDE_THE_PROGRAM.iter().any(|outside| named.contains(*outside));
        assert!(
            is_outside || !reaches_out,
            "{room} ships a helper of tests: {named:?}"
        );
    }
}

#[test]
fn every_keeper_keeps_something() {
    let shipped = dependencies(&metadata(), is_shipped);
    for (library, keepers) in KEEPERS {
        let idle: Vec<_> = keepers
            .iter()
            .filter(|room| !shipped[**room].contains(library))
            .collect();
        assert!(
            idle.is_empty(),
            "{idle:?} may name {library} but do not: take them off the list"
        );
    }
}

#[test]
fn a_stray_library_and_an_undocumented_arrow_are_noticed() {
    let room =
        |name: &str, named: &[&str]| (name.to_owned(), named.iter().map(|it| (*it).to_owned()).collect());
    let house = Arrows::from([
        room("actors", &["projections", "sqlx"]),
        room("projections", &["sqlx"]),
    ]);
    assert_eq!(strays(&house), ["actors -> sqlx"]);
    let page = "```arrows\nactors -> nothing\nprojections -> nothing\n```\n";
    assert_eq!(documented_arrows(page)["actors"], BTreeSet::new());
    assert_ne!(between_rooms(&house), documented_arrows(page));
}
