//! Ratings, summed up by module, rater, persona and week; the remarkable ones, one by one.

use super::calls::small;
use super::{DAY_US, Span};
use crate::column;
use crate::database::{Db, DbRow, query, query_text};
use crate::findings::history::{Moments, Rater, RaterSpan, RatingCell, RatingRow};

/// Single ratings of each kind that are looked at.
const REMARKABLE_MAX: i64 = 500;
/// Days in which the lowest ratings are looked at one by one.
const LOW_DAYS: i64 = 21;

pub(super) async fn cells(db: &mut Db<'_>, span: Span) -> Result<Vec<RatingCell>, sqlx::Error> {
    let rows = query(
        "-- name: findings_rating_cells
         SELECT feedback.module,
                feedback.source,
                feedback.brain,
                feedback.model,
                feedback.prompt_version,
                feedback.rubric_version,
                feedback.persona_id,
                COALESCE(personas.archetype, '') AS archetype,
                ($2 - feedback.created_at) / $3 AS week,
                COUNT(CASE WHEN feedback.rating = 1 THEN 1 END) AS ones,
                COUNT(CASE WHEN feedback.rating = 2 THEN 1 END) AS twos,
                COUNT(CASE WHEN feedback.rating = 3 THEN 1 END) AS threes,
                COUNT(CASE WHEN feedback.rating = 4 THEN 1 END) AS fours,
                COUNT(CASE WHEN feedback.rating = 5 THEN 1 END) AS fives,
                COUNT(CASE WHEN feedback.state = 'unsupported' THEN 1 END) AS unsupported,
                COUNT(CASE WHEN feedback.rating IS NOT NULL THEN feedback.friction END) AS frictions,
                COALESCE(SUM(CASE WHEN feedback.friction IS NOT NULL
                                  THEN CAST(feedback.rating AS DOUBLE PRECISION) END), 0.0) AS stars,
                COALESCE(SUM(CASE WHEN feedback.friction IS NOT NULL
                                  THEN CAST(feedback.rating * feedback.rating AS DOUBLE PRECISION) END), 0.0)
                    AS stars_squared,
                COALESCE(SUM(CASE WHEN feedback.rating IS NOT NULL THEN feedback.friction END), 0.0) AS friction,
                COALESCE(SUM(CASE WHEN feedback.rating IS NOT NULL
                                  THEN feedback.friction * feedback.friction END), 0.0) AS friction_squared,
                COALESCE(SUM(feedback.rating * feedback.friction), 0.0) AS product
         FROM persona_feedback AS feedback
         LEFT JOIN personas ON personas.id = feedback.persona_id
         WHERE feedback.state <> 'failed'
           AND feedback.created_at > $1
           AND feedback.created_at <= $2
         GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
         ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9",
    )
    .bind(span.from)
    .bind(span.to)
    .bind(7 * DAY_US)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(RatingCell {
                module: row.try_get("module")?,
                rater: rater(row)?,
                persona_id: row.try_get("persona_id")?,
                archetype: row.try_get("archetype")?,
                week: small(row, "week")?,
                stars: [
                    column::count(row, "ones")?,
                    column::count(row, "twos")?,
                    column::count(row, "threes")?,
                    column::count(row, "fours")?,
                    column::count(row, "fives")?,
                ],
                unsupported: column::count(row, "unsupported")?,
                friction: Moments {
                    count: column::count(row, "frictions")?,
                    stars: row.try_get("stars")?,
                    stars_squared: row.try_get("stars_squared")?,
                    friction: row.try_get("friction")?,
                    friction_squared: row.try_get("friction_squared")?,
                    product: row.try_get("product")?,
                },
            })
        })
        .collect()
}

pub(super) fn rater(row: &DbRow) -> Result<Rater, sqlx::Error> {
    Ok(Rater {
        source: row.try_get("source")?,
        brain: row.try_get("brain")?,
        model: row.try_get("model")?,
        prompt_version: row.try_get("prompt_version")?,
        rubric_version: row
            .try_get::<Option<i64>, _>("rubric_version")?
            .unwrap_or_default(),
    })
}

pub(super) async fn raters(db: &mut Db<'_>, span: Span) -> Result<Vec<RaterSpan>, sqlx::Error> {
    let rows = query(
        "-- name: findings_raters
         SELECT source,
                brain,
                model,
                prompt_version,
                rubric_version,
                MIN(created_at) AS first_at
         FROM persona_feedback
         WHERE state <> 'failed'
           AND created_at <= $1
         GROUP BY 1, 2, 3, 4, 5
         HAVING MAX(created_at) > $2
         ORDER BY 6, 1, 2, 3, 4, 5",
    )
    .bind(span.to)
    .bind(span.from)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(RaterSpan {
                rater: rater(row)?,
                first_at: column::time(row, "first_at")?,
            })
        })
        .collect()
}

/// The lowest ratings of the last three weeks, then those of the figures' time that are kind beside much friction.
pub(super) async fn remarkable(
    db: &mut Db<'_>,
    look_back: Span,
    figures: Span,
) -> Result<Vec<RatingRow>, sqlx::Error> {
    let low_from = look_back.to.saturating_sub(LOW_DAYS * DAY_US);
    let mut found = single(
        db,
        "rating <= 3",
        "rating, created_at DESC, id",
        low_from,
        look_back.to,
    )
    .await?;
    found.extend(
        single(
            db,
            "rating >= 4 AND friction >= 0.5",
            "created_at DESC, id",
            figures.from,
            figures.to,
        )
        .await?,
    );
    Ok(found)
}

async fn single(
    db: &mut Db<'_>,
    which: &str,
    order: &str,
    from: i64,
    to: i64,
) -> Result<Vec<RatingRow>, sqlx::Error> {
    let rows = query_text(format!(
        "-- name: findings_single_ratings
         SELECT id,
                persona_id,
                module,
                source,
                brain,
                model,
                prompt_version,
                rubric_version,
                rating,
                friction,
                notes,
                created_at,
                stream_seq
         FROM persona_feedback
         WHERE {which}
           AND created_at > $1
           AND created_at <= $2
         ORDER BY {order}
         LIMIT $3"
    ))
    .bind(from)
    .bind(to)
    .bind(REMARKABLE_MAX)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(RatingRow {
                id: row.try_get("id")?,
                persona_id: column::parsed(row, "persona_id")?,
                module: row.try_get("module")?,
                rater: rater(row)?,
                rating: u8::try_from(column::count(row, "rating")?).unwrap_or(u8::MAX),
                friction: row.try_get("friction")?,
                notes: row.try_get("notes")?,
                at: column::time(row, "created_at")?,
                stream_seq: column::seq(row, "stream_seq")?,
            })
        })
        .collect()
}

pub(super) async fn failed(db: &mut Db<'_>, span: Span) -> Result<Vec<(String, u64)>, sqlx::Error> {
    let rows = query(
        "-- name: findings_failed_ratings
         SELECT module,
                COUNT(*) AS failed
         FROM persona_feedback
         WHERE state = 'failed'
           AND created_at > $1
           AND created_at <= $2
         GROUP BY module
         ORDER BY module",
    )
    .bind(span.from)
    .bind(span.to)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("module")?, column::count(row, "failed")?)))
        .collect()
}
