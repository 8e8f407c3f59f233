//! What personas did with tools.

use events::{CallId, Cause, Intent, PersonaId, StreamSeq, TickId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::column;
use crate::database::{DbRow, query, query_per};
use crate::tables::{Tables, TablesError};

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CallResult {
    /// Its outcome is not folded yet.
    Pending,
    /// It succeeded.
    Ok,
    /// It failed.
    Error,
    /// Its tick ended without an outcome of it; it may or may not have been carried out.
    Unknown,
}

impl CallResult {
    /// The word used in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }
}

/// One tool call.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ActionRow {
    /// `{tick_id}-{index}-{tool_name}`.
    pub id: String,
    /// Who called.
    pub persona_id: PersonaId,
    /// In which tick.
    pub tick_id: TickId,
    /// The call; its outcome is the one that carries this id.
    pub call_id: CallId,
    /// The tool's MCP name.
    pub tool_name: String,
    /// The module the tool belongs to.
    pub module: String,
    /// SHA-256 of the canonical arguments, lower-case hexadecimal.
    pub input_hash: String,
    /// What it was meant to be.
    pub intent: Intent,
    /// Which mistake, where one was meant.
    pub mistake: Option<String>,
    /// The failed call it tried again.
    pub retry_of: Option<CallId>,
    /// What came of it.
    pub result: CallResult,
    /// What the caller was told, when it failed.
    pub error_message: Option<String>,
    /// Whose fault it was, when it failed.
    pub cause: Option<Cause>,
    /// Milliseconds from sending to answer.
    pub latency_ms: Option<u64>,
    /// When it was decided.
    #[schemars(with = "events::Moment")]
    pub created_at: Timestamp,
    /// Place of the commit that holds its `ToolCalled`.
    pub stream_seq: StreamSeq,
}

impl Tables {
    /// How many calls `persona` made at or after `since`.
    pub async fn actions_since(&self, persona: &PersonaId, since: Timestamp) -> Result<u64, TablesError> {
        let row = query(
            "-- name: actions_since
             SELECT COUNT(*) AS actions
             FROM persona_actions
             WHERE persona_id = $1
               AND created_at >= $2",
        )
        .bind(persona.as_str())
        .bind(since.as_microsecond())
        .fetch_one(self.readers())
        .await?;
        Ok(column::count(&row, "actions")?)
    }

    /// The latest `limit` calls of `persona`, newest first.
    pub async fn recent_actions(
        &self,
        persona: &PersonaId,
        limit: u32,
    ) -> Result<Vec<ActionRow>, TablesError> {
        let rows = query(
            "-- name: recent_actions
             SELECT id,
                    persona_id,
                    tick_id,
                    call_id,
                    tool_name,
                    module,
                    input_hash,
                    intent,
                    mistake,
                    retry_of,
                    result,
                    error_message,
                    cause,
                    latency_ms,
                    created_at,
                    stream_seq
             FROM persona_actions
             WHERE persona_id = $1
             ORDER BY created_at DESC,
                      stream_seq DESC,
                      id DESC
             LIMIT $2",
        )
        .bind(persona.as_str())
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        Ok(rows.iter().map(action_of).collect::<Result<_, _>>()?)
    }

    /// The latest `limit` calls of everybody, newest first.
    pub async fn latest_actions(&self, limit: u32) -> Result<Vec<ActionRow>, TablesError> {
        let rows = query(
            "-- name: latest_actions
             SELECT id,
                    persona_id,
                    tick_id,
                    call_id,
                    tool_name,
                    module,
                    input_hash,
                    intent,
                    mistake,
                    retry_of,
                    result,
                    error_message,
                    cause,
                    latency_ms,
                    created_at,
                    stream_seq
             FROM persona_actions
             ORDER BY stream_seq DESC,
                      id DESC
             LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        Ok(rows.iter().map(action_of).collect::<Result<_, _>>()?)
    }

    /// Those of `ids` that are rows already, so that a batch reported twice is written once.
    pub async fn existing_action_ids(&self, ids: &[String]) -> Result<Vec<String>, TablesError> {
        let rows = query_per(|among| {
            format!(
                "-- name: existing_action_ids
                 SELECT id
                 FROM persona_actions
                 WHERE id {}",
                among.placeholder(1)
            )
        })
        .bind(ids.to_vec())
        .fetch_all(self.readers())
        .await?;
        Ok(rows
            .iter()
            .map(|row| row.try_get("id"))
            .collect::<Result<_, _>>()?)
    }
}

/// A call as it stands in `persona_actions`.
pub(super) fn action_of(row: &DbRow) -> Result<ActionRow, sqlx::Error> {
    Ok(ActionRow {
        id: row.try_get("id")?,
        persona_id: column::parsed(row, "persona_id")?,
        tick_id: column::parsed(row, "tick_id")?,
        call_id: column::parsed(row, "call_id")?,
        tool_name: row.try_get("tool_name")?,
        module: row.try_get("module")?,
        input_hash: row.try_get("input_hash")?,
        intent: column::word(row, "intent")?,
        mistake: row.try_get("mistake")?,
        retry_of: column::parsed_option(row, "retry_of")?,
        result: column::word(row, "result")?,
        error_message: row.try_get("error_message")?,
        cause: column::word_option(row, "cause")?,
        latency_ms: column::count_option(row, "latency_ms")?,
        created_at: column::time(row, "created_at")?,
        stream_seq: column::seq(row, "stream_seq")?,
    })
}
