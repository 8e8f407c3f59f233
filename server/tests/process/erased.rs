//! What is left of a persona that was deleted for good: nothing in any file, now or after the tables are made anew.

mod canaries;
mod life;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Up, events, json, run};
use canaries::{Canaries, files_with, rows_of};
use life::{live, post_persona};
use testkit::wait_until_async;
use tokio_util::task::TaskTracker;

/// How long anything may take that is only waited for.
const SOON: Duration = Duration::from_secs(20);

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
