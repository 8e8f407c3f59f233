//! The ledger of edge input: which classes each field of each tool has seen, and how it stood them.

use events::StreamSeq;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::checkpoint::{self, Checkpoint};
use crate::column;
use crate::database::{Db, DbRow, query};
use crate::tables::{Tables, TablesError};

/// One field of one tool and one edge class, over all personas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EdgeRow {
    /// The tool.
    pub tool: String,
    /// The field; `*` for the call as a whole.
    pub field: String,
    /// The edge class.
    pub class: String,
    /// Times it was taken, and read back as it was sent where that could be seen.
    pub accepted: u64,
    /// Times it was refused cleanly.
    pub refused: u64,
    /// Times it was taken and read back otherwise.
    pub altered: u64,
    /// Times the app broke on it.
    pub broke: u64,
    /// Times there was no answer.
    pub unanswered: u64,
    /// When it was tried last.
    #[schemars(with = "events::Moment")]
    pub last_at: Timestamp,
}

/// The whole ledger as of one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EdgeLedger {
    /// By tool, field and class.
    pub items: Vec<EdgeRow>,
    /// The last commit folded.
    pub as_of_seq: StreamSeq,
}

impl EdgeRow {
    /// Whether it ever went otherwise than it should.
    pub fn is_bad(&self) -> bool {
        self.altered + self.broke + self.unanswered > 0
    }
}

impl Tables {
    /// Which edge classes each field has seen.
    pub async fn edge_ledger(&self) -> Result<EdgeLedger, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        let db = &mut snapshot.db();
        Ok(EdgeLedger {
            items: all(db).await?,
            as_of_seq: Checkpoint::seq_of(checkpoint::read(db).await?.as_ref()),
        })
    }
}

/// Rows of the ledger; fields times classes bound them.
pub(crate) async fn all(db: &mut Db<'_>) -> Result<Vec<EdgeRow>, sqlx::Error> {
    let rows = query(
        "-- name: edge_ledger
         SELECT tool_name,
                field,
                class,
                CAST(SUM(accepted) AS BIGINT) AS accepted,
                CAST(SUM(refused) AS BIGINT) AS refused,
                CAST(SUM(altered) AS BIGINT) AS altered,
                CAST(SUM(broke) AS BIGINT) AS broke,
                CAST(SUM(unanswered) AS BIGINT) AS unanswered,
                MAX(last_at) AS last_at
         FROM edge_coverage
         GROUP BY tool_name, field, class
         ORDER BY tool_name, field, class",
    )
    .fetch_all(db)
    .await?;
    rows.iter().map(edge_of).collect()
}

fn edge_of(row: &DbRow) -> Result<EdgeRow, sqlx::Error> {
    Ok(EdgeRow {
        tool: row.try_get("tool_name")?,
        field: row.try_get("field")?,
        class: row.try_get("class")?,
        accepted: column::count(row, "accepted")?,
        refused: column::count(row, "refused")?,
        altered: column::count(row, "altered")?,
        broke: column::count(row, "broke")?,
        unanswered: column::count(row, "unanswered")?,
        last_at: column::time(row, "last_at")?,
    })
}
