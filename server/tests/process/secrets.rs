//! Where secrets come from, and key-encryption keys that are replaced.

use std::fs;
use std::path::Path;
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::common::dramatis;

fn with(data: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    dramatis(data)
        .args(arguments)
        .envs(settings.iter().copied())
        .output()
        .unwrap()
}

fn json_of(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn source_of<'a>(settings: &'a Value, key: &str) -> &'a str {
    let setting = settings.as_array().unwrap().iter().find(|it| it["key"] == key);
    setting.unwrap()["source"].as_str().unwrap()
}

#[test]
fn secrets_come_from_files_named_in_the_environment_and_from_a_service_managers_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (service_key, credentials) = (dir.path().join("service"), dir.path().join("credentials"));
    fs::write(&service_key, "canary-of-the-service-key\n").unwrap();
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("seed_secret"), "canary-of-the-seed-secret").unwrap();
    fs::write(credentials.join("service_key"), "overridden by the named file").unwrap();
    let settings = [
        ("MANA_SERVICE_KEY_FILE", service_key.to_str().unwrap()),
        ("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap()),
    ];
    let output = with(&data, &["config", "print", "--json"], &settings);
    let printed = json_of(&output);
    assert_eq!(source_of(&printed, "service_key"), service_key.to_str().unwrap());
    let seed_file = credentials.join("seed_secret");
    assert_eq!(source_of(&printed, "seed_secret"), seed_file.to_str().unwrap());
    assert!(!String::from_utf8_lossy(&output.stdout).contains("canary"));

    let both = [settings[0], ("MANA_SERVICE_KEY", "canary-in-the-environment")];
    let output = with(&data, &["config", "print"], &both);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("MANA_SERVICE_KEY_FILE") && !stderr.contains("canary"),
        "{stderr}"
    );
}

#[test]
fn production_takes_no_password_on_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("DRAMATIS_ENV", "production"),
        ("PERSONA_SEED_SECRET", "7f3a9c51d2e84b60"),
        ("MANA_SERVICE_KEY", "0e6b1d94c7a25f38"),
        ("DRAMATIS_ISSUER", "https://dramatis.example"),
        ("DRAMATIS_KEK_FILE", "kek.key"),
    ];
    let address = "postgres://somebody:hunter2@127.0.0.1:1/x";
    let arguments = ["config", "print", "--database", address];
    let output = with(&dir.path().join("data"), &arguments, &settings);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("DRAMATIS_DATABASE_FILE") && !stderr.contains("hunter2"),
        "{stderr}"
    );
    let mut settings = settings.to_vec();
    settings.push(("DRAMATIS_DATABASE", address));
    let output = with(&dir.path().join("data"), &["config", "print"], &settings);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!String::from_utf8_lossy(&output.stdout).contains("hunter2"));
}

#[test]
fn a_key_encryption_key_is_replaced_by_the_three_steps_that_the_page_says() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("identity.sqlite"), "").unwrap();
    let key = |name: &str, byte| {
        let file = dir.path().join(name);
        fs::write(&file, format!("{name}:{}\n", STANDARD.encode([byte; 32]))).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (old, new) = (key("autumn", 1), key("winter", 2));
    let old_alone = [("DRAMATIS_KEK_FILE", old.as_str())];
    let new_alone = [("DRAMATIS_KEK_FILE", new.as_str())];
    let older = format!("[\"{old}\"]");
    let both = [new_alone[0], ("DRAMATIS_KEK_OLDER_FILES", older.as_str())];
    assert!(with(&data, &["token"], &old_alone).status.success());

    let named_too_early = with(&data, &["token"], &new_alone);
    let stderr = String::from_utf8_lossy(&named_too_early.stderr);
    assert!(
        !named_too_early.status.success() && stderr.contains("\"autumn\""),
        "{stderr}"
    );

    assert!(with(&data, &["token"], &both).status.success());
    let rewrapped = json_of(&with(
        &data,
        &["vault", "rewrap", "--batch", "1", "--json"],
        &both,
    ));
    assert_eq!(
        rewrapped["rewrapped"], 2,
        "the administrator's and the signing key"
    );
    let status = json_of(&with(&data, &["vault", "status", "--json"], &new_alone));
    assert_eq!(
        status["sealing"],
        serde_json::json!([{ "kek": "winter", "active": true, "keys": 2 }])
    );
    assert!(!with(&data, &["token"], &old_alone).status.success());
}

#[test]
fn fields_that_two_registries_encrypt_differently_fail_the_audit() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let agreed = with(&data, &["audit", "encryption", "--json"], &[]);
    assert_eq!(json_of(&agreed), serde_json::json!([]));
    let file = dir.path().join("registry.json");
    fs::write(
        &file,
        r#"{"tasks": {"fields": ["title"]}, "notes": {"enabled": false, "fields": []},
            "journalEntries": {"fields": ["title", "content"]}}"#,
    )
    .unwrap();
    let arguments = [
        "audit",
        "encryption",
        "--json",
        "--registry",
        file.to_str().unwrap(),
    ];
    let output = with(&data, &arguments, &[]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let kinds: Vec<&str> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["field-drift", "disabled"]);
}
