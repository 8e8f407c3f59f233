//! Calls as the gateway saw them, people's and personas' alike.

use events::{CallEnded, CallId, CallOutcome, CallStarted, SessionId, Subject};

use super::Place;
use crate::column::bigint;
use crate::error::FoldError;
use crate::schema::GatewayCall;
use crate::working_set::WorkingSet;

/// What the outcome of a call that has not ended is called.
pub(crate) const PENDING: &str = "pending";

pub(super) fn started(
    set: &mut WorkingSet,
    place: &Place<'_>,
    started: &CallStarted,
) -> Result<(), FoldError> {
    place.is_about_user(&started.user_id)?;
    // Told again after a lost acknowledgement: the first telling stands.
    if set.calls.get(started.call_id.as_str())?.is_none() {
        set.calls.put(GatewayCall {
            id: started.call_id.to_string(),
            user_id: started.user_id.to_string(),
            space_id: started.space_id.to_string(),
            session_id: started.session_id.as_ref().map(SessionId::to_string),
            client_call_id: started.client_call_id.as_ref().map(CallId::to_string),
            tool: started.tool.clone(),
            input_hash: started.input_hash.clone(),
            arguments: started.arguments.clone(),
            policy_version: i64::from(started.policy_version),
            outcome: PENDING.to_owned(),
            fault: None,
            duration_ms: None,
            started_at: started.started_at.as_microsecond(),
            ended_at: None,
            stream_seq: bigint(place.seq.0),
        });
    }
    Ok(())
}

/// The first outcome stands, and any takes the place of `unknown`. A call that is not known is that of an erased
/// persona, or one whose start was never stored and which was not carried out.
pub(super) fn ended(set: &mut WorkingSet, place: &Place<'_>, ended: &CallEnded) -> Result<(), FoldError> {
    let Subject::Session(user) = place.subject else {
        return Err(FoldError::park(format!(
            "stands under {}, which is no account's subject",
            place.subject
        )));
    };
    let is_open = |call: &GatewayCall| {
        call.user_id == user.as_str()
            && (call.outcome == PENDING || call.outcome == CallOutcome::Unknown.as_str())
    };
    let call = set.calls.get(ended.call_id.as_str())?;
    if !call.is_some_and(is_open) {
        return Ok(());
    }
    set.calls.change(ended.call_id.as_str(), |call| {
        ended.outcome.as_str().clone_into(&mut call.outcome);
        call.fault.clone_from(&ended.fault);
        call.duration_ms = ended.duration_ms.map(bigint);
        call.ended_at = Some(ended.ended_at.as_microsecond());
    })
}
