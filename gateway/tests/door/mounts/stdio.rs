//! Mounted servers that are child processes of ours.

use std::collections::BTreeMap;
use std::path::Path;

use gateway::{MountSettings, Upstream};
use serde_json::json;

use super::{house, until};
use crate::harness::{call_text, error_code, try_call};

fn child(arguments: &[&str]) -> MountSettings {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/door/mounts/child.py");
    let command = ["python3", script].into_iter().chain(arguments.iter().copied());
    let upstream = Upstream::Stdio {
        command: command.map(str::to_owned).collect(),
        environment: BTreeMap::from([("CHILDS_OWN".to_owned(), "1".to_owned())]),
    };
    MountSettings::new("child", upstream)
}

fn is_running(pid: &str) -> bool {
    // A zombie has ended; its parent has just not looked yet.
    let status = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    status.is_ok_and(|status| {
        !status
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim()
            .starts_with('Z')
    })
}

#[tokio::test]
async fn a_child_process_serves_one_session_and_ends_with_it_and_with_what_it_started() {
    let house = house(vec![child(&["stays"])]).await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let (annas, bens) = (house.connect(&anna).await, house.connect(&ben).await);
    let pid = call_text(&annas, "child.pid", json!({})).await;
    let grandchild = call_text(&annas, "child.spawn", json!({})).await;
    assert_eq!(call_text(&annas, "child.pid", json!({})).await, pid);
    let bens_pid = call_text(&bens, "child.pid", json!({})).await;
    assert_ne!(bens_pid, pid, "Ben has a child of his own");
    assert!(is_running(&pid) && is_running(&grandchild));
    annas.cancel().await.unwrap();
    until(|| !is_running(&pid) && !is_running(&grandchild)).await;
    assert!(is_running(&bens_pid));
    house.stop().await;
    until(|| !is_running(&bens_pid)).await;
}

#[tokio::test]
async fn a_child_sees_nothing_of_our_environment() {
    let house = house(vec![child(&[])]).await;
    let client = house.connect(&house.user("anna").await).await;
    let seen = call_text(&client, "child.environment", json!({})).await;
    let seen: Vec<_> = seen.split(' ').filter(|name| *name != "LC_CTYPE").collect();
    assert_eq!(seen, ["CHILDS_OWN", "PATH"]);
    house.stop().await;
}

#[tokio::test]
async fn a_child_that_dies_fails_its_call_and_the_next_call_starts_another() {
    let house = house(vec![child(&[])]).await;
    let client = house.connect(&house.user("anna").await).await;
    let first = call_text(&client, "child.pid", json!({})).await;
    assert_eq!(error_code(&client, "child.die", json!({})).await, -32_603);
    let second = call_text(&client, "child.pid", json!({})).await;
    assert_ne!(first, second);
    house.stop().await;
}

#[tokio::test]
async fn a_child_that_does_not_start_says_why_and_takes_nothing_with_it() {
    let house = house(vec![child(&["refuses-to-start"])]).await;
    let snapshot = &house.gateway.mounts()[0];
    let problem = snapshot.problem.clone().unwrap();
    assert!(problem.contains("a complaint about"), "{problem}");
    let client = house.connect(&house.user("anna").await).await;
    assert!(try_call(&client, "spaces.list", json!({})).await.is_ok());
    house.stop().await;
}
