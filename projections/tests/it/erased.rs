//! What is left of somebody who was erased, in both databases: nothing in any file, not in what a killed rebuild left nor
//! in copies of the past, and everybody else as they were, also after a rebuild.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use events::testing::id;
use events::{
    Event, EventLog as _, MemoryLog, PersonaDescription, PersonaEnrolled, PersonaErased, RecordOp, StreamSeq,
};
use projections::{RebuildOptions, Tables, TablesError, Until, rebuild, rebuild_with, verify};
use sqlx::{Connection as _, Executor as _};
use testkit::Postgres;

use crate::support::*;

/// In everything that goes wrote; in nothing else.
const CANARY: &str = "cq7f3a91d2canary";
/// More than two batches, so that a rebuild can be stopped in the middle of it.
const OTHERS: u32 = 620;

/// A life of somebody whose every text is a canary, the last of it parked.
fn life_of_gone() -> Vec<(events::Subject, Vec<Event>)> {
    let description = PersonaDescription {
        persona_id: id("gone"),
        email: format!("persona.{CANARY}@mana.test"),
        name: CANARY.to_owned(),
        archetype: CANARY.to_owned(),
        system_prompt: format!("You are {CANARY}. ").repeat(20),
        module_mix: [("todo".to_owned(), 1.0)].into(),
        cadence: events::Cadence::Daily,
        time_zone: "Europe/Berlin".to_owned(),
        partners: Vec::new(),
    };
    vec![
        (of_persona("gone"), vec![PersonaEnrolled(description).into()]),
        (
            of_persona("gone"),
            vec![
                began("gone", "tick"),
                called("tick", "call", 0),
                failed("tick", "call", CANARY),
            ],
        ),
        (
            of_space("gone"),
            vec![record("gone", "task", RecordOp::Put, &[("title", CANARY, 1)])],
        ),
        (of_persona("gone"), vec![returned("tick", CANARY)]),
    ]
}

/// Everything the tables say of two who stay.
async fn of_those_who_stay(tables: &Tables) -> String {
    let mut said = String::new();
    for name in ["other-0", "other-619"] {
        let answers = (
            tables.persona(&id(name)).await.unwrap(),
            tables.recent_actions(&id(name), 10).await.unwrap(),
            tables.feedback_by_module(&id(name)).await.unwrap(),
            tables.records(&id(name), "tasks").await.unwrap(),
        );
        writeln!(said, "{answers:?}").unwrap();
    }
    assert!(said.contains("title: required"), "{said}");
    said
}

fn files_with_canary(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // One that goes while it is looked at holds nothing any more.
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()) {
                found.push(path);
            }
        }
    }
    found
}

/// Stops a rebuild of the tables after its first batch: what it folded stays, as after a kill.
async fn rebuild_in_part(log: &MemoryLog, tables: &Tables) {
    let options = RebuildOptions::default();
    let cancel = options.cancel.clone();
    let stopped = rebuild_with(log, tables, clock().as_ref(), options, &mut |_| cancel.cancel()).await;
    assert!(stopped.is_err(), "{stopped:?}");
}

/// `look` gives the files that hold a canary now.
async fn nothing_is_left(tables: &Tables, look: impl AsyncFn() -> Vec<PathBuf>) {
    let mut commits = life_of_gone();
    for number in 0..OTHERS {
        commits.extend(day_of(&format!("other-{number}")));
    }
    let log: Arc<MemoryLog> = log_of(commits).await;
    fold_to_end(log.clone(), tables, 2_000).await.unwrap();
    assert_eq!(tables.counts().await.unwrap().parked, 1);
    let before = of_those_who_stay(tables).await;
    rebuild_in_part(&log, tables).await;
    let copy = RebuildOptions {
        until: Some(Until::Seq(StreamSeq(100))),
        ..RebuildOptions::default()
    };
    rebuild_with(log.as_ref(), tables, clock().as_ref(), copy, &mut quiet)
        .await
        .unwrap();
    assert!(
        look().await.len() >= 3,
        "tables, a stopped rebuild and a copy: {:?}",
        look().await
    );

    let erased = PersonaErased {
        persona_id: id("gone"),
        spaces: vec![id("gone")],
    };
    let at = happen(log.as_ref(), of_persona("gone"), vec![erased.into()]).await;
    fold_to_end(log.clone(), tables, 2_000).await.unwrap();
    log.purge(&of_space("gone"), None).await.unwrap();
    log.purge(&of_persona("gone"), Some(StreamSeq(at.0 - 1)))
        .await
        .unwrap();
    tables.scrub().await.unwrap();
    assert_eq!(look().await, Vec::<PathBuf>::new());
    assert_eq!(of_those_who_stay(tables).await, before);

    let live = tables.checksums().await.unwrap();
    assert!(
        verify(log.as_ref(), tables, clock().as_ref(), &mut quiet)
            .await
            .unwrap()
            .agrees()
    );
    let rebuilt = rebuild(log.as_ref(), tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    assert_eq!(
        (rebuilt.resumed_from, rebuilt.tables),
        (StreamSeq::ZERO, live.clone())
    );
    assert!(rebuilt.chain.holds(), "{:?}", rebuilt.chain);
    assert_eq!(tables.checksums().await.unwrap(), live);
    assert_eq!(of_those_who_stay(tables).await, before);
    assert_eq!(look().await, Vec::<PathBuf>::new());
}

#[tokio::test]
async fn nothing_of_somebody_erased_is_left_beside_the_tables_and_the_others_stay_as_they_were() {
    let bench = Bench::new().await;
    nothing_is_left(&bench.tables, async || files_with_canary(bench.dir.path())).await;
}

#[tokio::test]
async fn nothing_of_somebody_erased_is_left_in_the_files_of_postgres_and_the_others_stay_as_they_were() {
    let server = Postgres::start();
    let tables = Tables::connect(&server.url()).await.unwrap();
    let look = async || {
        // What is written later, and what is unlinked later, is so after a checkpoint.
        let mut by_hand = sqlx::PgConnection::connect(&server.url()).await.unwrap();
        by_hand.execute("CHECKPOINT").await.unwrap();
        by_hand.close().await.unwrap();
        files_with_canary(&server.data_dir().join("base"))
    };
    nothing_is_left(&tables, look).await;
}

#[tokio::test]
async fn a_copy_somebody_is_at_keeps_an_erasure_from_being_finished_until_it_has_gone() {
    let (bench, _) = Bench::folded(day_of("anna")).await;
    let copy = bench.dir.path().join("tables.db.rebuild-999");
    std::fs::write(&copy, CANARY).unwrap();
    let lock = std::fs::File::create(bench.dir.path().join("tables.db.rebuild-999.lock")).unwrap();
    lock.lock().unwrap();
    let refused = bench.tables.scrub().await;
    assert!(matches!(refused, Err(TablesError::CopyInUse)), "{refused:?}");
    drop(lock);
    bench.tables.scrub().await.unwrap();
    assert!(!copy.exists());
}

#[tokio::test]
async fn opening_tables_removes_what_killed_processes_left_and_leaves_what_a_rebuild_goes_on_with() {
    let (bench, log) = Bench::folded(day_of("anna")).await;
    let options = RebuildOptions::default();
    options.cancel.cancel();
    let stopped = rebuild_with(log.as_ref(), &bench.tables, clock().as_ref(), options, &mut quiet).await;
    assert!(stopped.is_err(), "{stopped:?}");
    for left in ["scratch-1-0", "until-4000000-7", "rebuild-0", "as-of-7"] {
        std::fs::write(bench.dir.path().join(format!("tables.db.{left}")), "").unwrap();
    }
    Tables::open(bench.tables.path().unwrap()).await.unwrap();
    let left = |prefix: &str| {
        let files = std::fs::read_dir(bench.dir.path()).unwrap();
        files
            .filter(|file| {
                let name = file.as_ref().unwrap().file_name();
                name.to_string_lossy().starts_with(&format!("tables.db.{prefix}"))
            })
            .count()
    };
    assert_eq!((left("scratch-"), left("until-"), left("rebuild-0")), (0, 0, 0));
    assert_eq!(left("as-of-7"), 1, "somebody asked for it");
    assert!(left("rebuild-") > 0, "the stopped one");
}
