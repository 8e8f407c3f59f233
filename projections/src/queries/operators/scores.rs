//! How each module fares, day by day.

use std::collections::BTreeMap;

use events::StreamSeq;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::page::as_of;
use crate::column;
use crate::database::query;
use crate::tables::{Tables, TablesError};

const DAY_MICROS: i64 = 86_400_000_000;
/// Days a series may have.
const DAYS_MAX: u32 = 90;

/// Every module that was rated in that time.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ModuleScores {
    /// By name.
    pub modules: Vec<ModuleScore>,
    /// The first instant of each day of the series, oldest first; days are those of UTC.
    #[schemars(with = "Vec<events::Moment>")]
    pub days: Vec<Timestamp>,
    /// The last commit folded.
    pub as_of_seq: StreamSeq,
}

/// One module's ratings.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ModuleScore {
    /// The module.
    pub module: String,
    /// Ratings in all those days.
    pub ratings: u64,
    /// Their mean stars.
    pub stars_mean: f64,
    /// Mean friction; `None` where nobody measured it.
    pub friction_mean: Option<f64>,
    /// One entry per day.
    pub days: Vec<ScoreDay>,
}

/// A day of a module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub struct ScoreDay {
    /// Ratings.
    pub ratings: u64,
    /// Mean stars; `None` without ratings.
    pub stars_mean: Option<f64>,
}

impl Tables {
    /// The ratings of the last `days` days up to and including that of `now`.
    pub async fn module_scores(&self, now: Timestamp, days: u32) -> Result<ModuleScores, TablesError> {
        let days = days.clamp(1, DAYS_MAX);
        let today = now.as_microsecond().div_euclid(DAY_MICROS);
        let first = today - i64::from(days) + 1;
        let mut snapshot = self.readers().snapshot().await?;
        let rows = query(
            "-- name: module_scores
             SELECT module,
                    created_at / 86400000000 AS day,
                    COUNT(*) AS ratings,
                    CAST(SUM(rating) AS BIGINT) AS stars,
                    COUNT(friction) AS frictions,
                    SUM(friction) AS friction
             FROM persona_feedback
             WHERE state = 'rated'
               AND created_at >= $1
             GROUP BY module,
                      day
             ORDER BY module,
                      day",
        )
        .bind(first * DAY_MICROS)
        .fetch_all(&mut snapshot.db())
        .await?;
        let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
        for row in &rows {
            let of_module = sums.entry(row.try_get("module")?).or_insert_with(|| Sums {
                days: vec![ScoreDay::default(); days as usize],
                ..Sums::default()
            });
            let (ratings, stars) = (column::count(row, "ratings")?, column::count(row, "stars")?);
            of_module.ratings += ratings;
            of_module.stars += stars;
            of_module.frictions += column::count(row, "frictions")?;
            of_module.friction += row.try_get::<Option<f64>, _>("friction")?.unwrap_or_default();
            // What a clock ahead of ours wrote belongs to the last day there is.
            let day = usize::try_from(row.try_get::<i64, _>("day")? - first).unwrap_or_default();
            let day = day.min(days as usize - 1);
            if let Some(day) = of_module.days.get_mut(day) {
                let stars = stars as f64 + day.stars_mean.unwrap_or_default() * day.ratings as f64;
                day.ratings += ratings;
                day.stars_mean = Some(stars / day.ratings.max(1) as f64);
            }
        }
        Ok(ModuleScores {
            modules: sums
                .into_iter()
                .map(|(module, sums)| sums.into_score(module))
                .collect(),
            days: (first..=today)
                .filter_map(|day| Timestamp::from_microsecond(day * DAY_MICROS).ok())
                .collect(),
            as_of_seq: as_of(&mut snapshot.db()).await?,
        })
    }
}

#[derive(Debug, Default)]
struct Sums {
    ratings: u64,
    stars: u64,
    frictions: u64,
    friction: f64,
    days: Vec<ScoreDay>,
}

impl Sums {
    fn into_score(self, module: String) -> ModuleScore {
        ModuleScore {
            module,
            ratings: self.ratings,
            stars_mean: self.stars as f64 / self.ratings.max(1) as f64,
            friction_mean: (self.frictions > 0).then(|| self.friction / self.frictions as f64),
            days: self.days,
        }
    }
}
