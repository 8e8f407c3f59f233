//! Bad input gets one clear line and the right exit code.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use crate::common::{Up, dramatis, run};

/// Ends with `code` and one line on stderr that holds every one of `words`.
fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in: {stderr}");
    }
    assert!(output.stdout.is_empty(), "data on stdout of a refusal");
}

fn data(dir: &tempfile::TempDir) -> std::path::PathBuf {
    dir.path().join("data")
}

#[test]
fn a_port_in_use_is_named_with_the_mend() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&data(&dir), &["up", "--listen", &address]);
    assert_refused(&output, 5, &[&address, "in use", "--listen"]);
}

#[test]
fn a_nats_server_below_the_floor_is_refused_by_version() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("old-nats-server");
    fs::write(&old, "#!/bin/sh\necho 'nats-server: v2.9.10'\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let output = dramatis(&data(&dir))
        .args(["up", "--listen", "127.0.0.1:0"])
        .env("DRAMATIS_NATS_SERVER", &old)
        .output()
        .unwrap();
    assert_refused(&output, 5, &["2.9.10", "2.14.3", "install-nats"]);
}

#[test]
fn a_server_that_is_not_there_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let output = dramatis(&data(&dir))
        .args(["personas", "list", "--api", "http://127.0.0.1:9"])
        .env("MANA_ADMIN_JWT", "not-a-token")
        .output()
        .unwrap();
    assert_refused(&output, 5, &["127.0.0.1:9"]);
}

#[test]
fn an_unknown_configuration_key_is_named_with_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    fs::write(&file, "concurency = 3\n").unwrap();
    let output = run(
        &data(&dir),
        &["config", "print", "--config", file.to_str().unwrap()],
    );
    assert_refused(&output, 2, &["concurency"]);
    let output = dramatis(&data(&dir))
        .args(["config", "print"])
        .env("DRAMATIS_CONCURENCY", "3")
        .output()
        .unwrap();
    assert_refused(&output, 2, &["concurency"]);
}

#[test]
fn production_refuses_development_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let output = dramatis(&data(&dir))
        .arg("up")
        .env("DRAMATIS_ENV", "production")
        .output()
        .unwrap();
    assert_refused(&output, 2, &["PERSONA_SEED_SECRET", "MANA_SERVICE_KEY", "issuer"]);
}

#[test]
fn a_bad_catalog_is_refused_with_every_fault() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("personas.json");
    fs::write(
        &file,
        r#"{"personas":[{"email":"anna@example.org","name":"","moduleMix":{"todo":-1}}]}"#,
    )
    .unwrap();
    let output = dramatis(&data(&dir))
        .args([
            "seed",
            "--catalog",
            file.to_str().unwrap(),
            "--api",
            "http://127.0.0.1:9",
        ])
        .env("MANA_ADMIN_JWT", "x")
        .output()
        .unwrap();
    assert_refused(
        &output,
        2,
        &["personas[0].email", "personas[0].moduleMix", "archetype"],
    );
}

#[test]
fn what_was_never_made_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    assert_refused(
        &run(&data(&dir), &["events", "cat"]),
        3,
        &["no log", "dramatis up"],
    );
    assert_refused(
        &run(&data(&dir), &["token", "--email", "x@example.org"]),
        3,
        &["no accounts"],
    );
    assert_refused(&run(&data(&dir), &["no-such-command"]), 2, &["no-such-command"]);
}

#[test]
fn a_running_server_refuses_what_it_cannot_take_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(&data(&dir));
    let missing = up
        .command(&["personas", "show", "nobody@mana.test"])
        .output()
        .unwrap();
    assert_refused(&missing, 3, &["nobody@mana.test"]);
    let ticked = up
        .command(&["tick", "--persona", "nobody@mana.test"])
        .output()
        .unwrap();
    assert_refused(&ticked, 3, &["nobody@mana.test"]);
    let mut unauthorised = up.command(&["personas", "list"]);
    unauthorised.env("MANA_ADMIN_JWT", "not-a-token");
    assert_refused(&unauthorised.output().unwrap(), 4, &["token"]);
    assert_refused(
        &run(&up.data, &["token", "--email", "nobody@example.org"]),
        3,
        &["nobody@example.org"],
    );
    assert_refused(
        &run(&up.data, &["events", "cat", "--type", "ToolKalled"]),
        2,
        &["ToolKalled", "ToolCalled"],
    );
    let second = dramatis(&up.data)
        .args(["up", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert_refused(&second, 5, &["another server", "--data"]);
    wrong_seed_secret_is_a_failed_tick_that_says_so(&up.data);
    assert_eq!(up.stop(), Some(0));
}

/// Personas seeded under one secret cannot log in under another, and the report says which.
fn wrong_seed_secret_is_a_failed_tick_that_says_so(data: &Path) {
    let other = data.with_file_name("other");
    let up = Up::start(&other);
    let seeded = up
        .command(&["seed"])
        .env("PERSONA_SEED_SECRET", "another secret than the server's")
        .output()
        .unwrap();
    assert!(
        seeded.status.success(),
        "{}",
        String::from_utf8_lossy(&seeded.stderr)
    );
    let (ticked, code) = up.json(&["tick", "--persona", "persona.anna@mana.test"]);
    assert_eq!((ticked["failed"].as_u64(), code), (Some(1), 1), "{ticked}");
    assert!(ticked.to_string().contains("PERSONA_SEED_SECRET"), "{ticked}");
}

#[test]
fn a_nats_server_that_may_lose_what_it_acknowledged_is_refused_unless_somebody_vouches_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (sound, lax) = (
        testkit::NatsServer::start(),
        testkit::NatsServer::start_with_sync(None),
    );
    let up_on = |nats: &testkit::NatsServer| vec![("DRAMATIS_NATS".to_owned(), nats.url())];
    let monitored = |nats: &testkit::NatsServer| {
        [
            up_on(nats),
            vec![("DRAMATIS_NATS_MONITOR".to_owned(), nats.monitor_url())],
        ]
        .concat()
    };
    let refused = |settings: Vec<(String, String)>| {
        let mut command = dramatis(&data(&dir));
        command
            .args(["up", "--listen", "127.0.0.1:0"])
            .envs(settings)
            .output()
            .unwrap()
    };
    assert_refused(
        &refused(up_on(&sound)),
        5,
        &["nats_monitor", "unsafe_nats_durability_unchecked"],
    );
    assert_refused(&refused(monitored(&lax)), 5, &["every 120 s", "sync_interval"]);
    // Of several pages the first that answers is believed, and when none does each is named.
    let away = [(); 2].map(|()| format!("http://127.0.0.1:{}", testkit::free_port()));
    let watched_at = |pages: &[&str]| {
        let pages = ("DRAMATIS_NATS_MONITOR".to_owned(), pages.join(", "));
        [up_on(&sound), vec![pages]].concat()
    };
    let nobody = watched_at(&[&away[0], &away[1]]);
    assert_refused(&refused(nobody), 5, &[&away[0], &away[1], "does not answer"]);
    let vouched = [
        up_on(&lax),
        vec![(
            "DRAMATIS_UNSAFE_NATS_DURABILITY_UNCHECKED".to_owned(),
            "true".to_owned(),
        )],
    ]
    .concat();
    for settings in [watched_at(&[&away[0], &sound.monitor_url()]), vouched] {
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(Up::start_with(&data(&dir), &settings).stop(), Some(0));
        fs::remove_dir_all(data(&dir)).unwrap();
    }
}
