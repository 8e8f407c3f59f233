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

async fn a_subject_is_read_from_any_place_on(log: &dyn EventLog) {
    let (subject, other) = (
        Subject::Record(id("read-on")),
        Subject::Record(id("read-on-other")),
    );
    for n in 0..4 {
        store(log, &commit(&subject, &format!("read-on-{n}"))).await;
        store(log, &commit(&other, &format!("read-on-other-{n}"))).await;
    }
    let all = log.read_subject(&subject).await.unwrap();
    let before = all.iter().map(|recorded| recorded.seq);
    for (from, after) in std::iter::once(StreamSeq::ZERO).chain(before).enumerate() {
        let rest = log.read_subject_after(&subject, after).await.unwrap();
        assert_eq!(rest, all[from..]);
    }
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
    assert_eq!((recorded.seq, &recorded.commit), (appended.seq, &sent));
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
    let next = tokio::time::timeout(Duration::from_mins(1), following.next()).await;
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

async fn a_retry_is_known_even_if_another_writer_followed(log: &dyn EventLog) {
    let subject = Subject::Persona(id("followed-up"));
    let (ours, theirs) = (
        commit(&subject, "followed-up-1"),
        commit(&subject, "followed-up-2"),
    );
    let first = append(log, &ours, exactly(0)).await.unwrap();
    let _ = append(log, &theirs, ExpectedSeq::Exactly(first.seq))
        .await
        .unwrap();
    let retry = append(log, &ours, exactly(0)).await.unwrap();
    assert_eq!((retry.seq, retry.duplicate), (first.seq, true));
    assert_eq!(log.read_subject(&subject).await.unwrap().len(), 2);
}

async fn commits_of_a_persona_are_chained_and_others_are_not(log: &dyn EventLog) {
    let subject = Subject::Persona(id("chained"));
    let mut last = StreamSeq::ZERO;
    for n in 0..5 {
        // A writer who does not mind the place is chained too.
        let expected = if n == 3 {
            ExpectedSeq::Any
        } else {
            ExpectedSeq::Exactly(last)
        };
        last = append(log, &commit(&subject, &format!("chained-{n}")), expected)
            .await
            .unwrap()
            .seq;
    }
    let commits = log.read_subject(&subject).await.unwrap();
    let verified = verify_chain(
        &subject.to_string(),
        commits.iter().filter_map(|commit| commit.link),
    )
    .unwrap();
    assert_eq!(
        (verified.links(), verified.start()),
        (5, Some(ChainStart::Genesis))
    );
    assert_eq!(verified.head(), Some((last, commits[4].chain().unwrap())));

    let record = Subject::Record(id("not-chained"));
    store(log, &commit(&record, "not-chained-1")).await;
    assert_eq!(log.last(&record).await.unwrap().unwrap().link, None);
}

async fn collect(log: &dyn EventLog, after: StreamSeq, until: StreamSeq) -> Vec<StreamSeq> {
    let deliveries = log.read(after, until).await.unwrap();
    let read = tokio::time::timeout(Duration::from_mins(1), deliveries.collect::<Vec<_>>()).await;
    let read = read.expect("a bounded read ends");
    read.into_iter().map(|delivery| delivery.unwrap().seq()).collect()
}

async fn erased_commits_are_gone_and_readers_go_on(log: &Arc<dyn EventLog>) {
    let start = log.state().await.unwrap().last_seq;
    let (erased, kept) = (Subject::Persona(id("erased")), Subject::Persona(id("kept")));
    let mut places = [Vec::new(), Vec::new()];
    for n in 0..4 {
        for (subject, places) in [&erased, &kept].into_iter().zip(&mut places) {
            let expected = ExpectedSeq::Exactly(places.last().copied().unwrap_or_default());
            let appended = append(&**log, &commit(subject, &format!("{subject}-{n}")), expected)
                .await
                .unwrap();
            places.push(appended.seq);
        }
    }
    let [gone, left] = places;
    assert_eq!(
        log.purge(&erased, Some(gone[2])).await.unwrap(),
        3,
        "what is after stays"
    );
    assert_eq!(
        log.purge(&erased, Some(gone[2])).await.unwrap(),
        0,
        "asking twice changes nothing"
    );
    let rest = log.read_subject(&erased).await.unwrap();
    assert_eq!(
        rest.iter().map(|recorded| recorded.seq).collect::<Vec<_>>(),
        [gone[3]]
    );
    let verified = verify_chain(&erased.to_string(), rest.iter().filter_map(|commit| commit.link)).unwrap();
    assert_eq!(verified.start(), Some(ChainStart::Given(gone[3])));
    let guarded = append(
        &**log,
        &commit(&erased, "erased-again"),
        ExpectedSeq::Exactly(gone[3]),
    )
    .await
    .unwrap();
    assert_eq!(guarded.seq, left[3].next());

    // Now the newest commits of the log go too.
    assert_eq!(log.purge(&erased, None).await.unwrap(), 2);
    assert!(log.last(&erased).await.unwrap().is_none());
    assert!(log.read_subject(&erased).await.unwrap().is_empty());
    assert!(log.at(gone[0]).await.unwrap().is_none());
    let end = log.state().await.unwrap().last_seq;
    assert_eq!(end, guarded.seq, "sequences are not used again");
    assert_eq!(collect(&**log, start, end).await, left);
    assert_eq!(collect(&**log, left[3], end).await, []);
    assert_eq!(
        log.next_after(left[3])
            .await
            .unwrap()
            .map(|delivery| delivery.seq()),
        None
    );
    let at = read_to_end(&**log, start, |_| Ok::<_, LogError>(()))
        .await
        .unwrap();
    assert_eq!(at, end);

    let others = log.read_subject(&kept).await.unwrap();
    let verified = verify_chain(&kept.to_string(), others.iter().filter_map(|commit| commit.link)).unwrap();
    assert_eq!(
        (verified.links(), verified.start()),
        (4, Some(ChainStart::Genesis))
    );

    let mut following = log.follow(left[2]).await.unwrap();
    assert_eq!(next(&mut following).await.seq, left[3]);
    let begun_anew = append(&**log, &commit(&erased, "erased-begun-anew"), exactly(0))
        .await
        .unwrap();
    assert_eq!(next(&mut following).await.seq, begun_anew.seq);
    let fresh = log.read_subject(&erased).await.unwrap();
    let verified = verify_chain(&erased.to_string(), fresh.iter().filter_map(|commit| commit.link)).unwrap();
    assert_eq!(verified.start(), Some(ChainStart::Genesis));
}

async fn a_bounded_read_gives_what_is_between_and_nothing_else(log: &dyn EventLog) {
    let subject = Subject::Session(id("between"));
    let start = log.state().await.unwrap().last_seq;
    for n in 0..6 {
        store(log, &commit(&subject, &format!("between-{n}"))).await;
    }
    let place = |n: u64| StreamSeq(start.0 + n);
    assert_eq!(
        collect(log, place(1), place(4)).await,
        [place(2), place(3), place(4)]
    );
    assert_eq!(collect(log, place(4), place(4)).await, []);
    assert_eq!(
        collect(log, place(5), place(1_000)).await,
        [place(6)],
        "it does not wait for more"
    );
}

async fn conforms(log: Arc<dyn EventLog>) {
    a_subject_is_read_from_any_place_on(&*log).await;
    first_append_on_a_new_subject_expects_nothing_and_a_second_such_is_refused(&*log).await;
    a_retry_of_an_append_that_succeeded_is_a_duplicate_and_stores_nothing(&*log).await;
    unguarded_appends_to_one_subject_are_all_kept(&*log).await;
    racing_writers_of_one_subject_have_exactly_one_winner(&*log).await;
    every_event_type_comes_back_as_it_went_in(&*log).await;
    a_follower_sees_the_past_and_then_the_future_in_order(&log).await;
    what_was_never_written_is_not_there(&*log).await;
    commits_that_cannot_be_stored_are_refused(&*log).await;
    reading_to_the_end_stops_there(&*log).await;
    a_bounded_read_gives_what_is_between_and_nothing_else(&*log).await;
    a_retry_is_known_even_if_another_writer_followed(&*log).await;
    commits_of_a_persona_are_chained_and_others_are_not(&*log).await;
    erased_commits_are_gone_and_readers_go_on(&log).await;
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
async fn the_log_repeats_nothing_by_itself_and_a_stream_that_did_does_not_any_more() {
    let server = NatsServer::start();
    drop(open(&server).await);
    let watcher = async_nats::connect(server.url()).await.unwrap();
    let context = async_nats::jetstream::new(watcher.clone());
    let mut config = context
        .get_stream(STREAM_NAME)
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    config.republish = Some(async_nats::jetstream::stream::Republish {
        source: "dramatis.persona.>".to_owned(),
        destination: "dramatis.live.persona.>".to_owned(),
        headers_only: false,
    });
    context.update_stream(&config).await.unwrap();

    let log = open(&server).await;
    let mut live = watcher.subscribe("dramatis.live.>").await.unwrap();
    watcher.flush().await.unwrap();
    for (n, subject) in [Subject::Persona(id("p")), Subject::Session(id("s"))]
        .iter()
        .enumerate()
    {
        store(&log, &commit(subject, &format!("live-{n}"))).await;
    }
    watcher.publish("dramatis.live.after", "".into()).await.unwrap();
    let first = tokio::time::timeout(Duration::from_mins(1), live.next()).await;
    assert_eq!(first.unwrap().unwrap().subject.as_str(), "dramatis.live.after");
}
