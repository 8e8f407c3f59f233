//! What one tick leaves in the log, whatever happens to it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actors::{BrainError, PlannedCall, Step, TickProgress, Who};
use events::{
    CallId, Cause, Clock as _, Event, EventLog, Intent, PersonaErased, PersonaRevised, SystemClock,
    TickFinished, TickId, TickOutcome, ToolCalled,
};
use secrecy::SecretString;
use serde_json::json;
use testkit::wait_until_async;

use crate::door::{App, Door};
use crate::house::{House, SOON, append, described, enrol, start_cast, tick, types};
use crate::logs::Contested;
use crate::scripted::{Scripted, call, done, gated};

fn called(story: &[Event]) -> Vec<&ToolCalled> {
    story
        .iter()
        .filter_map(|event| {
            if let Event::ToolCalled(called) = event {
                Some(called)
            } else {
                None
            }
        })
        .collect()
}

fn finished(story: &[Event]) -> &TickFinished {
    let Some(Event::TickFinished(finished)) = story.last() else {
        panic!("{story:#?}")
    };
    finished
}

/// The calls that failed, with the cause.
fn failed(story: &[Event]) -> Vec<(CallId, Cause)> {
    let failed = story.iter().filter_map(|event| match event {
        Event::ToolFailed(failed) => Some((failed.call_id.clone(), failed.cause)),
        _ => None,
    });
    failed.collect()
}

fn refused(gate: &str) -> PlannedCall {
    call("todo.create", json!({"gate": gate, "answer": "refuse"}))
}

#[tokio::test]
async fn a_tick_leaves_its_events_and_closes_its_session() {
    let rounds = vec![
        vec![call("todo.create", json!({"title": "Milch", "priority": "high"}))],
        vec![
            call("todo.list", json!({})),
            call("notes.create", json!({"title": "Notiz"})),
        ],
    ];
    let house = House::start(Scripted::rounds(rounds), |_| {}).await;
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!(
        (
            report.outcome.as_str(),
            report.calls,
            report.errors,
            report.ratings
        ),
        ("completed", 3, 0, 2)
    );

    let commits = house.commits(&anna);
    assert_eq!(types(&commits[0]), ["TickStarted"]);
    assert_eq!(types(&commits[1]), ["ToolCalled"]);
    assert_eq!(
        types(&commits[2]),
        ["ToolReturned", "ToolCalled", "ToolCalled"],
        "one decision, one commit"
    );
    assert_eq!(types(commits.last().unwrap()).last(), Some(&"TickFinished"));
    let story = house.story(&anna);
    assert_eq!(types(&story).iter().filter(|name| **name == "Rated").count(), 2);
    assert_eq!(
        (finished(&story).outcome, finished(&story).cost_micro_usd),
        (TickOutcome::Completed, Some(0))
    );

    let ids: Vec<String> = called(&story)
        .iter()
        .map(|called| called.call_id.to_string())
        .collect();
    let mut at_the_door: Vec<String> = house.door.seen().into_iter().map(|seen| seen.call_id).collect();
    at_the_door[1..].sort_by_key(|id| ids.iter().position(|own| own == id));
    assert_eq!(at_the_door, ids, "every call carried its own id");
    assert!(
        house.door.seen().iter().all(|seen| seen.caller == "anna"),
        "through its own token"
    );
    assert_eq!(house.door.sessions().await, 0);
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn ids_follow_from_persona_and_number_so_that_a_second_tick_has_others() {
    let house = House::start(Scripted::rounds(vec![vec![call("todo.list", json!({}))]]), |_| {}).await;
    let anna = house.enrol("anna").await;
    let (first, second) = (house.tick(&anna).await, house.tick(&anna).await);
    assert_eq!(first.tick_id, Some(TickId::derived(&["anna", "1"])));
    assert_eq!(second.tick_id, Some(TickId::derived(&["anna", "2"])));
    let story = house.story(&anna);
    assert_ne!(called(&story)[0].call_id, called(&story)[1].call_id);
    house.cast.stop(SOON).await;
}

/// The negative control of attribution: in `attribution.rs`, `Ledger::settle`, replace
/// `let at = *self.by_id.get(call_id)?;` by `let at = self.calls.len() - 1;` (the last call), and this fails.
#[tokio::test]
async fn parallel_outcomes_that_return_out_of_order_belong_to_the_call_whose_id_they_carry() {
    let round = vec![
        refused("first"),
        gated("todo.list", "second"),
        gated("notes.create", "third"),
    ];
    let house = House::start(Scripted::rounds(vec![round]), |_| {}).await;
    let anna = house.enrol("anna").await;
    let mut progress = house.cast.progress();
    let let_through = async {
        assert!(wait_until_async(SOON, || async { house.door.seen().len() == 3 }).await);
        // The next gate opens only when the runner has taken the outcome before it: third, second, first. One
        // that it loses is not waited for, so that the comparison below can say so.
        for gate in ["third", "second", "first"] {
            house.door.open(gate);
            let taken = async {
                loop {
                    let step = progress.recv().await.unwrap();
                    if matches!(step, TickProgress::Returned { .. } | TickProgress::Failed { .. }) {
                        break;
                    }
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(2), taken).await;
        }
    };
    let (report, ()) = tokio::join!(house.tick(&anna), let_through);
    let story = house.story(&anna);
    let ids: Vec<CallId> = called(&story)
        .iter()
        .map(|called| called.call_id.clone())
        .collect();
    let outcomes: Vec<(&str, &CallId)> = story
        .iter()
        .filter_map(|event| match event {
            Event::ToolReturned(returned) => Some(("ok", &returned.call_id)),
            Event::ToolFailed(failed) => Some(("error", &failed.call_id)),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [("ok", &ids[2]), ("ok", &ids[1]), ("error", &ids[0])]);
    // What the app itself saw under those ids.
    let refused_id = house
        .door
        .seen()
        .into_iter()
        .find(|seen| seen.tool == "todo.create")
        .unwrap()
        .call_id;
    assert_eq!(failed(&story), [(refused_id.parse().unwrap(), Cause::App)]);
    assert_eq!((report.calls, report.errors), (3, 1));
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn refusals_and_protocol_errors_are_failures_with_a_cause() {
    let plan = |answer: &str, intent| PlannedCall {
        intent,
        ..call("todo.create", json!({ "answer": answer }))
    };
    let rounds = vec![
        vec![plan("refuse", Intent::Valid)],
        vec![plan("refuse", Intent::Mistake)],
        vec![plan("protocol", Intent::Chaos)],
        vec![plan("internal", Intent::Mistake)],
        vec![plan("fine", Intent::Mistake)],
    ];
    let house = House::start(Scripted::rounds(rounds), |_| {}).await;
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!((report.calls, report.errors), (5, 4));
    let causes: Vec<Cause> = failed(&house.story(&anna))
        .into_iter()
        .map(|(_, cause)| cause)
        .collect();
    assert_eq!(causes, [Cause::App, Cause::Persona, Cause::Persona, Cause::App]);
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn an_app_that_is_gone_in_the_middle_is_neither_the_apps_nor_the_personas_fault() {
    let app: Arc<OnceLock<Arc<App>>> = Arc::default();
    let known = app.clone();
    let brain = Scripted::new(move |tick| {
        if tick.past.len() == 2 {
            return done();
        }
        // Up for the first call, down for the second.
        known
            .get()
            .unwrap()
            .is_down
            .store(tick.past.len() == 1, Ordering::SeqCst);
        Ok(Step::Calls(vec![call("todo.list", json!({}))]))
    });
    let house = House::start(brain, |_| {}).await;
    app.set(house.door.app.clone()).unwrap();
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!(
        (report.outcome.as_str(), report.calls, report.errors),
        ("completed", 2, 1)
    );
    let story = house.story(&anna);
    assert_eq!(
        failed(&story),
        [(called(&story)[1].call_id.clone(), Cause::Infra)]
    );
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_session_that_does_not_open_fails_the_tick_without_a_call() {
    let house = House::start(Scripted::rounds(vec![vec![call("todo.list", json!({}))]]), |_| {}).await;
    house.door.app.is_down.store(true, Ordering::SeqCst);
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!((report.outcome.as_str(), report.calls), ("failed", 0));
    assert!(
        report
            .reason
            .as_ref()
            .is_some_and(|reason| reason.contains("503")),
        "{report:?}"
    );
    assert_eq!(types(&house.story(&anna)), ["TickStarted", "TickFinished"]);
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_tick_that_is_cut_between_call_and_outcome_is_found_and_its_call_is_not_sent_again() {
    let house = House::start(
        Scripted::rounds(vec![vec![gated("todo.create", "never")]]),
        |_| {},
    )
    .await;
    let anna = house.enrol("anna").await;
    let cut = async {
        assert!(wait_until_async(SOON, || async { house.door.seen().len() == 1 }).await);
        house.cast.stop(Duration::ZERO).await;
    };
    let (report, ()) = tokio::join!(house.tick(&anna), cut);
    assert!(["cut", "failed"].contains(&report.outcome.as_str()), "{report:?}");
    assert_eq!(
        types(&house.story(&anna)),
        ["TickStarted", "ToolCalled"],
        "left as it was"
    );

    let brain = Arc::new(Scripted::rounds(vec![vec![call("todo.list", json!({}))]]));
    let again = start_cast(&house.door, house.log.clone(), brain, 2, |_| {}).await;
    let is_closed = || async { types(&house.story(&anna)).contains(&"TickInterrupted") };
    assert!(
        wait_until_async(SOON, is_closed).await,
        "{:#?}",
        house.story(&anna)
    );
    assert_eq!(house.door.seen().len(), 1, "nothing was sent again");

    let report = tick(&again, &anna).await;
    assert_eq!(report.tick_id, Some(TickId::derived(&["anna", "2"])));
    let story = house.story(&anna);
    assert_eq!(
        types(&story)[..4],
        ["TickStarted", "ToolCalled", "TickInterrupted", "TickStarted"]
    );
    assert_eq!(
        house
            .door
            .seen()
            .iter()
            .filter(|seen| seen.tool == "todo.create")
            .count(),
        1
    );
    again.stop(SOON).await;
}

#[tokio::test]
async fn a_runner_whose_start_is_refused_stands_down_before_it_spends_anything() {
    let (log, door) = (Arc::new(Contested::default()), Door::start().await);
    let brain = Arc::new(Scripted::rounds(vec![vec![call("todo.list", json!({}))]]));
    let cast = start_cast(&door, log.clone(), brain, 1, |_| {}).await;
    let anna = enrol(&log.0, "anna").await;
    let report = tick(&cast, &anna).await;
    assert_eq!((report.outcome.as_str(), report.tick_id), ("stood-down", None));
    assert_eq!(
        (door.app.logins.load(Ordering::SeqCst), door.seen().len()),
        (0, 0)
    );
    let ours = |event: &Event| matches!(event, Event::TickStarted(started) if started.tick_id == TickId::derived(&["anna", "1"]));
    let commits = log.0.commits();
    assert!(
        !commits
            .iter()
            .flat_map(|recorded| &recorded.commit.events)
            .any(ours),
        "no start of ours is in the log"
    );
    cast.stop(SOON).await;
}

#[tokio::test]
async fn a_tick_beyond_its_deadline_ends_at_the_limit_and_keeps_its_part() {
    for (never_rates, rating) in [(false, "Rated"), (true, "RatingFailed")] {
        let mut brain = Scripted::rounds(vec![
            vec![call("todo.list", json!({}))],
            vec![gated("todo.create", "never")],
        ]);
        brain.never_rates = never_rates;
        let deadline = Duration::from_secs(3);
        let house = House::start(brain, |settings| settings.tick_deadline = deadline).await;
        let anna = house.enrol("anna").await;
        let report = house.tick(&anna).await;
        assert_eq!(
            (report.outcome.as_str(), report.calls, report.errors),
            ("limit", 2, 1)
        );
        let story = house.story(&anna);
        assert_eq!(
            failed(&story),
            [(called(&story)[1].call_id.clone(), Cause::Infra)]
        );
        assert!(
            types(&story).contains(&rating),
            "a rating is taken if it is there at once, and never made up"
        );
        assert_eq!(house.door.sessions().await, 0);
        house.cast.stop(SOON).await;
    }
}

#[tokio::test]
async fn a_tick_makes_no_more_calls_than_it_may_and_still_rates() {
    let brain = Scripted::new(|_| {
        Ok(Step::Calls(vec![
            call("todo.list", json!({})),
            call("todo.list", json!({})),
        ]))
    });
    let house = House::start(brain, |settings| settings.calls_per_tick_max = 3).await;
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!(
        (report.outcome.as_str(), report.calls, report.ratings),
        ("limit", 3, 1)
    );
    assert_eq!(house.door.seen().len(), 3);
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_token_that_still_holds_is_used_again_until_it_is_refused() {
    let house = House::start(Scripted::rounds(vec![]), |_| {}).await;
    let app = &house.door.app;
    let anna = house.enrol("anna").await;
    let lives = async || {
        let report = house.tick(&anna).await;
        assert_eq!(report.outcome.as_str(), "completed");
        app.logins.load(Ordering::SeqCst)
    };
    assert_eq!(lives().await, 1);
    assert_eq!(lives().await, 2, "nobody knows how long the first holds");
    // {"exp":4102444800}: the first second of the year 2100.
    "eyJleHAiOjQxMDI0NDQ4MDB9".clone_into(&mut app.claims.lock().unwrap());
    assert_eq!(lives().await, 3);
    assert_eq!(lives().await, 3);
    app.revoked.store(3, Ordering::SeqCst);
    assert_eq!(
        lives().await,
        4,
        "it was refused, and the tick was lived all the same"
    );
    assert_eq!(lives().await, 4);
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_refused_login_fails_the_tick_without_a_call() {
    let brain = Scripted::rounds(vec![vec![call("todo.list", json!({}))]]);
    let house = House::start(brain, |settings| {
        settings.seed_secret = SecretString::from("another secret");
    })
    .await;
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!((report.outcome.as_str(), report.calls), ("failed", 0));
    let story = house.story(&anna);
    assert_eq!(types(&story), ["TickStarted", "TickFinished"]);
    let reason = finished(&story).reason.clone().unwrap();
    assert_eq!(
        reason,
        "login refused: wrong email or password; was it seeded under the PERSONA_SEED_SECRET that this runner has?"
    );
    assert_eq!(
        house.door.app.logins.load(Ordering::SeqCst),
        1,
        "a refusal is not tried again"
    );
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_brain_that_errs_or_panics_or_plans_nonsense_fails_its_tick_only() {
    type Fault = fn() -> Result<Step, BrainError>;
    let faults: [(Fault, &str); 4] = [
        (
            || {
                Err(BrainError::Unusable {
                    reason: "prose".to_owned(),
                })
            },
            "the brain gave no usable answer: prose",
        ),
        (|| panic!("lost its mind"), "the brain panicked: lost its mind"),
        (
            || Ok(Step::Calls(Vec::new())),
            "the brain was not done and planned nothing",
        ),
        (
            || Ok(Step::Calls(vec![call("todo.create", json!("milk"))])),
            "the brain planned todo.create with arguments that are no object",
        ),
    ];
    for (fault, expected) in faults {
        let brain = Scripted::new(move |tick| {
            if tick.past.is_empty() {
                Ok(Step::Calls(vec![call("todo.list", json!({}))]))
            } else {
                fault()
            }
        });
        let house = House::start(brain, |_| {}).await;
        let anna = house.enrol("anna").await;
        let report = house.tick(&anna).await;
        assert_eq!(
            (report.outcome.as_str(), report.reason.as_deref()),
            ("failed", Some(expected))
        );
        let story = house.story(&anna);
        assert!(
            types(&story).ends_with(&["ToolReturned", "RatingFailed", "TickFinished"]),
            "{story:#?}"
        );
        house.cast.stop(SOON).await;
    }
}

#[tokio::test]
async fn a_revision_in_the_middle_of_a_tick_does_not_disturb_it() {
    let rounds = vec![
        vec![gated("todo.create", "revised")],
        vec![call("todo.list", json!({}))],
    ];
    let house = House::start(Scripted::rounds(rounds), |_| {}).await;
    let anna = house.enrol("anna").await;
    let revise = async {
        assert!(wait_until_async(SOON, || async { house.door.seen().len() == 1 }).await);
        let revised = PersonaRevised(described("anna")).into();
        append(house.log.as_ref(), &anna, "revised", vec![revised]).await;
        house.door.open("revised");
    };
    let (report, ()) = tokio::join!(house.tick(&anna), revise);
    assert_eq!(
        (report.outcome.as_str(), report.calls, report.errors),
        ("completed", 2, 0)
    );
    assert_eq!(finished(&house.story(&anna)).calls, 2);
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn an_erasure_in_the_middle_of_a_tick_ends_it_without_another_word() {
    let rounds = vec![
        vec![gated("todo.create", "erased")],
        vec![call("todo.list", json!({}))],
    ];
    let house = House::start(Scripted::rounds(rounds), |_| {}).await;
    let anna = house.enrol("anna").await;
    let erase = async {
        assert!(wait_until_async(SOON, || async { house.door.seen().len() == 1 }).await);
        let erased = PersonaErased {
            persona_id: anna.clone(),
            spaces: Vec::new(),
        };
        append(house.log.as_ref(), &anna, "erased", vec![erased.into()]).await;
        house.door.open("erased");
    };
    let (report, ()) = tokio::join!(house.tick(&anna), erase);
    assert_eq!(
        (report.outcome.as_str(), report.reason.as_deref()),
        ("stood-down", Some("the persona was erased"))
    );
    assert_eq!(
        types(&house.story(&anna)).last(),
        Some(&"PersonaErased"),
        "nothing of it is written after that"
    );
    assert_eq!((house.door.seen().len(), house.door.sessions().await), (1, 0));
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_tick_without_a_call_is_a_tick_and_its_persona_is_not_due_again_at_once() {
    let house = House::start(Scripted::new(|_| done()), |_| {}).await;
    let anna = house.enrol("anna").await;
    let due = house.cast.tick(Who::Due).await.unwrap();
    assert_eq!((due.len(), due[0].outcome.as_str()), (1, "completed"), "{due:?}");
    assert_eq!(types(&house.story(&anna)), ["TickStarted", "TickFinished"]);
    assert_eq!(house.cast.tick(Who::Due).await.unwrap(), Vec::new());
    let next = house.cast.next_due().await.unwrap().unwrap();
    assert!(next > SystemClock::new().now(), "{next}");
    assert_eq!(house.log.state().await.unwrap().messages, 3);
    house.cast.stop(SOON).await;
}
