//! What is left of a persona that was deleted for good: nothing in any file, now or after the tables are made anew.

mod canaries;
mod life;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Up, events, json, log_of, run};
use ::events::EventLog as _;
use canaries::{Canaries, files_with, rows_of};
use life::{live, post_persona};
use testkit::wait_until_async;
use tokio_util::task::TaskTracker;

/// How long anything may take that is only waited for.
const SOON: Duration = Duration::from_mins(1);

/// Whatever holds plain text of the persona's own before it is erased. What is sealed is in no file in the clear
/// anyway, and has its own test.
const PLAIN: [&str; 7] = ["name", "email", "prompt", "habit", "rating", "error", "client"];

/// Nothing of the erased persona is in any file around the data folder.
#[track_caller]
fn assert_is_gone(around: &Path, canaries: &Canaries, when: &str) {
    for (what, canary) in canaries.all() {
        let found = files_with(around, canary);
        assert!(found.is_empty(), "{when}: {what} is in {found:?}");
    }
}

/// Says which row differs, not all of them.
#[track_caller]
fn assert_same(before: &str, after: &str) {
    let differing = before
        .lines()
        .zip(after.lines())
        .find(|(before, after)| before != after);
    assert_eq!(differing, None);
    assert_eq!(before.lines().count(), after.lines().count());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_erased_persona_is_in_any_file_and_nothing_of_the_other_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let up = Up::start(&data);
    let (canaries, others) = (Canaries::new("gone"), Canaries::new("stays"));
    let gone = live(&up, &canaries).await;
    let stays = live(&up, &others).await;
    for what in PLAIN {
        let found = files_with(dir.path(), canaries.of(what));
        assert!(!found.is_empty(), "the search finds what is there: {what}");
    }
    let before = rows_of(&data, &stays);
    assert!(
        before.contains("persona_actions") && before.contains("records"),
        "{before}"
    );

    gone.delete(&up).await;
    assert_is_gone(dir.path(), &canaries, "once it is answered");
    assert_same(&before, &rows_of(&data, &stays));
    assert_eq!(up.stop(), Some(0));
    assert_is_gone(dir.path(), &canaries, "after a stop");
    assert_eq!(run(&data, &["verify"]).status.code(), Some(0));
    json(&data, &["rebuild", "--json"]);
    assert_eq!(run(&data, &["verify"]).status.code(), Some(0));
    assert_is_gone(dir.path(), &canaries, "after a rebuild");
    assert_same(&before, &rows_of(&data, &stays));
    for what in PLAIN {
        assert!(!files_with(dir.path(), others.of(what)).is_empty(), "{what}");
    }

    let up = Up::start(&data);
    assert!(!events(&data, &["--type", "PersonaErased"]).is_empty());
    let newcomer = post_persona(&up, &canaries).await;
    assert_ne!(
        newcomer.id, gone.id,
        "who comes under the same email is somebody else"
    );
    let (ticked, code) = up.json(&["tick", "--persona", &canaries.email()]);
    assert_eq!((ticked["succeeded"].as_u64(), code), (Some(1), 0), "{ticked}");
    assert_eq!(up.stop(), Some(0));
}

/// How far an erasure has come at least.
#[derive(Debug, Clone, Copy)]
enum Reached {
    ShutOut,
    OnRecord,
    LogBeingCleared,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_a_kill_cut_short_is_finished_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let tasks = TaskTracker::new();
    for (round, until) in [Reached::ShutOut, Reached::OnRecord, Reached::LogBeingCleared]
        .into_iter()
        .enumerate()
    {
        let up = Up::start(&data);
        let canaries = Canaries::new("gone");
        let gone = Arc::new(live(&up, &canaries).await);
        let records = events(&data, &["--type", "RecordChanged"]).len();
        let (one, api, token) = (gone.clone(), up.api.clone(), up.admin_token());
        // Whether it is answered before the kill is nobody's concern.
        tasks.spawn(async move { drop(one.ask_to_delete(&api, &token).await) });
        let is_reached = wait_until_async(SOON, || async {
            match until {
                Reached::ShutOut => gone.login(&up).await.is_none(),
                Reached::OnRecord => events(&data, &["--type", "PersonaErased"]).len() > round,
                Reached::LogBeingCleared => events(&data, &["--type", "RecordChanged"]).len() < records,
            }
        })
        .await;
        assert!(is_reached, "{until:?}");
        up.kill();

        let up = Up::start(&data);
        let is_finished =
            wait_until_async(SOON, || async { files_of(dir.path(), &canaries).is_empty() }).await;
        assert!(is_finished, "{until:?}: {:?}", files_of(dir.path(), &canaries));
        assert_eq!(up.stop(), Some(0));
        assert_eq!(run(&data, &["verify"]).status.code(), Some(0), "{until:?}");
    }
    assert!(events(&data, &["--type", "PersonaEnrolled"]).is_empty());
}

fn files_of(around: &Path, canaries: &Canaries) -> Vec<std::path::PathBuf> {
    canaries
        .all()
        .flat_map(|(_, canary)| files_with(around, canary))
        .collect()
}

/// An outcome of a call that was never made, whose id is a canary: it is parked with that id in its reason.
async fn park(up: &Up, persona: &life::Persona, canaries: &Canaries) {
    let returned = ::events::ToolReturned {
        tick_id: "never".parse().unwrap(),
        call_id: canaries.of("call").parse().unwrap(),
        latency_ms: None,
        result_bytes: 0,
    };
    let subject = ::events::Subject::Persona(persona.id.parse().unwrap());
    let commit = ::events::Commit::new(
        ::events::CommitId::derived(&["parked", &persona.id]),
        subject,
        ::events::testing::sample_time(),
        vec![returned.into()],
    );
    let appended = log_of(up).await.append(&commit, ::events::ExpectedSeq::Any).await;
    let seq = appended.unwrap().unwrap().seq;
    let is_parked = wait_until_async(SOON, || async {
        let listed = json(&up.data, &["parked", "list", "--json"]);
        listed.as_array().unwrap().iter().any(|row| row["seq"] == seq.0)
    });
    assert!(
        is_parked.await,
        "{}",
        json(&up.data, &["parked", "list", "--json"])
    );
}

/// What a rebuild that is killed before its swap leaves: the tables once more, beside the tables.
fn leave_a_copy(data: &Path, canaries: &Canaries) {
    for suffix in ["", "-wal"] {
        let (from, to) = ("dramatis.sqlite", "dramatis.sqlite.rebuild-999");
        let copied = std::fs::copy(
            data.join(format!("{from}{suffix}")),
            data.join(format!("{to}{suffix}")),
        );
        assert!(copied.unwrap() > 0);
    }
    let found = files_with(data, canaries.of("name"));
    let is_left = found
        .iter()
        .any(|file| file.to_string_lossy().contains(".rebuild-"));
    assert!(is_left, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_erased_persona_is_in_what_a_killed_rebuild_left_nor_parked_nor_in_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let up = Up::start(&data);
    let (canaries, others) = (Canaries::new("gone"), Canaries::new("stays"));
    let gone = live(&up, &canaries).await;
    let stays = live(&up, &others).await;
    park(&up, &gone, &canaries).await;
    json(&data, &["rebuild", "--until", "20", "--json"]);
    leave_a_copy(&data, &canaries);
    let before = rows_of(&data, &stays);

    gone.delete(&up).await;
    assert_is_gone(dir.path(), &canaries, "once it is answered");
    assert_eq!(json(&data, &["parked", "list", "--json"]), serde_json::json!([]));
    assert_eq!(up.stop(), Some(0));

    let backup = dir.path().join("backup");
    let copied = Command::new("cp").args([&"-r".into(), &data, &backup]).status();
    assert!(copied.unwrap().success());
    assert_is_gone(&backup, &canaries, "in a backup taken afterwards");
    let rebuilt = json(&backup, &["rebuild", "--json"]);
    assert_eq!(rebuilt["resumed_from"], 0, "nothing was left to go on with");
    assert_eq!(run(&backup, &["verify"]).status.code(), Some(0));
    assert_is_gone(&backup, &canaries, "after a rebuild of the backup");
    assert_same(&before, &rows_of(&backup, &stays));
}
