//! The simulated brain from outside: what it does against an app that behaves, and against apps that do not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "simulated_brain/app.rs"]
mod app;
#[path = "simulated_brain/days.rs"]
mod days;

use std::collections::{BTreeMap, BTreeSet};

use actors::{
    Brain as _, CallOutcome, Conversation, Diary, ModuleDigest, PastCall, PersonaView, RateStep, RatingDraft,
    SimulatedBrain, Step, TickView, ToolInfo, digest, friction, stars_for,
};
use catalog::Catalog;
use events::{Cause, Intent, PersonaId, RatingSource, TickOutcome};
use futures::executor::block_on;
use serde_json::{Value, json};

use app::{App, Manners, tools};

const CALLS_MAX: u32 = 40;

/// What it says of the modules of a tick.
fn drafts(tick: &TickView<'_>, used: &[ModuleDigest]) -> Vec<RatingDraft> {
    let rated = block_on(SimulatedBrain::new().rate(tick, used, &mut Conversation::default()));
    let RateStep::Drafts(drafts) = rated.unwrap() else {
        panic!("it asks no model")
    };
    drafts
}

/// A tick's whole course.
#[derive(Debug)]
struct Day {
    past: Vec<PastCall>,
    steps: Vec<Vec<String>>,
    outcome: TickOutcome,
    note: Option<String>,
}

impl Day {
    fn errors(&self) -> Vec<&PastCall> {
        self.past
            .iter()
            .filter(|call| call.outcome.error().is_some())
            .collect()
    }

    /// Everything the brain chose, as bytes.
    fn choices(&self) -> String {
        let chosen = self.past.iter().map(|call| {
            json!([
                call.tool,
                call.arguments,
                call.intent,
                call.mistake,
                call.retry_of
            ])
            .to_string()
        });
        chosen.collect::<Vec<_>>().join("\n")
    }
}

fn live_with(who: &PersonaView, seed: u64, tools: &[ToolInfo], app: &mut App, calls_max: u32) -> Day {
    live_one(who, (seed, 1), tools, app, calls_max, &Diary::default())
}

fn live_tick(
    who: &PersonaView,
    seed: u64,
    number: u64,
    tools: &[ToolInfo],
    app: &mut App,
    diary: &Diary,
) -> Day {
    live_one(who, (seed, number), tools, app, CALLS_MAX, diary)
}

fn live_one(
    who: &PersonaView,
    (seed, tick_number): (u64, u64),
    tools: &[ToolInfo],
    app: &mut App,
    calls_max: u32,
    diary: &Diary,
) -> Day {
    let brain = SimulatedBrain::new();
    let (mut past, mut steps): (Vec<PastCall>, Vec<Vec<String>>) = (Vec::new(), Vec::new());
    loop {
        let calls_left = calls_max - u32::try_from(past.len()).unwrap();
        let started_at = events::testing::sample_time();
        let view = TickView {
            persona: who,
            tick_number,
            seed,
            started_at,
            tools,
            past: &past,
            calls_left,
            diary,
            space: None,
        };
        match block_on(brain.step(&view, &mut Conversation::default())).unwrap() {
            Step::Done { outcome, note } => {
                return Day {
                    past,
                    steps,
                    outcome,
                    note,
                };
            }
            Step::Ask(request) => panic!("{request:?}"),
            Step::Calls(calls) => {
                assert!(
                    !calls.is_empty() && calls.len() <= calls_left as usize,
                    "{calls:?}"
                );
                steps.push(calls.iter().map(|call| call.tool.clone()).collect());
                for call in calls {
                    past.push(app.answer(past.len(), call));
                }
            }
        }
        assert!(past.len() <= calls_max as usize, "the tick does not end");
    }
}

fn live(who: &PersonaView, seed: u64, manners: Manners) -> Day {
    live_with(who, seed, &tools(), &mut App::new(manners), CALLS_MAX)
}

fn cast() -> Vec<PersonaView> {
    let modules = ["habits", "journal", "notes", "spaces", "todo"];
    let catalog = Catalog::parse("personas.json", Catalog::embedded_text(), &modules).unwrap();
    let view = |persona: catalog::Persona| PersonaView {
        persona_id: PersonaId::derived(&[&persona.email]),
        name: persona.name,
        archetype: persona.archetype,
        system_prompt: persona.system_prompt,
        module_mix: persona.module_mix,
    };
    catalog.personas.into_iter().map(view).collect()
}

fn somebody(archetype: &str, mix: &[&str]) -> PersonaView {
    PersonaView {
        persona_id: PersonaId::derived(&[archetype]),
        name: "Sam".to_owned(),
        archetype: archetype.to_owned(),
        system_prompt: "You are Sam.".to_owned(),
        module_mix: mix.iter().map(|module| ((*module).to_owned(), 1.0)).collect(),
    }
}

/// Every string that stands under `id` or `…Id`.
fn ids_in(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, value)| match value.as_str() {
                Some(id) if key == "id" || key.ends_with("Id") => BTreeSet::from([id.to_owned()]),
                _ => ids_in(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(ids_in).collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn the_same_tick_is_lived_the_same_way_byte_for_byte() {
    for who in cast() {
        for seed in 0..4 {
            let (one, other) = (
                live(&who, seed, Manners::Helpful),
                live(&who, seed, Manners::Helpful),
            );
            assert_eq!(one.choices(), other.choices(), "{} seed {seed}", who.name);
        }
    }
}

#[test]
fn another_seed_another_tick_or_another_persona_is_another_day() {
    let anna = &cast()[0];
    let days: BTreeSet<String> = (0..20)
        .map(|seed| live(anna, seed, Manners::Helpful).choices())
        .collect();
    assert!(days.len() >= 19, "{} different days of 20", days.len());
    let others: BTreeSet<String> = cast()
        .iter()
        .map(|who| live(who, 1, Manners::Helpful).choices())
        .collect();
    assert_eq!(others.len(), 10);

    let tools = tools();
    let first_step = |tick_number| {
        let started_at = events::testing::sample_time();
        let view = TickView {
            persona: anna,
            tick_number,
            seed: 1,
            started_at,
            tools: &tools,
            past: &[],
            calls_left: 40,
            diary: &Diary::default(),
            space: None,
        };
        format!(
            "{:?}",
            block_on(SimulatedBrain::new().step(&view, &mut Conversation::default())).unwrap()
        )
    };
    let steps: BTreeSet<String> = (1..20).map(first_step).collect();
    assert!(steps.len() > 10, "{steps:?}");
}

#[test]
fn an_account_made_anew_lives_the_same_day() {
    let mut anna = cast().remove(0);
    let before = live(&anna, 1, Manners::Helpful).choices();
    anna.persona_id = PersonaId::derived(&["another machine"]);
    assert_eq!(live(&anna, 1, Manners::Helpful).choices(), before);
}

#[test]
fn waiting_longer_for_answers_changes_no_choice() {
    let who = somebody("overwhelmed-newbie", &["todo", "notes"]);
    let mut slow = App::new(Manners::Helpful);
    slow.latency_ms = 9_000;
    let slow = live_with(&who, 4, &tools(), &mut slow, CALLS_MAX);
    assert_eq!(slow.choices(), live(&who, 4, Manners::Helpful).choices());
}

#[test]
fn everyone_in_the_catalog_makes_at_least_three_calls_whatever_the_app_does() {
    for who in cast() {
        for (seed, manners) in (0..5).flat_map(|seed| Manners::ALL.map(|manners| (seed, manners))) {
            let day = live(&who, seed, manners);
            assert!(
                day.past.len() >= 3,
                "{} seed {seed} {manners:?}: {:?}",
                who.name,
                day.steps
            );
        }
    }
}

#[test]
fn against_an_app_that_behaves_only_mistakes_fail() {
    for who in cast() {
        for seed in 0..12 {
            let day = live(&who, seed, Manners::Helpful);
            for error in day.errors() {
                assert_eq!(
                    error.intent,
                    Intent::Mistake,
                    "{} seed {seed}: {error:?}",
                    who.name
                );
                assert_eq!(who.archetype, "overwhelmed-newbie");
            }
            assert_eq!(day.outcome, TickOutcome::Completed, "{:?}", day.note);
        }
    }
}

#[test]
fn ids_come_from_earlier_results_and_real_objects_are_acted_on() {
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    for who in cast() {
        for seed in 0..12 {
            let day = live(&who, seed, Manners::Helpful);
            let mut shown = BTreeSet::new();
            for call in &day.past {
                for id in ids_in(&call.arguments)
                    .iter()
                    .filter(|_| call.intent == Intent::Valid)
                {
                    assert!(
                        shown.contains(id),
                        "{} seed {seed}: {id} was never shown",
                        who.name
                    );
                    *used.entry(call.tool.clone()).or_default() += 1;
                }
                if let CallOutcome::Ok { structured, .. } = &call.outcome {
                    shown.extend(ids_in(structured));
                }
            }
        }
    }
    for tool in ["todo.complete", "habits.update", "habits.archive"] {
        assert!(
            used.get(tool).is_some_and(|times| *times >= 10),
            "{tool}: {used:?}"
        );
    }
}

#[test]
fn only_what_the_persona_made_itself_is_put_away() {
    let who = somebody("solo-dev", &["habits"]);
    let mut put_away = 0;
    for seed in 0..60 {
        let mut app = App::new(Manners::Helpful);
        app.stock("habits", "somebody else's habit");
        let day = live_with(&who, seed, &tools(), &mut app, CALLS_MAX);
        let mut made = BTreeSet::new();
        for call in &day.past {
            if let (CallOutcome::Ok { structured, .. }, "habits.create") = (&call.outcome, call.tool.as_str())
            {
                made.extend(ids_in(structured));
            }
            if call.tool == "habits.archive" {
                put_away += 1;
                assert!(ids_in(&call.arguments).is_subset(&made), "seed {seed}: {call:?}");
            }
        }
    }
    assert!(put_away >= 10, "{put_away}");
}

#[test]
fn a_newcomer_makes_every_mistake_in_time_and_marks_each() {
    let who = somebody("overwhelmed-newbie", &["habits", "journal", "notes", "todo"]);
    let (mut seen, mut calls, mut mistakes) = (BTreeSet::new(), 0, 0);
    for seed in 0..100 {
        for call in live(&who, seed, Manners::Helpful).past {
            assert_eq!(call.mistake.is_some(), call.intent == Intent::Mistake);
            calls += 1;
            mistakes += usize::from(call.mistake.is_some());
            seen.extend(call.mistake);
        }
    }
    let all = [
        "missing-required",
        "wrong-type",
        "invalid-enum",
        "natural-language-date",
        "stale-id",
        "wrong-tool",
        "double-submit",
    ];
    assert_eq!(seen, all.map(str::to_owned).into());
    assert!(
        mistakes * 6 > calls && mistakes * 2 < calls,
        "{mistakes} of {calls}"
    );
}

#[test]
fn nobody_but_the_newcomer_errs() {
    for who in cast().iter().filter(|who| who.archetype != "overwhelmed-newbie") {
        for seed in 0..20 {
            assert!(
                live(who, seed, Manners::Helpful)
                    .past
                    .iter()
                    .all(|call| call.intent == Intent::Valid)
            );
        }
    }
}

#[test]
fn a_message_that_names_the_field_is_understood() {
    let who = somebody("overwhelmed-newbie", &["habits", "journal", "notes", "todo"]);
    let mut recovered = 0;
    for seed in 0..100 {
        let day = live(&who, seed, Manners::Helpful);
        for error in day
            .errors()
            .into_iter()
            .filter(|error| error.mistake.as_deref() != Some("double-submit"))
        {
            let again = day
                .past
                .iter()
                .find(|call| call.retry_of.as_ref() == Some(&error.call_id))
                .unwrap();
            assert_eq!(
                (again.intent, again.mistake.as_ref()),
                (Intent::Valid, None),
                "seed {seed}: {error:?}"
            );
            assert!(again.outcome.error().is_none(), "seed {seed}: {again:?}");
            recovered += 1;
        }
    }
    assert!(recovered > 50, "{recovered}");
}

#[test]
fn a_message_that_names_nothing_is_met_with_three_repeats_and_then_given_up() {
    let who = somebody("overwhelmed-newbie", &["habits", "journal", "notes", "todo"]);
    let mut chains = 0;
    for seed in 0..100 {
        let day = live(&who, seed, Manners::Curt);
        let first_tries = day.past.iter().filter(|call| {
            call.retry_of.is_none()
                && call
                    .mistake
                    .as_deref()
                    .is_some_and(|name| name != "double-submit")
        });
        for first in first_tries.filter(|call| call.outcome.error().is_some()) {
            let mut chain = vec![first];
            while let Some(next) = day
                .past
                .iter()
                .find(|call| call.retry_of.as_ref() == chain.last().map(|last| &last.call_id))
            {
                assert_eq!(
                    (&next.arguments, &next.mistake),
                    (&first.arguments, &first.mistake),
                    "seed {seed}"
                );
                chain.push(next);
            }
            assert_eq!(chain.len(), 4, "seed {seed}: {chain:?}");
            assert_eq!(day.outcome, TickOutcome::Abandoned);
            assert!(
                day.note
                    .as_deref()
                    .is_some_and(|note| note.starts_with("gave up on ")),
                "{:?}",
                day.note
            );
            chains += 1;
        }
    }
    assert!(chains > 30, "{chains}");
}

#[test]
fn an_unasked_for_refusal_is_read_and_the_named_field_done_differently() {
    let who = somebody("freelancer", &["notes"]);
    let mut mended = 0;
    for seed in 0..60 {
        let mut app = App::new(Manners::Helpful);
        app.refuse_field = Some("color");
        let day = live_with(&who, seed, &tools(), &mut app, CALLS_MAX);
        for error in day.errors() {
            let again = day
                .past
                .iter()
                .find(|call| call.retry_of.as_ref() == Some(&error.call_id))
                .unwrap();
            assert!(
                again.arguments.get("color").is_none() && again.outcome.error().is_none(),
                "{again:?}"
            );
            mended += 1;
        }
    }
    assert!(mended > 5, "{mended}");
}

#[test]
fn a_busy_persona_leaves_at_its_second_error_but_not_before_its_third_call() {
    let who = somebody("ceo-busy", &["todo", "notes", "habits"]);
    for seed in 0..40 {
        let day = live(&who, seed, Manners::Broken);
        assert_eq!(
            (day.past.len(), day.outcome),
            (3, TickOutcome::Abandoned),
            "seed {seed}: {:?}",
            day.note
        );
        assert!(live(&who, seed, Manners::Helpful).past.len() <= 9);
    }
}

#[test]
fn power_users_send_two_calls_at_once_and_make_more_of_them() {
    let all = ["habits", "journal", "notes", "todo"];
    let sum = |archetype| {
        let days = (0..30).map(|seed| live(&somebody(archetype, &all), seed, Manners::Helpful));
        days.fold((0, 0), |(calls, pairs), day| {
            let pairs_now = day.steps.iter().filter(|step| step.len() == 2).count();
            (calls + day.past.len(), pairs + pairs_now)
        })
    };
    let (power, ordinary, busy) = (sum("researcher"), sum("freelancer"), sum("ceo-busy"));
    assert!(
        power.0 > ordinary.0 && ordinary.0 > busy.0,
        "{power:?} {ordinary:?} {busy:?}"
    );
    assert!(power.1 >= 40 && ordinary.1 == 0, "{power:?} {ordinary:?}");
}

#[test]
fn the_student_goes_back_and_forth_between_modules() {
    let switches = |archetype| {
        let who = somebody(archetype, &["habits", "notes", "todo"]);
        let days = (0..30).map(|seed| live(&who, seed, Manners::Helpful));
        days.map(|day| {
            day.past
                .windows(2)
                .filter(|pair| pair[0].module != pair[1].module)
                .count()
        })
        .sum::<usize>()
    };
    assert!(switches("adhd-student") > switches("freelancer") * 3 / 2);
}

#[test]
fn the_tick_ends_at_its_limit_of_calls() {
    let who = somebody("researcher", &["todo", "notes"]);
    for calls_max in 0..6 {
        let day = live_with(&who, 1, &tools(), &mut App::new(Manners::Helpful), calls_max);
        assert_eq!(
            (day.past.len(), day.outcome),
            (calls_max as usize, TickOutcome::Limit)
        );
    }
}

#[test]
fn without_a_tool_for_its_modules_the_persona_cannot_go_on() {
    let day = live(&somebody("researcher", &["calendar"]), 1, Manners::Helpful);
    assert_eq!(day.outcome, TickOutcome::Failed);
    assert_eq!(
        day.note.as_deref(),
        Some("none of the persona's modules has a tool")
    );
}

#[test]
fn modules_without_weight_are_left_alone_and_reading_alone_fills_a_tick() {
    let mut who = somebody("freelancer", &["spaces"]);
    who.module_mix.insert("todo".to_owned(), 0.0);
    let day = live(&who, 1, Manners::Helpful);
    assert_eq!(
        day.past
            .iter()
            .map(|call| call.tool.as_str())
            .collect::<BTreeSet<_>>(),
        ["spaces.list"].into()
    );
    assert!(day.past.len() >= 3);
}

#[test]
fn every_used_module_is_rated_exactly_once_from_its_own_calls() {
    let brain = SimulatedBrain::new();
    assert_eq!(brain.source(), RatingSource::Simulated);
    for who in cast() {
        for (seed, manners) in (0..4).flat_map(|seed| Manners::ALL.map(|manners| (seed, manners))) {
            let day = live(&who, seed, manners);
            let used: Vec<String> = day
                .past
                .iter()
                .map(|call| call.module.clone())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect();
            let digests = digest(&day.past);
            let tools = tools();
            let view = TickView {
                persona: &who,
                tick_number: 1,
                seed,
                started_at: events::testing::sample_time(),
                tools: &tools,
                past: &day.past,
                calls_left: 0,
                diary: &Diary::default(),
                space: None,
            };
            let drafts = drafts(&view, &digests);
            assert_eq!(
                drafts
                    .iter()
                    .map(|draft| draft.module.clone())
                    .collect::<Vec<_>>(),
                used
            );
            for (draft, digest) in drafts.iter().zip(&digests) {
                let stars = draft.verdict.as_ref().unwrap();
                let own = day.past.iter().filter(|call| call.module == draft.module);
                assert_eq!(
                    stars.evidence,
                    own.map(|call| call.call_id.clone()).collect::<Vec<_>>()
                );
                assert_eq!(stars.rating, stars_for(friction(digest)));
                if manners == Manners::Broken {
                    assert_eq!(stars.rating, 1, "{digest:?}");
                    assert!(
                        stars.notes.contains(&format!("{0} of {0} call", digest.calls)),
                        "{}",
                        stars.notes
                    );
                }
                if digest.errors == 0 {
                    assert_eq!(stars.rating, 5, "{digest:?}");
                    assert!(stars.notes.contains("none failed"), "{}", stars.notes);
                }
            }
        }
    }
}

#[test]
fn notes_are_made_from_counts() {
    let who = somebody("overwhelmed-newbie", &["todo"]);
    let call = |id: &str, outcome| PastCall {
        call_id: events::CallId::derived(&[id]),
        tool: "todo.create".to_owned(),
        module: "todo".to_owned(),
        arguments: json!({}),
        intent: Intent::Valid,
        mistake: None,
        retry_of: None,
        was_sent: true,
        outcome,
    };
    let ok = || CallOutcome::Ok {
        structured: json!({}),
        latency_ms: 7,
    };
    let error = |cause| CallOutcome::Error {
        message: "title: required".to_owned(),
        latency_ms: 30,
        cause,
    };
    let rate = |past: &[PastCall]| {
        let started_at = events::testing::sample_time();
        let view = TickView {
            persona: &who,
            tick_number: 1,
            seed: 1,
            started_at,
            tools: &[],
            past,
            calls_left: 0,
            diary: &Diary::default(),
            space: None,
        };
        drafts(&view, &digest(past)).remove(0).verdict
    };
    let mixed = [
        call("a", error(Cause::App)),
        call("b", error(Cause::App)),
        call("c", ok()),
    ];
    assert_eq!(
        rate(&mixed).unwrap().notes,
        "2 of 3 calls failed: title: required; unchanged 2 times; slowest 30 ms"
    );
    assert_eq!(
        rate(&[call("a", ok())]).unwrap().notes,
        "1 call, none failed; slowest 7 ms"
    );
    let silent = [call("a", error(Cause::Infra)), call("b", error(Cause::Infra))];
    assert_eq!(rate(&silent), Err("none of 2 calls was answered".to_owned()));
}
