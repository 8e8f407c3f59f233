//! Every type at every version ever written, as it stands on the wire. A golden file is never edited: changed data
//! means a new version with an upcaster, and the old file stays to prove that it can still be read.
//!
//! `DRAMATIS_WRITE_GOLDEN=1` writes the files of new types and versions; it does not overwrite one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::PathBuf;

use events::Event;
use events::testing::samples;

fn golden_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn golden_file(type_name: &str, version: u32) -> PathBuf {
    golden_dir().join(format!("{type_name}.v{version}.json"))
}

#[test]
fn every_type_is_written_as_its_golden_file_says() {
    let samples = samples();
    let types: Vec<(&str, u32)> = samples
        .iter()
        .map(|event| (event.type_name(), event.version()))
        .collect();
    assert_eq!(types, Event::TYPES, "one sample of each type, in order");
    for event in &samples {
        let file = golden_file(event.type_name(), event.version());
        let written = serde_json::to_string_pretty(event).unwrap() + "\n";
        #[expect(clippy::disallowed_methods, reason = "asked for by whoever adds an event")]
        if std::env::var("DRAMATIS_WRITE_GOLDEN").is_ok() && !file.exists() {
            fs::create_dir_all(golden_dir()).unwrap();
            fs::write(&file, &written).unwrap();
        }
        let golden = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(
            written,
            golden,
            "{} changed on the wire without a new version",
            event.type_name()
        );
    }
}

#[test]
fn every_golden_file_ever_written_can_still_be_read() {
    let mut read = 0;
    for entry in fs::read_dir(golden_dir()).unwrap() {
        let path = entry.unwrap().path();
        let event: Event = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(
            !matches!(event, Event::Unknown(_)),
            "{} is of a forgotten type",
            path.display()
        );
        read += 1;
    }
    assert!(read >= Event::TYPES.len(), "{read} golden files");
}
