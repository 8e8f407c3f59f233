//! A tick that ran elsewhere, told after the fact.

use events::{Event, TickFinished, TickId, TickOutcome, TickStarted, TickTrigger};
use jiff::Timestamp;

use crate::http::persona_log::{Draft, History};

/// What an outside runner's ticks say acted: it does not tell which brain it has.
const BRAIN: &str = "external";

/// The beginning of `tick`, where the history does not have it. `earlier` counts the ticks begun in the same
/// decision.
pub(super) fn started(
    history: &History,
    tick: &TickId,
    now: Timestamp,
    earlier: u64,
    persona: &events::PersonaId,
) -> Option<Event> {
    if history.ticks.contains_key(tick) {
        return None;
    }
    let started = TickStarted {
        tick_id: tick.clone(),
        persona_id: persona.clone(),
        number: history.last_number + earlier + 1,
        // When it really began is not reported.
        due_at: now,
        started_at: now,
        trigger: TickTrigger::External,
        brain: BRAIN.to_owned(),
        model: None,
        prompt_version: 0,
        seed: 0,
    };
    Some(started.into())
}

/// The end of `tick` with the counts of this report, where the history does not have one.
pub(super) fn finished(
    history: &History,
    tick: &TickId,
    now: Timestamp,
    calls: u32,
    errors: u32,
) -> Option<Event> {
    if history.ticks.get(tick) == Some(&true) {
        return None;
    }
    let finished = TickFinished {
        tick_id: tick.clone(),
        outcome: TickOutcome::Completed,
        reason: None,
        calls,
        errors,
        retries: 0,
        cost_micro_usd: None,
        resume_at: None,
        finished_at: now,
    };
    Some(finished.into())
}

/// Puts the tick's beginning in front of its first draft and its end behind its last.
pub(super) fn enclose(mut drafts: Vec<Draft>, started: Option<Event>, finished: Option<Event>) -> Vec<Draft> {
    if let (Some(first), Some(started)) = (drafts.first_mut(), started) {
        first.events.insert(0, started);
    }
    if let (Some(last), Some(finished)) = (drafts.last_mut(), finished) {
        last.events.push(finished);
    }
    drafts
}

/// A tick's reported items, kept together in the order the ticks first appear.
pub(super) fn by_tick<T>(items: Vec<T>, tick_of: impl Fn(&T) -> &TickId) -> Vec<(TickId, Vec<T>)> {
    let mut ticks: Vec<(TickId, Vec<T>)> = Vec::new();
    for item in items {
        let tick = tick_of(&item).clone();
        match ticks.iter_mut().find(|(known, _)| *known == tick) {
            Some((_, items)) => items.push(item),
            None => ticks.push((tick, vec![item])),
        }
    }
    ticks
}
