//! What only a real nats-server can show: lost answers, absence, limits, files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod append;
mod cluster;
mod damaged;
mod documents;
mod erase;
mod fitness;
mod follow;
mod import;
mod proxy;
mod ticks;

use std::time::Duration;

use events::testing::{id, sample_time};
use events::{
    Appended, Commit, CommitId, EventLog, ExpectedSeq, JetStreamLog, JetStreamSettings, LogError,
    SessionClosed, StreamSeq, Subject,
};

/// How long a server may take to come back to its clients.
const LIMIT: Duration = Duration::from_mins(1);

fn persona(name: &str) -> Subject {
    Subject::Persona(id(name))
}

/// A commit named `name` whose text is `text`.
fn commit_of(subject: &Subject, name: &str, text: &str) -> Commit {
    let event = SessionClosed {
        session_id: id("s"),
        reason: text.to_owned(),
        closed_at: sample_time(),
    };
    let id = CommitId::derived(&[name]);
    Commit::new(id, subject.clone(), sample_time(), vec![event.into()])
}

fn commit(subject: &Subject, name: &str) -> Commit {
    commit_of(subject, name, "client")
}

fn exactly(seq: StreamSeq) -> ExpectedSeq {
    ExpectedSeq::Exactly(seq)
}

async fn open(url: &str, settings: JetStreamSettings) -> JetStreamLog {
    let client = async_nats::connect(url)
        .await
        .expect("the server takes connections");
    JetStreamLog::open(client, settings)
        .await
        .expect("the stream can be made")
}

async fn append(log: &JetStreamLog, commit: &Commit, expected: ExpectedSeq) -> Appended {
    let appended = log.append(commit, expected).await.expect("the log answers");
    appended.expect("the append is not refused")
}

/// Appends `count` commits of `subject` after one another; says where they are.
async fn append_some(log: &JetStreamLog, subject: &Subject, count: usize) -> Vec<StreamSeq> {
    let mut places = Vec::new();
    for n in 0..count {
        let expected = exactly(places.last().copied().unwrap_or_default());
        let name = format!("{subject}-{n}");
        places.push(append(log, &commit(subject, &name), expected).await.seq);
    }
    places
}

/// Every chain of the log holds; says how many links there are.
async fn audit(log: &dyn EventLog) -> u64 {
    let mut audit = events::ChainAudit::new();
    events::read_to_end(log, StreamSeq::ZERO, |delivery| {
        audit.observe(&delivery);
        Ok::<_, LogError>(())
    })
    .await
    .unwrap();
    let report = audit.finish();
    assert_eq!(report.breaks, []);
    report.links
}
