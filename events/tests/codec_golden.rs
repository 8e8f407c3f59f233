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
use events::testing::{Upcaster, read_raised, samples};

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
        // Of versions that never were, for tests of how older ones are read.
        if path.is_dir() {
            continue;
        }
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

/// A version of [`events::Rated`] that never was: stars as text of their own, and no friction.
const RATED_0: Upcaster = Upcaster {
    type_name: "Rated",
    from: 0,
    raise: |mut data| {
        let Some(members) = data.as_object_mut() else {
            return data;
        };
        if let Some(stars) = members
            .remove("stars")
            .and_then(|stars| stars.as_str().map(str::len))
        {
            members.insert("rating".to_owned(), stars.into());
        }
        members.entry("friction").or_insert(serde_json::Value::Null);
        data
    },
};

/// The step from version 1 as it is: it only added what may be absent.
const RATED_1: Upcaster = Upcaster {
    type_name: "Rated",
    from: 1,
    raise: |data| data,
};

#[test]
fn data_of_an_older_version_is_raised_to_the_present_one_before_it_is_read() {
    let old = fs::read_to_string(golden_dir().join("older/Rated.v0.json")).unwrap();
    let raised = read_raised(&old, &[RATED_0, RATED_1]).unwrap();
    let mut expected = samples()
        .into_iter()
        .find(|event| event.type_name() == "Rated")
        .unwrap();
    if let Event::Rated(rated) = &mut expected {
        rated.friction = None;
        (rated.brain, rated.prompt_version) = (None, None);
    }
    assert_eq!(raised, expected);
    // Written again it is of the present version.
    let written = serde_json::to_value(&raised).unwrap();
    assert_eq!(
        (&written["v"], &written["data"]["rating"]),
        (&2.into(), &4.into())
    );
    assert_eq!(serde_json::from_value::<Event>(written).unwrap(), raised);

    let refused = read_raised(&old, &[]).unwrap_err();
    assert_eq!(refused.to_string(), "Rated v0 has no upcaster");
    let missed = read_raised(&old.replace("stars", "moons"), &[RATED_0, RATED_1]).unwrap_err();
    assert!(
        missed.to_string().starts_with("data of Rated v0 is not readable"),
        "{missed}"
    );
}

#[test]
fn every_version_of_every_type_has_its_golden_file() {
    for (type_name, present) in Event::TYPES {
        for version in 1..=*present {
            let file = golden_file(type_name, version);
            assert!(file.exists(), "{} is missing", file.display());
        }
    }
}

#[test]
fn a_type_nobody_knows_survives_a_read_and_a_write_of_a_whole_commit_byte_for_byte() {
    let text = r#"{"type":"MoonRose","v":7,"data":{"phase":"full","of":[1,2.5,null,"Ä"],"deep":{"er":{}}}}"#;
    let event: Event = serde_json::from_str(text).unwrap();
    assert!(matches!(event, Event::Unknown(_)));
    assert_eq!((event.type_name(), event.version()), ("MoonRose", 7));
    assert_eq!(serde_json::to_string(&event).unwrap(), text);
}
