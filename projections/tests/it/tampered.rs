//! A real server whose message files were changed behind its back, with its own checksums made to fit.
//! `./deploy/campaign tamper` does the same a hundred times.

use std::collections::BTreeSet;
use std::sync::Arc;

use events::testing::id;
use events::{EventLog, JetStreamLog, JetStreamSettings, PersonaErased, STREAM_NAME, StreamSeq};
use projections::{BreakKind, VerifyReport, verify};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use testkit::{NatsServer, StreamFiles, Tampered, Tampering};

use crate::support::*;

async fn connect(server: &NatsServer) -> Arc<JetStreamLog> {
    let client = async_nats::connect(server.url()).await.unwrap();
    Arc::new(
        JetStreamLog::open(client, JetStreamSettings::default())
            .await
            .unwrap(),
    )
}

/// Everybody's days, interleaved, with sessions; one of them is erased afterwards.
async fn lived(log: &Arc<JetStreamLog>, bench: &Bench) {
    let names = ["anna", "ben", "cleo", "dora"];
    let days: Vec<_> = names
        .iter()
        .map(|name| [day_of(name), session_of(name)].concat())
        .collect();
    for step in 0..days[0].len() {
        for day in &days {
            let (subject, events) = day[step].clone();
            happen(log.as_ref(), subject, events).await;
        }
    }
    let erased = PersonaErased {
        persona_id: id("cleo"),
        spaces: vec![id("cleo")],
    };
    let at = happen(log.as_ref(), of_persona("cleo"), vec![erased.into()]).await;
    for (subject, events) in day_of("eve") {
        happen(log.as_ref(), subject, events).await;
    }
    fold_to_end(log.clone(), &bench.tables, 7).await.unwrap();
    log.purge(&of_space("cleo"), None).await.unwrap();
    log.purge(&session_of("cleo")[0].0, None).await.unwrap();
    log.purge(&of_persona("cleo"), Some(StreamSeq(at.0 - 1)))
        .await
        .unwrap();
}

async fn verified(server: &NatsServer, bench: &Bench) -> VerifyReport {
    let log = connect(server).await;
    verify(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap()
}

/// Every place is named with its subject, and beside them only what follows from them in the same chain.
fn assert_named(report: &VerifyReport, done: &Tampered) {
    assert!(!report.agrees(), "{done:?} went unnoticed");
    let breaks = &report.chain.breaks;
    let named: BTreeSet<(u64, String)> = breaks
        .iter()
        .map(|found| (found.seq.0, found.subject.clone()))
        .collect();
    for place in &done.places {
        assert!(named.contains(place), "{done:?}: {breaks:?}");
    }
    let places: BTreeSet<u64> = done.places.iter().map(|(seq, _)| *seq).collect();
    for found in breaks.iter().filter(|found| !places.contains(&found.seq.0)) {
        assert!(
            matches!(found.kind, BreakKind::Gap | BreakKind::Beginning),
            "{done:?}: {found:?}"
        );
    }
}

#[tokio::test]
async fn whatever_is_done_to_the_stored_messages_is_named_at_its_place_and_nothing_else_is() {
    let mut server = NatsServer::start();
    let bench = Bench::new().await;
    lived(&connect(&server).await, &bench).await;
    let report = verified(&server, &bench).await;
    assert!(report.agrees(), "{report:?}");
    server.kill();
    let files = StreamFiles::of(&server.store_dir().join("store"), STREAM_NAME);
    let untouched = files.read();
    for (seed, kind) in (1..).zip(Tampering::ALL) {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut records = untouched.clone();
        let done = kind.apply(&mut records, &mut chance);
        files.write(&records);
        server.restart();
        assert_named(&verified(&server, &bench).await, &done);
        server.kill();
    }
    // What was written there before is what was written there before.
    files.write(&untouched);
    server.restart();
    let report = verified(&server, &bench).await;
    assert!(report.agrees(), "{report:?}");
}
