//! The calibration twins: how far apart a rater puts a toolset that is known to be good and one that is known to be bad.
//!
//! The gap is what its stars are worth: a rater that gives both the same says nothing of the app either. A new model shows
//! as a step here as well as in every module, which is how the two are told apart.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::history::{History, Rater, TwinCell};

/// Fewer ratings of either twin say nothing.
pub(super) const TWIN_RATINGS_MIN: u64 = 5;
/// A rater whose stars for the two are less far apart does not tell them apart.
pub(super) const TWIN_GAP_MIN: f64 = 1.0;

/// How one rater rates the twins.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TwinGap {
    /// Who.
    pub rater: Rater,
    /// Over the time that is looked back.
    pub all: GapFigures,
    /// Week by week, newest first; week 0 is the last seven days.
    pub weeks: Vec<TwinWeek>,
    /// Visits of which no usable rating came.
    pub failed: u64,
}

/// One week of it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TwinWeek {
    /// Weeks before the report's moment.
    pub week: u32,
    /// Its figures.
    #[serde(flatten)]
    pub figures: GapFigures,
}

/// Stars for both, and how far they are apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub struct GapFigures {
    /// Ratings of the good one.
    pub good_ratings: u64,
    /// Their mean.
    pub good: Option<f64>,
    /// Ratings of the bad one.
    pub bad_ratings: u64,
    /// Their mean.
    pub bad: Option<f64>,
    /// The first less the second: today's sensitivity, in stars.
    pub gap: Option<f64>,
}

impl GapFigures {
    fn of(good: (u64, f64), bad: (u64, f64)) -> Self {
        let mean = |(count, sum): (u64, f64)| (count > 0).then(|| sum / count as f64);
        let (good_mean, bad_mean) = (mean(good), mean(bad));
        Self {
            good_ratings: good.0,
            good: good_mean,
            bad_ratings: bad.0,
            bad: bad_mean,
            gap: good_mean.zip(bad_mean).map(|(good, bad)| good - bad),
        }
    }

    /// Whether the twins are told apart; `None` where there are too few ratings to say.
    pub fn tells_apart(&self) -> Option<bool> {
        let are_enough = self.good_ratings >= TWIN_RATINGS_MIN && self.bad_ratings >= TWIN_RATINGS_MIN;
        self.gap.filter(|_| are_enough).map(|gap| gap >= TWIN_GAP_MIN)
    }
}

/// One entry per rater.
pub(super) fn gaps(history: &History) -> Vec<TwinGap> {
    let mut raters: BTreeMap<&Rater, Vec<&TwinCell>> = BTreeMap::new();
    for cell in &history.twins {
        raters.entry(&cell.rater).or_default().push(cell);
    }
    let figures = |cells: &[&TwinCell]| {
        let sum = |of: fn(&TwinCell) -> (u64, f64)| {
            cells.iter().fold((0, 0.0), |(count, stars), cell| {
                let (more, more_stars) = of(cell);
                (count + more, stars + more_stars)
            })
        };
        GapFigures::of(
            sum(|cell| (cell.good, cell.good_stars)),
            sum(|cell| (cell.bad, cell.bad_stars)),
        )
    };
    raters
        .into_iter()
        .map(|(rater, cells)| TwinGap {
            rater: rater.clone(),
            all: figures(&cells),
            weeks: cells
                .iter()
                .map(|cell| TwinWeek {
                    week: cell.week,
                    figures: figures(&[cell]),
                })
                .collect(),
            failed: cells.iter().map(|cell| cell.failed).sum(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(model: &str, week: u32, good: (u64, f64), bad: (u64, f64)) -> TwinCell {
        TwinCell {
            rater: Rater {
                source: "model".to_owned(),
                brain: Some("anthropic".to_owned()),
                model: Some(model.to_owned()),
                prompt_version: Some(1),
                rubric_version: 1,
            },
            week,
            good: good.0,
            good_stars: good.1,
            bad: bad.0,
            bad_stars: bad.1,
            failed: 1,
        }
    }

    fn gaps_of(twins: Vec<TwinCell>) -> Vec<TwinGap> {
        gaps(&History {
            twins,
            ..History::default()
        })
    }

    #[test]
    fn a_change_of_model_is_a_step_in_both_twins_and_each_model_has_a_gap_of_its_own() {
        let found = gaps_of(vec![
            cell("new", 0, (4, 18.0), (4, 16.0)),
            cell("new", 1, (2, 9.0), (2, 8.0)),
            cell("old", 2, (6, 24.0), (6, 12.0)),
        ]);
        let shown: Vec<(&str, Option<f64>, Option<bool>)> = found
            .iter()
            .map(|gap| {
                (
                    gap.rater.model.as_deref().unwrap_or_default(),
                    gap.all.gap,
                    gap.all.tells_apart(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [("new", Some(0.5), Some(false)), ("old", Some(2.0), Some(true))]
        );
        assert_eq!(found[0].weeks.len(), 2);
        assert_eq!(found[0].weeks[0].figures.good, Some(4.5));
        assert_eq!(found[0].failed, 2);
    }

    #[test]
    fn few_ratings_of_either_say_nothing() {
        let found = gaps_of(vec![cell("m", 0, (9, 45.0), (4, 4.0))]);
        assert_eq!(found[0].all.tells_apart(), None);
        let found = gaps_of(vec![cell("m", 0, (9, 45.0), (0, 0.0))]);
        assert_eq!(found[0].all.gap, None);
    }
}
