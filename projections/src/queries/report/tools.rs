//! Which tools fail, and what newcomers stumble over.

use super::{Stumble, ToolFailures};
use crate::column;
use crate::database::{Db, query};

pub(super) async fn failures(db: &mut Db<'_>, since: i64) -> Result<Vec<ToolFailures>, sqlx::Error> {
    let rows = query(
        "-- name: failing_tools
         SELECT failing.tool_name,
                failing.calls,
                failing.errors,
                failing.mistakes,
                failing.personas_affected,
                example.error_message,
                example.call_id
         FROM (SELECT actions.tool_name,
                      COUNT(*) AS calls,
                      COUNT(CASE WHEN actions.result = 'error' THEN 1 END) AS errors,
                      COUNT(CASE WHEN actions.result = 'error' AND actions.intent = 'mistake' THEN 1 END) AS mistakes,
                      COUNT(DISTINCT CASE WHEN actions.result = 'error' THEN actions.persona_id END)
                          AS personas_affected,
                      (SELECT candidate.id
                       FROM persona_actions AS candidate
                       WHERE candidate.tool_name = actions.tool_name
                         AND candidate.result = 'error'
                         AND candidate.stream_seq > $1
                       ORDER BY CASE candidate.cause WHEN 'app' THEN 0 WHEN 'infra' THEN 1 ELSE 2 END,
                                candidate.stream_seq DESC,
                                candidate.id
                       LIMIT 1) AS example_id
               FROM persona_actions AS actions
               WHERE actions.stream_seq > $1
               GROUP BY actions.tool_name) AS failing
         JOIN persona_actions AS example ON example.id = failing.example_id
         ORDER BY failing.personas_affected DESC,
                  failing.errors DESC,
                  failing.tool_name",
    )
    .bind(since)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let calls = column::count(row, "calls")?;
            let errors = column::count(row, "errors")?;
            Ok(ToolFailures {
                tool: row.try_get("tool_name")?,
                calls,
                errors,
                mistakes: column::count(row, "mistakes")?,
                personas_affected: column::count(row, "personas_affected")?,
                error_rate: errors as f64 / calls.max(1) as f64,
                example_error: row.try_get("error_message")?,
                example_call_id: row.try_get("call_id")?,
            })
        })
        .collect()
}

pub(super) async fn stumbles(db: &mut Db<'_>, since: i64) -> Result<Vec<Stumble>, sqlx::Error> {
    let rows = query(
        "-- name: stumbles
         SELECT personas.name,
                slips.tool_name,
                slips.mistake,
                COUNT(*) AS times,
                COUNT(CASE WHEN slips.result = 'ok' THEN 1 END) AS accepted,
                COUNT(CASE WHEN slips.recovered > 0 THEN 1 END) AS recovered,
                MAX(slips.error_message) AS example_error
         FROM (SELECT actions.persona_id,
                      actions.tool_name,
                      COALESCE(actions.mistake, 'unnamed') AS mistake,
                      actions.result,
                      actions.error_message,
                      (SELECT COUNT(*)
                       FROM persona_actions AS again
                       WHERE again.tick_id = actions.tick_id
                         AND again.retry_of = actions.call_id
                         AND again.result = 'ok') AS recovered
               FROM persona_actions AS actions
               WHERE actions.intent = 'mistake'
                 AND actions.stream_seq > $1) AS slips
         JOIN personas ON personas.id = slips.persona_id
         GROUP BY personas.id,
                  personas.name,
                  personas.stream_seq,
                  slips.tool_name,
                  slips.mistake
         ORDER BY personas.stream_seq,
                  personas.id,
                  slips.tool_name,
                  slips.mistake",
    )
    .bind(since)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Stumble {
                persona_name: row.try_get("name")?,
                tool: row.try_get("tool_name")?,
                mistake: row.try_get("mistake")?,
                times: column::count(row, "times")?,
                accepted: column::count(row, "accepted")?,
                recovered: column::count(row, "recovered")?,
                example_error: row.try_get("example_error")?,
            })
        })
        .collect()
}
