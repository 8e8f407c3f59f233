//! What came through the door: sessions, calls, refusals.

use events::StreamSeq;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::page::{Cursor, Page, PageRequest, as_of};
use super::tool_stats::quantile;
use crate::column;
use crate::database::{DbRow, query};
use crate::tables::{Tables, TablesError};

/// The door since some time, summed up.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct GatewayStats {
    /// Calls it took.
    pub calls: u64,
    /// Half of them took at most that many milliseconds inside.
    pub p50_ms: Option<u64>,
    /// 95 of 100 took at most that many.
    pub p95_ms: Option<u64>,
    /// What came of them, by how often.
    pub outcomes: Vec<OutcomeCount>,
    /// Refusals by rule, by how often.
    pub refusals: Vec<RuleCount>,
    /// Sessions that were opened.
    pub sessions: u64,
    /// Sessions without an end in the log.
    pub sessions_open: u64,
    /// The last commit folded.
    pub as_of_seq: StreamSeq,
}

/// Calls with one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OutcomeCount {
    /// `ok`, `error`, `refused`, `cancelled`, `unknown` or `pending`.
    pub outcome: String,
    /// With `error`: `invalid`, `rejected`, `failed`, `panicked` or `unrecorded`.
    pub fault: Option<String>,
    /// How many.
    pub calls: u64,
}

/// Refusals by one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuleCount {
    /// The rule.
    pub rule: String,
    /// `enforce` refused, `log-only` did not.
    pub mode: String,
    /// How many.
    pub refusals: u64,
}

/// One MCP session.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SessionRow {
    /// Its name in our records, not its bearer handle.
    pub session_id: String,
    /// Its owner.
    pub user_id: String,
    /// The owner's name, where it is a persona.
    pub persona_name: Option<String>,
    /// What the client calls itself; never trusted.
    pub client: String,
    /// Negotiated protocol revision.
    pub protocol: String,
    /// When it began.
    #[schemars(with = "events::Moment")]
    pub opened_at: Timestamp,
    /// When it ended.
    #[schemars(with = "Option<events::Moment>")]
    pub closed_at: Option<Timestamp>,
    /// How it ended.
    pub close_reason: Option<String>,
    /// Place of the commit that holds its opening.
    pub stream_seq: StreamSeq,
}

/// One call that policy refused, or would have.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RefusalRow {
    /// `{sequence}-{ordinal}`.
    pub id: String,
    /// The caller.
    pub user_id: String,
    /// The caller's name, where it is a persona.
    pub persona_name: Option<String>,
    /// The tool.
    pub tool: String,
    /// The rule that decided.
    pub rule: String,
    /// `enforce` refused, `log-only` did not.
    pub mode: String,
    /// When.
    #[schemars(with = "events::Moment")]
    pub refused_at: Timestamp,
    /// Place of its commit.
    pub stream_seq: StreamSeq,
}

impl Tables {
    /// The door at or after `since`.
    pub async fn gateway_stats(&self, since: Timestamp) -> Result<GatewayStats, TablesError> {
        let since = since.as_microsecond();
        let mut snapshot = self.readers().snapshot().await?;
        let outcomes = query(
            "-- name: call_outcomes
             SELECT outcome,
                    fault,
                    COUNT(*) AS calls
             FROM gateway_calls
             WHERE started_at >= $1
             GROUP BY outcome,
                      fault
             ORDER BY calls DESC,
                      outcome,
                      fault",
        )
        .bind(since)
        .fetch_all(&mut snapshot.db())
        .await?;
        let outcomes: Vec<OutcomeCount> = outcomes
            .iter()
            .map(|row| {
                Ok(OutcomeCount {
                    outcome: row.try_get("outcome")?,
                    fault: row.try_get("fault")?,
                    calls: column::count(row, "calls")?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()?;
        let durations = query(
            "-- name: call_durations
             SELECT duration_ms,
                    COUNT(*) AS calls
             FROM gateway_calls
             WHERE started_at >= $1
               AND duration_ms IS NOT NULL
             GROUP BY duration_ms
             ORDER BY duration_ms",
        )
        .bind(since)
        .fetch_all(&mut snapshot.db())
        .await?;
        let durations: Vec<(u64, u64)> = durations
            .iter()
            .map(|row| Ok((column::count(row, "duration_ms")?, column::count(row, "calls")?)))
            .collect::<Result<_, sqlx::Error>>()?;
        let refusals = query(
            "-- name: refusals_by_rule
             SELECT rule,
                    mode,
                    COUNT(*) AS refusals
             FROM refusals
             WHERE refused_at >= $1
             GROUP BY rule,
                      mode
             ORDER BY refusals DESC,
                      rule,
                      mode",
        )
        .bind(since)
        .fetch_all(&mut snapshot.db())
        .await?;
        let refusals = refusals
            .iter()
            .map(|row| {
                Ok(RuleCount {
                    rule: row.try_get("rule")?,
                    mode: row.try_get("mode")?,
                    refusals: column::count(row, "refusals")?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()?;
        let sessions = query(
            "-- name: session_counts
             SELECT COUNT(*) AS sessions,
                    COUNT(CASE WHEN closed_at IS NULL THEN 1 END) AS sessions_open
             FROM sessions
             WHERE opened_at >= $1",
        )
        .bind(since)
        .fetch_one(&mut snapshot.db())
        .await?;
        Ok(GatewayStats {
            calls: outcomes.iter().map(|outcome| outcome.calls).sum(),
            p50_ms: quantile(&durations, 50),
            p95_ms: quantile(&durations, 95),
            outcomes,
            refusals,
            sessions: column::count(&sessions, "sessions")?,
            sessions_open: column::count(&sessions, "sessions_open")?,
            as_of_seq: as_of(&mut snapshot.db()).await?,
        })
    }

    /// MCP sessions, newest first.
    pub async fn recent_sessions(&self, page: &PageRequest) -> Result<Page<SessionRow>, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        let (seq, id) = page.before();
        let rows = query(
            "-- name: recent_sessions
             SELECT sessions.*,
                    personas.name AS persona_name
             FROM sessions
             LEFT JOIN personas ON personas.id = sessions.user_id
             WHERE sessions.stream_seq < $1
                OR (sessions.stream_seq = $1 AND sessions.id < $2)
             ORDER BY sessions.stream_seq DESC,
                      sessions.id DESC
             LIMIT $3",
        )
        .bind(seq)
        .bind(id)
        .bind(page.fetched())
        .fetch_all(&mut snapshot.db())
        .await?;
        let sessions = rows.iter().map(session_of).collect::<Result<_, _>>()?;
        let place = |session: &SessionRow| Cursor {
            seq: session.stream_seq,
            id: session.session_id.clone(),
        };
        Ok(page.page(sessions, place, &mut snapshot.db()).await?)
    }

    /// Refused calls, newest first.
    pub async fn recent_refusals(&self, page: &PageRequest) -> Result<Page<RefusalRow>, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        let (seq, id) = page.before();
        let rows = query(
            "-- name: recent_refusals
             SELECT refusals.*,
                    personas.name AS persona_name
             FROM refusals
             LEFT JOIN personas ON personas.id = refusals.user_id
             WHERE refusals.stream_seq < $1
                OR (refusals.stream_seq = $1 AND refusals.id < $2)
             ORDER BY refusals.stream_seq DESC,
                      refusals.id DESC
             LIMIT $3",
        )
        .bind(seq)
        .bind(id)
        .bind(page.fetched())
        .fetch_all(&mut snapshot.db())
        .await?;
        let refusals = rows.iter().map(refusal_of).collect::<Result<_, _>>()?;
        let place = |refusal: &RefusalRow| Cursor {
            seq: refusal.stream_seq,
            id: refusal.id.clone(),
        };
        Ok(page.page(refusals, place, &mut snapshot.db()).await?)
    }
}

fn session_of(row: &DbRow) -> Result<SessionRow, sqlx::Error> {
    Ok(SessionRow {
        session_id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        persona_name: row.try_get("persona_name")?,
        client: row.try_get("client")?,
        protocol: row.try_get("protocol")?,
        opened_at: column::time(row, "opened_at")?,
        closed_at: column::time_option(row, "closed_at")?,
        close_reason: row.try_get("close_reason")?,
        stream_seq: column::seq(row, "stream_seq")?,
    })
}

fn refusal_of(row: &DbRow) -> Result<RefusalRow, sqlx::Error> {
    Ok(RefusalRow {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        persona_name: row.try_get("persona_name")?,
        tool: row.try_get("tool")?,
        rule: row.try_get("rule")?,
        mode: row.try_get("mode")?,
        refused_at: column::time(row, "refused_at")?,
        stream_seq: column::seq(row, "stream_seq")?,
    })
}
