//! A log that was changed while nobody looked, as its operator meets it.

use events::STREAM_NAME;
use serde_json::Value;
use testkit::StreamFiles;

use crate::common::{Up, run};

#[test]
fn a_log_that_was_tampered_with_is_named_by_verify_commit_by_commit_and_agrees_again_once_it_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let up = Up::start(&data);
    up.json(&["seed"]);
    up.json(&["tick", "--persona", "persona.anna@mana.test"]);
    assert_eq!(up.stop(), Some(0));
    let verified = run(&data, &["verify"]);
    assert_eq!(verified.status.code(), Some(0));
    let text = String::from_utf8(verified.stdout).unwrap();
    assert!(text.contains("commits are the ones that were folded"), "{text}");

    let files = StreamFiles::of(&data.join("nats/store"), STREAM_NAME);
    let untouched = files.read();
    let at = untouched
        .iter()
        .position(|record| record.subject.starts_with(b"dramatis.record."))
        .unwrap();
    let (changed, gone) = (untouched[at].seq, untouched[at + 1].seq);
    let mut records = untouched.clone();
    records[at].body[40] ^= 1;
    records.remove(at + 1);
    files.write(&records);

    let refused = run(&data, &["verify", "--json"]);
    assert_eq!(refused.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&refused.stdout).unwrap();
    let named = |seq: u64| {
        let breaks = report["chain"]["breaks"].as_array().unwrap();
        let found = breaks.iter().find(|found| found["seq"] == seq);
        let found = found.unwrap_or_else(|| panic!("{seq} is not among {breaks:?}"));
        (
            found["subject"].as_str().unwrap().to_owned(),
            found["kind"].as_str().unwrap().to_owned(),
        )
    };
    let subject = |at: usize| String::from_utf8(untouched[at].subject.clone()).unwrap();
    assert_eq!(named(changed), (subject(at), "altered".to_owned()));
    assert_eq!(named(gone), (subject(at + 1), "missing".to_owned()));
    let refused = run(&data, &["verify"]);
    let (said, why) = (
        String::from_utf8(refused.stdout).unwrap(),
        String::from_utf8(refused.stderr).unwrap(),
    );
    assert!(said.contains(&format!("commit {gone} is gone")), "{said}");
    assert!(why.contains("bring the log back from a backup"), "{why}");

    files.write(&untouched);
    assert_eq!(run(&data, &["verify"]).status.code(), Some(0));
}
