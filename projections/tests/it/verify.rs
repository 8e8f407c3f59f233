//! Tables that are not what the log says are found, by table and row.

use projections::{Projector, VerifyReport, verify};
use tokio_util::sync::CancellationToken;

use crate::support::*;

async fn verified(bench: &Bench, log: &dyn events::EventLog) -> VerifyReport {
    verify(log, &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap()
}

fn differing(report: &VerifyReport) -> Vec<(&str, Vec<&str>)> {
    let differing = report.tables.iter().filter(|table| table.live != table.folded);
    differing
        .map(|table| {
            (
                table.table.as_str(),
                table.differing_rows.iter().map(String::as_str).collect(),
            )
        })
        .collect()
}

#[tokio::test]
async fn untouched_tables_agree() {
    let (bench, log) = Bench::folded([day_of("anna"), day_of("ben")].concat()).await;
    let report = verified(&bench, log.as_ref()).await;
    assert!(report.agrees(), "{report:?}");
    assert_eq!(report.seq.0, 14);
    let actions = report
        .tables
        .iter()
        .find(|table| table.table == "persona_actions")
        .unwrap();
    assert_eq!((actions.live.rows, actions.folded.rows), (6, 6));
}

#[tokio::test]
async fn a_row_changed_by_plain_sql_is_named() {
    let (bench, log) = Bench::folded([day_of("anna"), day_of("ben")].concat()).await;
    let changed = bench
        .by_hand(
            "UPDATE persona_actions SET latency_ms = latency_ms + 1 WHERE id = 'tick-of-ben-0-todo.create'",
        )
        .await;
    assert_eq!(changed, 1);
    let report = verified(&bench, log.as_ref()).await;
    assert!(!report.agrees());
    assert_eq!(
        differing(&report),
        [("persona_actions", vec!["tick-of-ben-0-todo.create"])]
    );
}

#[tokio::test]
async fn rows_that_are_missing_or_were_made_up_are_named_by_their_whole_key() {
    let (bench, log) = Bench::folded(day_of("anna")).await;
    assert_eq!(bench.by_hand("DELETE FROM records").await, 1);
    bench
        .by_hand(
            "INSERT INTO records (space_id, table_name, record_id, fields, actor, created_at, updated_at, first_seq, last_seq)
             VALUES ('s', 'notes', 'r', '{}', 'a', 1, 1, 1, 1)",
        )
        .await;
    let report = verified(&bench, log.as_ref()).await;
    assert_eq!(
        differing(&report),
        [("records", vec!["anna/tasks/task-1", "s/notes/r"])]
    );
}

#[tokio::test]
async fn tables_without_a_commit_agree_with_any_log() {
    let bench = Bench::new().await;
    let report = verified(&bench, log_of(day_of("anna")).await.as_ref()).await;
    assert!(report.agrees(), "{report:?}");
    assert_eq!(report.seq.0, 0);
}

#[tokio::test]
async fn tables_that_move_on_meanwhile_are_compared_at_one_commit() {
    let bench = Bench::new().await;
    let log = log_of(day_of("anna")).await;
    let cancel = CancellationToken::new();
    let (projector, _handle) = Projector::new(log.clone(), bench.tables.clone(), clock());
    let work = async {
        for round in 0..8 {
            let happenings = async {
                for (subject, events) in day_of(&format!("late-{round}")) {
                    happen(log.as_ref(), subject, events).await;
                    tokio::task::yield_now().await;
                }
            };
            let (report, ()) = tokio::join!(verified(&bench, log.as_ref()), happenings);
            assert!(report.agrees(), "{report:?}");
        }
        cancel.cancel();
    };
    let (ran, ()) = tokio::join!(projector.with_batch_commits_max(1).run(cancel.clone()), work);
    ran.unwrap();
}

#[tokio::test]
async fn a_commit_that_was_changed_in_the_log_is_named() {
    let (bench, log) = Bench::folded([day_of("anna"), day_of("ben")].concat()).await;
    assert_eq!(verified(&bench, log.as_ref()).await.chain.links, 10);
    // Still a commit that can be read, with another figure in it.
    log.tamper(|messages| {
        let message = messages.get_mut(&12).unwrap();
        let text = String::from_utf8(message.body.clone()).unwrap();
        assert!(text.contains(r#""latency_ms":12"#), "{text}");
        message.body = text
            .replace(r#""latency_ms":12"#, r#""latency_ms":13"#)
            .into_bytes();
    });
    let report = verified(&bench, log.as_ref()).await;
    assert!(!report.agrees());
    let broken: Vec<_> = report
        .chain
        .breaks
        .iter()
        .map(|found| (found.seq.0, found.subject.as_str()))
        .collect();
    assert_eq!(broken, [(12, "dramatis.persona.ben")]);
    assert_eq!(
        differing(&report),
        [("persona_actions", vec!["tick-of-ben-0-todo.create"])]
    );
}

#[tokio::test]
async fn a_chain_that_was_written_anew_from_end_to_end_differs_from_the_head_that_is_kept() {
    let (bench, _) = Bench::folded(day_of("anna")).await;
    // The same commits but one, under the same ids: every link holds, and none is the one that was written.
    let mut commits = day_of("anna");
    commits[3].1 = vec![failed("tick-of-anna", "call-2", "title: too long")];
    let forged = log_of(commits).await;
    let report = verified(&bench, forged.as_ref()).await;
    assert!(report.chain.holds(), "{:?}", report.chain);
    assert!(
        differing(&report).contains(&("chain_heads", vec!["dramatis.persona.anna"])),
        "{report:?}"
    );
}
