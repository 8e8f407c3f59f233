//! The other database: the same rows from the same history, and the same promises.

use std::sync::Arc;

use events::testing::id;
use events::{Event, MemoryLog, RecordOp, StreamSeq, Subject};
use projections::{Projector, TableChecksum, Tables, TablesError, rebuild, verify};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sqlx::{Connection as _, Executor as _};
use testkit::Postgres;
use tokio_util::sync::CancellationToken;

use crate::histories::happening;
use crate::simulation::stutter::Stutter;
use crate::support::*;

/// Tables in a new database of `server`.
async fn new_tables(server: &Postgres, name: &str) -> Tables {
    let mut maintenance = sqlx::PgConnection::connect(&server.url()).await.unwrap();
    maintenance
        .execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await
        .unwrap();
    maintenance.close().await.unwrap();
    Tables::connect(&server.url_of(name)).await.unwrap()
}

async fn drop_database(server: &Postgres, name: &str) {
    let mut maintenance = sqlx::PgConnection::connect(&server.url()).await.unwrap();
    maintenance
        .execute(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
        .await
        .unwrap();
}

/// What makes databases differ where nobody thought of it: zero bytes, letters out of order, numbers at the edge.
fn awkward() -> impl Strategy<Value = (Subject, Vec<Event>)> {
    let text = prop_oneof![
        Just("a\0b".to_owned()),
        Just("Ä".to_owned()),
        Just("z".to_owned()),
        Just("B".to_owned()),
        Just("m".repeat(501)),
        "\\PC{0,8}",
    ];
    (
        text,
        any::<f64>().prop_filter("JSON", |number| number.is_finite()),
        0i64..9,
    )
        .prop_map(|(text, number, second)| {
            let mut written = record("anna", "odd", RecordOp::Put, &[("n", "", second)]);
            if let Event::RecordChanged(changed) = &mut written {
                for write in changed.fields.values_mut() {
                    write.value = serde_json::json!([number, text]);
                }
            }
            match second % 3 {
                0 => (of_space("anna"), vec![written]),
                1 => (of_persona("anna"), vec![rated("anna-0", &text, 3)]),
                _ => (
                    of_persona("anna"),
                    vec![called("anna-1", "odd", 7), failed("anna-1", "odd", &text)],
                ),
            }
        })
}

#[test]
fn one_history_gives_one_checksum_on_both_databases_live_rebuilt_cut_and_in_batches_of_any_size() {
    let server = Postgres::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let commits = prop::collection::vec(prop_oneof![4 => happening(), 1 => awkward()], 1..40);
    let cases = std::sync::atomic::AtomicU32::new(0);
    let config = ProptestConfig {
        cases: 6,
        failure_persistence: None,
        max_shrink_iters: 40,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(&(commits, 1usize..40), |(commits, polls)| {
            let case = cases.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            runtime.block_on(one_checksum(&server, case, commits, polls))
        })
        .unwrap();
}

async fn one_checksum(
    server: &Postgres,
    case: u32,
    commits: Vec<(Subject, Vec<Event>)>,
    polls: usize,
) -> Result<(), TestCaseError> {
    let log = log_of(commits).await;
    let on_sqlite = reference(log.clone()).await;
    // Streams that begin too early give commits once more, as after a reconnect.
    let again = Stutter::new(log.clone(), 5);
    for batch in [1, 1_000] {
        let bench = Bench::new().await;
        live_and_rebuilt(&log, &again, &bench.tables, batch, polls, &on_sqlite).await?;
        let name = format!("case_{case}_{batch}");
        let tables = new_tables(server, &name).await;
        live_and_rebuilt(&log, &again, &tables, batch, polls, &on_sqlite).await?;
        tables.close().await;
        drop_database(server, &name).await;
    }
    Ok(())
}

/// Folds into `tables` with a kill in the middle, and rebuilds them with one too.
async fn live_and_rebuilt(
    log: &Arc<MemoryLog>,
    again: &Arc<Stutter>,
    tables: &Tables,
    batch: usize,
    polls: usize,
    expected: &[TableChecksum],
) -> Result<(), TestCaseError> {
    // Dropped where it stands, as a killed process would leave it; then gone on with.
    fold_cut_after(log.clone(), tables, batch, polls).await;
    fold_to_end(again.clone(), tables, batch).await.unwrap();
    prop_assert_eq!(tables.checksums().await.unwrap(), expected);
    rebuild_cut_after(log.as_ref(), tables, polls).await;
    prop_assert_eq!(tables.checksums().await.unwrap(), expected);
    let report = rebuild(again.as_ref(), tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    prop_assert_eq!(report.tables, expected);
    prop_assert_eq!(tables.checksums().await.unwrap(), expected);
    Ok(())
}

/// Everything that can be asked, as one text.
async fn all_answers(tables: &Tables) -> String {
    let ids = ["tick-of-anna-0-todo.create", "no"].map(str::to_owned);
    let feedback_ids = ["tick-of-anna-todo", "no"].map(str::to_owned);
    format!(
        "{:#?}",
        (
            tables.counts().await.unwrap(),
            tables.report(StreamSeq(0)).await.unwrap(),
            tables.report(StreamSeq(9)).await.unwrap(),
            tables.personas().await.unwrap(),
            tables.persona(&id("anna")).await.unwrap(),
            tables.persona_by_email("persona.ben@mana.test").await.unwrap(),
            tables.recent_actions(&id("anna"), 2).await.unwrap(),
            tables.actions_since(&id("anna"), at(101)).await.unwrap(),
            tables.feedback_by_module(&id("ben")).await.unwrap(),
            tables.records(&id("anna"), "tasks").await.unwrap(),
            tables.record(&id("ben"), "tasks", &id("task-1")).await.unwrap(),
            (
                tables.existing_action_ids(&ids).await.unwrap(),
                tables.existing_feedback_ids(&feedback_ids).await.unwrap(),
                tables.parked().await.unwrap(),
            ),
        )
    )
}

fn two_days() -> Vec<(Subject, Vec<Event>)> {
    let mut commits = [day_of("anna"), day_of("ben"), session_of("ben")].concat();
    commits.extend(shared_day_of("kai", "maya"));
    commits.push(deployed("v1", 1_000));
    commits.push((
        of_persona("ben"),
        vec![rated("t", "Ähre", 2), rated("t", "zebra", 3)],
    ));
    commits.push((
        of_persona("ben"),
        vec![rated("t", "Apfel", 2), returned("t", "never")],
    ));
    commits.push((
        of_persona("ben"),
        vec![called("t", "zero", 1), failed("t", "zero", "a\0b")],
    ));
    commits.push((of_persona("ben"), vec![rated("t", &"m".repeat(501), 2)]));
    commits
}

#[tokio::test]
async fn every_question_has_the_same_answer_on_both_databases() {
    let server = Postgres::start();
    let tables = new_tables(&server, "answers").await;
    let (bench, log) = Bench::folded(two_days()).await;
    fold_to_end(log.clone(), &tables, 3).await.unwrap();
    assert_eq!(all_answers(&tables).await, all_answers(&bench.tables).await);
    assert_eq!(
        tables.checksums().await.unwrap(),
        bench.tables.checksums().await.unwrap()
    );

    // What was changed by hand is found, named and mended as on the other.
    let mut by_hand = sqlx::PgConnection::connect(&server.url_of("answers"))
        .await
        .unwrap();
    by_hand
        .execute("UPDATE dramatis.persona_feedback SET rating = 1 WHERE id = 'tick-of-ben-todo'")
        .await
        .unwrap();
    let report = verify(log.as_ref(), &tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    let differing: Vec<_> = report
        .tables
        .iter()
        .flat_map(|table| table.differing_rows.clone())
        .collect();
    assert_eq!(differing, ["tick-of-ben-todo"]);
    rebuild(log.as_ref(), &tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    assert_eq!(all_answers(&tables).await, all_answers(&bench.tables).await);
    let schemas: Vec<String> = sqlx::query_scalar(
        "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'dramatis%' ORDER BY 1",
    )
    .fetch_all(&mut by_hand)
    .await
    .unwrap();
    assert_eq!(schemas, ["dramatis"], "no copy is left behind");
}

async fn expected(log: &Arc<MemoryLog>) -> Vec<TableChecksum> {
    reference(log.clone()).await
}

#[tokio::test]
async fn a_crash_of_the_database_is_waited_for_and_two_projectors_fold_each_commit_once() {
    let mut server = Postgres::start();
    let url = server.url();
    // Of those that come at once to a new database, one makes the tables.
    let opened = futures::future::join_all((0..6).map(|_| Tables::connect(&url))).await;
    let mut opened: Vec<Tables> = opened.into_iter().map(Result::unwrap).collect();
    let (tables, elsewhere) = (opened.pop().unwrap(), opened.pop().unwrap());
    let log = log_of(day_of("anna")).await;
    let cancel = CancellationToken::new();
    let (one, one_handle) = Projector::new(log.clone(), tables.clone(), clock());
    let (other, other_handle) = Projector::new(log.clone(), elsewhere, clock());
    let work = async {
        for number in 0..20 {
            let name = &format!("persona-{number}");
            for (subject, events) in [day_of(name), session_of(name)].concat() {
                happen(log.as_ref(), subject, events).await;
            }
            if number == 10 {
                // Beside the projectors, which go on meanwhile and lose their connections.
                server = tokio::task::spawn_blocking(move || {
                    server.crash();
                    server.restart();
                    server
                })
                .await
                .unwrap();
            }
            tokio::task::yield_now().await;
        }
        let end = events::EventLog::state(log.as_ref()).await.unwrap().last_seq;
        let reached = (
            one_handle.wait_for(end, LIMIT).await,
            other_handle.wait_for(end, LIMIT).await,
        );
        cancel.cancel();
        (reached, server)
    };
    let (one, other, (reached, _server)) = tokio::join!(
        one.with_batch_commits_max(3).run(cancel.clone()),
        other.with_batch_commits_max(4).run(cancel.clone()),
        work
    );
    one.unwrap();
    other.unwrap();
    assert!(reached.0.is_ok() && reached.1.is_ok(), "{reached:?}");
    assert_eq!(tables.checksums().await.unwrap(), expected(&log).await);
}

#[tokio::test]
async fn readers_during_a_rebuild_on_postgres_see_all_of_the_old_or_all_of_the_new() {
    let server = Postgres::start();
    let tables = new_tables(&server, "readers").await;
    let commits: Vec<_> = (0..60)
        .flat_map(|number| day_of(&format!("persona-{number}")))
        .collect();
    let log = log_of(commits).await;
    fold_to_end(log.clone(), &tables, 2_000).await.unwrap();
    let whole = tables.counts().await.unwrap();
    let mut by_hand = sqlx::PgConnection::connect(&server.url_of("readers"))
        .await
        .unwrap();
    let is_over = CancellationToken::new();
    let reading = async {
        let (mut damaged, mut mended) = (0u32, 0u32);
        while !is_over.is_cancelled() {
            let counts = tables.counts().await.unwrap();
            if counts == whole {
                mended += 1;
            } else {
                assert_eq!((counts.actions, counts.ticks, counts.records), (0, 60, 60));
                damaged += 1;
            }
        }
        (damaged, mended)
    };
    let rebuilding = async {
        for _ in 0..3 {
            by_hand
                .execute("DELETE FROM dramatis.persona_actions")
                .await
                .unwrap();
            rebuild(log.as_ref(), &tables, clock().as_ref(), &mut quiet)
                .await
                .unwrap();
        }
        is_over.cancel();
    };
    let ((damaged, mended), ()) = tokio::join!(reading, rebuilding);
    assert!(
        damaged > 3 && mended > 0,
        "{damaged} and {mended} reads prove little"
    );
}

#[tokio::test]
async fn a_schema_of_a_newer_program_and_an_address_of_something_else_are_refused() {
    let server = Postgres::start();
    let tables = new_tables(&server, "newer").await;
    tables.close().await;
    let mut by_hand = sqlx::PgConnection::connect(&server.url_of("newer"))
        .await
        .unwrap();
    by_hand
        .execute(
            "INSERT INTO dramatis._sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'from the future', TRUE, '\\x00', 0)",
        )
        .await
        .unwrap();
    let error = Tables::connect(&server.url_of("newer")).await.unwrap_err();
    assert!(
        matches!(error, TablesError::NewerSchema { version: 9999, .. }),
        "{error:?}"
    );
    let error = Tables::connect("postgres://someone:secret@127.0.0.1:1/none")
        .await
        .unwrap_err();
    assert!(matches!(error, TablesError::Open { .. }), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
    let error = Tables::connect("mysql://127.0.0.1/x").await.unwrap_err();
    assert!(matches!(error, TablesError::Address { .. }), "{error:?}");
}

#[tokio::test]
async fn findings_are_the_same_on_both_databases() {
    let server = Postgres::start();
    let log = crate::findings::lived().await;
    let bench = Bench::new().await;
    let tables = new_tables(&server, "findings").await;
    let mut reports = Vec::new();
    for tables in [&bench.tables, &tables] {
        fold_to_end(log.clone(), tables, 2_000).await.unwrap();
        let report = tables.findings(&crate::findings::asked()).await.unwrap().unwrap();
        assert_eq!(report.findings.len(), 2);
        reports.push(report);
    }
    assert_eq!(reports[0], reports[1]);
    tables.close().await;
}
