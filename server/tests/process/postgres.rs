//! The tables in Postgres: the same day, the same answers, and no password on any screen.

use crate::common::{Up, dramatis, run};
use testkit::Postgres;

#[test]
fn a_day_is_folded_into_postgres_verified_and_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let postgres = Postgres::start();
    let url = postgres.url();
    let up = Up::start_with(&data, &[("DRAMATIS_DATABASE", &url)]);
    up.json(&["seed"]);
    let (ticked, code) = up.json(&["tick", "--persona", "persona.anna@mana.test"]);
    assert_eq!((ticked["succeeded"].as_u64(), code), (Some(1), 0), "{ticked}");
    let (shown, _) = up.json(&["personas", "show", "persona.anna@mana.test"]);
    assert!(shown["recentActions"].as_array().unwrap().len() >= 3, "{shown}");
    assert!(!data.join("dramatis.sqlite").exists(), "the tables are elsewhere");
    for command in ["verify", "rebuild", "verify"] {
        let output = dramatis(&data)
            .args([command, "--database", &url])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(up.stop(), Some(0));
}

#[test]
fn a_database_that_is_not_there_or_not_postgres_is_named_without_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let absent = run(
        &data,
        &[
            "up",
            "--listen",
            "127.0.0.1:0",
            "--database",
            "postgres://me:hush@127.0.0.1:9/tables",
        ],
    );
    let stderr = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert_eq!(absent.status.code(), Some(5), "{stderr}");
    assert!(
        stderr.contains("127.0.0.1:9/tables") && !stderr.contains("hush"),
        "{stderr}"
    );
    let other = run(
        &data,
        &[
            "config",
            "print",
            "--database",
            "mysql://me:hush@127.0.0.1/tables",
        ],
    );
    let stderr = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("postgres://") && !stderr.contains("hush"),
        "{stderr}"
    );
}
