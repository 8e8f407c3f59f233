//! Commits that cannot be folded: listed, tried again, and folded once what they waited for is there.

use events::testing::sample_time;
use events::{
    CallId, Commit, CommitId, Event, EventLog as _, ExpectedSeq, PersonaId, StreamSeq, Subject, TickId,
};
use serde_json::Value;
use testkit::wait_until;

use crate::common::{Up, json, log_of, run};

/// Appends `events` to the subject of a persona nobody enrolled.
async fn append(up: &Up, what: &str, events: Vec<Event>) -> StreamSeq {
    let persona: PersonaId = "nobody".parse().unwrap();
    let id = CommitId::derived(&["parked", what]);
    let commit = Commit::new(id, Subject::Persona(persona), sample_time(), events);
    let appended = log_of(up).await.append(&commit, ExpectedSeq::Any).await;
    appended.unwrap().unwrap().seq
}

fn returned() -> Event {
    events::ToolReturned {
        tick_id: "tick".parse::<TickId>().unwrap(),
        call_id: "call".parse::<CallId>().unwrap(),
        latency_ms: Some(1),
        result_bytes: 2,
    }
    .into()
}

fn called() -> Event {
    events::ToolCalled {
        tick_id: "tick".parse::<TickId>().unwrap(),
        call_id: "call".parse::<CallId>().unwrap(),
        index: 0,
        tool: "todo.create".to_owned(),
        module: "todo".to_owned(),
        input_hash: String::new(),
        act_hash: None,
        intent: events::Intent::Valid,
        mistake: None,
        retry_of: None,
        called_at: sample_time(),
    }
    .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_does_not_fold_is_listed_and_folded_again_once_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let up = Up::start(&data);
    assert_eq!(json(&data, &["parked", "list", "--json"]), Value::Array(vec![]));

    // An outcome whose call is not in the log.
    let seq = append(&up, "outcome", vec![returned()]).await;
    let listed = || json(&data, &["parked", "list", "--json"]);
    let is_parked = wait_until(std::time::Duration::from_mins(1), || {
        listed().as_array().is_some_and(|rows| rows.len() == 1)
    });
    assert!(is_parked, "{}", listed());
    let row = listed()[0].clone();
    assert_eq!(
        (row["seq"].as_u64(), row["stage"].as_str()),
        (Some(seq.0), Some("fold"))
    );
    assert!(
        row["reason"].as_str().unwrap().contains("was never made"),
        "{row}"
    );

    let refused = run(&data, &["parked", "retry"]);
    assert_eq!(refused.status.code(), Some(1), "it still does not fold");
    assert!(
        String::from_utf8_lossy(&refused.stdout).contains("still parked"),
        "{refused:?}"
    );
    assert_eq!(listed().as_array().unwrap().len(), 1);

    // The call comes late; then the outcome fits.
    append(&up, "call", vec![called()]).await;
    let mut retried = Value::Null;
    let is_folded = wait_until(std::time::Duration::from_mins(1), || {
        let output = run(&data, &["parked", "retry", "--json"]);
        retried = serde_json::from_slice(&output.stdout).unwrap();
        output.status.success()
    });
    assert!(is_folded, "{retried}");
    assert_eq!(listed(), Value::Array(vec![]));
    assert_eq!(json(&data, &["parked", "retry", "--json"]), Value::Array(vec![]));
    assert_eq!(up.stop(), Some(0));
}

#[test]
fn a_folder_without_tables_is_not_made_by_asking() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for verb in ["list", "retry"] {
        assert_eq!(run(&data, &["parked", verb]).status.code(), Some(3), "{verb}");
    }
    assert!(!data.join("dramatis.sqlite").exists());
}
