//! A deployment is marked once, under a name that can be shown.

use clap::Parser;
use events::{Delivery, MemoryLog};

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: MarkCommand,
}

fn args(line: &[&str]) -> Result<DeployArgs, String> {
    let line = ["mark", "deploy"].iter().chain(line);
    let MarkCommand::Deploy(args) = Line::try_parse_from(line)
        .map_err(|error| error.to_string())?
        .command;
    Ok(args)
}

fn now() -> Timestamp {
    events::testing::sample_time()
}

#[tokio::test]
async fn a_deployment_is_in_the_log_with_its_note_and_time() {
    let log = MemoryLog::new();
    let args = args(&[
        "v1.4.2",
        "--note",
        "new reminders",
        "--at",
        "2026-01-04T08:00:00Z",
    ])
    .unwrap();
    let marked = mark(&log, &args, now()).await.unwrap();
    assert_eq!(marked.seq, StreamSeq(1));
    let Some(Delivery::Commit(recorded)) = log.at(StreamSeq(1)).await.unwrap() else {
        panic!("a commit")
    };
    let expected = DeployMarked {
        name: "v1.4.2".parse().unwrap(),
        note: Some("new reminders".to_owned()),
        deployed_at: "2026-01-04T08:00:00Z".parse().unwrap(),
    };
    assert_eq!(recorded.commit.subject.to_string(), "dramatis.deploy.v1%2E4%2E2");
    assert_eq!(recorded.commit.events, [expected.into()]);
    assert_eq!(
        serde_json::to_string(&marked).unwrap(),
        r#"{"name":"v1.4.2","note":"new reminders","deployed_at":"2026-01-04T08:00:00Z","seq":1}"#
    );
}

#[tokio::test]
async fn a_second_deployment_of_the_same_name_is_refused_and_says_when_the_first_was() {
    let log = MemoryLog::new();
    let args = args(&["v1"]).unwrap();
    mark(&log, &args, now()).await.unwrap();
    let later = "2026-02-01T00:00:00Z".parse().unwrap();
    let refused = mark(&log, &args, later).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a deployment \"v1\" is marked already at 2026-01-05T08:00:00Z; each has a name of its own"
    );
    assert_eq!(refused.exit_code(), 1);
    assert_eq!(log.state().await.unwrap().last_seq, StreamSeq(1));
}

#[tokio::test]
async fn a_deployment_that_has_not_come_yet_is_refused_and_nothing_is_written() {
    let log = MemoryLog::new();
    let args = args(&["v2", "--at", "2030-01-01T00:00:00Z"]).unwrap();
    let refused = mark(&log, &args, now()).await.unwrap_err();
    assert_eq!(refused.exit_code(), 2);
    assert_eq!(log.state().await.unwrap().last_seq, StreamSeq::ZERO);
}

#[test]
fn names_that_are_empty_too_long_or_hold_control_characters_are_refused() {
    let long = "x".repeat(81);
    for name in ["", "  ", "v\u{1b}[2J", &long] {
        assert!(args(&[name]).is_err(), "{name:?}");
    }
    assert!(args(&["v1", "--note", &"x".repeat(1_001)]).is_err());
    assert!(args(&[&"x".repeat(80)]).is_ok());
}
