//! Module by archetype: how each kind of person finds each part of the app.

use std::fmt::Write as _;

use events::{RatingSource, StreamSeq};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::page::as_of;
use crate::column;
use crate::database::{DbRow, query};
use crate::tables::{Tables, TablesError};

/// Ratings below which a cell says so: its interval is wide, and one more rating may turn it.
const ENOUGH: u64 = 30;

/// Every cell that has a rating, by module and archetype.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Heatmap {
    /// The source all of it is from; `None` where there are no ratings at all.
    pub source: Option<RatingSource>,
    /// How many ratings each source gave in that time. Sources never share a cell.
    pub sources: Vec<SourceCount>,
    /// The cells.
    pub cells: Vec<HeatmapCell>,
    /// Ratings below which a cell is marked as few.
    pub enough: u64,
    /// The last commit folded.
    pub as_of_seq: StreamSeq,
}

/// Ratings of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SourceCount {
    /// The source.
    pub source: RatingSource,
    /// Its ratings.
    pub ratings: u64,
}

/// Ratings of one module by one archetype.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct HeatmapCell {
    /// The module.
    pub module: String,
    /// The archetype.
    pub archetype: String,
    /// Ratings; failed and unsupported ones count nowhere.
    pub ratings: u64,
    /// Personas that gave them.
    pub personas: u64,
    /// Mean stars, 1 to 5.
    pub stars_mean: f64,
    /// Half the width of the 95 % interval of the mean (Student's t); `None` with fewer than two ratings.
    pub half_width: Option<f64>,
    /// How many gave one star, two, and so on.
    pub stars: [u64; 5],
    /// Mean friction, 0 (smooth) to 1 (hopeless); `None` where nobody measured it.
    pub friction_mean: Option<f64>,
    /// Whether there are fewer than [`Heatmap::enough`].
    pub is_few: bool,
}

impl Tables {
    /// The cells of ratings given at or after `since`, from `source` alone; from the one that rated most without one.
    pub async fn heatmap(
        &self,
        since: Timestamp,
        source: Option<RatingSource>,
    ) -> Result<Heatmap, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        let rows = query(
            "-- name: rating_sources
             SELECT source,
                    COUNT(rating) AS ratings
             FROM persona_feedback
             WHERE state = 'rated'
               AND created_at >= $1
             GROUP BY source
             ORDER BY ratings DESC,
                      source",
        )
        .bind(since.as_microsecond())
        .fetch_all(&mut snapshot.db())
        .await?;
        let count_of = |row: &DbRow| {
            Ok(SourceCount {
                source: column::word(row, "source")?,
                ratings: column::count(row, "ratings")?,
            })
        };
        let sources: Vec<SourceCount> = rows.iter().map(count_of).collect::<Result<_, sqlx::Error>>()?;
        let source = source.or(sources.first().map(|most| most.source));
        let mut cells = Vec::new();
        if let Some(source) = source {
            let rows = query(
                "-- name: heatmap
                 SELECT persona_feedback.module,
                        personas.archetype,
                        COUNT(*) AS ratings,
                        COUNT(DISTINCT persona_feedback.persona_id) AS personas,
                        COUNT(CASE WHEN persona_feedback.rating = 1 THEN 1 END) AS stars_1,
                        COUNT(CASE WHEN persona_feedback.rating = 2 THEN 1 END) AS stars_2,
                        COUNT(CASE WHEN persona_feedback.rating = 3 THEN 1 END) AS stars_3,
                        COUNT(CASE WHEN persona_feedback.rating = 4 THEN 1 END) AS stars_4,
                        COUNT(CASE WHEN persona_feedback.rating = 5 THEN 1 END) AS stars_5,
                        AVG(persona_feedback.friction) AS friction_mean
                 FROM persona_feedback
                 JOIN personas ON personas.id = persona_feedback.persona_id
                 WHERE persona_feedback.state = 'rated'
                   AND persona_feedback.source = $1
                   AND persona_feedback.created_at >= $2
                 GROUP BY persona_feedback.module,
                          personas.archetype
                 ORDER BY persona_feedback.module,
                          personas.archetype",
            )
            .bind(source.as_str())
            .bind(since.as_microsecond())
            .fetch_all(&mut snapshot.db())
            .await?;
            cells = rows.iter().map(cell_of).collect::<Result<_, _>>()?;
        }
        Ok(Heatmap {
            source,
            sources,
            cells,
            enough: ENOUGH,
            as_of_seq: as_of(&mut snapshot.db()).await?,
        })
    }
}

fn cell_of(row: &DbRow) -> Result<HeatmapCell, sqlx::Error> {
    let mut stars = [0; 5];
    let mut column_name = String::new();
    for (index, count) in stars.iter_mut().enumerate() {
        column_name.clear();
        // Writing to a string cannot fail.
        let _ = write!(column_name, "stars_{}", index + 1);
        let value: i64 = row.try_get(column_name.as_str())?;
        *count = u64::try_from(value).unwrap_or_default();
    }
    let (stars_mean, half_width) = mean_and_half_width(&stars);
    let ratings = column::count(row, "ratings")?;
    Ok(HeatmapCell {
        module: row.try_get("module")?,
        archetype: row.try_get("archetype")?,
        ratings,
        personas: column::count(row, "personas")?,
        stars_mean,
        half_width,
        stars,
        friction_mean: row.try_get("friction_mean")?,
        is_few: ratings < ENOUGH,
    })
}

/// Mean of the stars, and half the width of its 95 % interval.
fn mean_and_half_width(stars: &[u64; 5]) -> (f64, Option<f64>) {
    let values = || {
        (1u32..)
            .zip(stars)
            .map(|(star, count)| (f64::from(star), *count as f64))
    };
    let ratings: f64 = values().map(|(_, count)| count).sum();
    let mean = values().map(|(star, count)| star * count).sum::<f64>() / ratings.max(1.0);
    if ratings < 2.0 {
        return (mean, None);
    }
    let squares: f64 = values().map(|(star, count)| count * (star - mean).powi(2)).sum();
    let error = (squares / (ratings - 1.0) / ratings).sqrt();
    (mean, Some(student_t(ratings - 1.0) * error))
}

/// The 97.5 % point of Student's t: from the table for few degrees of freedom, then its expansion around the normal's.
fn student_t(degrees: f64) -> f64 {
    const FEW: [f64; 10] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    ];
    const NORMAL: f64 = 1.959_964;
    if let Some((_, point)) = (1u32..).zip(FEW).find(|(of, _)| degrees <= f64::from(*of)) {
        return point;
    }
    let power = |exponent| NORMAL.powi(exponent);
    let one = (power(3) + NORMAL) / 4.0;
    let two = (5.0 * power(5) + 16.0 * power(3) + 3.0 * NORMAL) / 96.0;
    let three = (3.0 * power(7) + 19.0 * power(5) + 17.0 * power(3) - 15.0 * NORMAL) / 384.0;
    NORMAL + one / degrees + two / degrees.powi(2) + three / degrees.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_that_of_the_textbook() {
        let (mean, half) = mean_and_half_width(&[1, 0, 1, 0, 2]);
        assert!((mean - 3.5).abs() < 1e-9);
        // s = 1.9149, n = 4, t(3) = 3.182
        assert!((half.unwrap() - 3.0466).abs() < 1e-3, "{half:?}");
        assert_eq!(mean_and_half_width(&[0, 0, 0, 1, 0]), (4.0, None));
        assert_eq!(mean_and_half_width(&[0, 0, 0, 0, 9]), (5.0, Some(0.0)));
        for (degrees, point) in [(11.0, 2.201), (29.0, 2.045), (100.0, 1.984)] {
            assert!((student_t(degrees) - point).abs() < 0.002, "{degrees}");
        }
    }
}
