//! Rebuilding by command: a copy as of then, and a rebuild that is interrupted and goes on.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use events::testing::{id, sample_time};
use events::{
    Commit, CommitId, EventLog as _, ExpectedSeq, FieldWrite, RecordChanged, RecordOp, StreamSeq, Subject,
};
use futures::{StreamExt as _, stream};
use projections::Tables;
use serde_json::Value;

use crate::common::{Up, dramatis, events, json, log_of, run};

/// More than a few batches, so that a rebuild takes a while.
const NOTES: u32 = 12_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_as_of_then_holds_what_was_known_then_and_leaves_the_tables_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let up = Up::start(&data);
    up.json(&["seed"]);
    let seeded = events(&data, &[]).last().unwrap()["seq"].as_u64().unwrap();
    up.json(&["tick", "--persona", "persona.anna@mana.test"]);

    let copied = json(&data, &["rebuild", "--until", &seeded.to_string(), "--json"]);
    assert_eq!(copied["seq"], seeded);
    let copy = Tables::open(Path::new(copied["copy"].as_str().unwrap()))
        .await
        .unwrap();
    let counts = copy.counts().await.unwrap();
    assert_eq!(
        (counts.as_of_seq, counts.personas, counts.actions),
        (StreamSeq(seeded), 10, 0)
    );

    let live = Tables::open(&data.join("dramatis.sqlite")).await.unwrap();
    assert!(
        live.counts().await.unwrap().actions > 0,
        "the tables are as they were"
    );
    assert_eq!(run(&data, &["verify"]).status.code(), Some(0));
    drop(live);

    let long_ago = json(&data, &["rebuild", "--until", "1999-01-01T00:00:00Z", "--json"]);
    assert_eq!(
        (long_ago["seq"].as_u64(), long_ago["events"].as_u64()),
        (Some(0), Some(0))
    );
    assert_eq!(
        run(&data, &["rebuild", "--until", "yesterday"]).status.code(),
        Some(2)
    );
    assert_eq!(
        run(&data, &["rebuild", "personas"]).status.code(),
        Some(2),
        "all tables are one projection"
    );
    assert_eq!(up.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rebuild_says_so_and_the_next_goes_on_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let up = Up::start(&data);
    append_notes(&up).await;

    let (code, said) = interrupted_rebuild(&data);
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("go on from there"), "{said}");

    let rebuilt = json(&data, &["rebuild", "--json"]);
    assert!(rebuilt["resumed_from"].as_u64().unwrap() > 0, "{rebuilt}");
    assert_eq!(rebuilt["seq"], u64::from(NOTES));
    assert_eq!(run(&data, &["verify"]).status.code(), Some(0));

    let (code, said) = interrupted_rebuild(&data);
    assert_eq!(code, Some(130), "{said}");
    let fresh = json(&data, &["rebuild", "--fresh", "--json"]);
    assert_eq!(
        (fresh["resumed_from"].as_u64(), fresh["events"].as_u64()),
        (Some(0), Some(u64::from(NOTES)))
    );
    assert_eq!(run(&data, &["verify"]).status.code(), Some(0));
    assert_eq!(up.stop(), Some(0));
}

async fn append_notes(up: &Up) {
    let log = log_of(up).await;
    let log = &log;
    stream::iter(0..NOTES)
        .for_each_concurrent(64, |number| async move {
            let written = RecordChanged {
                space_id: id("space"),
                table: "notes".to_owned(),
                record_id: id(&format!("note-{number}")),
                op: RecordOp::Put,
                fields: [(
                    "title".to_owned(),
                    FieldWrite {
                        value: Value::from(number),
                        at: sample_time(),
                    },
                )]
                .into(),
                actor: id("anna"),
                tool: None,
                call_id: None,
                synced: None,
                changed_at: sample_time(),
            };
            let commit_id = CommitId::derived(&["note", &number.to_string()]);
            let commit = Commit::new(
                commit_id,
                Subject::Record(id("space")),
                sample_time(),
                vec![written.into()],
            );
            let appended = log.append(&commit, ExpectedSeq::Any).await.unwrap().unwrap();
            assert!(!appended.duplicate);
        })
        .await;
}

/// Begins a rebuild, presses Ctrl-C at its first line of progress, and gives its exit code and what it said.
fn interrupted_rebuild(data: &Path) -> (Option<i32>, String) {
    let mut child = dramatis(data)
        .arg("rebuild")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = lines.next().unwrap().unwrap();
    let asked = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(asked.unwrap().success());
    for line in lines {
        said.push('\n');
        said.push_str(&line.unwrap());
    }
    (child.wait().unwrap().code(), said)
}
