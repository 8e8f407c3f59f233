//! What one call is enough for: a thing that was not there for another, a mistake taken as right, edge input read back
//! otherwise; and the twins, which enter nothing of the app's.

use events::{Commit, CommitId, Event, MemoryLog, PersonaErased, Subject};
use std::sync::Arc;

use events::testing::id;
use projections::findings::{FindingKind, FindingsReport};
use projections::{PageRequest, Tables};
use testkit::Postgres;

use crate::findings::asked;
use crate::support::*;

/// Folded into tables of their own, at the time the calls were made: what came of them goes by the commit's.
async fn folded(commits: Vec<(Subject, Vec<Event>)>) -> (Bench, Arc<MemoryLog>) {
    let log = Arc::new(MemoryLog::new());
    for (number, (subject, events)) in (0_u64..).zip(commits) {
        let commit_id = CommitId::derived(&["shared", &number.to_string()]);
        append(log.as_ref(), &Commit::new(commit_id, subject, at(105), events)).await;
    }
    let bench = Bench::new().await;
    fold_to_end(log.clone(), &bench.tables, 3).await.unwrap();
    (bench, log)
}

async fn report(tables: &Tables) -> FindingsReport {
    tables.findings(&asked()).await.unwrap().unwrap()
}

/// Kind, module, how many personas, and the calls that show it.
fn told(report: &FindingsReport) -> Vec<(FindingKind, &str, u64, Vec<&str>)> {
    let findings = report.findings.iter();
    findings
        .map(|finding| {
            let calls = finding.evidence.iter().filter_map(|row| row.call_id.as_deref());
            (
                finding.kind,
                finding.module.as_str(),
                finding.personas_affected,
                calls.collect(),
            )
        })
        .collect()
}

#[tokio::test]
async fn one_is_enough_and_its_evidence_is_of_whoever_was_there_on_both_databases() {
    let server = Postgres::start();
    let elsewhere = Tables::connect(&server.url()).await.unwrap();
    let (bench, log) = folded(shared_day_of("kai", "maya")).await;
    fold_to_end(log, &elsewhere, 2).await.unwrap();
    let found = report(&bench.tables).await;
    assert_eq!(
        told(&found),
        [
            (FindingKind::BrokenExpectation, "todo", 2, vec!["made", "looked"]),
            (FindingKind::AcceptedMistake, "notes", 1, vec!["wrong"]),
            (FindingKind::EdgeCase, "todo", 1, vec!["edge"]),
        ],
        "{:#?}",
        found.findings
    );
    assert!(
        found.findings[2]
            .detail
            .contains("nfd-twin in title was read back otherwise")
    );
    let edge = &found.edges[0];
    assert_eq!((edge.accepted, edge.altered, edge.is_bad()), (1, 1, true));
    assert_eq!(found.calibration[0].all.gap, Some(3.0));
    assert!(found.modules.iter().all(|trend| trend.module != "shelf"));
    // Edge input is nobody's call.
    let todo = found
        .tools
        .iter()
        .find(|tool| tool.tool == "todo.create")
        .unwrap();
    assert_eq!(todo.calls, 1);

    let page = PageRequest::first(10);
    let rows = bench.tables.expectations(None, &page).await.unwrap();
    assert_eq!(rows.items.len(), 1);
    assert_eq!(
        (rows.items[0].state.as_str(), rows.items[0].maker_name.as_str()),
        ("broken", "kai")
    );
    assert_eq!(
        bench
            .tables
            .expectations(Some("kept"), &page)
            .await
            .unwrap()
            .items,
        []
    );
    let story = bench
        .tables
        .story_tick(&id("looking-of-maya"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (story.space_type.as_deref(), story.expectations.len()),
        (Some("family"), 1)
    );

    assert_eq!(report(&elsewhere).await, found);
    assert_eq!(elsewhere.expectations(None, &page).await.unwrap(), rows);
    assert_eq!(
        elsewhere.edge_ledger().await.unwrap(),
        bench.tables.edge_ledger().await.unwrap()
    );
    assert_eq!(
        elsewhere.story_tick(&id("making-of-kai")).await.unwrap(),
        bench.tables.story_tick(&id("making-of-kai")).await.unwrap()
    );
}

#[tokio::test]
async fn nothing_that_somebody_erased_put_there_or_looked_for_is_left() {
    for gone in ["kai", "maya"] {
        let erased = PersonaErased {
            persona_id: id(gone),
            spaces: Vec::new(),
        };
        let mut commits = shared_day_of("kai", "maya");
        commits.push((of_persona(gone), vec![erased.into()]));
        let (bench, _) = folded(commits).await;
        let rows = bench
            .tables
            .expectations(None, &PageRequest::first(10))
            .await
            .unwrap();
        assert_eq!(rows.items, [], "{gone}");
        let kept = usize::from(gone == "maya");
        assert_eq!(
            bench.tables.edge_ledger().await.unwrap().items.len(),
            kept,
            "{gone}"
        );
        assert_eq!(report(&bench.tables).await.calibration.len(), kept, "{gone}");
    }
}
