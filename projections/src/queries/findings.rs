//! What findings are made from, in one snapshot: sums where sums will do, rows where a rule looks at single calls.

mod calls;
mod deploy;
mod edges;
mod expectations;
mod ratings;
mod twins;

use events::StreamSeq;
use jiff::{SignedDuration, Timestamp};

use super::deploys;
use crate::checkpoint::{self, Checkpoint};
use crate::column;
use crate::database::{Db, query};
use crate::findings::history::{DAYS, History};
use crate::findings::{Beside, FindingsQuery, FindingsReport, report};
use crate::tables::{Tables, TablesError};

/// The figures' time, unless another is asked for.
const SINCE_DEFAULT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// A stretch of time in microseconds, both ends included.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: i64,
    to: i64,
}

impl Tables {
    /// What was found as of a moment; `None` before the first tick.
    pub async fn findings(&self, asked: &FindingsQuery) -> Result<Option<FindingsReport>, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        let db = &mut snapshot.db();
        let as_of = match asked.as_of {
            Some(as_of) => as_of,
            None => match latest_tick(db).await? {
                Some(latest) => latest,
                None => return Ok(None),
            },
        };
        let since = asked
            .since
            .unwrap_or_else(|| as_of.saturating_sub(SINCE_DEFAULT).unwrap_or(Timestamp::MIN));
        let to = as_of.as_microsecond();
        let look_back = Span {
            from: to.saturating_sub(i64::from(DAYS) * DAY_US),
            to,
        };
        let figures = Span {
            from: since.as_microsecond(),
            to,
        };
        let (troubles, is_shortened) = calls::troubles(db, look_back).await?;
        let history = History {
            calls: calls::cells(db, look_back).await?,
            troubles,
            ratings: ratings::cells(db, look_back).await?,
            remarkable: ratings::remarkable(db, look_back, figures).await?,
            raters: ratings::raters(db, look_back).await?,
            failed_ratings: ratings::failed(db, figures).await?,
            latencies: calls::latencies(db, figures).await?,
            accepted: calls::accepted(db, figures).await?,
            expectations: expectations::figures(db, figures).await?,
            broken_expectations: expectations::broken(db, figures).await?,
            bad_edges: edges::bad(db, figures).await?,
            edges: crate::queries::operators::edges::all(db).await?,
            twins: twins::cells(db, look_back).await?,
            is_shortened,
        };
        let mut marked = deploys::all(db).await?;
        marked.retain(|deploy| {
            deploy.deployed_at <= as_of && deploy.deployed_at.as_microsecond() >= look_back.from
        });
        let around_deploy = match marked.first() {
            Some(latest) => Some(deploy::around(db, latest.clone(), to).await?),
            None => None,
        };
        let beside = Beside {
            around_deploy,
            deploys: marked,
            as_of_seq: as_of_seq(db).await?,
        };
        Ok(Some(report(&history, beside, as_of, since, &asked.offered_tools)))
    }
}

impl Tables {
    /// When the latest tick, call or rating was; `None` before the first.
    pub async fn latest_activity(&self) -> Result<Option<Timestamp>, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        Ok(latest_tick(&mut snapshot.db()).await?)
    }
}

async fn as_of_seq(db: &mut Db<'_>) -> Result<StreamSeq, TablesError> {
    Ok(Checkpoint::seq_of(checkpoint::read(db).await?.as_ref()))
}

/// When the latest tick or call was.
async fn latest_tick(db: &mut Db<'_>) -> Result<Option<Timestamp>, sqlx::Error> {
    let row = query(
        "-- name: findings_latest
         SELECT MAX(latest) AS latest
         FROM (SELECT MAX(COALESCE(finished_at, started_at)) AS latest FROM ticks
               UNION ALL
               SELECT MAX(created_at) AS latest FROM persona_actions
               UNION ALL
               SELECT MAX(created_at) AS latest FROM persona_feedback) AS ends",
    )
    .fetch_one(db)
    .await?;
    column::time_option(&row, "latest")
}
