//! One tick from both sides: what the persona asked for, and what the gateway did about it.

use events::{StreamSeq, TickId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::page::as_of;
use super::story::{StoryTick, tick_with_all};
use crate::column;
use crate::database::{Db, DbRow, query_per};
use crate::tables::{Tables, TablesError};

/// A tick and the gateway's record of its calls.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Trace {
    /// The tick as the persona tells it.
    pub tick: StoryTick,
    /// Its calls as the gateway took them, in the order of the log.
    pub gateway: Vec<TraceCall>,
    /// The last commit folded.
    pub as_of_seq: StreamSeq,
}

/// A call as the gateway took it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TraceCall {
    /// The gateway's own name of it.
    pub id: String,
    /// The persona's name of it.
    pub call_id: String,
    /// The MCP session it came in.
    pub session_id: Option<String>,
    /// The name that was called.
    pub tool: String,
    /// What came of it.
    pub outcome: String,
    /// With an error, whose doing it was.
    pub fault: Option<String>,
    /// Milliseconds inside the gateway.
    pub duration_ms: Option<u64>,
    /// When it was taken.
    #[schemars(with = "events::Moment")]
    pub started_at: Timestamp,
    /// Place of the commit that holds its start.
    pub stream_seq: StreamSeq,
}

impl Tables {
    /// The tick `id` from both sides.
    pub async fn trace(&self, id: &TickId) -> Result<Option<Trace>, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        let Some(tick) = tick_with_all(&mut snapshot.db(), id).await? else {
            return Ok(None);
        };
        Ok(Some(Trace {
            gateway: calls_of(&mut snapshot.db(), &tick).await?,
            tick,
            as_of_seq: as_of(&mut snapshot.db()).await?,
        }))
    }
}

async fn calls_of(db: &mut Db<'_>, tick: &StoryTick) -> Result<Vec<TraceCall>, sqlx::Error> {
    let ids: Vec<String> = tick
        .actions
        .iter()
        .map(|action| action.call_id.to_string())
        .collect();
    let rows = query_per(|among| {
        format!(
            "-- name: trace_calls
             SELECT *
             FROM gateway_calls
             WHERE user_id = $1
               AND client_call_id {}
             ORDER BY stream_seq,
                      id",
            among.placeholder(2)
        )
    })
    .bind(tick.persona_id.as_str())
    .bind(ids)
    .fetch_all(db)
    .await?;
    rows.iter().map(call_of).collect()
}

fn call_of(row: &DbRow) -> Result<TraceCall, sqlx::Error> {
    Ok(TraceCall {
        id: row.try_get("id")?,
        call_id: row.try_get("client_call_id")?,
        session_id: row.try_get("session_id")?,
        tool: row.try_get("tool")?,
        outcome: row.try_get("outcome")?,
        fault: row.try_get("fault")?,
        duration_ms: column::count_option(row, "duration_ms")?,
        started_at: column::time(row, "started_at")?,
        stream_seq: column::seq(row, "stream_seq")?,
    })
}
