//! A session obeys its owner: the id on the wire is compared with whom the request's own token names.

use http::{HeaderMap, StatusCode};

use crate::problem::Problem;
use crate::sessions::{InUse, NotYours, Owner, Sessions};
use crate::telemetry;

/// The header that carries a session's handle.
pub(crate) const SESSION_HEADER: &str = "mcp-session-id";
/// The first revision without sessions.
const STATELESS_SINCE: &str = "2026-07-28";

/// Whether the request is of a revision that knows no sessions. What says so is checked by rmcp against the body.
pub(crate) fn is_stateless(headers: &HeaderMap) -> bool {
    // Revisions are dates, so they compare as text.
    let version = headers
        .get("mcp-protocol-version")
        .and_then(|version| version.to_str().ok());
    version.is_some_and(|version| version >= STATELESS_SINCE)
}

/// The session the request names, if it names one and may. A stranger is refused and the session lives on.
pub(crate) fn check(
    sessions: &Sessions,
    headers: &HeaderMap,
    owner: &Owner,
) -> Result<Option<InUse>, Problem> {
    let mut handles = headers.get_all(SESSION_HEADER).iter();
    let Some(handle) = handles.next() else {
        return Ok(None);
    };
    let handle = handle
        .to_str()
        .ok()
        .filter(|_| handles.next().is_none())
        .ok_or_else(|| {
            let detail = "send one Mcp-Session-Id header, exactly as the initialize answer gave it";
            Problem::new(StatusCode::BAD_REQUEST, "bad_session_id", detail)
        })?;
    sessions.find(handle, owner).map(Some).map_err(|not_yours| match not_yours {
        NotYours::Unknown => {
            let detail = "there is no such session (any more); send initialize without a session id for a new one";
            Problem::new(StatusCode::NOT_FOUND, "session_not_found", detail)
        }
        NotYours::Foreign(session_id) => {
            telemetry::auth_failure("foreign-session");
            tracing::warn!(session.id = %session_id, user.id = %owner.user_id, "a session was asked for by somebody who does not own it");
            Problem::forbidden("foreign_session", "this session belongs to somebody else; send initialize for one of your own")
        }
        NotYours::OtherSpace => {
            telemetry::auth_failure("other-space");
            let detail = "this session was opened in another space; send the same X-Mana-Space as then, or initialize anew";
            Problem::forbidden("session_of_other_space", detail)
        }
    })
}
