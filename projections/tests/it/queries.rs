//! What can be asked, and that the figures are right.

use events::testing::id;
use events::{Intent, StreamSeq, ToolCalled};
use projections::{DayReport, Stumble, ToolFailures};

use crate::support::*;

fn mistake(tick: &str, call_id: &str, index: u32, of: &str) -> events::Event {
    ToolCalled {
        intent: Intent::Mistake,
        mistake: Some(of.to_owned()),
        ..call(tick, call_id, index, "todo.create")
    }
    .into()
}

fn retry(tick: &str, call_id: &str, index: u32, of: &str) -> events::Event {
    ToolCalled {
        retry_of: Some(id(of)),
        ..call(tick, call_id, index, "todo.create")
    }
    .into()
}

/// Two personas' day: one that errs on purpose and recovers, one that meets what is the app's own fault.
async fn report_of_a_day() -> DayReport {
    let anna = of_persona("anna");
    let ben = of_persona("ben");
    let first_try = vec![
        began("anna", "a"),
        mistake("a", "a1", 0, "missing-required"),
        mistake("a", "a2", 1, "wrong-type"),
    ];
    let second_try = vec![
        failed("a", "a1", "title: required"),
        returned("a", "a2"),
        retry("a", "a3", 2, "a1"),
    ];
    let two_tools = vec![
        began("ben", "b"),
        call("b", "b1", 0, "todo.create").into(),
        call("b", "b2", 1, "notes.search").into(),
    ];
    let both_fail = vec![
        failed("b", "b1", "out of order"),
        failed("b", "b2", "no notes"),
        rated("b", "todo", 5),
    ];
    let (bench, _) = Bench::folded(vec![
        (anna.clone(), vec![enrolled("anna")]),
        (ben.clone(), vec![enrolled("ben")]),
        (anna.clone(), first_try),
        (anna.clone(), second_try),
        (
            anna,
            vec![returned("a", "a3"), rated("a", "todo", 2), finished("a")],
        ),
        (ben.clone(), two_tools),
        (ben, both_fail),
    ])
    .await;
    let report = bench.tables.report(StreamSeq::ZERO).await.unwrap();
    assert_eq!(report.as_of_seq.0, 7);
    report
}

#[tokio::test]
async fn the_report_of_a_day_counts_what_each_persona_did_and_how_each_module_fared() {
    let report = report_of_a_day().await;
    let [anna, ben] = &report.personas[..] else {
        panic!("{:?}", report.personas)
    };
    assert_eq!((anna.name.as_str(), anna.ticks, anna.interrupted), ("anna", 1, 0));
    assert_eq!(
        (anna.calls, anna.errors, anna.retries, anna.mistakes),
        (3, 1, 1, 2)
    );
    assert_eq!(anna.outcome.as_deref(), Some("completed"));
    assert_eq!(
        (
            ben.calls,
            ben.errors,
            ben.retries,
            ben.mistakes,
            ben.outcome.as_deref()
        ),
        (2, 2, 0, 0, None)
    );
    let [todo] = &ben.ratings[..] else {
        panic!("{:?}", ben.ratings)
    };
    assert_eq!(
        (todo.module.as_str(), todo.rating, todo.friction),
        ("todo", Some(5), Some(0.25))
    );

    let modules: Vec<_> = report
        .modules
        .iter()
        .map(|day| {
            (
                day.module.as_str(),
                day.calls,
                day.errors,
                day.ratings,
                day.stars_mean,
            )
        })
        .collect();
    assert_eq!(modules, [("notes", 1, 1, 0, None), ("todo", 4, 2, 2, Some(3.5))]);
}

#[tokio::test]
async fn the_report_of_a_day_names_failing_tools_worst_first_and_what_newcomers_stumbled_over() {
    let report = report_of_a_day().await;
    let [worst, second] = &report.failing_tools[..] else {
        panic!("{:?}", report.failing_tools)
    };
    let expected = ToolFailures {
        tool: "todo.create".to_owned(),
        calls: 4,
        errors: 2,
        mistakes: 1,
        personas_affected: 2,
        error_rate: 0.5,
        example_error: "out of order".to_owned(),
        example_call_id: "b1".to_owned(),
    };
    assert_eq!(*worst, expected);
    assert_eq!(
        (second.tool.as_str(), second.errors, second.calls),
        ("notes.search", 1, 1)
    );

    let stumble = |mistake: &str, accepted, recovered, example_error: Option<&str>| Stumble {
        persona_name: "anna".to_owned(),
        tool: "todo.create".to_owned(),
        mistake: mistake.to_owned(),
        times: 1,
        accepted,
        recovered,
        example_error: example_error.map(str::to_owned),
    };
    assert_eq!(
        report.newcomers,
        [
            stumble("missing-required", 0, 1, Some("title: required")),
            stumble("wrong-type", 1, 0, None)
        ]
    );
}

#[tokio::test]
async fn an_empty_log_is_an_empty_report() {
    let bench = Bench::new().await;
    let report = bench.tables.report(StreamSeq::ZERO).await.unwrap();
    assert!(report.personas.is_empty() && report.modules.is_empty() && report.failing_tools.is_empty());
    assert_eq!(
        bench.tables.counts().await.unwrap(),
        projections::TableCounts::default()
    );
    assert_eq!(bench.tables.checkpoint().await.unwrap(), None);
}

#[tokio::test]
async fn actions_are_counted_since_an_instant_and_listed_newest_first() {
    let late = ToolCalled {
        called_at: at(5_000),
        ..call("t", "late", 9, "notes.search")
    };
    let (bench, _) = Bench::folded(vec![(
        of_persona("anna"),
        vec![
            began("anna", "t"),
            called("t", "a", 0),
            called("t", "b", 1),
            late.into(),
        ],
    )])
    .await;
    let tables = &bench.tables;
    assert_eq!(tables.actions_since(&id("anna"), at(101)).await.unwrap(), 3);
    assert_eq!(tables.actions_since(&id("anna"), at(102)).await.unwrap(), 1);
    assert_eq!(tables.actions_since(&id("ben"), at(0)).await.unwrap(), 0);
    let recent = tables.recent_actions(&id("anna"), 2).await.unwrap();
    assert_eq!(
        recent
            .iter()
            .map(|action| action.call_id.as_str())
            .collect::<Vec<_>>(),
        ["late", "b"]
    );
}

#[tokio::test]
async fn rows_that_exist_already_are_told_from_those_that_do_not() {
    let (bench, _) = Bench::folded(day_of("anna")).await;
    let ids = [
        "tick-of-anna-0-todo.create",
        "tick-of-anna-9-todo.create",
        "'); DROP TABLE personas; --",
    ]
    .map(str::to_owned);
    assert_eq!(bench.tables.existing_action_ids(&ids).await.unwrap(), ids[..1]);
    let ids = ["tick-of-anna-todo", "tick-of-anna-notes"].map(str::to_owned);
    assert_eq!(bench.tables.existing_feedback_ids(&ids).await.unwrap(), ids[..1]);
    assert_eq!(
        bench.tables.existing_feedback_ids(&[]).await.unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn deployments_are_listed_newest_first_and_the_first_mark_of_a_name_stands() {
    let (bench, log) = Bench::folded(vec![
        deployed("v2", 2_000),
        deployed("v1", 1_000),
        deployed("v2", 9_000),
    ])
    .await;
    let deploys = bench.tables.deploys().await.unwrap();
    let listed: Vec<_> = deploys
        .iter()
        .map(|deploy| (deploy.name.as_str(), deploy.deployed_at, deploy.stream_seq.0))
        .collect();
    assert_eq!(listed, [("v2", at(2_000), 1), ("v1", at(1_000), 2)]);

    let strayed = (of_persona("anna"), deployed("v3", 1).1);
    happen(log.as_ref(), strayed.0, strayed.1).await;
    fold_to_end(log, &bench.tables, 10).await.unwrap();
    let parked = bench.tables.parked().await.unwrap();
    assert!(parked[0].reason.contains("names v3"), "{parked:?}");
    assert_eq!(bench.tables.deploys().await.unwrap().len(), 2);
}
