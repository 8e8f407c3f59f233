//! Calls and their outcomes. An outcome belongs to the call whose id it carries, never to the last call: calls of
//! one step run side by side and come back in any order.

use events::{CallId, Cause, PersonaId, TickId, ToolCalled, ToolFailed, ToolReturned};
use sqlx::Row as _;

use super::Place;
use crate::column::bigint;
use crate::database::DbConnection;
use crate::error::FoldError;
use crate::queries::CallResult;

pub(super) async fn called(
    db: &mut DbConnection,
    place: &Place<'_>,
    called: &ToolCalled,
) -> Result<(), FoldError> {
    let id = format!("{}-{}-{}", called.tick_id, called.index, called.tool);
    let inserted = sqlx::query(
        "-- name: tool_called
         INSERT INTO persona_actions (id, persona_id, tick_id, call_id, tool_name, module, input_hash, intent, mistake,
                                      retry_of, result, created_at, stream_seq)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'pending', $11, $12)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(&id)
    .bind(place.persona()?.as_str())
    .bind(called.tick_id.as_str())
    .bind(called.call_id.as_str())
    .bind(&called.tool)
    .bind(&called.module)
    .bind(&called.input_hash)
    .bind(called.intent.as_str())
    .bind(&called.mistake)
    .bind(called.retry_of.as_ref().map(CallId::as_str))
    .bind(called.called_at.as_microsecond())
    .bind(bigint(place.seq.0))
    .execute(&mut *db)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(());
    }
    // The same call reported again is the same row; another call in its place would be lost in silence.
    let row = sqlx::query("SELECT call_id FROM persona_actions WHERE id = $1")
        .bind(&id)
        .fetch_one(db)
        .await?;
    let earlier: String = row.try_get("call_id")?;
    if earlier == called.call_id.as_str() {
        Ok(())
    } else {
        Err(FoldError::park(format!(
            "row {id} is that of call {earlier} already"
        )))
    }
}

pub(super) async fn returned(
    db: &mut DbConnection,
    place: &Place<'_>,
    returned: &ToolReturned,
) -> Result<(), FoldError> {
    let outcome = Outcome {
        result: CallResult::Ok,
        error: None,
        cause: None,
        latency_ms: returned.latency_ms,
    };
    outcome
        .of_call(db, place, &returned.tick_id, &returned.call_id)
        .await
}

pub(super) async fn failed(
    db: &mut DbConnection,
    place: &Place<'_>,
    failed: &ToolFailed,
) -> Result<(), FoldError> {
    let outcome = Outcome {
        result: CallResult::Error,
        error: Some(&failed.error),
        cause: Some(failed.cause),
        latency_ms: failed.latency_ms,
    };
    outcome.of_call(db, place, &failed.tick_id, &failed.call_id).await
}

struct Outcome<'a> {
    result: CallResult,
    error: Option<&'a str>,
    cause: Option<Cause>,
    latency_ms: Option<u64>,
}

impl Outcome<'_> {
    /// The first outcome of a call stands; an outcome of a call that was never made does not fit.
    async fn of_call(
        &self,
        db: &mut DbConnection,
        place: &Place<'_>,
        tick: &TickId,
        call: &CallId,
    ) -> Result<(), FoldError> {
        let persona = place.persona()?;
        let updated = sqlx::query(
            "-- name: call_ended
             UPDATE persona_actions
             SET result = $4,
                 error_message = $5,
                 cause = $6,
                 latency_ms = $7
             WHERE tick_id = $1
               AND call_id = $2
               AND persona_id = $3
               AND result IN ('pending', 'unknown')",
        )
        .bind(tick.as_str())
        .bind(call.as_str())
        .bind(persona.as_str())
        .bind(self.result.as_str())
        .bind(self.error)
        .bind(self.cause.map(Cause::as_str))
        .bind(self.latency_ms.map(bigint))
        .execute(&mut *db)
        .await?;
        if updated.rows_affected() == 1 {
            return Ok(());
        }
        let known = sqlx::query(
            "SELECT 1 FROM persona_actions WHERE tick_id = $1 AND call_id = $2 AND persona_id = $3",
        )
        .bind(tick.as_str())
        .bind(call.as_str())
        .bind(persona.as_str())
        .fetch_optional(db)
        .await?;
        match known {
            Some(_) => Ok(()),
            None => Err(FoldError::park(format!(
                "call {call} was never made in tick {tick}"
            ))),
        }
    }
}

/// Calls of an ended tick without an outcome: nobody knows what came of them, and nobody will.
pub(super) async fn left_without_outcome(
    db: &mut DbConnection,
    persona: &PersonaId,
    tick: &TickId,
) -> Result<(), FoldError> {
    sqlx::query(
        "-- name: left_without_outcome
         UPDATE persona_actions
         SET result = 'unknown'
         WHERE tick_id = $1
           AND persona_id = $2
           AND result = 'pending'",
    )
    .bind(tick.as_str())
    .bind(persona.as_str())
    .execute(db)
    .await?;
    Ok(())
}
