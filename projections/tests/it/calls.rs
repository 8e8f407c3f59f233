//! Personas' word on their calls held against the gateway's.

use events::testing::id;
use events::{CallOutcome, CallStarted, Event, StreamSeq, Subject, TickTrigger};
use projections::CallAgreement;

use crate::support::*;

fn at_the_door(events: Vec<Event>) -> (Subject, Vec<Event>) {
    (Subject::Session(id("anna")), events)
}

/// A tick of anna's with a call that worked and one that failed, and the gateway's record `door` of it.
async fn agreement(door: Vec<Event>) -> CallAgreement {
    let (bench, _) = Bench::folded(vec![
        (of_persona("anna"), vec![enrolled("anna")]),
        (
            of_persona("anna"),
            vec![began("anna", "t"), called("t", "ok", 0), called("t", "bad", 1)],
        ),
        at_the_door(door),
        (
            of_persona("anna"),
            vec![returned("t", "ok"), failed("t", "bad", "no")],
        ),
    ])
    .await;
    bench.tables.call_agreement().await.unwrap()
}

fn taken(call: &str, outcome: CallOutcome) -> Vec<Event> {
    let name = format!("door-{call}");
    vec![
        call_started("anna", &name, call).into(),
        call_ended(&name, outcome),
    ]
}

fn differing(agreement: &CallAgreement) -> Vec<(&str, &str)> {
    let found = agreement.differences.iter();
    found
        .map(|one| (one.call_id.as_str(), one.what.as_str()))
        .collect()
}

#[tokio::test]
async fn calls_that_both_sides_tell_alike_agree() {
    for bad in [CallOutcome::Error, CallOutcome::Refused, CallOutcome::Unknown] {
        let agreement = agreement([taken("ok", CallOutcome::Ok), taken("bad", bad)].concat()).await;
        assert_eq!((agreement.compared, agreement.differing), (2, 0), "{agreement:?}");
        assert!(agreement.agrees());
    }
}

#[tokio::test]
async fn each_way_to_differ_is_named() {
    let changed = |change: fn(&mut CallStarted)| {
        let mut started = call_started("anna", "door-ok", "ok");
        change(&mut started);
        vec![started.into(), call_ended("door-ok", CallOutcome::Ok)]
    };
    let cases = [
        (Vec::new(), "missing"),
        (taken("ok", CallOutcome::Error), "outcome"),
        (changed(|started| started.tool = "todo.list".to_owned()), "tool"),
        (
            changed(|started| started.input_hash = "00".to_owned()),
            "arguments",
        ),
    ];
    for (door, what) in cases {
        let agreement = agreement([door, taken("bad", CallOutcome::Error)].concat()).await;
        assert_eq!(differing(&agreement), [("ok", what)], "{agreement:?}");
        assert_eq!((agreement.compared, agreement.differing), (2, 1));
    }
    let both = [taken("ok", CallOutcome::Ok), taken("bad", CallOutcome::Ok)].concat();
    assert_eq!(differing(&agreement(both).await), [("bad", "outcome")]);
}

#[tokio::test]
async fn only_what_differed_before_is_still_a_difference() {
    let earlier = agreement(taken("bad", CallOutcome::Ok)).await;
    assert_eq!(differing(&earlier), [("bad", "outcome"), ("ok", "missing")]);
    let later = agreement(taken("ok", CallOutcome::Error)).await;
    assert_eq!(differing(&later), [("bad", "missing"), ("ok", "outcome")]);
    assert_eq!(later.clone().still(&earlier), later);

    let settled = agreement([taken("ok", CallOutcome::Ok), taken("bad", CallOutcome::Ok)].concat()).await;
    assert_eq!(differing(&settled.still(&earlier)), [("bad", "outcome")]);
    assert!(earlier.clone().still(&CallAgreement::default()).agrees());

    // Whether it is one of those that were not named nobody can tell.
    let many = CallAgreement {
        differing: 200,
        ..CallAgreement::default()
    };
    assert_eq!(earlier.clone().still(&many), earlier);
}

#[tokio::test]
async fn a_call_the_persona_does_not_know_of_is_a_difference() {
    let door = [
        taken("ok", CallOutcome::Ok),
        taken("bad", CallOutcome::Error),
        taken("stray", CallOutcome::Ok),
    ];
    let agreement = agreement(door.concat()).await;
    assert_eq!(differing(&agreement), [("stray", "unknown")]);
    assert_eq!(agreement.compared, 2);
}

#[tokio::test]
async fn ticks_of_outside_runners_and_from_before_there_was_a_record_are_not_compared() {
    let Event::TickStarted(mut outside) = began("anna", "outside") else {
        panic!("a tick begins")
    };
    outside.trigger = TickTrigger::External;
    let Event::TickStarted(mut long_ago) = began("anna", "long-ago") else {
        panic!("a tick begins")
    };
    long_ago.started_at = at(10);
    let (bench, _) = Bench::folded(vec![
        (
            of_persona("anna"),
            vec![
                outside.into(),
                called("outside", "a", 0),
                returned("outside", "a"),
            ],
        ),
        (
            of_persona("anna"),
            vec![
                long_ago.into(),
                called("long-ago", "b", 0),
                returned("long-ago", "b"),
            ],
        ),
        at_the_door(vec![call_started("anna", "door", "c").into()]),
    ])
    .await;
    let agreement = bench.tables.call_agreement().await.unwrap();
    assert_eq!((agreement.compared, agreement.differing), (0, 0), "{agreement:?}");
}

#[tokio::test]
async fn calls_are_read_page_by_page_in_the_order_of_the_log() {
    let (bench, _) = Bench::folded(vec![
        at_the_door([taken("b", CallOutcome::Ok), taken("a", CallOutcome::Refused)].concat()),
        at_the_door(taken("c", CallOutcome::Error)),
    ])
    .await;
    let (mut read, mut last) = (Vec::new(), None);
    loop {
        let page = bench.tables.calls_after(last.as_ref(), 1).await.unwrap();
        let Some(call) = page.into_iter().next() else {
            break;
        };
        read.push((call.call_id.to_string(), call.was_refused));
        last = Some(call);
    }
    let expected = [("door-a", true), ("door-b", false), ("door-c", false)];
    assert_eq!(
        read,
        expected.map(|(call, was_refused)| (call.to_owned(), was_refused))
    );
}

#[tokio::test]
async fn unfinished_calls_are_those_without_an_outcome_up_to_a_place() {
    let (bench, _) = Bench::folded(vec![
        at_the_door(
            [
                taken("a", CallOutcome::Ok),
                vec![call_started("anna", "open", "b").into()],
            ]
            .concat(),
        ),
        at_the_door(vec![call_started("anna", "later", "c").into()]),
    ])
    .await;
    let until = |seq| {
        let tables = bench.tables.clone();
        async move {
            let calls = tables.unfinished_calls(StreamSeq(seq)).await.unwrap();
            calls
                .into_iter()
                .map(|call| call.call_id.to_string())
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(until(1).await, ["open"]);
    assert_eq!(until(2).await, ["open", "later"]);
}
