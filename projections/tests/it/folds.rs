//! Given what happened, the tables say so.

use events::testing::{id, samples};
use events::{
    Event, PersonaErased, PersonaHalted, PersonaId, RatingFailed, RecordOp, SessionClosed, SessionOpened,
    SpaceErased, Subject, TickInterrupted, ToolCalled,
};
use projections::{ActionRow, CallResult, Stage};
use serde_json::json;
use sqlx::Row as _;

use crate::support::*;

async fn actions_of(bench: &Bench, name: &str) -> Vec<ActionRow> {
    let mut actions = bench.tables.recent_actions(&id(name), 100).await.unwrap();
    actions.sort_by(|one, other| one.id.cmp(&other.id));
    actions
}

fn results(actions: &[ActionRow]) -> Vec<(&str, CallResult)> {
    actions
        .iter()
        .map(|action| (action.call_id.as_str(), action.result))
        .collect()
}

#[tokio::test]
async fn parallel_calls_returning_out_of_order_each_get_their_own_outcome() {
    let (bench, _) = Bench::folded(vec![
        (of_persona("anna"), vec![enrolled("anna"), began("anna", "t")]),
        (
            of_persona("anna"),
            vec![
                called("t", "first", 0),
                called("t", "second", 1),
                called("t", "third", 2),
            ],
        ),
        (of_persona("anna"), vec![returned("t", "third")]),
        (of_persona("anna"), vec![failed("t", "first", "title: required")]),
        (of_persona("anna"), vec![returned("t", "second")]),
    ])
    .await;
    let actions = actions_of(&bench, "anna").await;
    assert_eq!(
        results(&actions),
        [
            ("first", CallResult::Error),
            ("second", CallResult::Ok),
            ("third", CallResult::Ok)
        ]
    );
    assert_eq!(actions[0].id, "t-0-todo.create");
    assert_eq!(actions[0].error_message.as_deref(), Some("title: required"));
    assert!(
        actions[1..]
            .iter()
            .all(|action| action.error_message.is_none() && action.cause.is_none())
    );
}

#[tokio::test]
async fn the_same_call_id_in_two_ticks_is_two_calls() {
    let (bench, _) = Bench::folded(vec![
        (
            of_persona("anna"),
            vec![began("anna", "t1"), called("t1", "c", 0)],
        ),
        (of_persona("ben"), vec![began("ben", "t2"), called("t2", "c", 0)]),
        (of_persona("ben"), vec![failed("t2", "c", "no")]),
    ])
    .await;
    assert_eq!(
        results(&actions_of(&bench, "anna").await),
        [("c", CallResult::Pending)]
    );
    assert_eq!(
        results(&actions_of(&bench, "ben").await),
        [("c", CallResult::Error)]
    );
}

#[tokio::test]
async fn calls_a_tick_leaves_without_an_outcome_become_unknown() {
    let interrupted = TickInterrupted {
        tick_id: id("t2"),
        reason: "found unfinished at start".to_owned(),
        found_at: at(200),
    };
    let (bench, _) = Bench::folded(vec![
        (
            of_persona("anna"),
            vec![
                enrolled("anna"),
                began("anna", "t1"),
                called("t1", "a", 0),
                called("t1", "b", 1),
            ],
        ),
        (of_persona("anna"), vec![returned("t1", "a"), finished("t1")]),
        (
            of_persona("anna"),
            vec![began("anna", "t2"), called("t2", "c", 0)],
        ),
        (
            of_persona("anna"),
            vec![interrupted.into(), began("anna", "t3"), called("t3", "d", 0)],
        ),
    ])
    .await;
    assert_eq!(
        results(&actions_of(&bench, "anna").await),
        [
            ("a", CallResult::Ok),
            ("b", CallResult::Unknown),
            ("c", CallResult::Unknown),
            ("d", CallResult::Pending)
        ]
    );
    let counts = bench.tables.counts().await.unwrap();
    assert_eq!((counts.ticks, counts.ticks_interrupted), (3, 1));
    assert_eq!((counts.actions_unknown, counts.actions_pending), (2, 1));
}

#[tokio::test]
async fn an_outcome_of_a_call_never_made_is_parked_with_all_of_its_commit() {
    let (bench, _) = Bench::folded(vec![
        (of_persona("anna"), vec![began("anna", "t"), called("t", "a", 0)]),
        (
            of_persona("anna"),
            vec![called("t", "b", 1), returned("t", "nobody")],
        ),
        (
            of_persona("ben"),
            vec![failed("t", "a", "another persona's call")],
        ),
        (of_persona("anna"), vec![returned("t", "a")]),
    ])
    .await;
    assert_eq!(
        results(&actions_of(&bench, "anna").await),
        [("a", CallResult::Ok)]
    );
    let parked = bench.tables.parked().await.unwrap();
    assert_eq!(
        parked
            .iter()
            .map(|row| (row.seq.0, row.stage))
            .collect::<Vec<_>>(),
        [(2, Stage::Fold), (3, Stage::Fold)]
    );
    assert_eq!(
        parked[0].reason,
        "event 1 (ToolReturned): call nobody was never made in tick t"
    );
}

#[tokio::test]
async fn a_call_in_the_place_of_another_is_parked_and_the_same_call_twice_is_one_row() {
    let other = ToolCalled {
        call_id: id("other"),
        ..call("t", "a", 0, "todo.create")
    };
    let (bench, _) = Bench::folded(vec![
        (of_persona("anna"), vec![began("anna", "t"), called("t", "a", 0)]),
        (of_persona("anna"), vec![called("t", "a", 0)]),
        (of_persona("anna"), vec![other.into()]),
    ])
    .await;
    assert_eq!(
        results(&actions_of(&bench, "anna").await),
        [("a", CallResult::Pending)]
    );
    assert_eq!(
        bench
            .tables
            .parked()
            .await
            .unwrap()
            .iter()
            .map(|row| row.seq.0)
            .collect::<Vec<_>>(),
        [3]
    );
}

#[tokio::test]
async fn a_failed_rating_has_no_number_and_six_stars_are_refused() {
    let failed = RatingFailed {
        tick_id: id("t"),
        module: "notes".to_owned(),
        reason: "answer was prose".to_owned(),
    };
    let (bench, _) = Bench::folded(vec![
        (
            of_persona("anna"),
            vec![enrolled("anna"), rated("t", "todo", 4), failed.into()],
        ),
        (of_persona("anna"), vec![rated("t", "habits", 6)]),
    ])
    .await;
    let feedback = bench.tables.feedback_by_module(&id("anna")).await.unwrap();
    assert_eq!(feedback.len(), 1, "{feedback:?}");
    assert_eq!((feedback[0].module.as_str(), feedback[0].count), ("todo", 1));
    let mut db = raw(bench.tables.path().unwrap()).await;
    let row = sqlx::query("SELECT rating, state, notes, source FROM persona_feedback WHERE id = 't-notes'")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(row.get::<Option<i64>, _>(0), None);
    assert_eq!(
        (row.get::<&str, _>(1), row.get::<&str, _>(2)),
        ("failed", "answer was prose")
    );
    assert_eq!(row.get::<Option<&str>, _>(3), None);
    assert_eq!(bench.tables.parked().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_halted_persona_is_back_when_its_next_tick_begins() {
    let halted = PersonaHalted {
        persona_id: id("anna"),
        restarts: 3,
        reason: "panicked".to_owned(),
    };
    let (bench, log) = Bench::folded(vec![(of_persona("anna"), vec![enrolled("anna"), halted.into()])]).await;
    let anna = bench.tables.persona(&id("anna")).await.unwrap().unwrap();
    assert_eq!(
        (anna.halted.as_deref(), anna.last_active_at, anna.ticks),
        (Some("panicked"), None, 0)
    );

    happen(log.as_ref(), of_persona("anna"), vec![began("anna", "t")]).await;
    fold_to_end(log, &bench.tables, 1).await.unwrap();
    let anna = bench
        .tables
        .persona_by_email("persona.anna@mana.test")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (anna.halted, anna.last_active_at, anna.ticks),
        (None, Some(at(100)), 1)
    );
}

#[tokio::test]
async fn of_a_records_fields_each_keeps_its_last_write_and_a_tombstone_stays() {
    let (bench, log) = Bench::folded(vec![
        (
            of_space("s"),
            vec![record(
                "s",
                "r1",
                RecordOp::Put,
                &[("title", "one", 10), ("color", "red", 10)],
            )],
        ),
        (
            of_space("s"),
            vec![record("s", "r2", RecordOp::Put, &[("title", "other", 5)])],
        ),
        // From a device that was offline: too late for the title, in time for the note.
        (
            of_space("s"),
            vec![record(
                "s",
                "r1",
                RecordOp::Put,
                &[("title", "stale", 9), ("note", "kept", 9)],
            )],
        ),
    ])
    .await;
    let rows = bench.tables.records(&id("s"), "tasks").await.unwrap();
    assert_eq!(
        rows.iter().map(|row| row.record_id.as_str()).collect::<Vec<_>>(),
        ["r1", "r2"]
    );
    assert_eq!(
        json!(rows[0].fields),
        json!({"color": "red", "note": "kept", "title": "one"})
    );
    assert_eq!(
        (rows[0].created_at, rows[0].updated_at, rows[0].last_seq.0),
        (at(9), at(10), 3),
        "it is as old as its oldest write, whenever that arrived"
    );

    happen(
        log.as_ref(),
        of_space("s"),
        vec![record("s", "r1", RecordOp::Delete, &[])],
    )
    .await;
    happen(
        log.as_ref(),
        of_space("s"),
        vec![record("s", "r1", RecordOp::Put, &[("title", "again", 900)])],
    )
    .await;
    fold_to_end(log, &bench.tables, 1).await.unwrap();
    assert_eq!(bench.tables.records(&id("s"), "tasks").await.unwrap().len(), 1);
    assert!(
        bench
            .tables
            .record(&id("s"), "tasks", &id("r1"))
            .await
            .unwrap()
            .unwrap()
            .deleted
    );
    assert_eq!(
        bench.tables.record(&id("s"), "notes", &id("r1")).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn what_is_about_another_entity_than_its_subject_is_parked() {
    let opened = SessionOpened {
        session_id: id("session"),
        user_id: id("ben"),
        space_id: id("s"),
        client: "c".to_owned(),
        protocol: "2025-11-25".to_owned(),
        opened_at: at(1),
    };
    let (bench, _) = Bench::folded(vec![
        (
            of_space("mine"),
            vec![record("theirs", "r", RecordOp::Put, &[("title", "x", 1)])],
        ),
        (of_persona("anna"), vec![enrolled("ben")]),
        (Subject::Session(id("anna")), vec![opened.into()]),
        (of_space("mine"), vec![called("t", "c", 0)]),
    ])
    .await;
    let counts = bench.tables.counts().await.unwrap();
    assert_eq!(
        (
            counts.records,
            counts.personas,
            counts.sessions,
            counts.actions,
            counts.parked
        ),
        (0, 0, 0, 0, 4)
    );
}

#[tokio::test]
async fn erasing_a_persona_leaves_none_of_its_rows_and_all_of_everyone_elses() {
    let everyone_else = || [day_of("ben"), session_of("ben")].concat();
    let (only_ben, _) = Bench::folded(everyone_else()).await;

    let erased = PersonaErased {
        persona_id: id("anna"),
        spaces: vec![id("anna")],
    };
    let mut commits = [everyone_else(), day_of("anna"), session_of("anna")].concat();
    commits.push((
        of_persona("anna"),
        vec![returned("tick-of-anna", "never made, so parked")],
    ));
    commits.push((of_persona("anna"), vec![erased.into()]));
    // Erasing ends its sessions a moment later.
    let closed = SessionClosed {
        session_id: id("session-of-anna"),
        reason: "client".to_owned(),
        closed_at: at(9),
    };
    commits.push((Subject::Session(id("anna")), vec![closed.into()]));
    let (bench, _) = Bench::folded(commits).await;

    let mut left = bench.tables.checksums().await.unwrap();
    let mut expected = only_ben.tables.checksums().await.unwrap();
    for checksums in [&mut left, &mut expected] {
        // The subjects it had, by its ids alone.
        checksums.retain(|table| table.table != "erased_subjects");
    }
    assert_eq!(left, expected);
    let counts = only_ben.tables.counts().await.unwrap();
    assert_eq!(
        (counts.personas, counts.actions, counts.feedback, counts.ticks),
        (1, 3, 1, 1)
    );
    assert_eq!(
        (counts.records, counts.sessions, counts.refusals, counts.parked),
        (1, 1, 2, 0)
    );
}

#[tokio::test]
async fn erasing_a_space_leaves_none_of_its_records_and_all_of_every_other_space() {
    let put = |space: &str| {
        let event = record(space, "r1", RecordOp::Put, &[("title", "x", 1)]);
        (Subject::Record(id(space)), vec![event])
    };
    let (only_ours, _) = Bench::folded(vec![put("ours")]).await;
    let erased = SpaceErased { space_id: id("gone") };
    let commits = vec![
        put("ours"),
        put("gone"),
        (Subject::Record(id("gone")), vec![erased.into()]),
    ];
    let (bench, _) = Bench::folded(commits).await;
    let mut left = bench.tables.checksums().await.unwrap();
    let mut expected = only_ours.tables.checksums().await.unwrap();
    for checksums in [&mut left, &mut expected] {
        checksums.retain(|table| table.table != "erased_subjects");
    }
    assert_eq!(left, expected);

    let elsewhere = SpaceErased { space_id: id("ours") };
    let (bench, _) = Bench::folded(vec![
        put("ours"),
        (Subject::Record(id("gone")), vec![elsewhere.into()]),
    ])
    .await;
    let counts = bench.tables.counts().await.unwrap();
    assert_eq!(
        (counts.records, counts.parked),
        (1, 1),
        "no subject speaks for another space"
    );
}

#[tokio::test]
async fn every_type_of_event_folds() {
    let persona: PersonaId = id("018f0000-0000-7000-8000-000000000001");
    let commits = samples()
        .into_iter()
        .filter(|event| !matches!(event, Event::PersonaErased(_) | Event::SpaceErased(_)))
        .map(|event| {
            let subject = match &event {
                Event::SessionOpened(_)
                | Event::SessionClosed(_)
                | Event::CallRefused(_)
                | Event::CallStarted(_)
                | Event::CallEnded(_) => Subject::Session(persona.clone().into()),
                Event::RecordChanged(changed) => Subject::Record(changed.space_id.clone()),
                Event::DeployMarked(marked) => Subject::Deploy(marked.name.clone()),
                _ => Subject::Persona(persona.clone()),
            };
            (subject, vec![event])
        })
        .collect();
    let (bench, _) = Bench::folded(commits).await;
    let counts = bench.tables.counts().await.unwrap();
    assert_eq!(bench.tables.parked().await.unwrap(), []);
    assert_eq!(
        (counts.personas, counts.actions, counts.feedback, counts.ticks),
        (1, 1, 2, 1)
    );
    assert_eq!((counts.records, counts.sessions, counts.refusals), (1, 1, 1));
    assert_eq!((counts.calls, counts.calls_pending), (1, 0));
}

#[tokio::test]
async fn a_type_this_program_does_not_know_changes_nothing() {
    let unknown: Event =
        serde_json::from_value(json!({"type": "MoonRose", "v": 7, "data": {"phase": "full"}})).unwrap();
    let (bench, _) = Bench::folded(vec![(of_persona("anna"), vec![unknown, enrolled("anna")])]).await;
    let counts = bench.tables.counts().await.unwrap();
    assert_eq!((counts.personas, counts.parked, counts.as_of_seq.0), (1, 0, 1));
}
