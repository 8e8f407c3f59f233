//! Tables that are not what the log says are found, by table and row.

use events::{EventLog as _, MemoryLog, MemoryMessage, PersonaErased, StreamSeq};
use projections::{BreakKind, Projector, VerifyReport, rebuild, verify};
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

fn broken(report: &VerifyReport) -> Vec<(u64, &str, BreakKind)> {
    let breaks = report.chain.breaks.iter();
    breaks
        .map(|found| (found.seq.0, found.subject.as_str(), found.kind))
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
    assert_eq!(report.chain.breaks[0].kind, BreakKind::Altered);
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
    // Its links hold. What was folded differs from the fourth commit on: each link stands for all before it.
    assert_eq!(
        broken(&report),
        [
            (4, "dramatis.persona.anna", BreakKind::Altered),
            (5, "dramatis.persona.anna", BreakKind::Altered),
            (7, "dramatis.persona.anna", BreakKind::Altered)
        ]
    );
    assert!(
        differing(&report).contains(&("chain_heads", vec!["dramatis.persona.anna"])),
        "{report:?}"
    );
}

/// Two days and what verifying says once `tamper` has been at the log.
async fn broken_by(
    tamper: impl FnOnce(&mut std::collections::BTreeMap<u64, MemoryMessage>),
) -> Vec<(u64, String, BreakKind)> {
    let (bench, log) = Bench::folded([day_of("anna"), day_of("ben")].concat()).await;
    log.tamper(tamper);
    let report = verified(&bench, log.as_ref()).await;
    assert!(!report.agrees());
    let breaks = broken(&report).into_iter();
    breaks
        .map(|(seq, subject, kind)| (seq, subject.rsplit_once("dramatis.").unwrap().1.to_owned(), kind))
        .collect()
}

fn found(breaks: &[(u64, String, BreakKind)]) -> Vec<(u64, &str, BreakKind)> {
    let breaks = breaks.iter();
    breaks
        .map(|(seq, subject, kind)| (*seq, subject.as_str(), *kind))
        .collect()
}

#[tokio::test]
async fn a_commit_without_a_chain_that_was_changed_is_named_even_where_no_table_shows_it() {
    let broken = broken_by(|messages| {
        let body = &mut messages.get_mut(&3).unwrap().body;
        let text = String::from_utf8(body.clone()).unwrap();
        let (events, correlation) = text.split_at(text.find("correlation").unwrap());
        *body = format!("{events}{}", correlation.replace('0', "1").replace('4', "5")).into_bytes();
        assert_ne!(*body, text.into_bytes());
    })
    .await;
    assert_eq!(found(&broken), [(3, "record.anna", BreakKind::Altered)]);
}

#[tokio::test]
async fn commits_that_are_gone_are_named_with_their_subjects_and_those_that_no_longer_follow() {
    let broken = broken_by(|messages| {
        for gone in [1, 3, 9] {
            messages.remove(&gone);
        }
    })
    .await;
    assert_eq!(
        found(&broken),
        [
            (1, "persona.anna", BreakKind::Missing),
            (2, "persona.anna", BreakKind::Beginning),
            (3, "record.anna", BreakKind::Missing),
            (9, "persona.ben", BreakKind::Missing),
            (11, "persona.ben", BreakKind::Gap),
        ]
    );
}

#[tokio::test]
async fn commits_in_each_others_place_are_named_although_every_chain_holds() {
    let broken = broken_by(|messages| {
        let (one, other) = (messages[&5].clone(), messages[&8].clone());
        messages.insert(5, other);
        messages.insert(8, one);
    })
    .await;
    // Anna's commit has passed her last one, and is not in its own place either.
    assert_eq!(
        found(&broken),
        [
            (5, "persona.anna", BreakKind::Moved),
            (7, "persona.anna", BreakKind::Gap),
            (8, "persona.ben", BreakKind::Moved),
        ]
    );
}

#[tokio::test]
async fn a_copy_of_another_commit_is_named_with_where_it_was_taken_from() {
    let (bench, log) = Bench::folded([day_of("anna"), day_of("ben")].concat()).await;
    log.tamper(|messages| {
        let copy = messages[&10].clone();
        messages.insert(6, copy);
    });
    let report = verified(&bench, log.as_ref()).await;
    let reason = &report.chain.breaks[0].reason;
    assert!(
        reason.starts_with("dramatis.record.anna: commit 6 is not the one")
            && reason.contains("commit 10 of dramatis.record.ben stands"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_told_commit_by_commit() {
    let broken = broken_by(|messages| drop(messages.split_off(&12))).await;
    assert_eq!(
        found(&broken),
        [
            (12, "persona.ben", BreakKind::Missing),
            (13, "record.ben", BreakKind::Missing),
            (14, "persona.ben", BreakKind::Missing),
        ]
    );
}

#[tokio::test]
async fn what_was_erased_is_not_missed_and_what_is_missing_beside_it_is() {
    let (bench, log) = Bench::folded([day_of("anna"), day_of("ben"), session_of("ben")].concat()).await;
    let erased = PersonaErased {
        persona_id: events::testing::id("ben"),
        spaces: vec![events::testing::id("ben")],
    };
    let seq = happen(log.as_ref(), of_persona("ben"), vec![erased.into()]).await;
    fold_to_end(log.clone(), &bench.tables, 10).await.unwrap();
    log.purge(&of_space("ben"), None).await.unwrap();
    log.purge(&of_persona("ben"), Some(StreamSeq(seq.0 - 1)))
        .await
        .unwrap();
    let report = verified(&bench, log.as_ref()).await;
    assert!(report.agrees(), "{report:?}");
    assert_eq!(report.chain.sealed, 9, "anna's seven, a session and the erasure");

    log.tamper(|messages| drop(messages.remove(&6)));
    let report = verified(&bench, log.as_ref()).await;
    assert_eq!(broken(&report), [(6, "dramatis.record.anna", BreakKind::Missing)]);
}

#[tokio::test]
async fn a_rebuild_names_what_is_not_what_was_folded_before_it_takes_the_log_as_it_is() {
    let (bench, log) = Bench::folded([day_of("anna"), day_of("ben")].concat()).await;
    log.tamper(|messages| drop(messages.remove(&13)));
    for expected in [vec![13], vec![]] {
        let report = rebuild(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
            .await
            .unwrap();
        let named: Vec<u64> = report.chain.breaks.iter().map(|found| found.seq.0).collect();
        assert_eq!(named, expected);
    }
    let report = verified(&bench, log.as_ref()).await;
    assert!(report.agrees(), "{report:?}");
    assert_eq!(report.chain.sealed, 13);
}

#[tokio::test]
async fn a_commit_put_in_behind_everybodys_back_is_named() {
    let (bench, log) = Bench::folded(day_of("anna")).await;
    log.tamper(|messages| drop(messages.remove(&3)));
    rebuild(log.as_ref(), &bench.tables, clock().as_ref(), &mut quiet)
        .await
        .unwrap();
    let forged: std::sync::Arc<MemoryLog> = log_of(day_of("eve")).await;
    let mut taken = None;
    forged.tamper(|messages| taken = messages.get(&3).cloned());
    log.tamper(|messages| drop(messages.insert(3, taken.unwrap())));
    let report = verified(&bench, log.as_ref()).await;
    assert_eq!(broken(&report), [(3, "dramatis.record.eve", BreakKind::PutIn)]);
}
