//! Calls and their outcomes. An outcome belongs to the call whose id it carries, never to the last call: calls of
//! one step run side by side and come back in any order.

use events::{CallId, Cause, PersonaId, TickId, ToolCalled, ToolFailed, ToolReturned};

use super::{Place, action_id, must_fit_key};
use crate::column::bigint;
use crate::error::FoldError;
use crate::queries::CallResult;
use crate::schema::Action;
use crate::working_set::WorkingSet;

pub(super) fn called(set: &mut WorkingSet, place: &Place<'_>, called: &ToolCalled) -> Result<(), FoldError> {
    let persona = place.persona()?;
    must_fit_key("tool's name", &called.tool)?;
    let id = action_id(called);
    if let Some(earlier) = set.actions.get(&id)? {
        // The same call reported again is the same row; another call in its place would be lost in silence.
        if earlier.call_id == called.call_id.as_str() && earlier.tick_id == called.tick_id.as_str() {
            return Ok(());
        }
        return Err(FoldError::park(format!(
            "row {id} is that of call {} already",
            earlier.call_id
        )));
    }
    if let Some(earlier) = set
        .actions
        .of_call(called.tick_id.as_str(), called.call_id.as_str())?
    {
        return Err(FoldError::park(format!(
            "call {} is row {} already",
            called.call_id, earlier.id
        )));
    }
    set.actions.put(Action {
        id,
        persona_id: persona.to_string(),
        tick_id: called.tick_id.to_string(),
        call_id: called.call_id.to_string(),
        tool_name: called.tool.clone(),
        module: called.module.clone(),
        input_hash: called.input_hash.clone(),
        intent: called.intent.as_str().to_owned(),
        mistake: called.mistake.clone(),
        retry_of: called.retry_of.as_ref().map(CallId::to_string),
        result: CallResult::Pending,
        error_message: None,
        cause: None,
        latency_ms: None,
        created_at: called.called_at.as_microsecond(),
        stream_seq: bigint(place.seq.0),
    });
    Ok(())
}

pub(super) fn returned(
    set: &mut WorkingSet,
    place: &Place<'_>,
    returned: &ToolReturned,
) -> Result<(), FoldError> {
    let outcome = Outcome {
        result: CallResult::Ok,
        error: None,
        cause: None,
        latency_ms: returned.latency_ms,
    };
    outcome.of_call(set, place, &returned.tick_id, &returned.call_id)
}

pub(super) fn failed(set: &mut WorkingSet, place: &Place<'_>, failed: &ToolFailed) -> Result<(), FoldError> {
    let outcome = Outcome {
        result: CallResult::Error,
        error: Some(&failed.error),
        cause: Some(failed.cause),
        latency_ms: failed.latency_ms,
    };
    outcome.of_call(set, place, &failed.tick_id, &failed.call_id)
}

struct Outcome<'a> {
    result: CallResult,
    error: Option<&'a str>,
    cause: Option<Cause>,
    latency_ms: Option<u64>,
}

impl Outcome<'_> {
    /// The first outcome of a call stands; an outcome of a call that was never made does not fit.
    fn of_call(
        &self,
        set: &mut WorkingSet,
        place: &Place<'_>,
        tick: &TickId,
        call: &CallId,
    ) -> Result<(), FoldError> {
        let persona = place.persona()?;
        let action = set.actions.of_call(tick.as_str(), call.as_str())?;
        let Some(action) = action.filter(|action| action.persona_id == persona.as_str()) else {
            return Err(FoldError::park(format!(
                "call {call} was never made in tick {tick}"
            )));
        };
        if !matches!(action.result, CallResult::Pending | CallResult::Unknown) {
            return Ok(());
        }
        let id = action.id.clone();
        set.actions.change(&id, |action| {
            action.result = self.result;
            action.error_message = self.error.map(str::to_owned);
            action.cause = self.cause.map(|cause| cause.as_str().to_owned());
            action.latency_ms = self.latency_ms.map(bigint);
        })
    }
}

/// Calls of an ended tick without an outcome: nobody knows what came of them, and nobody will.
pub(super) fn left_without_outcome(
    set: &mut WorkingSet,
    persona: &PersonaId,
    tick: &TickId,
) -> Result<(), FoldError> {
    for id in set.actions.pending_of(tick.as_str())? {
        set.actions.change(&id, |action| {
            if action.persona_id == persona.as_str() {
                action.result = CallResult::Unknown;
            }
        })?;
    }
    Ok(())
}
