//! Given rows, when a commit is folded, then these rows: no database anywhere.

use events::testing::{given, id, sample_time};
use events::{
    CallEnded, CallOutcome, CallStarted, Event, Intent, PersonaErased, Rated, RatingSource, RecordedCommit,
    Subject, TickFinished, TickOutcome, TickStarted, TickTrigger, ToolCalled, ToolReturned,
};

use super::*;
use crate::queries::CallResult;

fn of_anna() -> Subject {
    Subject::Persona(id("anna"))
}

fn began(tick: &str) -> Event {
    TickStarted {
        tick_id: id(tick),
        persona_id: id("anna"),
        number: 1,
        due_at: sample_time(),
        started_at: sample_time(),
        trigger: TickTrigger::Schedule,
        brain: "simulated".to_owned(),
        model: None,
        prompt_version: 1,
        seed: u64::MAX,
    }
    .into()
}

fn called(tick: &str, call: &str, index: u32) -> Event {
    ToolCalled {
        tick_id: id(tick),
        call_id: id(call),
        index,
        tool: "todo.create".to_owned(),
        module: "todo".to_owned(),
        input_hash: "00".to_owned(),
        act_hash: None,
        intent: Intent::Valid,
        mistake: None,
        retry_of: None,
        called_at: sample_time(),
    }
    .into()
}

fn returned(tick: &str, call: &str) -> Event {
    ToolReturned {
        tick_id: id(tick),
        call_id: id(call),
        latency_ms: Some(5),
        result_bytes: 1,
    }
    .into()
}

fn finished(tick: &str) -> Event {
    TickFinished {
        tick_id: id(tick),
        outcome: TickOutcome::Completed,
        reason: None,
        calls: 1,
        errors: 0,
        retries: 0,
        cost_micro_usd: None,
        resume_at: None,
        finished_at: sample_time(),
    }
    .into()
}

fn rated(module: &str, rating: u8) -> Event {
    Rated {
        tick_id: id("t"),
        module: module.to_owned(),
        rating,
        notes: "n".to_owned(),
        evidence: Vec::new(),
        source: RatingSource::Simulated,
        friction: None,
        rubric_version: 1,
        unsupported: None,
        brain: None,
        model: None,
        prompt_version: None,
        answers: None,
    }
    .into()
}

fn erased() -> Event {
    PersonaErased {
        persona_id: id("anna"),
        spaces: Vec::new(),
    }
    .into()
}

/// What folding `commits` of anna's makes of empty tables.
fn folded(commits: Vec<Vec<Event>>) -> WorkingSet {
    let mut set = WorkingSet::of_nothing();
    for recorded in given(commits.into_iter().map(|events| (of_anna(), events))) {
        fold_or_park(&mut set, &Delivery::Commit(recorded)).unwrap();
    }
    set
}

fn results(set: &WorkingSet) -> Vec<(String, CallResult)> {
    let rows = set.actions.all().into_iter();
    rows.map(|row| (row.call_id.clone(), row.result)).collect()
}

fn parked(set: &WorkingSet) -> Vec<(i64, String)> {
    let rows = set.parked.rows().into_iter();
    rows.map(|row| (row.seq, row.reason.clone())).collect()
}

fn started(call: &str) -> Event {
    CallStarted {
        call_id: id(call),
        client_call_id: None,
        session_id: None,
        user_id: id("anna"),
        space_id: id("space"),
        tool: "todo.create".to_owned(),
        input_hash: "00".to_owned(),
        arguments: None,
        policy_version: 1,
        started_at: sample_time(),
    }
    .into()
}

fn ended(call: &str, outcome: CallOutcome) -> Event {
    CallEnded {
        call_id: id(call),
        outcome,
        fault: None,
        duration_ms: Some(3),
        ended_at: sample_time(),
    }
    .into()
}

/// What folding `commits` on the session subject of each account makes of empty tables.
fn at_the_door(commits: Vec<(&str, Vec<Event>)>) -> WorkingSet {
    let mut set = WorkingSet::of_nothing();
    let of = |user: &str| Subject::Session(id(user));
    for recorded in given(commits.into_iter().map(|(user, events)| (of(user), events))) {
        fold_or_park(&mut set, &Delivery::Commit(recorded)).unwrap();
    }
    set
}

fn outcomes(set: &WorkingSet) -> Vec<(String, String)> {
    let rows = set.calls.rows().into_iter();
    rows.map(|row| (row.id.clone(), row.outcome.clone())).collect()
}

#[test]
fn the_first_outcome_of_a_call_stands_but_unknown_gives_way() {
    let set = at_the_door(vec![
        ("anna", vec![started("a"), started("b"), started("c")]),
        (
            "anna",
            vec![ended("a", CallOutcome::Ok), ended("a", CallOutcome::Error)],
        ),
        ("anna", vec![ended("b", CallOutcome::Unknown)]),
        (
            "anna",
            vec![
                ended("b", CallOutcome::Cancelled),
                ended("b", CallOutcome::Unknown),
            ],
        ),
        // A start told twice, after a lost acknowledgement, is the same call.
        ("anna", vec![started("a")]),
    ]);
    assert_eq!(parked(&set), []);
    let expected = [("a", "ok"), ("b", "cancelled"), ("c", "pending")];
    assert_eq!(
        outcomes(&set),
        expected.map(|(call, outcome)| (call.to_owned(), outcome.to_owned()))
    );
}

#[test]
fn nobody_ends_the_call_of_another_account_or_starts_one_in_its_name() {
    let set = at_the_door(vec![
        ("anna", vec![started("a")]),
        ("ben", vec![ended("a", CallOutcome::Ok)]),
        ("ben", vec![started("b")]),
        ("anna", vec![ended("never-started", CallOutcome::Ok)]),
    ]);
    assert_eq!(outcomes(&set), [("a".to_owned(), "pending".to_owned())]);
    assert_eq!(parked(&set).len(), 1, "{:?}", parked(&set));
    let mut set = WorkingSet::of_nothing();
    let [strayed]: [RecordedCommit; 1] = given([(of_anna(), vec![ended("a", CallOutcome::Ok)])])
        .try_into()
        .unwrap();
    fold_or_park(&mut set, &Delivery::Commit(strayed)).unwrap();
    assert_eq!(parked(&set).len(), 1, "an end on a persona's subject");
}

#[test]
fn a_call_and_its_outcome_may_share_a_commit_and_what_is_left_is_unknown() {
    let set = folded(vec![
        vec![
            began("t"),
            called("t", "a", 0),
            returned("t", "a"),
            called("t", "b", 1),
        ],
        vec![finished("t")],
    ]);
    assert_eq!(
        results(&set),
        [
            ("a".to_owned(), CallResult::Ok),
            ("b".to_owned(), CallResult::Unknown)
        ]
    );
    assert_eq!(parked(&set), []);
}

#[test]
fn a_parked_commit_leaves_every_row_as_it_was() {
    let before = vec![vec![began("t"), called("t", "a", 0)], vec![rated("todo", 4)]];
    let mut commits = before.clone();
    // Each changes rows of several tables before its last event does not fit.
    commits.push(vec![
        finished("t"),
        rated("todo", 1),
        called("t", "b", 1),
        returned("t", "c"),
    ]);
    commits.push(vec![erased(), called("t", "b", 1), returned("t", "c")]);
    let (before, after) = (folded(before), folded(commits));
    assert_eq!(parked(&after).len(), 2);
    assert_eq!(results(&after), results(&before));
    assert_eq!(after.ticks.rows(), before.ticks.rows());
    assert_eq!(after.feedback.rows(), before.feedback.rows());
    assert!(after.erasures().is_empty(), "{:?}", after.erasures());
}

#[test]
fn a_reverted_call_does_not_stand_in_for_the_one_that_takes_its_place() {
    let set = folded(vec![
        vec![began("t"), called("t", "a", 0), returned("t", "nobody")],
        vec![called("t", "b", 0)],
        vec![returned("t", "a")],
    ]);
    assert_eq!(results(&set), [("b".to_owned(), CallResult::Pending)]);
    let reason = "event 0 (ToolReturned): call a was never made in tick t".to_owned();
    assert_eq!(parked(&set)[1], (3, reason));
}

#[test]
fn an_erased_persona_can_come_again_in_the_same_batch() {
    let set = folded(vec![
        vec![began("t"), called("t", "a", 0)],
        vec![erased()],
        vec![returned("t", "a")],
        vec![began("t2"), called("t2", "b", 0)],
    ]);
    assert_eq!(results(&set), [("b".to_owned(), CallResult::Pending)]);
    assert_eq!(parked(&set).len(), 1, "the outcome of a call that is gone");
    assert_eq!(set.ticks.rows().len(), 1);
}

#[test]
fn one_call_id_in_two_places_of_a_tick_is_refused() {
    let set = folded(vec![
        vec![began("t"), called("t", "a", 0)],
        vec![called("t", "a", 7)],
    ]);
    let reason = "event 0 (ToolCalled): call a is row t-0-todo.create already".to_owned();
    assert_eq!(parked(&set), [(2, reason)]);
}

#[test]
fn a_name_that_no_key_may_have_is_refused_before_it_is_looked_for() {
    let set = folded(vec![vec![rated(&"m".repeat(501), 4)], vec![rated("a\0b", 4)]]);
    assert_eq!(
        (set.feedback.rows().len(), parked(&set).len()),
        (0, 2),
        "{:?}",
        parked(&set)
    );
}

#[test]
fn a_row_that_nobody_loaded_is_not_taken_for_absent() {
    for event in [
        began("t"),
        called("t", "a", 0),
        returned("t", "a"),
        finished("t"),
        rated("todo", 3),
    ]
    .into_iter()
    .map(|event| (of_anna(), event))
    .chain([started("a"), ended("a", CallOutcome::Ok)].map(|event| (Subject::Session(id("anna")), event)))
    {
        let (subject, event) = event;
        let [recorded]: [RecordedCommit; 1] = given([(subject, vec![event])]).try_into().unwrap();
        let error = fold_delivery(&mut WorkingSet::default(), &Delivery::Commit(recorded)).unwrap_err();
        assert!(matches!(error, FoldError::Halt { .. }), "{error:?}");
    }
}
