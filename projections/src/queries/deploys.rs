//! When the app was deployed anew.

use events::{DeployName, StreamSeq};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::column;
use crate::database::{Db, query};
use crate::tables::{Tables, TablesError};

/// One deployment, as its operator marked it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeployRow {
    /// What the operator calls it.
    pub name: DeployName,
    /// What it brought.
    pub note: Option<String>,
    /// When it went live.
    #[schemars(with = "events::Moment")]
    pub deployed_at: Timestamp,
    /// Place of the commit that says so.
    pub stream_seq: StreamSeq,
}

impl Tables {
    /// Every deployment that was marked, newest first.
    pub async fn deploys(&self) -> Result<Vec<DeployRow>, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        Ok(all(&mut snapshot.db()).await?)
    }
}

/// Every deployment, newest first.
pub(crate) async fn all(db: &mut Db<'_>) -> Result<Vec<DeployRow>, sqlx::Error> {
    let rows = query(
        "-- name: deploys
         SELECT name,
                note,
                deployed_at,
                stream_seq
         FROM deploys
         ORDER BY deployed_at DESC,
                  stream_seq DESC",
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(DeployRow {
                name: column::parsed(row, "name")?,
                note: row.try_get("note")?,
                deployed_at: column::time(row, "deployed_at")?,
                stream_seq: column::seq(row, "stream_seq")?,
            })
        })
        .collect()
}
