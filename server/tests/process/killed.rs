//! What a kill in the middle of a day leaves: everything acknowledged, nothing twice, and the truth about the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use crate::common::{Up, events, json, run};
use projections::Tables;
use testkit::{wait_until, wait_until_async};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_nothing_is_twice_and_interrupted_ticks_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let up = Up::start(&data);
    up.json(&["seed"]);
    let mut ticking = up
        .command(&["tick", "--all"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let tables = Tables::open(&data.join("dramatis.sqlite")).await.unwrap();
    let begun = wait_until_async(Duration::from_secs(90), || async {
        tables.counts().await.unwrap().actions >= 3
    })
    .await;
    assert!(begun, "the personas act");
    // What a table shows was acknowledged by the log before it was folded.
    let before = tables.counts().await.unwrap();
    let shown: BTreeSet<String> = events_of(&data, "ToolCalled");
    drop(tables);
    up.kill();
    ticking.wait().unwrap();

    let up = Up::start(&data);
    let after: BTreeSet<String> = events_of(&data, "ToolCalled");
    assert!(
        after.is_superset(&shown),
        "calls that were in the log are still there"
    );
    assert!(
        after.len() as u64 >= before.actions,
        "no acknowledged call is lost"
    );
    let is_said = wait_until(Duration::from_secs(90), || {
        let open: BTreeMap<String, i32> = balance(&data);
        open.values().all(|open| *open == 0)
    });
    assert!(
        is_said,
        "every tick that began has ended or says that it was interrupted: {:?}",
        balance(&data)
    );
    assert!(
        !events(&data, &["--type", "TickInterrupted"]).is_empty(),
        "the kill cut a tick in two"
    );
    assert!(
        wait_until(Duration::from_secs(90), || unended(&data).is_empty()),
        "a call the kill cut off is closed as unknown: {:?}",
        unended(&data)
    );
    let audit = json(&data, &["audit", "calls", "--json"]);
    assert_eq!(audit["differing"], 0, "{audit}");
    assert!(audit["compared"].as_u64() >= Some(before.actions), "{audit}");
    assert_eq!(
        run(&data, &["verify"]).status.code(),
        Some(0),
        "the tables are the fold of the log"
    );

    let tables = Tables::open(&data.join("dramatis.sqlite")).await.unwrap();
    let counts = tables.counts().await.unwrap();
    assert_eq!(counts.actions, after.len() as u64, "one row a call");
    assert_eq!(
        counts.actions_pending, 0,
        "a call without an outcome is unknown, never pending for ever"
    );
    let outcomes = events_of(&data, "ToolReturned").len() + events_of(&data, "ToolFailed").len();
    assert_eq!(counts.actions_unknown, counts.actions - outcomes as u64);
    // And the day goes on.
    let (ticked, code) = up.json(&["tick", "--all"]);
    assert_eq!((ticked["failed"].as_u64(), code), (Some(0), 0), "{ticked}");
    let sent_twice = events(&data, &["--type", "ToolCalled"]).len() != events_of(&data, "ToolCalled").len();
    assert!(!sent_twice, "no call id appears twice");
}

fn events_of(data: &std::path::Path, type_name: &str) -> BTreeSet<String> {
    events(data, &["--type", type_name])
        .iter()
        .map(|event| event["data"]["call_id"].to_string())
        .collect()
}

/// Ticks begun minus ticks ended, per tick.
fn balance(data: &std::path::Path) -> BTreeMap<String, i32> {
    let mut open = BTreeMap::new();
    for event in events(data, &[]) {
        let change = match event["type"].as_str().unwrap() {
            "TickStarted" => 1,
            "TickFinished" | "TickInterrupted" => -1,
            _ => continue,
        };
        *open.entry(event["data"]["tick_id"].to_string()).or_default() += change;
    }
    open
}

#[test]
fn a_nats_server_that_dies_comes_back_with_everything() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let up = Up::start(&data);
    up.json(&["seed"]);
    let before = events(&data, &[]).len();
    let pid = std::fs::read_to_string(data.join("nats/nats.pid")).unwrap();
    assert!(
        std::process::Command::new("kill")
            .args(["-KILL", pid.trim()])
            .status()
            .unwrap()
            .success()
    );
    let is_back = wait_until(Duration::from_secs(90), || {
        let now = std::fs::read_to_string(data.join("nats/nats.pid")).unwrap_or_default();
        now.trim() != pid.trim() && run(&data, &["events", "cat"]).status.success()
    });
    assert!(is_back, "the house starts its server again");
    assert_eq!(events(&data, &[]).len(), before);
    let (ticked, code) = up.json(&["tick", "--persona", "persona.anna@mana.test"]);
    assert_eq!((ticked["succeeded"].as_u64(), code), (Some(1), 0), "{ticked}");
}

#[test]
fn tables_that_were_tampered_with_are_named_by_verify_and_mended_by_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let up = Up::start(&data);
    up.json(&["seed"]);
    up.json(&["tick", "--persona", "persona.anna@mana.test"]);
    assert_eq!(up.stop(), Some(0));
    assert_eq!(run(&data, &["verify"]).status.code(), Some(0));
    let tampered = std::process::Command::new("python3")
        .args(["-c", "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(\"UPDATE persona_actions SET latency_ms = 99999\"); c.commit()"])
        .arg(data.join("dramatis.sqlite"))
        .status();
    assert!(tampered.unwrap().success());
    let differs = run(&data, &["verify"]);
    assert_eq!(differs.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&differs.stdout).contains("persona_actions"));
    let rebuilt = json(&data, &["rebuild", "--json"]);
    assert!(rebuilt["events"].as_u64().unwrap() > 10);
    assert_eq!(run(&data, &["verify"]).status.code(), Some(0));
}

/// Calls the gateway took that have not come to an end.
fn unended(data: &std::path::Path) -> BTreeSet<String> {
    let (started, ended) = (events_of(data, "CallStarted"), events_of(data, "CallEnded"));
    started.difference(&ended).cloned().collect()
}
