//! Admission, cadence in motion, supervision, and the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actors::{CastError, TickReport, Who};
use events::{Event, PersonaId};
use serde_json::json;
use testkit::wait_until_async;

use crate::door::Door;
use crate::house::{House, SOON, enrol, start_cast, types};
use crate::logs::Unfollowable;
use crate::scripted::{Scripted, call, done, gated};

fn one_call() -> Scripted {
    Scripted::rounds(vec![vec![call("todo.list", json!({}))]])
}

fn outcomes(reports: &[TickReport]) -> Vec<&str> {
    reports.iter().map(|report| report.outcome.as_str()).collect()
}

#[tokio::test]
async fn no_more_personas_act_at_once_than_the_limit_says() {
    let house = House::start(Scripted::rounds(vec![vec![gated("todo.list", "go")]]), |_| {}).await;
    for n in 0..6 {
        house.enrol(&format!("persona-{n}")).await;
    }
    let look = async {
        assert!(wait_until_async(SOON, || async { house.door.seen().len() == 2 }).await);
        let seen = house.cast.observe().await;
        assert_eq!((seen.acting.len(), seen.waiting.len()), (2, 4));
        assert!(
            seen.acting
                .iter()
                .all(|persona| persona.doing == "calling" && persona.in_flight == 1)
        );
        house.door.open("go");
    };
    let (reports, ()) = tokio::join!(house.cast.tick(Who::All), look);
    assert_eq!(outcomes(&reports.unwrap()), ["completed"; 6]);
    assert_eq!(house.door.app.most.load(Ordering::SeqCst), 2);
    assert!(wait_until_async(SOON, || async { house.cast.observe().await.acting.is_empty() }).await);
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_persona_that_acts_already_is_busy_and_never_acts_twice_at_once() {
    let brain = Scripted::rounds(vec![vec![gated("todo.list", "go")]]);
    let house = House::start(brain, |settings| settings.paused = false).await;
    let anna = house.enrol("anna").await;
    assert!(
        wait_until_async(SOON, || async { house.door.seen().len() == 1 }).await,
        "the schedule let it act"
    );
    assert_eq!(house.tick(&anna).await.outcome, "busy");
    let polls = house.cast.observe().await.scheduler.unwrap().polls;
    let looked = || async { house.cast.observe().await.scheduler.unwrap().polls > polls + 3 };
    assert!(wait_until_async(SOON, looked).await);
    assert_eq!(house.cast.observe().await.waiting, Vec::<PersonaId>::new());
    house.door.open("go");
    let is_done = || async { types(&house.story(&anna)).contains(&"TickFinished") };
    assert!(wait_until_async(SOON, is_done).await);
    assert_eq!(house.door.app.most_of_one.load(Ordering::SeqCst), 1);
    assert_eq!(
        types(&house.story(&anna))
            .iter()
            .filter(|name| **name == "TickStarted")
            .count(),
        1,
        "once a day"
    );
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_pause_holds_the_schedule_back_until_it_ends_and_not_what_is_asked_for() {
    let house = House::start(one_call(), |_| {}).await;
    let (anna, ben) = (house.enrol("anna").await, house.enrol("ben").await);
    let polled = || async {
        house
            .cast
            .observe()
            .await
            .scheduler
            .is_some_and(|seen| seen.polls > 3)
    };
    assert!(wait_until_async(SOON, polled).await);
    assert!(house.story(&anna).is_empty());
    assert_eq!(house.tick(&anna).await.outcome, "completed");

    house.cast.resume().await;
    assert!(
        wait_until_async(SOON, || async {
            types(&house.story(&ben)).contains(&"TickFinished")
        })
        .await
    );
    assert_eq!(
        types(&house.story(&anna))
            .iter()
            .filter(|name| **name == "TickStarted")
            .count(),
        1,
        "had its day"
    );
    house.cast.pause().await;
    assert!(house.cast.observe().await.paused);
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn only_those_who_are_due_act_when_asked_for_those_due() {
    let house = House::start(one_call(), |_| {}).await;
    let anna = house.enrol("anna").await;
    house.enrol("ben").await;
    house.tick(&anna).await;
    let reports = house.cast.tick(Who::Due).await.unwrap();
    assert_eq!(
        reports
            .iter()
            .map(|report| report.name.as_str())
            .collect::<Vec<_>>(),
        ["ben"]
    );
    assert_eq!(house.cast.tick(Who::Due).await.unwrap(), Vec::new());
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_persona_that_is_not_enrolled_is_named_as_such() {
    let house = House::start(one_call(), |_| {}).await;
    let nobody: PersonaId = "nobody".parse().unwrap();
    let error = house.cast.tick(Who::Persona(nobody.clone())).await.unwrap_err();
    assert!(matches!(error, CastError::UnknownPersona(persona_id) if persona_id == nobody));
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_persona_that_fails_beyond_its_budget_is_halted_and_the_rest_live_on() {
    let mut brain = one_call();
    brain.panics_when_named = true;
    let house = House::start(brain, |settings| settings.restarts_max = 2).await;
    let (anna, ben) = (house.enrol("anna").await, house.enrol("ben").await);
    for _ in 0..3 {
        let report = house.tick(&anna).await;
        assert_eq!(report.outcome, "failed");
        assert!(report.reason.unwrap().contains("this brain has no name"));
        // A restarted actor looks for what it left open; the next tick waits for it.
        assert!(wait_until_async(SOON, || async { house.cast.observe().await.acting.is_empty() }).await);
    }
    assert!(wait_until_async(SOON, || async { !house.story(&anna).is_empty() }).await);
    let story = house.story(&anna);
    let [Event::PersonaHalted(halted)] = &story[..] else {
        panic!("{story:#?}")
    };
    assert_eq!(
        (halted.restarts, halted.reason.as_str()),
        (2, "this brain has no name")
    );
    assert!(house.story(&ben).is_empty());
    // Who is halted is left out; the other is still tried.
    let reports = house.cast.tick(Who::All).await.unwrap();
    assert_eq!(
        reports
            .iter()
            .map(|report| report.name.as_str())
            .collect::<Vec<_>>(),
        ["ben"]
    );
    assert_eq!(house.cast.observe().await.supervisor.unwrap().spent, None);
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_roster_that_fails_beyond_its_budget_is_said_aloud() {
    let (log, door) = (Arc::new(Unfollowable::default()), Door::start().await);
    log.is_broken.store(true, Ordering::SeqCst);
    let cast = start_cast(&door, log.clone(), Arc::new(one_call()), 1, |settings| {
        settings.restarts_max = 2;
    })
    .await;
    let reason = tokio::time::timeout(SOON, cast.spent()).await.unwrap();
    assert!(
        reason.starts_with("the roster failed again after 2 restarts: "),
        "{reason}"
    );
    assert!(reason.ends_with("this log cannot be followed"), "{reason}");
    assert_eq!(cast.observe().await.supervisor.unwrap().restarts, 2);
    cast.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_roster_that_fails_within_its_budget_comes_back_and_knows_everybody() {
    let (log, door) = (Arc::new(Unfollowable::default()), Door::start().await);
    enrol(&log.log, "anna").await;
    log.is_broken.store(true, Ordering::SeqCst);
    let cast = start_cast(&door, log.clone(), Arc::new(one_call()), 1, |settings| {
        settings.restarts_max = 1_000;
    })
    .await;
    let restarted = || async {
        cast.observe()
            .await
            .supervisor
            .is_some_and(|seen| seen.restarts > 0)
    };
    assert!(wait_until_async(SOON, restarted).await);
    log.is_broken.store(false, Ordering::SeqCst);
    assert_eq!(outcomes(&cast.tick(Who::All).await.unwrap()), ["completed"]);
    cast.stop(SOON).await;
}

#[tokio::test]
async fn a_stop_lets_running_ticks_finish_sends_away_who_waits_and_leaves_nothing_running() {
    let door = Door::start().await;
    let log = Arc::new(events::MemoryLog::new());
    for name in ["anna", "ben", "clara"] {
        enrol(log.as_ref(), name).await;
    }
    let runtime = tokio::runtime::Handle::current();
    let before = runtime.metrics().num_alive_tasks();
    let brain = Arc::new(Scripted::rounds(vec![vec![gated("todo.list", "go")]]));
    let cast = start_cast(&door, log.clone(), brain, 1, |_| {}).await;
    assert!(runtime.metrics().num_alive_tasks() > before);
    let stop = async {
        assert!(wait_until_async(SOON, || async { door.seen().len() == 2 }).await);
        let let_go = async {
            assert!(wait_until_async(SOON, || async { cast.observe().await.stopping }).await);
            door.open("go");
        };
        tokio::join!(cast.stop(SOON), let_go);
    };
    let (reports, ()) = tokio::join!(cast.tick(Who::All), stop);
    let mut reports = outcomes(&reports.unwrap())
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    reports.sort();
    assert_eq!(reports, ["completed", "completed", "stood-down"]);
    assert!(matches!(cast.tick(Who::All).await, Err(CastError::Stopped)));
    assert_eq!(door.sessions().await, 0);
    // What is left are the idle connections of the HTTP client, which go with it.
    drop(cast);
    let is_quiet = || async { runtime.metrics().num_alive_tasks() <= before };
    assert!(
        wait_until_async(SOON, is_quiet).await,
        "{} tasks too many",
        runtime.metrics().num_alive_tasks() - before
    );
}

#[tokio::test]
async fn a_stop_does_not_wait_longer_than_it_may() {
    let house = House::start(Scripted::rounds(vec![vec![gated("todo.list", "never")]]), |_| {}).await;
    let anna = house.enrol("anna").await;
    let stop = async {
        assert!(wait_until_async(SOON, || async { house.door.seen().len() == 1 }).await);
        tokio::time::timeout(SOON, house.cast.stop(Duration::from_millis(50)))
            .await
            .unwrap();
    };
    tokio::join!(house.tick(&anna), stop);
    assert!(!types(&house.story(&anna)).contains(&"TickFinished"));
    assert_eq!(
        house.door.sessions().await,
        0,
        "the session was closed all the same"
    );
}

#[tokio::test]
async fn every_actor_can_be_observed_and_the_snapshot_is_data() {
    let house = House::start(Scripted::new(|_| done()), |_| {}).await;
    house.enrol("anna").await;
    house.cast.tick(Who::All).await.unwrap();
    let seen = serde_json::to_value(house.cast.observe().await).unwrap();
    assert_eq!(seen["roster"]["personas"][0]["email"], json!("anna@mana.test"));
    assert_eq!(seen["supervisor"]["restarts"], json!(0));
    assert_eq!(seen["scheduler"]["paused"], json!(true));
    house.cast.stop(SOON).await;
}
