//! Imports by atomic batches.

use events::{Commit, EventLog, ExpectedSeq, Imported, JetStreamSettings, StreamSeq, Subject};
use testkit::{NatsServer, wait_until_async};

use crate::proxy::Proxy;
use crate::*;

/// `each` commits of each of `personas` personas and of one space, in turns.
fn history(personas: usize, each: usize) -> Vec<Commit> {
    let subjects: Vec<Subject> = (0..personas)
        .map(|n| persona(&format!("imported-{n}")))
        .chain([Subject::Record(id("imported"))])
        .collect();
    (0..each)
        .flat_map(|n| {
            subjects
                .iter()
                .map(move |subject| commit(subject, &format!("{subject}-{n}")))
        })
        .collect()
}

async fn ids(log: &dyn EventLog) -> Vec<events::CommitId> {
    let mut ids = Vec::new();
    events::read_to_end(log, StreamSeq::ZERO, |delivery| {
        ids.push(delivery.into_commit()?.commit.id);
        Ok::<_, events::LogError>(())
    })
    .await
    .unwrap();
    ids
}

fn ids_of(commits: &[Commit]) -> Vec<events::CommitId> {
    commits.iter().map(|commit| commit.id).collect()
}

#[tokio::test]
async fn an_import_keeps_order_and_chains_and_a_second_one_changes_nothing() {
    let server = NatsServer::start();
    let log = open(&server.url(), JetStreamSettings::default()).await;
    let history = history(24, 100);
    let imported = log.import(&history).await.unwrap();
    assert_eq!(
        imported,
        Imported {
            stored: 2_500,
            known: 0,
            batches: 3
        }
    );
    assert_eq!(ids(&log).await, ids_of(&history));
    assert_eq!(audit(&log).await, 2_400);
    let again = log.import(&history).await.unwrap();
    assert_eq!(
        again,
        Imported {
            stored: 0,
            known: 2_500,
            batches: 0
        }
    );
    assert_eq!(log.state().await.unwrap().messages, 2_500);

    let subject = persona("imported-3");
    let last = log.last(&subject).await.unwrap().unwrap();
    let _ = append(&log, &commit(&subject, "after the import"), exactly(last.seq)).await;
    assert_eq!(audit(&log).await, 2_401);
}

#[tokio::test]
async fn an_import_leaves_alone_what_is_known_and_stores_the_rest() {
    let server = NatsServer::start();
    let log = open(&server.url(), JetStreamSettings::default()).await;
    let history = history(4, 10);
    let _ = log.import(&history[..17]).await.unwrap();
    let imported = log.import(&history).await.unwrap();
    assert_eq!(
        imported,
        Imported {
            stored: 33,
            known: 17,
            batches: 1
        }
    );
    assert_eq!(ids(&log).await, ids_of(&history));
}

#[tokio::test]
async fn what_others_append_during_an_import_stays_and_the_import_goes_on_after_it() {
    let server = NatsServer::start();
    let log = open(&server.url(), JetStreamSettings::default()).await;
    let other = open(&server.url(), JetStreamSettings::default()).await;
    let history = history(4, 10);
    let mut importer = log.importer().await.unwrap();
    let _ = importer.import(&history[..25]).await.unwrap();
    let foreign = commit(&persona("imported-0"), "foreign");
    let _ = append(&other, &foreign, ExpectedSeq::Any).await;
    // One of the import's own, brought in by somebody else.
    let _ = append(&other, &history[25], ExpectedSeq::Any).await;
    let done = importer.import(&history[25..]).await.unwrap();
    assert_eq!(
        done,
        Imported {
            stored: 24,
            known: 1,
            batches: 1
        }
    );
    assert_eq!(log.state().await.unwrap().messages, 51);
    assert_eq!(audit(&log).await, 41);
}

#[tokio::test]
async fn an_import_whose_answer_was_lost_is_stored_once() {
    let server = NatsServer::start();
    let proxy = Proxy::start(&server.url()).await;
    let direct = open(&server.url(), JetStreamSettings::default()).await;
    let log = open(&proxy.url(), JetStreamSettings::default()).await;
    let history = history(4, 10);
    let mut importer = log.importer().await.unwrap();
    proxy.deafen();
    let lost = async {
        let stored = wait_until_async(LIMIT, || async { direct.state().await.unwrap().messages == 50 }).await;
        assert!(stored, "the batch is stored");
        proxy.mend();
    };
    let (done, ()) = tokio::join!(importer.import(&history), lost);
    assert_eq!(
        done.unwrap(),
        Imported {
            stored: 50,
            known: 0,
            batches: 1
        }
    );
    assert_eq!(ids(&direct).await, ids_of(&history));
}
