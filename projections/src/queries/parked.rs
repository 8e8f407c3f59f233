//! What could not be folded.

use events::{CommitId, StreamSeq};
use schemars::JsonSchema;
use serde::Serialize;

use crate::column;
use crate::database::query;
use crate::error::Stage;
use crate::tables::{Tables, TablesError};

/// A commit none of whose events is in the tables. Its body is in the log, at `seq`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ParkedRow {
    /// Its place.
    pub seq: StreamSeq,
    /// Its id; `None` where the message had no readable one.
    pub commit_id: Option<CommitId>,
    /// The subject it stands under.
    pub subject: String,
    /// The step that failed.
    pub stage: Stage,
    /// Why.
    pub reason: String,
}

impl Tables {
    /// Every parked commit, oldest first.
    pub async fn parked(&self) -> Result<Vec<ParkedRow>, TablesError> {
        let rows = query(
            "-- name: parked
             SELECT seq,
                    commit_id,
                    subject,
                    stage,
                    reason
             FROM parked_events
             ORDER BY seq",
        )
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ParkedRow {
                    seq: column::seq(row, "seq")?,
                    commit_id: column::parsed_option(row, "commit_id")?,
                    subject: row.try_get("subject")?,
                    stage: column::word(row, "stage")?,
                    reason: row.try_get("reason")?,
                })
            })
            .collect()
    }

    /// How many there are.
    pub(crate) async fn parked_count(&self) -> Result<u64, TablesError> {
        let row = query("SELECT COUNT(*) AS parked FROM parked_events")
            .fetch_one(self.readers())
            .await?;
        Ok(column::count(&row, "parked")?)
    }
}
