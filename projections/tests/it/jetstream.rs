//! The real log.

use std::sync::Arc;
use std::time::Duration;

use events::testing::id;
use events::{EventLog, JetStreamLog, JetStreamSettings, PersonaErased, StreamSeq};
use projections::{Projector, rebuild, verify};
use testkit::{NatsServer, wait_until_async};
use tokio_util::sync::CancellationToken;

use crate::support::*;

async fn connect(server: &NatsServer) -> Arc<JetStreamLog> {
    let client = async_nats::connect(server.url()).await.unwrap();
    let settings = JetStreamSettings {
        timeout: Duration::from_secs(1),
        ..JetStreamSettings::default()
    };
    Arc::new(JetStreamLog::open(client, settings).await.unwrap())
}

/// Appends a persona's day, again and again until the server answers.
async fn live(log: &dyn EventLog, name: &str) -> StreamSeq {
    for (subject, events) in day_of(name) {
        assert!(wait_until_async(LIMIT, || async { log.state().await.is_ok() }).await);
        happen(log, subject, events).await;
    }
    log.state().await.unwrap().last_seq
}

#[tokio::test]
async fn tables_keep_up_with_jetstream_through_a_crash_of_the_server_and_can_be_made_again() {
    let mut server = NatsServer::start();
    let log = connect(&server).await;
    let bench = Bench::new().await;
    let cancel = CancellationToken::new();
    let (projector, handle) = Projector::new(log.clone(), bench.tables.clone(), clock());
    let work = async {
        let seq = live(log.as_ref(), "anna").await;
        handle.wait_for(seq, LIMIT).await.unwrap();
        server.kill();
        server.restart();
        let seq = live(log.as_ref(), "ben").await;
        handle.wait_for(seq, LIMIT).await.unwrap();
        cancel.cancel();
        seq
    };
    let (ran, seq) = tokio::join!(projector.run(cancel.clone()), work);
    ran.unwrap();

    let counts = bench.tables.counts().await.unwrap();
    assert_eq!(
        (counts.personas, counts.actions, counts.parked, counts.as_of_seq),
        (2, 6, 0, seq)
    );
    let report = verify(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    assert!(report.agrees(), "{report:?}");
    let before = bench.tables.checksums().await.unwrap();
    rebuild(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    assert_eq!(bench.tables.checksums().await.unwrap(), before);
}

#[tokio::test]
async fn purging_an_erased_persona_from_the_log_is_no_fork_even_at_its_end() {
    let server = NatsServer::start();
    let log = connect(&server).await;
    let bench = Bench::new().await;
    live(log.as_ref(), "anna").await;
    live(log.as_ref(), "ben").await;
    let erased = PersonaErased {
        persona_id: id("ben"),
        spaces: vec![id("ben")],
    };
    let at = happen(log.as_ref(), of_persona("ben"), vec![erased.into()]).await;
    // A late one that no table shows, so that the log's end is among what is erased.
    let late = serde_json::from_str(r#"{"type":"Late","v":1,"data":{}}"#).unwrap();
    let end = happen(log.as_ref(), of_space("ben"), vec![late]).await;
    fold_to_end(log.clone(), &bench.tables, 5).await.unwrap();
    log.purge(&of_space("ben"), None).await.unwrap();
    log.purge(&of_persona("ben"), Some(StreamSeq(at.0 - 1)))
        .await
        .unwrap();
    assert!(log.at(end).await.unwrap().is_none());

    // What is left is anna's day alone, and the tables say the same.
    let only_anna = without_traces_of_the_log(reference(log_of(day_of("anna")).await).await);
    assert_eq!(
        without_traces_of_the_log(bench.tables.checksums().await.unwrap()),
        only_anna
    );
    let report = verify(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    assert!(report.agrees(), "{report:?}");
    let report = rebuild(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    assert_eq!(
        (report.seq, without_traces_of_the_log(report.tables)),
        (at, only_anna)
    );

    live(log.as_ref(), "cleo").await;
    fold_to_end(log.clone(), &bench.tables, 5).await.unwrap();
    assert!(
        verify(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
            .await
            .unwrap()
            .agrees()
    );
}
