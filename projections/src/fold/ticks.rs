//! A tick begins and ends, or is found unfinished.

use events::{TickFinished, TickId, TickInterrupted, TickStarted, TickTrigger};

use super::{Place, actions};
use crate::column::bigint;
use crate::database::DbConnection;
use crate::error::FoldError;

pub(super) async fn started(
    db: &mut DbConnection,
    place: &Place<'_>,
    started: &TickStarted,
) -> Result<(), FoldError> {
    place.is_about_persona(&started.persona_id)?;
    sqlx::query(
        "-- name: tick_started
         INSERT INTO ticks (id, persona_id, number, due_at, started_at, trigger_kind, brain, model, prompt_version,
                            seed, stream_seq)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(started.tick_id.as_str())
    .bind(started.persona_id.as_str())
    .bind(bigint(started.number))
    .bind(started.due_at.as_microsecond())
    .bind(started.started_at.as_microsecond())
    .bind(trigger_word(started.trigger))
    .bind(&started.brain)
    .bind(&started.model)
    .bind(i64::from(started.prompt_version))
    .bind(started.seed.to_string())
    .bind(bigint(place.seq.0))
    .execute(&mut *db)
    .await?;
    // A runner outside reports after the fact, so the latest tick in the log need not be the latest in time.
    sqlx::query(
        "-- name: persona_became_active
         UPDATE personas
         SET halted = CASE WHEN $3 = 'external' THEN halted END,
             last_active_at = CASE WHEN last_active_at > $2 THEN last_active_at ELSE $2 END
         WHERE id = $1",
    )
    .bind(started.persona_id.as_str())
    .bind(started.started_at.as_microsecond())
    .bind(trigger_word(started.trigger))
    .execute(db)
    .await?;
    Ok(())
}

fn trigger_word(trigger: TickTrigger) -> &'static str {
    match trigger {
        TickTrigger::Schedule => "schedule",
        TickTrigger::Manual => "manual",
        TickTrigger::External => "external",
    }
}

pub(super) async fn finished(
    db: &mut DbConnection,
    place: &Place<'_>,
    finished: &TickFinished,
) -> Result<(), FoldError> {
    let ended = sqlx::query(
        "-- name: tick_finished
         UPDATE ticks
         SET outcome = $3,
             reason = $4,
             calls = $5,
             errors = $6,
             retries = $7,
             cost_micro_usd = $8,
             finished_at = $9
         WHERE id = $1
           AND persona_id = $2
           AND outcome IS NULL",
    )
    .bind(finished.tick_id.as_str())
    .bind(place.persona()?.as_str())
    .bind(finished.outcome.as_str())
    .bind(&finished.reason)
    .bind(i64::from(finished.calls))
    .bind(i64::from(finished.errors))
    .bind(i64::from(finished.retries))
    .bind(finished.cost_micro_usd.map(bigint))
    .bind(finished.finished_at.as_microsecond())
    .execute(&mut *db)
    .await?;
    ended_once(db, place, &finished.tick_id, ended.rows_affected()).await
}

pub(super) async fn interrupted(
    db: &mut DbConnection,
    place: &Place<'_>,
    interrupted: &TickInterrupted,
) -> Result<(), FoldError> {
    let ended = sqlx::query(
        "-- name: tick_interrupted
         UPDATE ticks
         SET outcome = 'interrupted',
             reason = $3,
             finished_at = $4
         WHERE id = $1
           AND persona_id = $2
           AND outcome IS NULL",
    )
    .bind(interrupted.tick_id.as_str())
    .bind(place.persona()?.as_str())
    .bind(&interrupted.reason)
    .bind(interrupted.found_at.as_microsecond())
    .execute(&mut *db)
    .await?;
    ended_once(db, place, &interrupted.tick_id, ended.rows_affected()).await
}

/// However a tick ended, what it left without an outcome stays without one. The first end of a tick stands; the end
/// of a tick that never began does not fit.
async fn ended_once(
    db: &mut DbConnection,
    place: &Place<'_>,
    tick: &TickId,
    rows_changed: u64,
) -> Result<(), FoldError> {
    let persona = place.persona()?;
    if rows_changed == 0 {
        let known = sqlx::query("SELECT 1 FROM ticks WHERE id = $1 AND persona_id = $2")
            .bind(tick.as_str())
            .bind(persona.as_str())
            .fetch_optional(&mut *db)
            .await?;
        return match known {
            Some(_) => Ok(()),
            None => Err(FoldError::park(format!(
                "tick {tick} of this persona never began"
            ))),
        };
    }
    actions::left_without_outcome(db, persona, tick).await
}
