//! Money is counted once, whoever counts it.

use events::testing::{given, id, sample_time};
use events::{ModelAsked, ModelCalled, Purpose};

use super::*;

const LIMITS: SpendLimits = SpendLimits {
    tick: 1_000,
    persona_day: 100,
    day: 150,
    month: 220,
};

fn request(name: &str) -> RequestId {
    RequestId::derived(&[name])
}

fn asked(name: &str, reserved: u64, at: Timestamp) -> Event {
    ModelAsked {
        tick_id: id("t"),
        request_id: request(name),
        brain: "anthropic".to_owned(),
        model: "m".to_owned(),
        purpose: Purpose::Act,
        reserved_micro_usd: reserved,
        asked_at: at,
    }
    .into()
}

fn called(name: &str, cost: Option<u64>) -> Event {
    ModelCalled {
        tick_id: id("t"),
        request_id: Some(request(name)),
        model: "m".to_owned(),
        input_tokens: None,
        cached_tokens: None,
        cache_write_tokens: None,
        output_tokens: None,
        cost_micro_usd: cost,
        retries: 0,
        stop_reason: "end_turn".to_owned(),
        error: None,
        latency_ms: 1,
    }
    .into()
}

fn folded(purse: &Purse, persona: &str, events: Vec<Event>) {
    for recorded in given([(Subject::Persona(id(persona)), events)]) {
        purse.fold(&recorded);
    }
}

fn reserve(
    purse: &Purse,
    name: &str,
    persona: &str,
    at: Timestamp,
    micro_usd: u64,
) -> Result<(), &'static str> {
    let reserved = purse.reserve(&request(name), &id(persona), at, micro_usd);
    reserved.map_err(|overdrawn| overdrawn.what)
}

fn tomorrow() -> Timestamp {
    sample_time() + jiff::SignedDuration::from_hours(24)
}

#[test]
fn every_budget_holds_on_its_own() {
    let (purse, now) = (Purse::new(LIMITS), sample_time());
    assert_eq!(reserve(&purse, "1", "anna", now, 100), Ok(()));
    assert_eq!(reserve(&purse, "2", "anna", now, 1), Err("a persona's day"));
    assert_eq!(reserve(&purse, "3", "ben", now, 50), Ok(()));
    assert_eq!(reserve(&purse, "4", "ben", now, 1), Err("a day"));
    assert_eq!(reserve(&purse, "5", "anna", tomorrow(), 70), Ok(()), "a new day");
    assert_eq!(reserve(&purse, "6", "anna", tomorrow(), 1), Err("a month"));
}

#[test]
fn what_was_settled_frees_the_rest_and_is_not_counted_again_by_the_fold() {
    let (purse, now) = (Purse::new(LIMITS), sample_time());
    reserve(&purse, "1", "anna", now, 100).unwrap();
    folded(&purse, "anna", vec![asked("1", 100, now)]);
    purse.settle(&request("1"), Some(40));
    assert_eq!(reserve(&purse, "2", "anna", now, 61), Err("a persona's day"));
    folded(&purse, "anna", vec![called("1", Some(40))]);
    assert_eq!(reserve(&purse, "2", "anna", now, 61), Err("a persona's day"));
    assert_eq!(reserve(&purse, "2", "anna", now, 60), Ok(()));
}

#[test]
fn what_the_log_does_not_know_to_have_ended_counts_as_spent_after_a_crash() {
    let (purse, now) = (Purse::new(LIMITS), sample_time());
    folded(
        &purse,
        "anna",
        vec![asked("1", 30, now), called("1", Some(20)), asked("2", 60, now)],
    );
    assert_eq!(reserve(&purse, "3", "anna", now, 21), Err("a persona's day"));
    assert_eq!(reserve(&purse, "3", "anna", now, 20), Ok(()));
}

#[test]
fn a_cost_nobody_knows_counts_as_what_was_put_aside() {
    let (purse, now) = (Purse::new(LIMITS), sample_time());
    folded(&purse, "anna", vec![asked("1", 90, now), called("1", None)]);
    assert_eq!(reserve(&purse, "2", "anna", now, 11), Err("a persona's day"));
}

#[test]
fn what_was_never_sent_is_given_back() {
    let (purse, now) = (Purse::new(LIMITS), sample_time());
    reserve(&purse, "1", "anna", now, 100).unwrap();
    purse.release(&request("1"));
    assert_eq!(reserve(&purse, "2", "anna", now, 100), Ok(()));
}

#[test]
fn folding_anew_counts_the_same_once() {
    let (purse, now) = (Purse::new(LIMITS), sample_time());
    let events = vec![asked("1", 30, now), called("1", Some(25))];
    folded(&purse, "anna", events.clone());
    purse.fold_anew();
    folded(&purse, "anna", events);
    assert_eq!(reserve(&purse, "2", "anna", now, 76), Err("a persona's day"));
    assert_eq!(reserve(&purse, "2", "anna", now, 75), Ok(()));
}

#[test]
fn a_spent_day_comes_back_at_midnight_and_a_month_on_its_first() {
    let (purse, now) = (Purse::new(LIMITS), sample_time());
    let overdrawn = purse.reserve(&request("1"), &id("anna"), now, 101).unwrap_err();
    assert_eq!(overdrawn.resume_at, "2026-01-06T00:00:00Z".parse().unwrap());
    assert_eq!(
        overdrawn.to_string(),
        "the budget of a persona's day ($0.0001) does not cover the next request: $0.00 is spent or put aside, and it may cost $0.000101"
    );
    folded(&purse, "anna", vec![asked("2", 220, tomorrow())]);
    let later = tomorrow() + jiff::SignedDuration::from_hours(24);
    let overdrawn = purse.reserve(&request("3"), &id("ben"), later, 1).unwrap_err();
    assert_eq!(overdrawn.resume_at, "2026-02-01T00:00:00Z".parse().unwrap());
}
