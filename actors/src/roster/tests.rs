use std::collections::BTreeMap;

use events::testing::{given, id, sample_time};
use events::{
    Cadence, PersonaEnrolled, PersonaErased, PersonaHalted, PersonaRevised, TickFinished, TickInterrupted,
    TickOutcome, TickStarted,
};
use jiff::ToSpan as _;

use super::*;

fn anna() -> PersonaId {
    id("anna")
}

fn described(cadence: Cadence) -> PersonaDescription {
    PersonaDescription {
        persona_id: anna(),
        email: "persona.anna@mana.test".to_owned(),
        name: "Anna".to_owned(),
        archetype: "adhd-student".to_owned(),
        system_prompt: "Du bist Anna.".to_owned(),
        module_mix: BTreeMap::from([("todo".to_owned(), 1.0)]),
        cadence,
        time_zone: "Europe/Berlin".to_owned(),
        partners: Vec::new(),
    }
}

fn enrolled() -> Event {
    PersonaEnrolled(described(Cadence::Daily)).into()
}

fn started(number: u64, started_at: Timestamp, trigger: TickTrigger) -> Event {
    TickStarted {
        tick_id: id(&format!("tick-{number}")),
        persona_id: anna(),
        number,
        due_at: started_at,
        started_at,
        trigger,
        brain: "simulated".to_owned(),
        model: None,
        prompt_version: 1,
        seed: 1,
    }
    .into()
}

fn finished(number: u64) -> Event {
    TickFinished {
        resume_at: None,
        tick_id: id(&format!("tick-{number}")),
        outcome: TickOutcome::Completed,
        reason: None,
        calls: 0,
        errors: 0,
        retries: 0,
        cost_micro_usd: None,
        finished_at: sample_time(),
    }
    .into()
}

fn interrupted(number: u64) -> Event {
    let tick_id = id(&format!("tick-{number}"));
    TickInterrupted {
        tick_id,
        reason: "found unfinished".to_owned(),
        found_at: sample_time(),
    }
    .into()
}

fn roster(commits: impl IntoIterator<Item = Vec<Event>>) -> Roster {
    let mut roster = Roster::default();
    for recorded in given(
        commits
            .into_iter()
            .map(|events| (Subject::Persona(anna()), events)),
    ) {
        roster.apply(&recorded);
    }
    roster
}

#[test]
fn an_enrolled_persona_is_due_at_once() {
    let roster = roster([vec![enrolled()]]);
    assert_eq!(roster.due(sample_time(), 1).len(), 1);
    assert_eq!(roster.get(&anna()).unwrap().last_number, 0);
}

#[test]
fn a_tick_that_began_makes_its_persona_due_the_next_day_even_if_it_never_ended() {
    let roster = roster([
        vec![enrolled()],
        vec![started(1, sample_time(), TickTrigger::Schedule)],
    ]);
    assert!(roster.due(sample_time() + 1.hour(), 1).is_empty());
    assert_eq!(roster.due(sample_time() + 48.hours(), 1).len(), 1);
    assert_eq!(roster.unfinished().count(), 1);
}

#[test]
fn an_end_or_an_interruption_closes_the_tick_it_names_and_no_other() {
    let begun = [
        vec![enrolled()],
        vec![started(1, sample_time(), TickTrigger::Manual)],
    ];
    for (end, left) in [
        (finished(1), 0),
        (interrupted(1), 0),
        (finished(2), 1),
        (interrupted(2), 1),
    ] {
        let roster = roster(begun.iter().cloned().chain([vec![end.clone()]]));
        assert_eq!(roster.unfinished().count(), left, "{end:?}");
    }
}

#[test]
fn numbers_count_on_over_interrupted_and_external_ticks() {
    let roster = roster([
        vec![enrolled()],
        vec![started(1, sample_time(), TickTrigger::Schedule), interrupted(1)],
        vec![started(2, sample_time(), TickTrigger::External)],
    ]);
    let entry = roster.get(&anna()).unwrap();
    assert_eq!((entry.last_number, entry.last_seq), (2, StreamSeq(3)));
    assert_eq!(
        entry.unfinished, None,
        "an external runner's tick is not ours to interrupt"
    );
}

#[test]
fn a_revision_changes_the_cadence_and_keeps_the_history() {
    let revised = PersonaRevised(described(Cadence::Hourly)).into();
    let roster = roster([
        vec![enrolled()],
        vec![started(1, sample_time(), TickTrigger::Schedule)],
        vec![revised],
    ]);
    assert_eq!(roster.due(sample_time() + 2.hours(), 1).len(), 1);
    assert_eq!(roster.get(&anna()).unwrap().last_number, 1);
}

#[test]
fn an_erased_persona_is_nobody_and_a_late_event_does_not_bring_it_back() {
    let erased: Event = PersonaErased {
        persona_id: anna(),
        spaces: Vec::new(),
    }
    .into();
    let roster = roster([vec![enrolled()], vec![erased], vec![finished(1)]]);
    assert_eq!(roster, Roster::default());
}

fn halted_event() -> Event {
    PersonaHalted {
        persona_id: anna(),
        restarts: 3,
        reason: "panicked".to_owned(),
    }
    .into()
}

#[test]
fn a_halted_persona_is_not_due_until_it_is_revised_or_made_to_act() {
    let halted = halted_event();
    let down = roster([vec![enrolled()], vec![halted.clone()]]);
    assert!(down.due(sample_time(), 1).is_empty());
    let revised = PersonaRevised(described(Cadence::Daily)).into();
    let up = roster([vec![enrolled()], vec![halted], vec![revised]]);
    assert_eq!(up.due(sample_time(), 1).len(), 1);
    let halted = || vec![enrolled(), halted_event()];
    let reported = roster([
        halted(),
        vec![started(1, sample_time(), TickTrigger::External), finished(1)],
    ]);
    assert!(
        reported.due(a_week_later(), 1).is_empty(),
        "what a runner outside reports brings nobody back"
    );
    let made_to_act = roster([
        halted(),
        vec![started(1, sample_time(), TickTrigger::Manual), finished(1)],
    ]);
    assert_eq!(made_to_act.due(a_week_later(), 1).len(), 1);
}

fn a_week_later() -> Timestamp {
    sample_time() + jiff::SignedDuration::from_hours(7 * 24)
}

#[test]
fn commits_of_other_subjects_change_nothing() {
    let mut roster = Roster::default();
    for recorded in given([(Subject::Record(id("space")), vec![enrolled()])]) {
        roster.apply(&recorded);
    }
    assert_eq!(roster, Roster::default());
}
