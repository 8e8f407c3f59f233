//! What is in the tables, read from the database file and without the program's own queries.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use crate::log_view::Counts;

/// The rows of one moment, as far as the trial judges them.
#[derive(Debug, Default)]
pub(crate) struct TableView {
    /// Where the fold stands.
    pub(crate) checkpoint: u64,
    /// Calls by their id.
    pub(crate) calls: Counts,
    /// Ratings and failed ratings by row id.
    pub(crate) ratings: Counts,
    /// Records by their id.
    pub(crate) records: Counts,
    /// Titles of habits.
    pub(crate) titles: Counts,
    /// Calls without an outcome in ticks that have ended.
    pub(crate) pending_in_ended_ticks: u64,
    /// Commits that could not be folded.
    pub(crate) parked: u64,
}

impl TableView {
    /// Reads the file in one snapshot.
    ///
    /// # Errors
    /// When it is not there or not as expected.
    pub(crate) async fn read(file: &Path) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new().filename(file).read_only(true);
        let mut db = options.connect().await?;
        let mut snapshot = db.begin().await?;
        let view = Self {
            checkpoint: number(
                &mut snapshot,
                "SELECT COALESCE(MAX(seq), 0) FROM projection_checkpoints",
            )
            .await?,
            calls: ids(&mut snapshot, "SELECT call_id FROM persona_actions").await?,
            ratings: ids(&mut snapshot, "SELECT id FROM persona_feedback").await?,
            records: ids(&mut snapshot, "SELECT record_id FROM records").await?,
            titles: ids(
                &mut snapshot,
                "SELECT COALESCE(fields ->> '$.title.value', '') FROM records WHERE table_name = 'habits'",
            )
            .await?,
            pending_in_ended_ticks: number(
                &mut snapshot,
                "SELECT COUNT(*)
                 FROM persona_actions
                 JOIN ticks ON ticks.id = persona_actions.tick_id
                 WHERE persona_actions.result = 'pending'
                   AND ticks.outcome IS NOT NULL",
            )
            .await?,
            parked: number(&mut snapshot, "SELECT COUNT(*) FROM parked_events").await?,
        };
        drop(snapshot);
        db.close().await?;
        Ok(view)
    }
}

async fn ids(db: &mut SqliteConnection, query: &'static str) -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    for row in sqlx::query(query).fetch_all(db).await? {
        *counts.entry(row.try_get(0)?).or_default() += 1;
    }
    Ok(counts)
}

async fn number(db: &mut SqliteConnection, query: &'static str) -> anyhow::Result<u64> {
    let found: i64 = sqlx::query_scalar(query).fetch_one(db).await?;
    Ok(u64::try_from(found)?)
}
