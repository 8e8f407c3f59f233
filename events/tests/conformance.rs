//! One suite that every log must pass, refusals included: in memory and on a real JetStream.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use events::testing::{id, sample_time, samples};
use events::*;
use futures::StreamExt as _;
use testkit::NatsServer;

fn commit(subject: &Subject, name: &str) -> Commit {
    let event = SessionClosed {
        session_id: id(name),
        reason: "client".to_owned(),
        closed_at: sample_time(),
    };
    Commit::new(
        CommitId::derived(&[name]),
        subject.clone(),
        sample_time(),
        vec![event.into()],
    )
}

async fn append(log: &dyn EventLog, commit: &Commit, expected: ExpectedSeq) -> Result<Appended, Rejection> {
    log.append(commit, expected).await.expect("the log answers")
}

async fn store(log: &dyn EventLog, commit: &Commit) {
    let stored = append(log, commit, ExpectedSeq::Any)
        .await
        .expect("an unguarded append is not refused");
    assert!(!stored.duplicate);
}

fn exactly(seq: u64) -> ExpectedSeq {
    ExpectedSeq::Exactly(StreamSeq(seq))
}

async fn first_append_on_a_new_subject_expects_nothing_and_a_second_such_is_refused(log: &dyn EventLog) {
    let subject = Subject::Session(id("guarded"));
    let first = append(log, &commit(&subject, "guarded-1"), exactly(0))
        .await
        .unwrap();
    assert!(!first.duplicate);
    let refused = append(log, &commit(&subject, "guarded-2"), exactly(0))
        .await
        .unwrap_err();
    assert_eq!(
        refused,
        Rejection::WrongSequence {
            subject: subject.to_string(),
            expected: StreamSeq::ZERO,
            found: first.seq
        }
    );
    let second = append(
        log,
        &commit(&subject, "guarded-2"),
        ExpectedSeq::Exactly(first.seq),
    )
    .await
    .unwrap();
    assert_eq!(second.seq, first.seq.next());
}

async fn a_retry_of_an_append_that_succeeded_is_a_duplicate_and_stores_nothing(log: &dyn EventLog) {
    let subject = Subject::Persona(id("retried"));
    let commit = commit(&subject, "retried-1");
    let first = append(log, &commit, exactly(0)).await.unwrap();
    let before = log.state().await.unwrap().messages;
    let retry = append(log, &commit, exactly(0)).await.unwrap();
    assert_eq!(
        retry,
        Appended {
            seq: first.seq,
            duplicate: true
        }
    );
    assert_eq!(log.state().await.unwrap().messages, before);
}

async fn unguarded_appends_to_one_subject_are_all_kept(log: &dyn EventLog) {
    let subject = Subject::Record(id("shared"));
    for n in 0..5 {
        store(log, &commit(&subject, &format!("shared-{n}"))).await;
    }
    assert_eq!(log.read_subject(&subject).await.unwrap().len(), 5);
}

async fn racing_writers_of_one_subject_have_exactly_one_winner(log: &dyn EventLog) {
    let subject = Subject::Persona(id("raced"));
    let commits: Vec<Commit> = (0..8).map(|n| commit(&subject, &format!("raced-{n}"))).collect();
    let results =
        futures::future::join_all(commits.iter().map(|commit| append(log, commit, exactly(0)))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(log.read_subject(&subject).await.unwrap().len(), 1);
}

async fn every_event_type_comes_back_as_it_went_in(log: &dyn EventLog) {
    let subject = Subject::Persona(id("with space.and*stars>"));
    let mut sent = Commit::new(
        CommitId::derived(&["all"]),
        subject.clone(),
        sample_time(),
        samples(),
    );
    sent.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let sent = sent.in_tick(id("tick-1")).caused_by("call-1");
    let appended = append(log, &sent, exactly(0)).await.unwrap();
    let recorded = log.last(&subject).await.unwrap().unwrap();
    assert_eq!(
        recorded,
        RecordedCommit {
            seq: appended.seq,
            commit: sent
        }
    );
    assert_eq!(log.read_subject(&subject).await.unwrap(), vec![recorded.clone()]);
    match log.at(appended.seq).await.unwrap() {
        Some(Delivery::Commit(at)) => assert_eq!(at, recorded),
        other => panic!("{other:?}"),
    }
}

async fn a_follower_sees_the_past_and_then_the_future_in_order(log: &Arc<dyn EventLog>) {
    let start = log.state().await.unwrap().last_seq;
    let subject = Subject::Session(id("followed"));
    store(&**log, &commit(&subject, "followed-past")).await;
    let mut following = log.follow(start).await.unwrap();
    let past = next(&mut following).await;
    store(&**log, &commit(&subject, "followed-future")).await;
    let future = next(&mut following).await;
    assert_eq!((past.seq, future.seq), (start.next(), start.next().next()));
    assert_eq!(future.commit.id, CommitId::derived(&["followed-future"]));
}

async fn next(following: &mut CommitStream) -> RecordedCommit {
    let next = tokio::time::timeout(Duration::from_secs(10), following.next()).await;
    next.expect("a commit arrives")
        .expect("following does not end")
        .expect("no error")
        .into_commit()
        .expect("decodes")
}

async fn what_was_never_written_is_not_there(log: &dyn EventLog) {
    assert!(log.last(&Subject::Persona(id("nobody"))).await.unwrap().is_none());
    assert!(
        log.read_subject(&Subject::Persona(id("nobody")))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(log.at(StreamSeq(1_000_000)).await.unwrap().is_none());
}

async fn commits_that_cannot_be_stored_are_refused(log: &dyn EventLog) {
    let subject = Subject::Session(id("refused"));
    let empty = Commit::new(
        CommitId::derived(&["empty"]),
        subject.clone(),
        sample_time(),
        Vec::new(),
    );
    assert!(matches!(
        log.append(&empty, ExpectedSeq::Any).await,
        Err(LogError::Codec(CodecError::Empty))
    ));
    let reason = "x".repeat(2 * 1024 * 1024);
    let event = SessionClosed {
        session_id: id("huge"),
        reason,
        closed_at: sample_time(),
    };
    let huge = Commit::new(
        CommitId::derived(&["huge"]),
        subject.clone(),
        sample_time(),
        vec![event.into()],
    );
    let refused = append(log, &huge, ExpectedSeq::Any).await.unwrap_err();
    assert!(matches!(refused, Rejection::TooLarge { .. }), "{refused}");
    assert!(log.last(&subject).await.unwrap().is_none());
}

async fn reading_to_the_end_stops_there(log: &dyn EventLog) {
    let end = log.state().await.unwrap().last_seq;
    let mut seen = 0;
    let at = read_to_end(log, StreamSeq::ZERO, |_| -> Result<(), LogError> {
        seen += 1;
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!((at, seen), (end, end.0));
}

async fn conforms(log: Arc<dyn EventLog>) {
    first_append_on_a_new_subject_expects_nothing_and_a_second_such_is_refused(&*log).await;
    a_retry_of_an_append_that_succeeded_is_a_duplicate_and_stores_nothing(&*log).await;
    unguarded_appends_to_one_subject_are_all_kept(&*log).await;
    racing_writers_of_one_subject_have_exactly_one_winner(&*log).await;
    every_event_type_comes_back_as_it_went_in(&*log).await;
    a_follower_sees_the_past_and_then_the_future_in_order(&log).await;
    what_was_never_written_is_not_there(&*log).await;
    commits_that_cannot_be_stored_are_refused(&*log).await;
    reading_to_the_end_stops_there(&*log).await;
}

async fn open(server: &NatsServer) -> JetStreamLog {
    let client = async_nats::connect(server.url())
        .await
        .expect("the server takes connections");
    JetStreamLog::open(client, JetStreamSettings::default())
        .await
        .expect("the stream can be made")
}

#[tokio::test]
async fn the_log_in_memory_conforms() {
    conforms(Arc::new(MemoryLog::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_on_jetstream_conforms() {
    let server = NatsServer::start();
    conforms(Arc::new(open(&server).await)).await;
}

#[tokio::test]
async fn an_acknowledged_append_survives_the_kill_of_the_server() {
    let mut server = NatsServer::start();
    let log = open(&server).await;
    let subject = Subject::Persona(id("killed"));
    let mut last = StreamSeq::ZERO;
    for n in 0..20 {
        let appended = append(
            &log,
            &commit(&subject, &format!("killed-{n}")),
            ExpectedSeq::Exactly(last),
        )
        .await;
        last = appended.unwrap().seq;
    }
    server.kill();
    server.restart();
    let again = open(&server).await;
    let ids: Vec<CommitId> = again
        .read_subject(&subject)
        .await
        .unwrap()
        .iter()
        .map(|recorded| recorded.commit.id)
        .collect();
    let expected: Vec<CommitId> = (0..20)
        .map(|n| CommitId::derived(&[&format!("killed-{n}")]))
        .collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn an_unreachable_server_gives_a_typed_error_and_the_same_commit_can_be_tried_again() {
    let mut server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let settings = JetStreamSettings {
        timeout: Duration::from_millis(300),
        ..Default::default()
    };
    let log = JetStreamLog::open(client, settings).await.unwrap();
    let subject = Subject::Persona(id("unreachable"));
    let commit = commit(&subject, "unreachable-1");
    server.kill();
    assert!(matches!(
        log.append(&commit, exactly(0)).await,
        Err(LogError::Unavailable(_))
    ));
    server.restart();
    let appended = testkit::wait_until_async(Duration::from_secs(10), || async {
        matches!(log.append(&commit, exactly(0)).await, Ok(Ok(_)))
    })
    .await;
    assert!(appended, "the log takes appends again");
    assert_eq!(
        log.read_subject(&subject).await.unwrap().len(),
        1,
        "a retried commit is stored once"
    );
}

#[tokio::test]
async fn a_stream_that_could_lose_history_is_refused_by_name() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let forgetful = async_nats::jetstream::stream::Config {
        name: STREAM_NAME.to_owned(),
        subjects: vec!["dramatis.>".to_owned()],
        max_age: Duration::from_hours(1),
        ..Default::default()
    };
    async_nats::jetstream::new(client.clone())
        .create_stream(forgetful)
        .await
        .unwrap();
    let refused = JetStreamLog::open(client, JetStreamSettings::default())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("drops messages by age"), "{refused}");
}

#[tokio::test]
async fn persona_and_session_commits_are_repeated_live_and_records_are_not() {
    let server = NatsServer::start();
    let log = open(&server).await;
    let watcher = async_nats::connect(server.url()).await.unwrap();
    let mut live = watcher.subscribe("dramatis.live.>").await.unwrap();
    watcher.flush().await.unwrap();
    let subjects = [
        Subject::Record(id("r")),
        Subject::Persona(id("p")),
        Subject::Session(id("s")),
    ];
    for (n, subject) in subjects.iter().enumerate() {
        store(&log, &commit(subject, &format!("live-{n}"))).await;
    }
    let mut seen = Vec::new();
    for _ in 0..2 {
        let message = tokio::time::timeout(Duration::from_secs(10), live.next())
            .await
            .unwrap()
            .unwrap();
        let sequence = message.headers.unwrap().get("Nats-Sequence").unwrap().to_string();
        seen.push((message.subject.to_string(), sequence));
    }
    seen.sort();
    let expected = [
        ("dramatis.live.persona.p".to_owned(), "2".to_owned()),
        ("dramatis.live.session.s".to_owned(), "3".to_owned()),
    ];
    assert_eq!(seen, expected);
}
