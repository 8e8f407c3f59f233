//! What the gateway saw: sessions and refusals.

use events::{CallId, CallRefused, SessionClosed, SessionOpened};

use super::Place;
use crate::column::bigint;
use crate::database::DbConnection;
use crate::error::FoldError;

pub(super) async fn opened(
    db: &mut DbConnection,
    place: &Place<'_>,
    opened: &SessionOpened,
) -> Result<(), FoldError> {
    place.is_about_user(&opened.user_id)?;
    sqlx::query(
        "-- name: session_opened
         INSERT INTO sessions (id, user_id, space_id, client, protocol, opened_at, stream_seq)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(opened.session_id.as_str())
    .bind(opened.user_id.as_str())
    .bind(opened.space_id.as_str())
    .bind(&opened.client)
    .bind(&opened.protocol)
    .bind(opened.opened_at.as_microsecond())
    .bind(bigint(place.seq.0))
    .execute(db)
    .await?;
    Ok(())
}

/// A session that is not known is that of an erased persona: erasing ends its sessions a moment later.
pub(super) async fn closed(
    db: &mut DbConnection,
    _place: &Place<'_>,
    closed: &SessionClosed,
) -> Result<(), FoldError> {
    sqlx::query(
        "-- name: session_closed
         UPDATE sessions
         SET closed_at = $2,
             close_reason = $3
         WHERE id = $1
           AND closed_at IS NULL",
    )
    .bind(closed.session_id.as_str())
    .bind(closed.closed_at.as_microsecond())
    .bind(&closed.reason)
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn refused(
    db: &mut DbConnection,
    place: &Place<'_>,
    refused: &CallRefused,
) -> Result<(), FoldError> {
    place.is_about_user(&refused.user_id)?;
    sqlx::query(
        "-- name: call_refused
         INSERT INTO refusals (id, user_id, space_id, tool, call_id, rule, policy_version, mode, refused_at, stream_seq)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(format!("{}-{}", place.seq, place.ordinal))
    .bind(refused.user_id.as_str())
    .bind(refused.space_id.as_str())
    .bind(&refused.tool)
    .bind(refused.call_id.as_ref().map(CallId::as_str))
    .bind(&refused.rule)
    .bind(i64::from(refused.policy_version))
    .bind(&refused.mode)
    .bind(refused.refused_at.as_microsecond())
    .bind(bigint(place.seq.0))
    .execute(db)
    .await?;
    Ok(())
}
