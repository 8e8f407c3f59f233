//! How each module fared over all personas.

use std::collections::BTreeMap;

use super::ModuleDay;
use crate::column;
use crate::database::{Db, query};

pub(super) async fn days(db: &mut Db<'_>, since: i64) -> Result<Vec<ModuleDay>, sqlx::Error> {
    let mut days: BTreeMap<String, ModuleDay> = BTreeMap::new();
    let used = query(
        "-- name: modules_used
         SELECT module,
                COUNT(*) AS calls,
                COUNT(CASE WHEN result = 'error' THEN 1 END) AS errors
         FROM persona_actions
         WHERE stream_seq > $1
         GROUP BY module",
    )
    .bind(since)
    .fetch_all(&mut *db)
    .await?;
    for row in &used {
        let day = day_of(&mut days, row.try_get("module")?);
        day.calls = column::count(row, "calls")?;
        day.errors = column::count(row, "errors")?;
    }
    let rated = query(
        "-- name: modules_rated
         SELECT module,
                COUNT(rating) AS ratings,
                CAST(AVG(rating) AS DOUBLE PRECISION) AS stars_mean,
                AVG(friction) AS friction_mean
         FROM persona_feedback
         WHERE stream_seq > $1
         GROUP BY module",
    )
    .bind(since)
    .fetch_all(db)
    .await?;
    for row in &rated {
        let day = day_of(&mut days, row.try_get("module")?);
        day.ratings = column::count(row, "ratings")?;
        day.stars_mean = row.try_get("stars_mean")?;
        day.friction_mean = row.try_get("friction_mean")?;
    }
    Ok(days.into_values().collect())
}

fn day_of(days: &mut BTreeMap<String, ModuleDay>, module: String) -> &mut ModuleDay {
    days.entry(module.clone()).or_insert(ModuleDay {
        module,
        calls: 0,
        errors: 0,
        ratings: 0,
        stars_mean: None,
        friction_mean: None,
    })
}
