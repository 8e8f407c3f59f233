//! How raters rate the calibration twins, by rater and week.

use super::{DAY_US, Span, ratings};
use crate::column;
use crate::database::{Db, query};
use crate::findings::history::TwinCell;

pub(super) async fn cells(db: &mut Db<'_>, span: Span) -> Result<Vec<TwinCell>, sqlx::Error> {
    let rows = query(
        "-- name: findings_twins
         SELECT source,
                brain,
                model,
                prompt_version,
                rubric_version,
                ($2 - rated_at) / $3 AS week,
                COUNT(CASE WHEN twin = 'good' THEN rating END) AS good,
                COALESCE(SUM(CASE WHEN twin = 'good' THEN CAST(rating AS DOUBLE PRECISION) END), 0.0) AS good_stars,
                COUNT(CASE WHEN twin = 'bad' THEN rating END) AS bad,
                COALESCE(SUM(CASE WHEN twin = 'bad' THEN CAST(rating AS DOUBLE PRECISION) END), 0.0) AS bad_stars,
                COUNT(failed) AS failed
         FROM twin_ratings
         WHERE rated_at > $1
           AND rated_at <= $2
         GROUP BY 1, 2, 3, 4, 5, 6
         ORDER BY 1, 2, 3, 4, 5, 6",
    )
    .bind(span.from)
    .bind(span.to)
    .bind(7 * DAY_US)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(TwinCell {
                rater: ratings::rater(row)?,
                week: super::calls::small(row, "week")?,
                good: column::count(row, "good")?,
                good_stars: row.try_get("good_stars")?,
                bad: column::count(row, "bad")?,
                bad_stars: row.try_get("bad_stars")?,
                failed: column::count(row, "failed")?,
            })
        })
        .collect()
}
