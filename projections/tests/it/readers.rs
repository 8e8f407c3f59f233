//! Who polls the tables while a writer goes on and the tables are rebuilt beside it, sees only complete data that never goes
//! back: each answer is the fold of some beginning of the log.

use std::cell::Cell;
use std::sync::Arc;

use events::testing::given;
use events::{Event, MemoryLog, RecordOp, RecordedCommit, StreamSeq, Subject};
use projections::{Projector, TableChecksum, TableCounts, Tables, rebuild, verify};
use testkit::Postgres;
use tokio_util::sync::CancellationToken;

use crate::support::*;

/// Commits that are folded before the reading begins.
const BEFORE: usize = 1_200;
/// How often the tables are rebuilt meanwhile; more often on a machine that reads slowly.
const REBUILDS_MIN: u32 = 2;
/// How many answers are looked at.
const READS_MIN: u32 = 20;
/// Answers of which every row is compared with a fold of that beginning of the log.
const COMPARED_MAX: usize = 4;

/// What the `number`th persona does, in four commits.
fn life(number: usize) -> Vec<(Subject, Vec<Event>)> {
    let (name, tick) = (&format!("p{number}"), &format!("t{number}"));
    vec![
        (of_persona(name), vec![enrolled(name)]),
        (
            of_persona(name),
            vec![began(name, tick), called(tick, "c1", 0), called(tick, "c2", 1)],
        ),
        (
            of_space(name),
            vec![record(name, "task", RecordOp::Put, &[("title", "x", 1)])],
        ),
        (of_persona(name), vec![rated(tick, "todo", 4)]),
    ]
}

/// What must be there once the commit at `seq` is folded.
fn expected(seq: StreamSeq) -> TableCounts {
    let (whole, rest) = (seq.0 / 4, seq.0 % 4);
    let from = |step: u64| whole + u64::from(rest >= step);
    TableCounts {
        personas: from(1),
        ticks: from(2),
        actions: 2 * from(2),
        actions_pending: 2 * from(2),
        records: from(3),
        feedback: whole,
        as_of_seq: seq,
        ..TableCounts::default()
    }
}

/// Checksums that are those of one commit: nothing moved while they were taken.
async fn checksums_at(tables: &Tables) -> Option<(StreamSeq, Vec<TableChecksum>)> {
    let before = tables.checkpoint().await.unwrap()?;
    let checksums = tables.checksums().await.unwrap();
    let after = tables.checkpoint().await.unwrap()?;
    (before == after).then_some((before.seq, checksums))
}

async fn readers_see_only_beginnings_of_the_log(tables: &Tables) {
    let commits: Vec<RecordedCommit> = given((0..20_000).flat_map(life));
    let log = Arc::new(MemoryLog::new());
    for recorded in &commits[..BEFORE] {
        append(log.as_ref(), &recorded.commit).await;
    }
    let (cancel, is_over) = (CancellationToken::new(), CancellationToken::new());
    let is_enough = Cell::new(false);
    let (projector, handle) = Projector::new(log.clone(), tables.clone(), clock());
    let folding = projector.with_batch_commits_max(50).run(cancel.clone());
    let writing = async {
        let mut written = BEFORE;
        while !is_over.is_cancelled() && written < commits.len() {
            append(log.as_ref(), &commits[written].commit).await;
            written += 1;
            // One at a time, as fast as the tables take them, so that the fold is always in the middle of something.
            handle
                .wait_for(StreamSeq(written as u64 - 1), LIMIT)
                .await
                .unwrap();
        }
        written
    };
    let reading = async {
        let (mut last, mut reads, mut compared) = (StreamSeq::ZERO, 0u32, Vec::new());
        while !is_over.is_cancelled() {
            let counts = tables.counts().await.unwrap();
            assert!(
                counts.as_of_seq >= last,
                "went back from {last} to {}",
                counts.as_of_seq
            );
            assert_eq!(counts, expected(counts.as_of_seq));
            last = counts.as_of_seq;
            reads += 1;
            if compared.len() < COMPARED_MAX {
                compared.extend(checksums_at(tables).await);
            }
            is_enough.set(reads >= READS_MIN && !compared.is_empty());
        }
        (last, compared)
    };
    let rebuilding = async {
        handle.wait_for(StreamSeq(BEFORE as u64), LIMIT).await.unwrap();
        for rebuilt in 0.. {
            if rebuilt >= REBUILDS_MIN && is_enough.get() {
                break;
            }
            let report = rebuild(log.as_ref(), tables, clock().as_ref(), &mut quiet)
                .await
                .unwrap();
            assert_eq!(report.resumed_from, StreamSeq::ZERO);
            assert!(report.chain.holds(), "{:?}", report.chain);
        }
        is_over.cancel();
    };
    let everything = async {
        let (written, read, ()) = tokio::join!(writing, reading, rebuilding);
        handle.wait_for(StreamSeq(written as u64), LIMIT).await.unwrap();
        cancel.cancel();
        (written, read)
    };
    let (folded, (written, (last, compared))) = tokio::join!(folding, everything);
    folded.unwrap();
    assert!(
        written > BEFORE && last.0 > BEFORE as u64,
        "{written} commits and answers up to {last} prove little"
    );
    for (seq, checksums) in compared {
        let beginning = &commits[..usize::try_from(seq.0).unwrap()];
        let alone = Arc::new(MemoryLog::new());
        for recorded in beginning {
            append(alone.as_ref(), &recorded.commit).await;
        }
        assert_eq!(checksums, reference(alone).await, "at {seq}");
    }
    let report = verify(log.as_ref(), tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    assert!(report.agrees(), "{report:?}");
}

#[tokio::test]
async fn during_rebuilds_under_write_load_readers_see_only_whole_beginnings_of_the_log() {
    let bench = Bench::new().await;
    Box::pin(readers_see_only_beginnings_of_the_log(&bench.tables)).await;
}

#[tokio::test]
async fn during_rebuilds_under_write_load_readers_of_postgres_see_only_whole_beginnings_of_the_log() {
    let server = Postgres::start();
    let tables = Tables::connect(&server.url()).await.unwrap();
    Box::pin(readers_see_only_beginnings_of_the_log(&tables)).await;
}
