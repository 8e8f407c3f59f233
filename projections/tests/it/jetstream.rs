//! The real log.

use std::sync::Arc;
use std::time::Duration;

use events::{EventLog, JetStreamLog, JetStreamSettings, StreamSeq};
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
        handle.wait_for(seq, Duration::from_secs(20)).await.unwrap();
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
