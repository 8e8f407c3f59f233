//! How much there is, of one moment.

use events::StreamSeq;
use schemars::JsonSchema;
use serde::Serialize;

use crate::checkpoint::{self, Checkpoint};
use crate::column;
use crate::database::query;
use crate::tables::{Tables, TablesError};

/// Row counts, all as of the same commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TableCounts {
    /// Personas enrolled.
    pub personas: u64,
    /// Tool calls.
    pub actions: u64,
    /// Tool calls whose outcome is not folded yet.
    pub actions_pending: u64,
    /// Tool calls whose outcome nobody knows.
    pub actions_unknown: u64,
    /// Ratings and failed ratings.
    pub feedback: u64,
    /// Ticks begun.
    pub ticks: u64,
    /// Ticks found unfinished after a crash.
    pub ticks_interrupted: u64,
    /// Records of app data, tombstones included.
    pub records: u64,
    /// MCP sessions, open and closed.
    pub sessions: u64,
    /// Calls that policy refused, or would have.
    pub refusals: u64,
    /// Tool calls the gateway took.
    pub calls: u64,
    /// Those among them without an outcome yet.
    pub calls_pending: u64,
    /// Commits that could not be folded.
    pub parked: u64,
    /// The last commit folded.
    pub as_of_seq: StreamSeq,
}

impl Tables {
    /// Counts every table in one snapshot.
    pub async fn counts(&self) -> Result<TableCounts, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        let row = query(
            "-- name: counts
             SELECT (SELECT COUNT(*) FROM personas) AS personas,
                    (SELECT COUNT(*) FROM persona_actions) AS actions,
                    (SELECT COUNT(*) FROM persona_actions WHERE result = 'pending') AS actions_pending,
                    (SELECT COUNT(*) FROM persona_actions WHERE result = 'unknown') AS actions_unknown,
                    (SELECT COUNT(*) FROM persona_feedback) AS feedback,
                    (SELECT COUNT(*) FROM ticks) AS ticks,
                    (SELECT COUNT(*) FROM ticks WHERE outcome = 'interrupted') AS ticks_interrupted,
                    (SELECT COUNT(*) FROM records) AS records,
                    (SELECT COUNT(*) FROM sessions) AS sessions,
                    (SELECT COUNT(*) FROM refusals) AS refusals,
                    (SELECT COUNT(*) FROM gateway_calls) AS calls,
                    (SELECT COUNT(*) FROM gateway_calls WHERE outcome = 'pending') AS calls_pending,
                    (SELECT COUNT(*) FROM parked_events) AS parked",
        )
        .fetch_one(&mut snapshot.db())
        .await?;
        let checkpoint = checkpoint::read(&mut snapshot.db()).await?;
        Ok(TableCounts {
            personas: column::count(&row, "personas")?,
            actions: column::count(&row, "actions")?,
            actions_pending: column::count(&row, "actions_pending")?,
            actions_unknown: column::count(&row, "actions_unknown")?,
            feedback: column::count(&row, "feedback")?,
            ticks: column::count(&row, "ticks")?,
            ticks_interrupted: column::count(&row, "ticks_interrupted")?,
            records: column::count(&row, "records")?,
            sessions: column::count(&row, "sessions")?,
            refusals: column::count(&row, "refusals")?,
            calls: column::count(&row, "calls")?,
            calls_pending: column::count(&row, "calls_pending")?,
            parked: column::count(&row, "parked")?,
            as_of_seq: Checkpoint::seq_of(checkpoint.as_ref()),
        })
    }
}
