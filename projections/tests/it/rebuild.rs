//! The tables, made again.

use events::{EventLog as _, StreamSeq};
use projections::{
    FoldError, Progress, Projector, RebuildOptions, Tables, Until, rebuild, rebuild_with, verify,
};
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
            handle.wait_for(report.seq, LIMIT).await.unwrap();
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

/// Files beside the tables that are not the tables'.
fn copies(bench: &Bench) -> Vec<String> {
    let files = std::fs::read_dir(bench.dir.path()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names
        .filter(|name| !["tables.db", "tables.db-wal", "tables.db-shm"].contains(&name.as_str()))
        .collect();
    names.sort_unstable();
    names
}

/// Stops a rebuild of many commits after its first batch.
async fn rebuild_in_part(bench: &Bench, log: &events::MemoryLog) -> StreamSeq {
    let options = RebuildOptions::default();
    let cancel = options.cancel.clone();
    let stopped = rebuild_with(log, &bench.tables, clock().as_ref(), options, &mut |_| {
        cancel.cancel();
    })
    .await;
    let Err(FoldError::Cancelled { reached }) = stopped else {
        panic!("{stopped:?}")
    };
    reached
}

#[tokio::test]
async fn a_rebuild_that_was_stopped_goes_on_where_it_stopped_unless_told_to_start_over() {
    let (bench, log) = Bench::folded(days(700)).await;
    let before = bench.tables.checksums().await.unwrap();
    bench.by_hand("DELETE FROM ticks").await;
    let reached = rebuild_in_part(&bench, &log).await;
    assert!(reached.0 > 0 && reached.0 < 4_900, "{reached}");
    assert_eq!(bench.tables.counts().await.unwrap().ticks, 0, "untouched so far");
    assert!(!copies(&bench).is_empty());

    let report = rebuild(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    assert_eq!((report.resumed_from, report.seq.0), (reached, 4_900));
    assert!(report.events < 11 * 700, "{}", report.events);
    assert_eq!(bench.tables.checksums().await.unwrap(), before);
    assert_eq!(copies(&bench), Vec::<String>::new());

    rebuild_in_part(&bench, &log).await;
    let options = RebuildOptions {
        start_over: true,
        ..RebuildOptions::default()
    };
    let report = rebuild_with(log.as_ref(), &bench.tables, clock().as_ref(), options, &mut quiet)
        .await
        .unwrap();
    assert_eq!((report.resumed_from.0, report.events), (0, 11 * 700));
    assert_eq!(bench.tables.checksums().await.unwrap(), before);
}

#[tokio::test]
async fn an_unfinished_rebuild_of_another_log_is_not_gone_on_with() {
    let (bench, log) = Bench::folded(days(700)).await;
    rebuild_in_part(&bench, &log).await;
    let other = log_of(day_of("anna")).await;
    let report = rebuild(other.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    assert_eq!((report.resumed_from.0, report.seq.0), (0, 7));
    assert_eq!(bench.tables.checksums().await.unwrap(), reference(other).await);
}

#[tokio::test]
async fn of_two_rebuilds_at_once_the_second_is_refused_and_both_leave_the_tables_whole() {
    let (bench, log) = Bench::folded(days(100)).await;
    let before = bench.tables.checksums().await.unwrap();
    let clock = clock();
    let (mut quiet, mut silent) = (quiet, quiet);
    let (one, other) = tokio::join!(
        rebuild(log.as_ref(), &bench.tables, clock.as_ref(), &mut quiet),
        rebuild(log.as_ref(), &bench.tables, clock.as_ref(), &mut silent)
    );
    let refusal = [one.err(), other.err()].into_iter().flatten().next().unwrap();
    assert!(refusal.to_string().contains("another rebuild"), "{refusal}");
    assert_eq!(bench.tables.checksums().await.unwrap(), before);
}

#[tokio::test]
async fn a_copy_as_of_then_stands_beside_tables_that_stay_as_they_are() {
    let (bench, log) = Bench::folded([day_of("anna"), day_of("ben")].concat()).await;
    let before = bench.tables.checksums().await.unwrap();
    let then = reference(log_of(day_of("anna")).await).await;
    // The first commit of ben's day, by the clock of its writer.
    log.tamper(|messages| {
        for (seq, message) in messages {
            let day = if *seq > 7 { "06" } else { "05" };
            message.time = format!("2026-01-{day}T08:00:00Z");
        }
    });
    for until in [
        Until::Seq(StreamSeq(7)),
        Until::Time("2026-01-05T23:00:00Z".parse().unwrap()),
    ] {
        let options = RebuildOptions {
            until: Some(until),
            ..RebuildOptions::default()
        };
        let report = rebuild_with(log.as_ref(), &bench.tables, clock().as_ref(), options, &mut quiet)
            .await
            .unwrap();
        let copy = std::path::PathBuf::from(report.copy.unwrap());
        assert_eq!(
            (report.seq.0, copies(&bench)),
            (7, vec!["tables.db.as-of-7".to_owned()])
        );
        let tables = Tables::open(&copy).await.unwrap();
        let rows = |tables: Vec<projections::TableChecksum>| -> Vec<(String, u64)> {
            tables
                .into_iter()
                .map(|table| (table.table, table.rows))
                .collect()
        };
        assert_eq!(rows(tables.checksums().await.unwrap()), rows(then.clone()));
        assert_eq!(tables.report(StreamSeq::ZERO).await.unwrap().as_of_seq.0, 7);
        tables.close().await;
    }
    assert_eq!(bench.tables.checksums().await.unwrap(), before);
}

#[tokio::test]
async fn copies_that_nobody_uses_any_more_are_swept_and_those_in_use_are_not() {
    let (bench, log) = Bench::folded(days(2)).await;
    for left in ["scratch-1-0", "until-4000000-7", "rebuild-0"] {
        std::fs::write(bench.dir.path().join(format!("tables.db.{left}")), "").unwrap();
    }
    std::fs::write(bench.dir.path().join("tables.db.as-of-7"), "somebody's own").unwrap();
    let in_use = bench.dir.path().join("tables.db.scratch-2-0");
    std::fs::write(&in_use, "").unwrap();
    let lock = std::fs::File::create(bench.dir.path().join("tables.db.scratch-2-0.lock")).unwrap();
    lock.lock().unwrap();
    verify(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    assert_eq!(
        copies(&bench),
        [
            "tables.db.as-of-7",
            "tables.db.scratch-2-0",
            "tables.db.scratch-2-0.lock"
        ]
    );
}

#[tokio::test]
async fn a_log_full_of_what_cannot_be_folded_does_not_replace_the_tables() {
    let (bench, log) = Bench::folded(day_of("anna")).await;
    let before = bench.tables.checksums().await.unwrap();
    for _ in 0..101 {
        log.append_garbage("dramatis.persona.anna", b"{}");
    }
    let error = rebuild(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap_err();
    assert!(matches!(error, FoldError::Halt { .. }), "{error:?}");
    assert!(error.to_string().contains("101 of the commits"), "{error}");
    assert_eq!(bench.tables.checksums().await.unwrap(), before);
    assert_eq!(log.state().await.unwrap().last_seq.0, 108);
}
