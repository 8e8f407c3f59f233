//! Findings from the tables: the rules are tested over rows in `src/findings`; here, that the rows are the right ones.

use std::collections::BTreeSet;

use events::testing::id;
use events::{Cause, Delivery, Event, EventLog as _, Intent, Subject, ToolCalled, ToolFailed};
use jiff::Timestamp;
use projections::Tables;
use projections::findings::{Discriminates, FindingKind, FindingsQuery, FindingsReport, Share, Verdict};

use crate::support::*;

const DAY: i64 = 86_400;
/// Days that are lived; the tool breaks in the last week.
const DAYS: i64 = 49;
const BREAKS: i64 = 42;
const CAST: [&str; 7] = ["anna", "ben", "cleo", "dora", "emil", "fritz", "gina"];

pub fn asked() -> FindingsQuery {
    FindingsQuery {
        since: None,
        as_of: None,
        offered_tools: vec!["todo.create".to_owned(), "todo.archive".to_owned()],
    }
}

/// One tick a day of each: three ordinary calls, and a mistake that is refused and mended.
fn weeks() -> Vec<(Subject, Vec<Event>)> {
    let mut commits: Vec<_> = CAST
        .iter()
        .map(|name| (of_persona(name), vec![enrolled(name)]))
        .collect();
    for day in 0..DAYS {
        if day == BREAKS {
            commits.push(deployed("v2", day * DAY));
        }
        for (place, name) in (0..).zip(CAST) {
            let tick = &format!("{name}-{day}");
            let second = day * DAY + place;
            let of = |call_id: &str, index, tool: &str| ToolCalled {
                called_at: at(second),
                ..call(tick, call_id, index, tool)
            };
            let wrong = ToolCalled {
                intent: Intent::Mistake,
                mistake: Some("missing-required".to_owned()),
                ..of("c2", 2, "notes.create")
            };
            let mended = ToolCalled {
                retry_of: Some(id("c2")),
                ..of("c3", 3, "notes.create")
            };
            let refused = ToolFailed {
                tick_id: id(tick),
                call_id: id("c2"),
                error: "title: required".to_owned(),
                latency_ms: Some(2),
                cause: Cause::Persona,
            };
            let is_broken = day >= BREAKS && place % 2 == 0;
            let outcome = if is_broken {
                failed(tick, "c1", &format!("upstream 503, request {day}"))
            } else {
                returned(tick, "c1")
            };
            commits.push((
                of_persona(name),
                vec![
                    began(name, tick),
                    of("c0", 0, "notes.search").into(),
                    of("c1", 1, "todo.create").into(),
                    wrong.into(),
                    returned(tick, "c0"),
                    outcome,
                    refused.into(),
                    mended.into(),
                    returned(tick, "c3"),
                    rated(tick, "todo", if is_broken { 1 } else { 5 }),
                    finished(tick),
                ],
            ));
        }
    }
    commits
}

/// The same commits, each at the time its calls were made: ratings go by the commit's.
pub async fn lived() -> std::sync::Arc<events::MemoryLog> {
    let log = std::sync::Arc::new(events::MemoryLog::new());
    for (number, (subject, events)) in (0_u64..).zip(weeks()) {
        let time = events.iter().find_map(|event| match event {
            Event::ToolCalled(called) => Some(called.called_at),
            Event::DeployMarked(marked) => Some(marked.deployed_at),
            _ => None,
        });
        let commit_id = events::CommitId::derived(&["findings", &number.to_string()]);
        let commit = events::Commit::new(commit_id, subject, time.unwrap_or(at(0)), events);
        append(log.as_ref(), &commit).await;
    }
    log
}

async fn found(tables: &Tables, asked: &FindingsQuery) -> FindingsReport {
    tables.findings(asked).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_tool_that_broke_with_a_deployment_is_found_with_evidence_that_is_in_the_log() {
    let (bench, log) = (Bench::new().await, lived().await);
    fold_to_end(log.clone(), &bench.tables, 2_000).await.unwrap();
    let report = found(&bench.tables, &asked()).await;
    assert_eq!(report.as_of, at((DAYS - 1) * DAY + 6));

    let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(
        kinds,
        [FindingKind::Regression, FindingKind::NewError],
        "{:#?}",
        report.findings
    );
    let regression = &report.findings[0];
    assert_eq!(regression.tool.as_deref(), Some("todo.create"));
    assert_eq!(regression.personas_affected, 4);
    assert_eq!(
        regression.deploy.as_ref().map(events::DeployName::as_str),
        Some("v2")
    );
    for finding in &report.findings {
        assert_eq!(finding.evidence.len(), 5);
        for evidence in &finding.evidence {
            let rows = bench
                .tables
                .existing_action_ids(std::slice::from_ref(&evidence.id))
                .await
                .unwrap();
            assert_eq!(rows.first(), Some(&evidence.id));
            let Some(Delivery::Commit(recorded)) = log.at(evidence.stream_seq).await.unwrap() else {
                panic!("{evidence:?} is not in the log")
            };
            let is_there = recorded.commit.events.iter().any(|event| {
                matches!(event, Event::ToolCalled(called) if Some(called.call_id.as_str()) == evidence.call_id.as_deref())
            });
            assert!(is_there, "{evidence:?}");
        }
    }
}

#[tokio::test]
async fn figures_are_those_of_their_time_with_intervals_and_what_changed_since_the_deployment() {
    let (bench, log) = (Bench::new().await, lived().await);
    fold_to_end(log, &bench.tables, 2_000).await.unwrap();
    let report = found(&bench.tables, &asked()).await;
    let tool = |name: &str| {
        let found = report.tools.iter().find(|tool| tool.tool == name);
        found.unwrap_or_else(|| panic!("no {name}: {:?}", report.tools))
    };
    // Seven days of seven personas, four of whom fail each day.
    let broken = tool("todo.create");
    assert_eq!((broken.calls, broken.errors), (49, Share { of: 28, total: 49 }));
    let interval = broken.error_interval.unwrap();
    assert!(interval.low > 0.42 && interval.high < 0.71, "{interval:?}");
    // Mistakes are the persona's own: they are no error of the tool, and their repair is a retry.
    let notes = tool("notes.create");
    assert_eq!((notes.calls, notes.errors.of), (98, 0));
    assert_eq!(notes.retries, Share { of: 49, total: 98 });
    assert_eq!((notes.p50_ms, notes.p95_ms), (Some(2), Some(12)));
    let recovery = report
        .recoveries
        .iter()
        .find(|recovery| recovery.module == "notes")
        .unwrap();
    assert_eq!(recovery.recovered, Share { of: 49, total: 49 });

    let since = report.since_deploy.as_ref().unwrap();
    assert_eq!(since.deploy.name.as_str(), "v2");
    let [change] = &since.tools[..] else {
        panic!("{:?}", since.tools)
    };
    assert_eq!((change.tool.as_str(), change.is_worse), ("todo.create", true));
    let [module] = &since.modules[..] else {
        panic!("{:?}", since.modules)
    };
    // Four of seven fell by four stars.
    assert_eq!((module.personas, module.difference), (7, -16.0 / 7.0));
    let Verdict::Steady { personas: 7, .. } = report.modules[0].verdict else {
        panic!("one week is not three: {:?}", report.modules[0].verdict)
    };
    let unused: Vec<_> = report
        .unused_tools
        .iter()
        .map(|unused| (unused.tool.as_str(), unused.by_nobody))
        .collect();
    assert_eq!(unused, [("todo.archive", true)]);
    assert_eq!(report.raters[0].discriminates, Discriminates::Unknown);
}

#[tokio::test]
async fn a_report_as_of_then_is_the_one_that_stood_then() {
    let (bench, log) = (Bench::new().await, lived().await);
    fold_to_end(log, &bench.tables, 2_000).await.unwrap();
    let before = FindingsQuery {
        as_of: Some(at(BREAKS * DAY - 1)),
        ..asked()
    };
    let report = found(&bench.tables, &before).await;
    assert!(
        report.findings.is_empty() && report.since_deploy.is_none(),
        "{:?}",
        report.findings
    );
    let failed: BTreeSet<u64> = report.tools.iter().map(|tool| tool.errors.of).collect();
    assert_eq!(failed, [0].into());
    // Before anything happened there is a report too, and nothing in it.
    let earliest = FindingsQuery {
        as_of: Some(Timestamp::MIN),
        ..asked()
    };
    assert!(found(&bench.tables, &earliest).await.tools.is_empty());
    // Where nobody ever acted there is none.
    assert_eq!(Bench::new().await.tables.findings(&asked()).await.unwrap(), None);
}

#[tokio::test]
async fn stars_that_are_unsupported_or_failed_are_in_no_trend_and_are_counted_as_what_they_are() {
    let stars = |rating, unsupported: Option<&str>| -> Event {
        let Event::Rated(rated) = rated("t", &format!("m{rating}"), rating) else {
            panic!()
        };
        events::Rated {
            module: "todo".to_owned(),
            tick_id: id(&format!("t{rating}{}", unsupported.is_some())),
            unsupported: unsupported.map(str::to_owned),
            ..rated
        }
        .into()
    };
    let failed: Event = events::RatingFailed {
        tick_id: id("t9"),
        module: "notes".to_owned(),
        reason: "7 is not a rating from 1 to 5".to_owned(),
    }
    .into();
    let (bench, _) = Bench::folded(vec![(
        of_persona("anna"),
        vec![
            enrolled("anna"),
            stars(4, None),
            stars(5, Some("5 stars although 5 of 6 calls failed")),
            failed,
        ],
    )])
    .await;
    let report = found(&bench.tables, &asked()).await;
    let [trend] = &report.modules[..] else {
        panic!("{:?}", report.modules)
    };
    assert_eq!((trend.module.as_str(), trend.stars_mean), ("todo", Some(4.0)));
    assert_eq!(report.raters[0].stars, [0, 0, 0, 1, 0]);
    assert_eq!(report.raters[0].unsupported, Share { of: 1, total: 2 });
    assert_eq!(
        serde_json::to_value(&report.failed_ratings).unwrap(),
        serde_json::json!([{"module": "notes", "count": 1}])
    );
}
