//! How each tool serves: how often it fails and for whom, how long it takes, whom it confuses.

use std::collections::BTreeMap;

use events::StreamSeq;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::page::as_of;
use crate::column;
use crate::database::{Db, query};
use crate::tables::{Tables, TablesError};

/// Every tool personas called since some time.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ToolStatsReport {
    /// By name.
    pub tools: Vec<ToolStats>,
    /// The last commit folded.
    pub as_of_seq: StreamSeq,
}

/// One tool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct ToolStats {
    /// Its MCP name.
    pub tool: String,
    /// Its module.
    pub module: String,
    /// Calls.
    pub calls: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Those that are the app's own fault.
    pub errors_app: u64,
    /// Those the persona made.
    pub errors_persona: u64,
    /// Those that did not reach the app, or whose answer did not come back.
    pub errors_infra: u64,
    /// Calls nobody knows the outcome of.
    pub unknown: u64,
    /// Calls that tried a failed one again.
    pub retries: u64,
    /// `errors / calls`.
    pub error_rate: f64,
    /// Share of calls that were wrong in a way a person can be: a persona's error, or a mistake it was let through with.
    pub confusion: f64,
    /// Personas that called it.
    pub personas: u64,
    /// Personas that met an error.
    pub personas_affected: u64,
    /// Half the calls took at most that many milliseconds; `None` where nobody measured.
    pub p50_ms: Option<u64>,
    /// 95 of 100 calls took at most that many.
    pub p95_ms: Option<u64>,
    /// What a caller was told last when it failed.
    pub example_error: Option<String>,
    /// Sequence of the call that was told so.
    pub example_seq: Option<StreamSeq>,
}

impl Tables {
    /// Every tool that was called at or after `since`.
    pub async fn tool_stats(&self, since: Timestamp) -> Result<ToolStatsReport, TablesError> {
        let since = since.as_microsecond();
        let mut snapshot = self.readers().snapshot().await?;
        let mut tools = counted(&mut snapshot.db(), since).await?;
        measure(&mut snapshot.db(), since, &mut tools).await?;
        give_examples(&mut snapshot.db(), since, &mut tools).await?;
        Ok(ToolStatsReport {
            tools: tools.into_values().collect(),
            as_of_seq: as_of(&mut snapshot.db()).await?,
        })
    }
}

async fn counted(db: &mut Db<'_>, since: i64) -> Result<BTreeMap<String, ToolStats>, sqlx::Error> {
    let rows = query(
        "-- name: tool_stats
         SELECT tool_name,
                MAX(module) AS module,
                COUNT(*) AS calls,
                COUNT(CASE WHEN result = 'error' THEN 1 END) AS errors,
                COUNT(CASE WHEN cause = 'app' THEN 1 END) AS errors_app,
                COUNT(CASE WHEN cause = 'persona' THEN 1 END) AS errors_persona,
                COUNT(CASE WHEN cause = 'infra' THEN 1 END) AS errors_infra,
                COUNT(CASE WHEN result = 'unknown' THEN 1 END) AS unknown,
                COUNT(CASE WHEN (cause = 'persona' AND intent <> 'chaos')
                             OR (intent = 'mistake' AND result = 'ok') THEN 1 END) AS confused,
                COUNT(retry_of) AS retries,
                COUNT(DISTINCT persona_id) AS personas,
                COUNT(DISTINCT CASE WHEN result = 'error' THEN persona_id END) AS personas_affected
         FROM persona_actions
         WHERE created_at >= $1
         GROUP BY tool_name",
    )
    .bind(since)
    .fetch_all(db)
    .await?;
    let mut tools = BTreeMap::new();
    for row in &rows {
        let (calls, errors) = (column::count(row, "calls")?, column::count(row, "errors")?);
        let tool: String = row.try_get("tool_name")?;
        let stats = ToolStats {
            tool: tool.clone(),
            module: row.try_get("module")?,
            calls,
            errors,
            errors_app: column::count(row, "errors_app")?,
            errors_persona: column::count(row, "errors_persona")?,
            errors_infra: column::count(row, "errors_infra")?,
            unknown: column::count(row, "unknown")?,
            retries: column::count(row, "retries")?,
            error_rate: errors as f64 / calls.max(1) as f64,
            confusion: column::count(row, "confused")? as f64 / calls.max(1) as f64,
            personas: column::count(row, "personas")?,
            personas_affected: column::count(row, "personas_affected")?,
            ..ToolStats::default()
        };
        tools.insert(tool, stats);
    }
    Ok(tools)
}

/// Quantiles from counts per millisecond: there are few of those, however many calls there are.
async fn measure(
    db: &mut Db<'_>,
    since: i64,
    tools: &mut BTreeMap<String, ToolStats>,
) -> Result<(), sqlx::Error> {
    let rows = query(
        "-- name: tool_latencies
         SELECT tool_name,
                latency_ms,
                COUNT(*) AS calls
         FROM persona_actions
         WHERE created_at >= $1
           AND latency_ms IS NOT NULL
         GROUP BY tool_name,
                  latency_ms
         ORDER BY tool_name,
                  latency_ms",
    )
    .bind(since)
    .fetch_all(db)
    .await?;
    let mut measured: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for row in &rows {
        let of_tool = measured.entry(row.try_get("tool_name")?).or_default();
        of_tool.push((column::count(row, "latency_ms")?, column::count(row, "calls")?));
    }
    for (tool, counts) in measured {
        if let Some(stats) = tools.get_mut(&tool) {
            (stats.p50_ms, stats.p95_ms) = (quantile(&counts, 50), quantile(&counts, 95));
        }
    }
    Ok(())
}

/// The least value that `percent` of the counted ones do not exceed; `counts` is sorted by value.
pub(super) fn quantile(counts: &[(u64, u64)], percent: u64) -> Option<u64> {
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let wanted = (total * percent).div_ceil(100).max(1);
    let mut seen = 0;
    counts.iter().find_map(|(value, count)| {
        seen += count;
        (seen >= wanted).then_some(*value)
    })
}

async fn give_examples(
    db: &mut Db<'_>,
    since: i64,
    tools: &mut BTreeMap<String, ToolStats>,
) -> Result<(), sqlx::Error> {
    let rows = query(
        "-- name: tool_example_errors
         SELECT actions.tool_name,
                actions.error_message,
                actions.stream_seq
         FROM persona_actions AS actions
         JOIN (SELECT tool_name,
                      MAX(stream_seq) AS stream_seq
               FROM persona_actions
               WHERE created_at >= $1
                 AND result = 'error'
               GROUP BY tool_name) AS latest
           ON latest.tool_name = actions.tool_name
          AND latest.stream_seq = actions.stream_seq
         WHERE actions.result = 'error'
         ORDER BY actions.id",
    )
    .bind(since)
    .fetch_all(db)
    .await?;
    for row in &rows {
        let tool: String = row.try_get("tool_name")?;
        if let Some(stats) = tools.get_mut(&tool) {
            stats.example_error = row.try_get("error_message")?;
            stats.example_seq = Some(column::seq(row, "stream_seq")?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        assert_eq!(quantile(&[], 50), None);
        assert_eq!(quantile(&[(7, 1)], 95), Some(7));
        let hundred: Vec<(u64, u64)> = (1..=100).map(|ms| (ms, 1)).collect();
        assert_eq!(
            (quantile(&hundred, 50), quantile(&hundred, 95)),
            (Some(50), Some(95))
        );
        assert_eq!(quantile(&[(1, 99), (1000, 1)], 95), Some(1));
    }
}
