//! A tick cannot run away: pauses for all, budgets that hold, nothing sent or paid twice after a crash.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actors::{Brains, Endpoints, Who};
use events::{Event, EventLog as _, MemoryLog, TickOutcome};
use serde_json::json;
use testkit::{FakeApi, FakeModel, Reply};

use crate::door::Door;
use crate::house::{House, SOON, arrives, enrol, start_brains, tick};
use crate::models::{brain_in, brain_of, finished, house_of, is_rating, rating, ratings, with_prices};

fn events_of(log: &MemoryLog) -> Vec<Event> {
    log.commits()
        .into_iter()
        .flat_map(|recorded| recorded.commit.events)
        .collect()
}

/// Makes three rounds of calls in a tick, and loses every seventh answer on its way.
async fn busy_model() -> FakeModel {
    FakeModel::directed(FakeApi::Anthropic, |request| {
        let said = request["messages"].as_array().unwrap().len();
        if is_rating(request) {
            ratings(&[rating("todo", 4, &["c1"], &[])])
        } else if request.to_string().len() % 7 == 0 {
            Reply::CutMidBody
        } else if said > 6 {
            Reply::say("Done.")
        } else {
            Reply::call([(format!("id-{said}").as_str(), "todo__list", json!({}))])
        }
    })
    .await
}

/// The negative control: in `purse.rs`, `Purse::reserve`, leave out the line that inserts into `held`, and this fails.
#[tokio::test]
async fn eight_personas_at_once_never_cost_more_than_the_cap() {
    const CAP: u64 = 50_000;
    let fake = busy_model().await;
    let house = House::start(brain_of(&fake, FakeApi::Anthropic), |settings| {
        with_prices(settings);
        settings.concurrency = 8;
        settings.model.spend.day = CAP;
    })
    .await;
    for number in 0..8 {
        house.enrol(&format!("persona-{number}")).await;
    }
    let mut outcomes = BTreeSet::new();
    for _ in 0..4 {
        for report in house.cast.tick(Who::All).await.unwrap() {
            outcomes.insert(report.outcome);
        }
    }
    let bill = fake.bill_micro_usd();
    assert!(bill <= CAP, "a bill of {bill}");
    assert!(bill > CAP / 3, "a bill of {bill}: the cap was not tried");
    assert!(
        outcomes.contains("limit") || outcomes.contains("deferred"),
        "{outcomes:?}"
    );
    assert!(fake.in_flight_most() > 1, "they did ask at once");
    assert_eq!(fake.faults(), Vec::<String>::new());
    // Another life of the runner knows what was spent.
    house.cast.stop(SOON).await;
    let brains = Brains::all(Arc::new(brain_of(&fake, FakeApi::Anthropic)));
    let cast = start_brains(&house.door, house.log.clone(), brains, 2, |settings| {
        with_prices(settings);
        settings.concurrency = 8;
        settings.model.spend.day = CAP;
    })
    .await;
    cast.tick(Who::All).await.unwrap();
    assert!(
        fake.bill_micro_usd() <= CAP,
        "after a restart: {}",
        fake.bill_micro_usd()
    );
    cast.stop(SOON).await;
}

#[tokio::test]
async fn a_tick_s_own_budget_ends_it_and_keeps_its_part() {
    const CAP: u64 = 30_000;
    let fake = FakeModel::directed(FakeApi::Anthropic, |request| {
        let said = request["messages"].as_array().unwrap().len();
        Reply::call([(format!("id-{said}").as_str(), "todo__list", json!({}))])
    })
    .await;
    let house = House::start(brain_of(&fake, FakeApi::Anthropic), |settings| {
        with_prices(settings);
        settings.calls_per_tick_max = 1_000;
        settings.model.turns_per_tick_max = 1_000;
        settings.model.spend.tick = CAP;
    })
    .await;
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!(report.outcome, "limit", "{report:?}");
    assert!(report.reason.unwrap().starts_with("the budget of a tick ($0.03)"));
    assert!(
        report.calls > 0 && fake.bill_micro_usd() <= CAP,
        "{} calls",
        report.calls
    );
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_spent_day_defers_the_next_tick_until_there_is_a_new_budget() {
    let fake = FakeModel::start(FakeApi::Anthropic).await;
    let house = House::start(brain_of(&fake, FakeApi::Anthropic), |settings| {
        with_prices(settings);
        settings.model.spend.persona_day = 1;
    })
    .await;
    let anna = house.enrol("anna").await;
    let report = house.tick(&anna).await;
    assert_eq!(
        (report.outcome.as_str(), fake.requests().len()),
        ("deferred", 0),
        "{report:?}"
    );
    let story = house.story(&anna);
    let resume_at = finished(&story).resume_at.expect("midnight");
    let snapshot = house.cast.observe().await;
    let line = &snapshot.roster.unwrap().personas[0];
    assert!(line.next_due >= resume_at, "not due again at once");
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_429_pauses_everybody_who_asks_there() {
    let fake = FakeModel::start(FakeApi::Anthropic).await;
    fake.then(Reply::rate_limited("0.6"));
    let mut endpoints = Endpoints::default();
    let (one, other) = (
        brain_in(&mut endpoints, &fake, FakeApi::Anthropic),
        brain_in(&mut endpoints, &fake, FakeApi::Anthropic),
    );
    let brains = Brains::all(Arc::new(one)).with("ben@mana.test", Arc::new(other));
    let house = House::start_with(brains, |settings| {
        with_prices(settings);
        settings.concurrency = 8;
    })
    .await;
    let (anna, ben) = (house.enrol("anna").await, house.enrol("ben").await);
    let (first, second) = tokio::join!(house.tick(&anna), async {
        arrives(|| async { fake.requests().len() == 1 }).await;
        arrives(|| async {
            house
                .story(&anna)
                .iter()
                .any(|event| matches!(event, Event::ModelAsked(_)))
        })
        .await;
        // Whether before or after the pause began, it gets its answer after it.
        house.tick(&ben).await
    });
    assert_eq!(
        (first.outcome.as_str(), second.outcome.as_str()),
        ("completed", "completed")
    );
    assert!(first.duration_ms >= 600, "{first:?}");
    assert_eq!(fake.requests().len(), 3, "nobody asked in vain during the pause");
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn a_pause_that_outlasts_the_tick_defers_it_and_the_next_one_does_not_ask() {
    let fake = FakeModel::start(FakeApi::Anthropic).await;
    fake.then(Reply::rate_limited("3600"));
    let house = house_of(&fake, FakeApi::Anthropic).await;
    let (anna, ben) = (house.enrol("anna").await, house.enrol("ben").await);
    for persona in [&anna, &ben] {
        let report = house.tick(persona).await;
        assert_eq!(report.outcome, "deferred", "{report:?}");
    }
    assert_eq!(fake.requests().len(), 1, "ben did not even ask");
    let story = house.story(&ben);
    assert_eq!(finished(&story).outcome, TickOutcome::Deferred);
    assert!(finished(&story).resume_at.is_some());
    house.cast.stop(SOON).await;
}

#[tokio::test]
async fn after_a_runner_died_in_mid_tick_no_call_and_no_request_is_sent_again() {
    let fake = FakeModel::start(FakeApi::Anthropic).await;
    fake.then(Reply::call([("a", "todo__create", json!({"title": "once"}))]));
    fake.then(Reply::Slow(
        Duration::from_mins(1),
        Box::new(Reply::say("never read")),
    ));
    let (log, door) = (Arc::new(MemoryLog::new()), Door::start().await);
    let brains = || Brains::all(Arc::new(brain_of(&fake, FakeApi::Anthropic)));
    let anna = enrol(log.as_ref(), "anna").await;
    let first = start_brains(&door, log.clone(), brains(), 1, with_prices).await;
    let (_, ()) = tokio::join!(tick(&first, &anna), async {
        arrives(|| async { fake.requests().len() == 2 }).await;
        // As a crash does it: nothing is written any more.
        first.stop(Duration::ZERO).await;
    });
    let billed = fake.bill_micro_usd();
    let second = start_brains(&door, log.clone(), brains(), 2, |settings| {
        with_prices(settings);
        settings.tick_interval = Duration::from_millis(20);
    })
    .await;
    arrives(|| async {
        events_of(&log)
            .iter()
            .any(|event| matches!(event, Event::TickInterrupted(_)))
    })
    .await;
    assert_eq!(fake.requests().len(), 2, "no request went out again");
    assert_eq!(fake.bill_micro_usd(), billed, "no charge was made again");
    assert_eq!(door.seen().len(), 1, "no call went out again");
    // What was put aside for the request that never ended stays spent.
    let story = events_of(&log);
    let asked = story
        .iter()
        .filter(|event| matches!(event, Event::ModelAsked(_)))
        .count();
    let called = story
        .iter()
        .filter(|event| matches!(event, Event::ModelCalled(_)))
        .count();
    assert_eq!((asked, called), (2, 1));
    assert!(log.state().await.unwrap().last_seq.0 > 0);
    second.stop(SOON).await;
}
