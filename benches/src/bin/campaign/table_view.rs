//! What is in the tables, read from the database and without the program's own queries.

use std::path::Path;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

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
    pub(crate) async fn of_file(file: &Path) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new().filename(file).read_only(true);
        let mut db = options.connect().await?;
        sqlx::query("BEGIN").execute(&mut db).await?;
        Self::read(&mut Snapshot::Sqlite(db)).await
    }

    /// Reads the tables in the Postgres database at `url` in one snapshot.
    ///
    /// # Errors
    /// As [`TableView::of_file`].
    pub(crate) async fn of_postgres(url: &str) -> anyhow::Result<Self> {
        let options: PgConnectOptions = url.parse()?;
        let mut db = options.options([("search_path", "dramatis")]).connect().await?;
        sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .execute(&mut db)
            .await?;
        Self::read(&mut Snapshot::Postgres(db)).await
    }

    async fn read(snapshot: &mut Snapshot) -> anyhow::Result<Self> {
        let titles = match snapshot {
            Snapshot::Sqlite(_) => "COALESCE(fields ->> '$.title.value', '')",
            Snapshot::Postgres(_) => "COALESCE(fields::json #>> '{title,value}', '')",
        };
        let titles = format!("SELECT {titles} FROM records WHERE table_name = 'habits'");
        Ok(Self {
            checkpoint: snapshot
                .number("SELECT COALESCE(MAX(seq), 0) FROM projection_checkpoints")
                .await?,
            calls: snapshot.ids("SELECT call_id FROM persona_actions").await?,
            ratings: snapshot.ids("SELECT id FROM persona_feedback").await?,
            records: snapshot.ids("SELECT record_id FROM records").await?,
            titles: snapshot.ids(&titles).await?,
            pending_in_ended_ticks: snapshot
                .number(
                    "SELECT COUNT(*)
                     FROM persona_actions
                     JOIN ticks ON ticks.id = persona_actions.tick_id
                     WHERE persona_actions.result = 'pending'
                       AND ticks.outcome IS NOT NULL",
                )
                .await?,
            parked: snapshot.number("SELECT COUNT(*) FROM parked_events").await?,
        })
    }
}

/// A connection in a transaction that only reads; both end when it is dropped.
enum Snapshot {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Snapshot {
    async fn ids(&mut self, query: &str) -> anyhow::Result<Counts> {
        let query = sqlx::AssertSqlSafe(query.to_owned());
        let ids: Vec<String> = match self {
            Self::Sqlite(db) => sqlx::query_scalar(query).fetch_all(db).await?,
            Self::Postgres(db) => sqlx::query_scalar(query).fetch_all(db).await?,
        };
        let mut counts = Counts::new();
        for id in ids {
            *counts.entry(id).or_default() += 1;
        }
        Ok(counts)
    }

    async fn number(&mut self, query: &'static str) -> anyhow::Result<u64> {
        let found: i64 = match self {
            Self::Sqlite(db) => sqlx::query_scalar(query).fetch_one(db).await?,
            Self::Postgres(db) => sqlx::query_scalar(query).fetch_one(db).await?,
        };
        Ok(u64::try_from(found)?)
    }
}
