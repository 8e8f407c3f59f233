//! What is left in the server's files of what was erased.

use std::fs;
use std::path::Path;

use events::{ChainHash, EventLog, JetStreamSettings, StreamSeq, Subject};
use testkit::NatsServer;

use crate::*;

/// All bytes of all files under `dir`, one after the other.
fn bytes_under(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes.extend(bytes_under(&path));
        } else {
            bytes.extend(fs::read(&path).unwrap_or_default());
        }
    }
    bytes
}

/// How many of `needles` occur in the server's files.
fn found(server: &NatsServer, needles: &[String]) -> usize {
    let bytes = bytes_under(server.store_dir());
    let finders = needles
        .iter()
        .map(|needle| memchr::memmem::Finder::new(needle.as_bytes()));
    finders.filter(|finder| finder.find(&bytes).is_some()).count()
}

/// Text that compresses badly, so that most of it shows in a compressed block too.
fn canary(persona: usize, n: usize) -> String {
    ChainHash::genesis(&format!("canary {persona} {n}")).to_string()[..24].to_owned()
}

fn cast(count: usize) -> Vec<Subject> {
    (0..count).map(|n| persona(&format!("canary-{n}"))).collect()
}

/// Commits of `cast` in turns, each with its canary.
fn history(cast: &[Subject], each: usize, padding: usize) -> Vec<events::Commit> {
    let turns = (0..each).flat_map(|n| (0..cast.len()).map(move |persona| (persona, n)));
    turns
        .map(|(persona, n)| {
            let text = format!("{} {}", canary(persona, n), "and so on. ".repeat(padding));
            commit_of(&cast[persona], &format!("canary-{persona}-{n}"), &text)
        })
        .collect()
}

fn canaries(persona: usize, each: usize) -> Vec<String> {
    (0..each).map(|n| canary(persona, n)).collect()
}

async fn nothing_is_left(cast: &[Subject], each: usize, padding: usize, seen_at_least: usize) {
    let mut server = NatsServer::start();
    let log = open(&server.url(), JetStreamSettings::default()).await;
    let _ = log.import(&history(cast, each, padding)).await.unwrap();
    let last_seq = log.state().await.unwrap().last_seq;
    let erased = canaries(1, each);
    let written = testkit::wait_until(LIMIT, || found(&server, &erased) >= seen_at_least);
    let seen = found(&server, &erased);
    assert!(written, "{seen} canaries are in the files to begin with");

    assert_eq!(log.purge(&cast[1], None).await.unwrap(), each as u64);
    assert_eq!(found(&server, &erased), 0, "right after");
    server.kill();
    assert_eq!(found(&server, &erased), 0, "after the server's end");
    server.restart();
    assert_eq!(found(&server, &erased), 0, "after its restart");

    let log = open(&server.url(), JetStreamSettings::default()).await;
    assert_eq!(log.state().await.unwrap().last_seq, last_seq);
    assert_eq!(audit(&log).await, ((cast.len() - 1) * each) as u64);
    assert!(log.read_subject(&cast[1]).await.unwrap().is_empty());
    // Read, not looked for in the files: how much of a text shows in a compressed block differs from run to run.
    assert_eq!(
        log.read_subject(&cast[2]).await.unwrap().len(),
        each,
        "others keep theirs"
    );
}

#[tokio::test]
async fn no_byte_of_an_erased_persona_is_left_in_the_files() {
    nothing_is_left(&cast(4), 50, 5, 50).await;
}

/// Blocks of 8 MB are compressed once they are full; what a match refers back to does not show as a canary.
#[tokio::test]
async fn no_byte_of_an_erased_persona_is_left_in_compressed_blocks() {
    nothing_is_left(&cast(50), 20, 800, 3).await;
}

#[tokio::test]
async fn an_erasure_up_to_a_place_leaves_what_is_after() {
    let server = NatsServer::start();
    let log = open(&server.url(), JetStreamSettings::default()).await;
    let cast = cast(2);
    let _ = log.import(&history(&cast, 10, 5)).await.unwrap();
    // Turns: the second persona's commits are at 2, 4, 6 ...
    assert_eq!(log.purge(&cast[1], Some(StreamSeq(12))).await.unwrap(), 6);
    assert_eq!(found(&server, &canaries(1, 6)), 0);
    assert_eq!(log.read_subject(&cast[1]).await.unwrap().len(), 4);
    assert_eq!(audit(&log).await, 14);
}
