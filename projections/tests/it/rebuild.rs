//! The tables, made again.

use std::time::Duration;

use projections::{Progress, Projector, rebuild, verify};
use tokio_util::sync::CancellationToken;

use crate::support::*;

fn days(personas: u32) -> Vec<(events::Subject, Vec<events::Event>)> {
    (0..personas)
        .flat_map(|number| day_of(&format!("persona-{number}")))
        .collect()
}

#[tokio::test]
async fn rebuilt_tables_equal_the_live_ones_and_leave_no_file_behind() {
    let (bench, log) = Bench::folded(days(20)).await;
    let (before, checkpoint) = (
        bench.tables.checksums().await.unwrap(),
        bench.tables.checkpoint().await.unwrap(),
    );
    let mut steps: Vec<Progress> = Vec::new();
    let report = rebuild(log.as_ref(), &bench.tables, clock().as_ref(), &mut |step| {
        steps.push(step);
    })
    .await
    .unwrap();

    assert_eq!(report.tables, before);
    assert_eq!(bench.tables.checksums().await.unwrap(), before);
    assert_eq!(bench.tables.checkpoint().await.unwrap(), checkpoint);
    assert_eq!((report.seq.0, report.events), (140, 20 * 11));
    assert_eq!(
        steps.last().map(|step| (step.seq.0, step.target.0, step.events)),
        Some((140, 140, 220))
    );
    let files: Vec<_> = std::fs::read_dir(bench.dir.path())
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert!(
        files
            .iter()
            .all(|file| !file.to_string_lossy().contains("scratch")),
        "{files:?}"
    );
}

#[tokio::test]
async fn a_rebuild_mends_what_was_changed_lost_or_made_up() {
    let (bench, log) = Bench::folded(days(3)).await;
    let before = bench.tables.checksums().await.unwrap();
    assert_eq!(bench.by_hand("UPDATE persona_feedback SET rating = 1").await, 3);
    assert_eq!(
        bench
            .by_hand("DELETE FROM persona_actions WHERE result = 'error'")
            .await,
        3
    );
    bench
        .by_hand("INSERT INTO parked_events (seq, subject, stage, reason) VALUES (9, 's', 'fold', 'r')")
        .await;
    assert_ne!(bench.tables.checksums().await.unwrap(), before);
    rebuild(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    assert_eq!(bench.tables.checksums().await.unwrap(), before);
}

#[tokio::test]
async fn readers_during_a_rebuild_never_see_an_empty_or_half_filled_table() {
    let (bench, log) = Bench::folded(days(150)).await;
    let expected = bench.tables.counts().await.unwrap();
    let is_over = CancellationToken::new();
    let reading = async {
        let mut reads = 0u32;
        while !is_over.is_cancelled() {
            assert_eq!(bench.tables.counts().await.unwrap(), expected);
            reads += 1;
        }
        reads
    };
    let rebuilding = async {
        for _ in 0..3 {
            rebuild(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
                .await
                .unwrap();
        }
        is_over.cancel();
    };
    let (reads, ()) = tokio::join!(reading, rebuilding);
    assert!(reads > 10, "{reads} reads prove little");
}

#[tokio::test]
async fn a_projector_that_runs_beside_a_rebuild_goes_on() {
    let bench = Bench::new().await;
    let log = log_of(days(20)).await;
    let cancel = CancellationToken::new();
    let (projector, handle) = Projector::new(log.clone(), bench.tables.clone(), clock());
    let work = async {
        for round in 0..5 {
            for (subject, events) in day_of(&format!("late-{round}")) {
                happen(log.as_ref(), subject, events).await;
            }
            let report = rebuild(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
                .await
                .unwrap();
            handle.wait_for(report.seq, Duration::from_secs(5)).await.unwrap();
        }
        let last = happen(log.as_ref(), of_persona("ben"), vec![enrolled("ben")]).await;
        let reached = handle.wait_for(last, LIMIT).await;
        cancel.cancel();
        reached
    };
    let (ran, reached) = tokio::join!(projector.with_batch_commits_max(7).run(cancel.clone()), work);
    ran.unwrap();
    reached.unwrap();
    assert!(
        verify(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
            .await
            .unwrap()
            .agrees()
    );
}
