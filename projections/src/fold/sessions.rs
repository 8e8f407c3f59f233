//! What the gateway saw: sessions and refusals.

use events::{CallId, CallRefused, SessionClosed, SessionOpened};

use super::Place;
use crate::column::bigint;
use crate::error::FoldError;
use crate::schema::{Refusal, Session};
use crate::working_set::WorkingSet;

pub(super) fn opened(
    set: &mut WorkingSet,
    place: &Place<'_>,
    opened: &SessionOpened,
) -> Result<(), FoldError> {
    place.is_about_user(&opened.user_id)?;
    if set.sessions.get(opened.session_id.as_str())?.is_none() {
        set.sessions.put(Session {
            id: opened.session_id.to_string(),
            user_id: opened.user_id.to_string(),
            space_id: opened.space_id.to_string(),
            client: opened.client.clone(),
            protocol: opened.protocol.clone(),
            opened_at: opened.opened_at.as_microsecond(),
            closed_at: None,
            close_reason: None,
            stream_seq: bigint(place.seq.0),
        });
    }
    Ok(())
}

/// A session that is not known is that of an erased persona: erasing ends its sessions a moment later.
pub(super) fn closed(
    set: &mut WorkingSet,
    _place: &Place<'_>,
    closed: &SessionClosed,
) -> Result<(), FoldError> {
    let session = set.sessions.get(closed.session_id.as_str())?;
    if session.is_none_or(|session| session.closed_at.is_some()) {
        return Ok(());
    }
    set.sessions.change(closed.session_id.as_str(), |session| {
        session.closed_at = Some(closed.closed_at.as_microsecond());
        session.close_reason = Some(closed.reason.clone());
    })
}

pub(super) fn refused(
    set: &mut WorkingSet,
    place: &Place<'_>,
    refused: &CallRefused,
) -> Result<(), FoldError> {
    place.is_about_user(&refused.user_id)?;
    set.refusals.put(Refusal {
        id: format!("{}-{}", place.seq, place.ordinal),
        user_id: refused.user_id.to_string(),
        space_id: refused.space_id.to_string(),
        tool: refused.tool.clone(),
        call_id: refused.call_id.as_ref().map(CallId::to_string),
        rule: refused.rule.clone(),
        policy_version: i64::from(refused.policy_version),
        mode: refused.mode.clone(),
        refused_at: refused.refused_at.as_microsecond(),
        stream_seq: bigint(place.seq.0),
    });
    Ok(())
}
