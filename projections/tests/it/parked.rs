//! Parked commits, folded again.

use events::{EventLog as _, StreamSeq};
use projections::{RetryOutcome, retry_parked};

use crate::support::*;

#[tokio::test]
async fn a_commit_that_can_be_read_at_last_is_folded_and_no_longer_parked() {
    let commits = vec![
        (of_persona("anna"), vec![enrolled("anna"), began("anna", "t")]),
        (of_persona("anna"), vec![called("t", "a", 0)]),
        (of_persona("anna"), vec![called("t", "b", 1)]),
        (of_persona("anna"), vec![returned("t", "nobody")]),
    ];
    let (_, whole) = Bench::folded(commits.clone()).await;
    let log = log_of(commits).await;
    let text = whole.commits()[1].clone();
    log.tamper(|messages| messages.get_mut(&2).unwrap().body = b"{}".to_vec());
    let bench = Bench::new().await;
    fold_to_end(log.clone(), &bench.tables, 10).await.unwrap();
    let parked = |rows: Vec<projections::ParkedRow>| rows.iter().map(|row| row.seq.0).collect::<Vec<_>>();
    assert_eq!(parked(bench.tables.parked().await.unwrap()), [2, 4]);

    // Nothing is mended yet.
    let retried = retry_parked(log.as_ref(), &bench.tables).await.unwrap();
    assert!(
        retried
            .iter()
            .all(|retried| matches!(retried.outcome, RetryOutcome::Parked { .. })),
        "{retried:?}"
    );
    assert_eq!(parked(bench.tables.parked().await.unwrap()), [2, 4]);

    log.tamper(|messages| {
        let message = messages.get_mut(&2).unwrap();
        message.body = br#"{"events":"#.to_vec();
        message
            .body
            .extend(serde_json::to_vec(&text.commit.events).unwrap());
        message.body.extend(br#","correlation":"c"}"#);
    });
    let retried = retry_parked(log.as_ref(), &bench.tables).await.unwrap();
    assert_eq!(
        (retried[0].seq, &retried[0].outcome),
        (StreamSeq(2), &RetryOutcome::Folded)
    );
    assert_eq!(parked(bench.tables.parked().await.unwrap()), [4]);
    assert_eq!(bench.tables.counts().await.unwrap().actions, 2);
    assert_eq!(
        without_traces_of_the_log(bench.tables.checksums().await.unwrap()),
        without_traces_of_the_log(reference(log).await)
    );
}

#[tokio::test]
async fn a_parked_commit_that_was_erased_from_the_log_is_let_go() {
    let log = log_of(day_of("anna")).await;
    log.append_garbage("dramatis.persona.anna", b"{}");
    let bench = Bench::new().await;
    fold_to_end(log.clone(), &bench.tables, 10).await.unwrap();
    log.purge(&of_persona("anna"), Some(StreamSeq(8))).await.unwrap();
    let retried = retry_parked(log.as_ref(), &bench.tables).await.unwrap();
    assert_eq!(
        retried.iter().map(|retried| &retried.outcome).collect::<Vec<_>>(),
        [&RetryOutcome::Gone]
    );
    assert_eq!(bench.tables.parked().await.unwrap(), []);
}

#[tokio::test]
async fn parked_commits_of_another_log_are_left_alone() {
    let log = log_of(day_of("anna")).await;
    log.append_garbage("dramatis.persona.anna", b"{}");
    let bench = Bench::new().await;
    fold_to_end(log.clone(), &bench.tables, 10).await.unwrap();
    let shorter = log_of(day_of("anna")[..3].to_vec()).await;
    let refused = retry_parked(shorter.as_ref(), &bench.tables).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(bench.tables.parked().await.unwrap().len(), 1);
}
