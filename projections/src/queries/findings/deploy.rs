//! The four weeks before a deployment beside what came after it.

use super::DAY_US;
use crate::column;
use crate::database::{Db, query};
use crate::findings::Share;
use crate::findings::history::{AroundDeploy, BeforeAfter, Rater};
use crate::queries::DeployRow;

/// Days before a deployment that it is held against.
const BEFORE_DAYS: i64 = 28;

pub(super) async fn around(db: &mut Db<'_>, deploy: DeployRow, to: i64) -> Result<AroundDeploy, sqlx::Error> {
    let at = deploy.deployed_at.as_microsecond();
    let from = at.saturating_sub(BEFORE_DAYS * DAY_US);
    let rows = query(
        "-- name: findings_tools_around_deploy
         SELECT tool_name,
                COUNT(CASE WHEN created_at < $2 AND cause = 'app' THEN 1 END) AS errors_before,
                COUNT(CASE WHEN created_at < $2 THEN 1 END) AS calls_before,
                COUNT(CASE WHEN created_at >= $2 AND cause = 'app' THEN 1 END) AS errors_after,
                COUNT(CASE WHEN created_at >= $2 THEN 1 END) AS calls_after
         FROM persona_actions
         WHERE created_at > $1
           AND created_at <= $3
           AND intent = 'valid'
           AND (result = 'ok' OR cause = 'app')
         GROUP BY tool_name
         ORDER BY tool_name",
    )
    .bind(from)
    .bind(at)
    .bind(to)
    .fetch_all(&mut *db)
    .await?;
    let tools = rows
        .iter()
        .map(|row| {
            Ok(BeforeAfter {
                name: row.try_get("tool_name")?,
                before: Share::new(
                    column::count(row, "errors_before")?,
                    column::count(row, "calls_before")?,
                ),
                after: Share::new(
                    column::count(row, "errors_after")?,
                    column::count(row, "calls_after")?,
                ),
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(AroundDeploy {
        deploy,
        tools,
        stars: stars(db, from, at, to).await?,
    })
}

/// Personas that rated a module both before and after, by the same rater.
async fn stars(
    db: &mut Db<'_>,
    from: i64,
    at: i64,
    to: i64,
) -> Result<Vec<(Rater, BeforeAfter<f64>)>, sqlx::Error> {
    let rows = query(
        "-- name: findings_stars_around_deploy
         SELECT module,
                source,
                brain,
                model,
                prompt_version,
                rubric_version,
                persona_id,
                CAST(AVG(CASE WHEN created_at < $2 THEN rating END) AS DOUBLE PRECISION) AS before_mean,
                CAST(AVG(CASE WHEN created_at >= $2 THEN rating END) AS DOUBLE PRECISION) AS after_mean
         FROM persona_feedback
         WHERE state = 'rated'
           AND created_at > $1
           AND created_at <= $3
         GROUP BY 1, 2, 3, 4, 5, 6, 7
         HAVING COUNT(CASE WHEN created_at < $2 THEN 1 END) > 0
            AND COUNT(CASE WHEN created_at >= $2 THEN 1 END) > 0
         ORDER BY 1, 2, 3, 4, 5, 6, 7",
    )
    .bind(from)
    .bind(at)
    .bind(to)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let stars = BeforeAfter {
                name: row.try_get("module")?,
                before: row.try_get("before_mean")?,
                after: row.try_get("after_mean")?,
            };
            Ok((super::ratings::rater(row)?, stars))
        })
        .collect()
}
