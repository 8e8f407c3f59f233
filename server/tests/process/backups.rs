//! Backup, wipe, restore: the same house again, or a clear no.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{Up, dramatis, json, run, stdout};

/// Tables with their rows and checksums, held against the log.
fn checksums(data: &Path) -> Value {
    let report = json(data, &["verify", "--json"]);
    report["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| table["live"].clone())
        .collect()
}

#[test]
fn what_was_backed_up_is_the_same_house_after_a_wipe() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("backup"));
    let to = backup.to_str().unwrap();
    assert_eq!(run(&data, &["backup", to]).status.code(), Some(3));
    let up = Up::start(&data);
    let (seeded, code) = up.json(&["seed"]);
    assert_eq!(code, 0, "{seeded}");
    let address = up.api.trim_start_matches("http://").to_owned();
    for arguments in [&["health"][..], &["health", "--live"]] {
        let asked = dramatis(&data)
            .args(arguments)
            .env("DRAMATIS_LISTEN", &address)
            .output();
        assert!(asked.unwrap().status.success(), "{arguments:?}");
    }
    // A server that runs is writing.
    assert_eq!(run(&data, &["backup", to]).status.code(), Some(5));
    assert!(!backup.exists());
    assert_eq!(up.stop(), Some(0));

    let asked = dramatis(&data)
        .arg("health")
        .env("DRAMATIS_LISTEN", &address)
        .output();
    assert_eq!(asked.unwrap().status.code(), Some(5));

    let before = checksums(&data);
    let made = json(&data, &["backup", to, "--json"]);
    assert!(
        made["tookMs"].is_u64() && made["files"].as_u64().unwrap() > 3,
        "{made}"
    );
    assert_eq!(
        run(&data, &["backup", to]).status.code(),
        Some(1),
        "it is there already"
    );
    assert_eq!(
        run(&data, &["restore", to]).status.code(),
        Some(1),
        "the folder is not empty"
    );

    fs::remove_dir_all(&data).unwrap();
    let restored = json(&data, &["restore", to, "--json"]);
    assert_eq!(restored["digest"], made["digest"]);
    assert_eq!(checksums(&data), before);

    // It is a house that people can live in, with the accounts and keys there were.
    let up = Up::start(&data);
    assert_eq!(run(&data, &["restore", to]).status.code(), Some(5), "it runs");
    let (listed, code) = up.json(&["personas", "list"]);
    assert_eq!(code, 0, "{listed}");
    assert!(listed.to_string().contains("persona."), "{listed}");
    assert_eq!(up.stop(), Some(0));
    assert!(!stdout(&data, &["events", "cat"]).is_empty());

    // Another log than that in the folder.
    let elsewhere = run(&data, &["backup", to, "--nats", "nats://nats.invalid:4222"]);
    assert_eq!(elsewhere.status.code(), Some(2));
}
