//! Appends under loss, absence and crowds.

use std::time::Duration;

use events::{EventLog, ExpectedSeq, JetStreamSettings, LogError, Rejection, StreamSeq};
use futures::future::join_all;
use testkit::{NatsServer, wait_until_async};

use crate::proxy::Proxy;
use crate::*;

/// Waits until the log behind `direct` holds `messages`.
async fn holds(direct: &dyn EventLog, messages: u64) {
    let held = wait_until_async(LIMIT, || async {
        direct.state().await.unwrap().messages == messages
    })
    .await;
    assert!(held, "the log holds {messages} messages");
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_found_again_and_stored_once() {
    let server = NatsServer::start();
    let proxy = Proxy::start(&server.url()).await;
    let direct = open(&server.url(), JetStreamSettings::default()).await;
    let log = open(&proxy.url(), JetStreamSettings::default()).await;
    let (subject, commit) = (persona("lost"), commit(&persona("lost"), "lost-1"));

    proxy.deafen();
    let lost = async {
        holds(&direct, 1).await;
        proxy.mend();
    };
    let (appended, ()) = tokio::join!(append(&log, &commit, exactly(StreamSeq::ZERO)), lost);
    assert!(appended.duplicate, "{appended:?}");
    assert_eq!(direct.read_subject(&subject).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_not_taken_for_a_refusal_when_another_writer_followed() {
    let server = NatsServer::start();
    let proxy = Proxy::start(&server.url()).await;
    let direct = open(&server.url(), JetStreamSettings::default()).await;
    let log = open(&proxy.url(), JetStreamSettings::default()).await;
    let subject = persona("overtaken");
    let (ours, theirs) = (commit(&subject, "ours"), commit(&subject, "theirs"));

    proxy.deafen();
    let overtaken = async {
        holds(&direct, 1).await;
        let _ = append(&direct, &theirs, exactly(StreamSeq(1))).await;
        proxy.mend();
    };
    let (appended, ()) = tokio::join!(append(&log, &ours, exactly(StreamSeq::ZERO)), overtaken);
    assert_eq!((appended.seq, appended.duplicate), (StreamSeq(1), true));
    assert_eq!(audit(&direct).await, 2);
}

#[tokio::test]
async fn a_server_that_does_not_answer_gives_a_typed_error_within_the_time_for_an_append() {
    let server = NatsServer::start();
    let proxy = Proxy::start(&server.url()).await;
    let log = open(&proxy.url(), JetStreamSettings::default()).await;
    proxy.deafen();
    let commit = commit(&persona("deaf"), "deaf-1");
    let given_back = tokio::time::timeout(Duration::from_secs(4), log.append(&commit, ExpectedSeq::Any));
    let error = given_back.await.expect("in time").unwrap_err();
    assert!(matches!(error, LogError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn an_absent_server_gives_a_typed_error_quickly_and_the_log_recovers_by_itself() {
    let mut server = NatsServer::start();
    let log = open(&server.url(), JetStreamSettings::default()).await;
    let subject = persona("absent");
    let places = append_some(&log, &subject, 1).await;
    server.kill();
    let commits: Vec<_> = (0..50)
        .map(|n| commit(&persona(&format!("absent-{n}")), &format!("absent-{n}")))
        .collect();
    let all = join_all(
        commits
            .iter()
            .map(|commit| log.append(commit, exactly(StreamSeq::ZERO))),
    );
    let errors = tokio::time::timeout(Duration::from_secs(4), all)
        .await
        .expect("in time");
    for error in errors {
        assert!(matches!(error, Err(LogError::Unavailable(_))), "{error:?}");
    }
    server.restart();
    for commit in &commits {
        let appended = wait_until_async(LIMIT, || async {
            matches!(log.append(commit, exactly(StreamSeq::ZERO)).await, Ok(Ok(_)))
        })
        .await;
        assert!(appended, "the log takes appends again");
    }
    let again = commit(&subject, "absent-again");
    let _ = append(&log, &again, exactly(places[0])).await;
    assert_eq!(
        log.state().await.unwrap().messages,
        52,
        "a retried commit is stored once"
    );
    assert_eq!(audit(&log).await, 52);
}

#[tokio::test]
async fn appends_beyond_the_limit_are_handed_back_and_those_within_it_go_on() {
    let server = NatsServer::start();
    let proxy = Proxy::start(&server.url()).await;
    let direct = open(&server.url(), JetStreamSettings::default()).await;
    let settings = JetStreamSettings {
        in_flight_max: 2,
        append_within: Duration::from_secs(8),
        ..JetStreamSettings::default()
    };
    let log = open(&proxy.url(), settings).await;
    proxy.deafen();
    let commits: Vec<_> = ["a", "b", "c"].map(|name| commit(&persona(name), name)).into();
    let crowd = async {
        holds(&direct, 2).await;
        let third = log.append(&commits[2], exactly(StreamSeq::ZERO));
        let error = tokio::time::timeout(Duration::from_secs(4), third)
            .await
            .expect("in time");
        assert!(
            matches!(error, Err(LogError::Busy { in_flight_max: 2 })),
            "{error:?}"
        );
        proxy.mend();
    };
    let (_, _, ()) = tokio::join!(
        append(&log, &commits[0], exactly(StreamSeq::ZERO)),
        append(&log, &commits[1], exactly(StreamSeq::ZERO)),
        crowd
    );
    let third = append(&log, &commits[2], exactly(StreamSeq::ZERO)).await;
    assert_eq!(
        third.seq,
        StreamSeq(3),
        "nothing was sent of what was handed back"
    );
}

#[tokio::test]
async fn a_second_process_is_refused_by_the_guard_and_its_own_chain_stays_whole() {
    let server = NatsServer::start();
    let (one, other) = (
        open(&server.url(), JetStreamSettings::default()).await,
        open(&server.url(), JetStreamSettings::default()).await,
    );
    let subject = persona("shared");
    let places = append_some(&one, &subject, 3).await;
    let stale = other
        .append(&commit(&subject, "stale"), exactly(places[1]))
        .await
        .unwrap();
    let expected = Rejection::WrongSequence {
        subject: subject.to_string(),
        expected: places[1],
        found: places[2],
    };
    assert_eq!(stale, Err(expected));
    let fourth = append(&other, &commit(&subject, "fourth"), exactly(places[2])).await;
    let _ = append(&one, &commit(&subject, "fifth"), exactly(fourth.seq)).await;
    let nowhere = one
        .append(&commit(&subject, "nowhere"), exactly(StreamSeq(4_000)))
        .await
        .unwrap();
    assert!(
        matches!(nowhere, Err(Rejection::WrongSequence { .. })),
        "{nowhere:?}"
    );
    assert_eq!(audit(&one).await, 5);
}

#[tokio::test]
async fn the_chain_costs_no_round_trip_while_one_process_writes() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let log = events::JetStreamLog::open(client.clone(), JetStreamSettings::default())
        .await
        .unwrap();
    let sent = || {
        client
            .statistics()
            .out_messages
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    let before = sent();
    append_some(&log, &persona("steady"), 20).await;
    assert_eq!(sent() - before, 20);
}
