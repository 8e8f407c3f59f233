//! A tick begins and ends, or is found unfinished.

use events::{SpaceEntered, TickFinished, TickId, TickInterrupted, TickStarted, TickTrigger};

use super::{Place, actions};
use crate::column::bigint;
use crate::error::FoldError;
use crate::schema::Tick;
use crate::working_set::WorkingSet;

pub(super) fn started(
    set: &mut WorkingSet,
    place: &Place<'_>,
    started: &TickStarted,
) -> Result<(), FoldError> {
    place.is_about_persona(&started.persona_id)?;
    if set.ticks.get(started.tick_id.as_str())?.is_none() {
        set.ticks.put(Tick {
            id: started.tick_id.to_string(),
            persona_id: started.persona_id.to_string(),
            number: bigint(started.number),
            due_at: started.due_at.as_microsecond(),
            started_at: started.started_at.as_microsecond(),
            trigger_kind: trigger_word(started.trigger).to_owned(),
            brain: started.brain.clone(),
            model: started.model.clone(),
            prompt_version: i64::from(started.prompt_version),
            seed: started.seed.to_string(),
            outcome: None,
            reason: None,
            calls: None,
            errors: None,
            retries: None,
            cost_micro_usd: None,
            finished_at: None,
            stream_seq: bigint(place.seq.0),
            space_id: None,
            space_type: None,
        });
    }
    // A runner outside reports after the fact, so the latest tick in the log need not be the latest in time.
    set.personas.change(started.persona_id.as_str(), |persona| {
        if started.trigger != TickTrigger::External {
            persona.halted = None;
        }
        persona.last_active_at = persona
            .last_active_at
            .max(Some(started.started_at.as_microsecond()));
    })
}

/// A tick of somebody else does not fit.
pub(super) fn entered(
    set: &mut WorkingSet,
    place: &Place<'_>,
    entered: &SpaceEntered,
) -> Result<(), FoldError> {
    let persona = place.persona()?;
    let tick = set.ticks.get(entered.tick_id.as_str())?;
    if tick.is_none_or(|tick| tick.persona_id != persona.as_str()) {
        return Err(FoldError::park(format!("tick {} never began", entered.tick_id)));
    }
    set.ticks.change(entered.tick_id.as_str(), |tick| {
        tick.space_id = Some(entered.space_id.to_string());
        tick.space_type = Some(entered.space_type.clone());
    })
}

fn trigger_word(trigger: TickTrigger) -> &'static str {
    match trigger {
        TickTrigger::Schedule => "schedule",
        TickTrigger::Manual => "manual",
        TickTrigger::External => "external",
    }
}

pub(super) fn finished(
    set: &mut WorkingSet,
    place: &Place<'_>,
    finished: &TickFinished,
) -> Result<(), FoldError> {
    ended(set, place, &finished.tick_id, |tick| {
        tick.outcome = Some(finished.outcome.as_str().to_owned());
        tick.reason.clone_from(&finished.reason);
        tick.calls = Some(i64::from(finished.calls));
        tick.errors = Some(i64::from(finished.errors));
        tick.retries = Some(i64::from(finished.retries));
        tick.cost_micro_usd = finished.cost_micro_usd.map(bigint);
        tick.finished_at = Some(finished.finished_at.as_microsecond());
    })
}

pub(super) fn interrupted(
    set: &mut WorkingSet,
    place: &Place<'_>,
    interrupted: &TickInterrupted,
) -> Result<(), FoldError> {
    ended(set, place, &interrupted.tick_id, |tick| {
        tick.outcome = Some("interrupted".to_owned());
        tick.reason = Some(interrupted.reason.clone());
        tick.finished_at = Some(interrupted.found_at.as_microsecond());
    })
}

/// However a tick ended, what it left without an outcome stays without one. The first end of a tick stands; the end
/// of a tick that never began does not fit.
fn ended(
    set: &mut WorkingSet,
    place: &Place<'_>,
    id: &TickId,
    end: impl FnOnce(&mut Tick),
) -> Result<(), FoldError> {
    let persona = place.persona()?;
    let tick = set.ticks.get(id.as_str())?;
    let Some(tick) = tick.filter(|tick| tick.persona_id == persona.as_str()) else {
        return Err(FoldError::park(format!("tick {id} of this persona never began")));
    };
    if tick.outcome.is_some() {
        return Ok(());
    }
    set.ticks.change(id.as_str(), end)?;
    actions::left_without_outcome(set, persona, id)
}
