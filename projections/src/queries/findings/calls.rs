//! Calls, summed up by tool, archetype and day; those that failed or were tried again, one by one. Edge input is nobody's
//! day and counts among neither.

use std::collections::HashSet;
use std::sync::Arc;

use super::{DAY_US, Span};
use crate::column;
use crate::database::{Db, DbRow, query};
use crate::findings::Evidence;
use crate::findings::history::{AcceptedMistake, CallCell, Latency, Trouble};

/// Failed and repeated calls that are looked at one by one, latest first.
const TROUBLES_MAX: u32 = 100_000;
/// Accepted mistakes that are.
const ACCEPTED_MAX: i64 = 1_000;

pub(super) async fn cells(db: &mut Db<'_>, span: Span) -> Result<Vec<CallCell>, sqlx::Error> {
    let rows = query(
        "-- name: findings_call_cells
         SELECT actions.tool_name,
                actions.module,
                COALESCE(personas.archetype, '') AS archetype,
                ($2 - actions.created_at) / $3 AS day,
                COUNT(*) AS calls,
                COUNT(CASE WHEN actions.result = 'ok' THEN 1 END) AS ok,
                COUNT(CASE WHEN actions.result = 'error' THEN 1 END) AS errors,
                COUNT(CASE WHEN actions.intent = 'valid'
                            AND (actions.result = 'ok' OR actions.cause = 'app') THEN 1 END) AS answered,
                COUNT(CASE WHEN actions.intent = 'valid' AND actions.cause = 'app' THEN 1 END) AS app_errors,
                COUNT(CASE WHEN actions.cause = 'infra' THEN 1 END) AS infra_errors,
                COUNT(actions.retry_of) AS retries,
                COUNT(CASE WHEN actions.intent <> 'valid' AND actions.result = 'ok' THEN 1 END) AS accepted
         FROM persona_actions AS actions
         LEFT JOIN personas ON personas.id = actions.persona_id
         WHERE actions.created_at > $1
           AND actions.created_at <= $2
           AND actions.intent <> 'chaos'
         GROUP BY 1, 2, 3, 4
         ORDER BY 1, 2, 3, 4",
    )
    .bind(span.from)
    .bind(span.to)
    .bind(DAY_US)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(CallCell {
                tool: row.try_get("tool_name")?,
                module: row.try_get("module")?,
                archetype: row.try_get("archetype")?,
                day: small(row, "day")?,
                calls: column::count(row, "calls")?,
                ok: column::count(row, "ok")?,
                errors: column::count(row, "errors")?,
                answered: column::count(row, "answered")?,
                app_errors: column::count(row, "app_errors")?,
                infra_errors: column::count(row, "infra_errors")?,
                retries: column::count(row, "retries")?,
                accepted_mistakes: column::count(row, "accepted")?,
            })
        })
        .collect()
}

/// A number of days or weeks, which the span bounds.
pub(super) fn small(row: &DbRow, column: &'static str) -> Result<u32, sqlx::Error> {
    Ok(u32::try_from(column::count(row, column)?).unwrap_or(u32::MAX))
}

/// The latest of them, and whether there are more.
pub(super) async fn troubles(db: &mut Db<'_>, span: Span) -> Result<(Vec<Trouble>, bool), sqlx::Error> {
    let rows = query(
        "-- name: findings_troubles
         SELECT id,
                persona_id,
                tick_id,
                call_id,
                tool_name,
                module,
                intent,
                retry_of,
                result,
                error_message,
                cause,
                ($2 - created_at) / $3 AS day,
                created_at,
                stream_seq
         FROM persona_actions
         WHERE created_at > $1
           AND created_at <= $2
           AND intent <> 'chaos'
           AND (result = 'error' OR retry_of IS NOT NULL)
         ORDER BY created_at DESC,
                  stream_seq DESC,
                  id DESC
         LIMIT $4",
    )
    .bind(span.from)
    .bind(span.to)
    .bind(DAY_US)
    .bind(i64::from(TROUBLES_MAX) + 1)
    .fetch_all(db)
    .await?;
    let mut names = Names::default();
    let mut troubles = Vec::with_capacity(rows.len());
    for row in &rows {
        troubles.push(Trouble {
            action_id: row.try_get("id")?,
            call_id: column::parsed(row, "call_id")?,
            tick_id: column::parsed(row, "tick_id")?,
            persona_id: column::parsed(row, "persona_id")?,
            tool: names.shared(row.try_get("tool_name")?),
            module: names.shared(row.try_get("module")?),
            intent: column::word(row, "intent")?,
            retry_of: column::parsed_option(row, "retry_of")?,
            result: column::word(row, "result")?,
            error: row.try_get("error_message")?,
            cause: column::word_option(row, "cause")?,
            day: small(row, "day")?,
            at: column::time(row, "created_at")?,
            stream_seq: column::seq(row, "stream_seq")?,
        });
    }
    let is_shortened = troubles.len() > TROUBLES_MAX as usize;
    troubles.truncate(TROUBLES_MAX as usize);
    Ok((troubles, is_shortened))
}

/// Mistakes that were taken as if they were right, latest first.
pub(super) async fn accepted(db: &mut Db<'_>, span: Span) -> Result<Vec<AcceptedMistake>, sqlx::Error> {
    let rows = query(
        "-- name: findings_accepted_mistakes
         SELECT id,
                call_id,
                persona_id,
                tool_name,
                module,
                mistake,
                created_at,
                stream_seq
         FROM persona_actions
         WHERE intent = 'mistake'
           AND result = 'ok'
           AND mistake <> 'double-submit'
           AND created_at > $1
           AND created_at <= $2
         ORDER BY created_at DESC,
                  stream_seq DESC,
                  id DESC
         LIMIT $3",
    )
    .bind(span.from)
    .bind(span.to)
    .bind(ACCEPTED_MAX)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(AcceptedMistake {
                tool: row.try_get("tool_name")?,
                module: row.try_get("module")?,
                mistake: row.try_get("mistake")?,
                at: column::time(row, "created_at")?,
                evidence: Evidence {
                    kind: "call",
                    id: row.try_get("id")?,
                    call_id: Some(row.try_get("call_id")?),
                    persona_id: row.try_get("persona_id")?,
                    stream_seq: column::seq(row, "stream_seq")?,
                },
            })
        })
        .collect()
}

/// Names of tools and modules, each kept once.
#[derive(Debug, Default)]
struct Names(HashSet<Arc<str>>);

impl Names {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.0.insert(name.clone());
        name
    }
}

pub(super) async fn latencies(db: &mut Db<'_>, span: Span) -> Result<Vec<Latency>, sqlx::Error> {
    let rows = query(
        "-- name: findings_latencies
         WITH ranked AS (
             SELECT tool_name,
                    latency_ms,
                    ROW_NUMBER() OVER (PARTITION BY tool_name ORDER BY latency_ms) AS place,
                    COUNT(*) OVER (PARTITION BY tool_name) AS calls
             FROM persona_actions
             WHERE created_at > $1
               AND created_at <= $2
               AND intent <> 'chaos'
               AND latency_ms IS NOT NULL
         )
         SELECT tool_name,
                MIN(CASE WHEN place * 2 >= calls THEN latency_ms END) AS p50,
                MIN(CASE WHEN place * 20 >= calls * 19 THEN latency_ms END) AS p95
         FROM ranked
         GROUP BY tool_name
         ORDER BY tool_name",
    )
    .bind(span.from)
    .bind(span.to)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Latency {
                tool: row.try_get("tool_name")?,
                p50_ms: column::count(row, "p50")?,
                p95_ms: column::count(row, "p95")?,
            })
        })
        .collect()
}
