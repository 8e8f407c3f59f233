use events::testing::{given, id, sample_time, samples};
use events::{
    DiaryWritten, ExpectationOutcome, PersonaDescription, PersonaEnrolled, PersonaErased, TickInterrupted,
};

use super::*;

fn thing(name: &str) -> KnownObject {
    KnownObject {
        module: "todo".to_owned(),
        kind: "task".to_owned(),
        id: name.to_owned(),
    }
}

fn enrolled(name: &str) -> Event {
    let is_enrolment = |event: &Event| matches!(event, Event::PersonaEnrolled(_));
    let Some(Event::PersonaEnrolled(PersonaEnrolled(sample))) = samples().into_iter().find(is_enrolment)
    else {
        panic!("there is a sample of each type");
    };
    PersonaEnrolled(PersonaDescription {
        persona_id: id(name),
        ..sample
    })
    .into()
}

fn raised(name: &str) -> Event {
    ExpectationRaised {
        tick_id: id("t"),
        space_id: id("shared"),
        thing: thing(name),
        call_id: id("c"),
        partners: vec![id("ben")],
    }
    .into()
}

fn checked(name: &str) -> Event {
    ExpectationChecked {
        tick_id: id("t"),
        space_id: id("shared"),
        thing: thing(name),
        outcome: ExpectationOutcome::Kept,
        call_id: None,
    }
    .into()
}

fn closed(name: &str) -> Event {
    DiaryWritten {
        tick_id: id("t"),
        made: Vec::new(),
        closed: vec![name.to_owned()],
    }
    .into()
}

/// What Ben ought to find in the shared space after these.
fn after(history: Vec<(&str, Vec<Event>)>) -> Vec<Expected> {
    let expectations = Expectations::default();
    let history = history
        .into_iter()
        .map(|(persona, events)| (Subject::Persona(id(persona)), events));
    for recorded in given(history) {
        expectations.fold(&recorded);
    }
    assert_eq!(expectations.of(&id("anna"), &id("shared")), []);
    assert_eq!(expectations.of(&id("ben"), &id("elsewhere")), []);
    expectations.of(&id("ben"), &id("shared"))
}

fn names(found: &[Expected]) -> Vec<&str> {
    found.iter().map(|expected| expected.thing.id.as_str()).collect()
}

#[test]
fn what_was_put_there_is_open_until_its_partner_has_looked() {
    let both = vec![("anna", vec![raised("one"), raised("two")])];
    assert_eq!(names(&after(both.clone())), ["one", "two"]);
    let looked = [both, vec![("ben", vec![checked("one")])]].concat();
    assert_eq!(names(&after(looked)), ["two"]);
}

#[test]
fn what_somebody_changed_since_says_so() {
    let found = after(vec![("anna", vec![raised("one")]), ("anna", vec![closed("one")])]);
    assert!(found[0].is_changed);
}

#[test]
fn what_a_tick_that_was_cut_did_to_its_own_things_nobody_knows() {
    let cut = TickInterrupted {
        tick_id: id("t"),
        reason: "its runner ended".to_owned(),
        found_at: sample_time(),
    };
    let found = after(vec![("anna", vec![raised("one")]), ("anna", vec![cut.into()])]);
    assert!(found[0].is_changed);
}

#[test]
fn nothing_is_expected_of_or_by_somebody_erased() {
    let erased = |who: &str| -> Vec<Event> {
        let persona_id = id(who);
        let spaces = Vec::new();
        vec![PersonaErased { persona_id, spaces }.into()]
    };
    for who in ["anna", "ben"] {
        assert_eq!(after(vec![("anna", vec![raised("one")]), (who, erased(who))]), []);
    }
}

#[test]
fn of_one_persona_the_newest_are_kept_however_much_it_makes() {
    let many: Vec<String> = (0..OPEN_MAX + 25).map(|number| format!("{number}")).collect();
    let found = after(many.iter().map(|name| ("anna", vec![raised(name)])).collect());
    assert_eq!(found.len(), OPEN_MAX);
    assert_eq!(names(&found)[0], "25");
}

#[test]
fn only_personas_with_partners_are_waited_for() {
    let expectations = Expectations::default();
    for recorded in given([(Subject::Persona(id("ben")), vec![enrolled("ben")])]) {
        expectations.fold(&recorded);
    }
    let members = ["ben", "somebody-else"].map(id::<PersonaId>);
    assert_eq!(expectations.who_looks(&members), [id("ben")]);
}
