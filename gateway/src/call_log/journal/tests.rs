use std::io::Write as _;

use events::testing::{id, sample_time};
use events::{CallEnded, CallOutcome, SystemClock};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::*;
use crate::call_log::UnderWay;
use crate::guests::Guests;

fn note(call: &str) -> Note {
    let guests: Arc<Guests> = Arc::default();
    let ended = CallEnded {
        call_id: id(call),
        outcome: CallOutcome::Ok,
        fault: None,
        duration_ms: Some(1),
        ended_at: sample_time(),
    };
    Note {
        events: vec![ended.into()],
        traceparent: None,
        under_way: UnderWay::new(guests.enter(&id("anna")).unwrap(), TaskTracker::new().token()),
    }
}

fn keep(journal: &Journal, call: &str) -> Kept {
    journal.keep(&id("anna"), &note(call)).unwrap()
}

fn calls(left: &Left) -> Vec<String> {
    let call = |line: Line| match &line.events[..] {
        [Event::CallEnded(ended)] => ended.call_id.to_string(),
        other => panic!("{other:?}"),
    };
    left.lines().unwrap().into_iter().map(call).collect()
}

fn segments(folder: &TempDir) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn opened(folder: &TempDir) -> (Journal, Left) {
    Journal::open(folder.path()).unwrap()
}

#[test]
fn what_was_kept_and_not_released_is_left_to_the_next_in_order() {
    let folder = TempDir::new().unwrap();
    let (journal, left) = opened(&folder);
    assert!(left.is_empty());
    let kept = ["a", "b", "c"].map(|call| keep(&journal, call));
    drop((kept, journal));
    let (next, left) = opened(&folder);
    assert_eq!(calls(&left), ["a", "b", "c"]);
    // What the next one keeps is not mixed with what was left.
    let own = keep(&next, "d");
    left.forget().unwrap();
    drop((own, next));
    assert_eq!(calls(&opened(&folder).1), ["d"]);
}

#[test]
fn when_nothing_is_kept_any_more_no_byte_of_it_is_in_the_file() {
    let folder = TempDir::new().unwrap();
    let (journal, _) = opened(&folder);
    let (first, second) = (keep(&journal, "a"), keep(&journal, "b"));
    first.release();
    assert!(fs::metadata(&segments(&folder)[0]).unwrap().len() > 0);
    second.release();
    assert_eq!(fs::metadata(&segments(&folder)[0]).unwrap().len(), 0);
    let again = keep(&journal, "c");
    drop((again, journal));
    assert_eq!(calls(&opened(&folder).1), ["c"]);
}

#[tokio::test]
async fn emptied_waits_for_what_was_kept_before_it_and_for_nothing_after() {
    let folder = TempDir::new().unwrap();
    let (journal, _) = opened(&folder);
    let before = keep(&journal, "before");
    let mut emptied = Box::pin(journal.emptied());
    assert!(futures::poll!(&mut emptied).is_pending());
    let _after = keep(&journal, "after");
    before.release();
    emptied.await;
    let files: Vec<_> = segments(&folder)
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    assert_eq!(files.len(), 1, "the segment is deleted");
    assert!(
        files[0].contains("after") && !files[0].contains("before"),
        "{files:?}"
    );
}

#[tokio::test]
async fn emptied_waits_until_what_an_earlier_process_left_is_forgotten() {
    let folder = TempDir::new().unwrap();
    drop(keep(&opened(&folder).0, "left"));
    let (journal, left) = opened(&folder);
    let mut emptied = Box::pin(journal.emptied());
    assert!(futures::poll!(&mut emptied).is_pending());
    left.forget().unwrap();
    emptied.await;
}

#[test]
fn a_line_that_was_cut_or_changed_ends_what_is_read_of_its_segment() {
    for damage in ["cut", "changed"] {
        let folder = TempDir::new().unwrap();
        let (journal, _) = opened(&folder);
        let kept = ["a", "b"].map(|call| keep(&journal, call));
        drop((kept, journal));
        let file = &segments(&folder)[0];
        let mut bytes = fs::read(file).unwrap();
        let near_end = bytes.len() - 20;
        if damage == "cut" {
            bytes.truncate(near_end);
        } else {
            bytes[near_end] ^= 1;
        }
        fs::write(file, bytes).unwrap();
        assert_eq!(calls(&opened(&folder).1), ["a"], "{damage}");
    }
}

#[test]
fn a_line_of_a_newer_program_is_an_error_and_stays() {
    let folder = TempDir::new().unwrap();
    drop(opened(&folder));
    let mut line = Vec::new();
    segment::spell(&mut line, &serde_json::json!({"user_id": "anna", "notes": []})).unwrap();
    File::create(segment::path(folder.path(), 1))
        .unwrap()
        .write_all(&line)
        .unwrap();
    let (_, left) = opened(&folder);
    assert!(left.lines().is_err());
    assert_eq!(segments(&folder).len(), 1);
}

#[test]
fn a_segment_that_is_full_is_followed_by_another_and_deleted_once_nothing_of_it_is_kept() {
    let folder = TempDir::new().unwrap();
    let (journal, _) = opened(&folder);
    let mut kept = vec![keep(&journal, "0")];
    while segments(&folder).len() == 1 {
        kept.push(keep(&journal, &"x".repeat(200)));
    }
    let last = kept.pop().unwrap();
    kept.into_iter().for_each(Kept::release);
    assert_eq!(segments(&folder), [segment::path(folder.path(), 2)]);
    last.release();
}

#[test]
fn beyond_its_bound_nothing_is_kept() {
    let folder = TempDir::new().unwrap();
    let (journal, _) = opened(&folder);
    journal.inner.state().bytes = BYTES_MAX;
    let refused = journal.keep(&id("anna"), &note("a"));
    assert!(matches!(refused, Err(KeepError::Full)), "{refused:?}");
}

#[tokio::test]
async fn what_is_written_reaches_the_disk_a_moment_later() {
    let folder = TempDir::new().unwrap();
    let (journal, _) = opened(&folder);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let _kept = keep(&journal, "a");
    tasks.spawn(journal.clone().sync(Arc::new(SystemClock::new()), stop.clone()));
    let is_synced = || {
        let state = journal.inner.state();
        std::future::ready(state.segments.values().all(|segment| !segment.needs_sync))
    };
    assert!(testkit::wait_until_async(Duration::from_mins(1), is_synced).await);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
