//! Modules: how their ratings move, persona against the same persona, and which are rated worse.
//!
//! Who used a module in a week moves its mean more than anything the app does. So each persona is held against itself:
//! what counts is by how much its stars differ from what it gave before. Raters are never mixed: a new model, prompt or
//! rubric begins a baseline of its own.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::history::{History, Rater, WEEKS};
use super::stats::{Interval, bootstrap_90, mean, sign_flip_lower};
use super::{Evidence, Finding, FindingKind, Moment};

/// The weeks that are judged…
const NOW_WEEKS: u32 = 3;
/// …against the eight before: together all that is looked back.
const BEFORE_WEEKS: u32 = WEEKS - NOW_WEEKS;
/// A fall of fewer stars is none.
const FALL_MIN: f64 = 0.3;
/// How likely chance may be to have made it.
const P_MAX: f64 = 0.01;
/// Fewer personas are not enough evidence, and never an alarm.
const PERSONAS_MIN: usize = 6;
/// Below these a week is drawn in grey.
const PERSONAS_THIN: usize = 5;
const RATINGS_THIN: u64 = 10;
/// Stars that are evidence of a fall.
const LOW_STARS: u8 = 3;

/// How one rater's ratings of one module moved.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ModuleTrend {
    /// The module.
    pub module: String,
    /// By whom.
    pub rater: Rater,
    /// Mean stars of the last seven days.
    pub stars_mean: Option<f64>,
    /// Weeks, oldest first.
    pub weeks: Vec<TrendWeek>,
    /// What the rule says of it.
    pub verdict: Verdict,
}

/// One week of a trend.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TrendWeek {
    /// When it ended.
    #[schemars(with = "events::Moment")]
    pub ends_at: Timestamp,
    /// Personas that rated, and had before.
    pub personas: usize,
    /// Ratings.
    pub ratings: u64,
    /// Mean over personas of stars minus that persona's own baseline.
    pub difference: f64,
    /// Where that may well lie with other personas of their kind (90 %, bootstrap).
    pub interval: Option<Interval>,
    /// Fewer than five personas or ten ratings: nothing to build on.
    pub is_thin: bool,
}

/// What the drift rule says.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Verdict {
    /// Rated worse for three weeks.
    Worse {
        /// Mean over personas of the stars of three weeks minus those of the eight before.
        difference: f64,
        /// How likely chance would be to make it.
        p_value: f64,
        /// Personas that are compared.
        personas: usize,
    },
    /// Nothing that the rule would report.
    Steady {
        /// As above.
        difference: f64,
        /// As above.
        p_value: f64,
        /// As above.
        personas: usize,
    },
    /// Not enough evidence.
    TooLittle {
        /// Personas that could be compared; six are needed.
        personas: usize,
    },
}

/// One persona's stars: sum and count, by week.
type Weeks = BTreeMap<u32, (f64, u64)>;

/// One rater's stars of one module, by persona, and what the rule says of them.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    module: &'a str,
    rater: &'a Rater,
    personas: BTreeMap<&'a str, Weeks>,
    verdict: Verdict,
}

/// Every module and rater.
pub(super) fn judged(history: &History) -> Vec<Judged<'_>> {
    let mut personas: BTreeMap<(&str, &Rater), BTreeMap<&str, Weeks>> = BTreeMap::new();
    for cell in history.ratings.iter().filter(|cell| cell.count() > 0) {
        let weeks = personas
            .entry((&cell.module, &cell.rater))
            .or_default()
            .entry(&cell.persona_id)
            .or_default();
        let week = weeks.entry(cell.week).or_default();
        *week = (week.0 + cell.sum(), week.1 + cell.count());
    }
    personas
        .into_iter()
        .map(|((module, rater), personas)| Judged {
            module,
            rater,
            verdict: verdict(&personas),
            personas,
        })
        .collect()
}

/// One trend per module and rater.
pub(super) fn trends(judged: &[Judged<'_>], moment: &Moment) -> Vec<ModuleTrend> {
    judged
        .iter()
        .map(|judged| ModuleTrend {
            module: judged.module.to_owned(),
            rater: judged.rater.clone(),
            stars_mean: stars_mean(judged.personas.values(), 0..1),
            weeks: (0..WEEKS)
                .rev()
                .filter_map(|week| trend_week(&judged.personas, week, moment))
                .collect(),
            verdict: judged.verdict.clone(),
        })
        .collect()
}

/// The mean of all stars of some weeks.
fn stars_mean<'a>(personas: impl Iterator<Item = &'a Weeks>, weeks: std::ops::Range<u32>) -> Option<f64> {
    let (sum, count) = personas
        .flat_map(|persona| persona.range(weeks.clone()))
        .fold((0.0, 0), |(sum, count), (_, week)| (sum + week.0, count + week.1));
    (count > 0).then(|| sum / count as f64)
}

/// What a persona gives in the eight weeks before the last three.
fn baseline(persona: &Weeks) -> Option<f64> {
    stars_mean(std::iter::once(persona), NOW_WEEKS..WEEKS)
}

/// Each persona's mean over `weeks` minus its baseline, for those that have both.
fn differences(personas: &BTreeMap<&str, Weeks>, weeks: std::ops::Range<u32>) -> Vec<f64> {
    personas
        .values()
        .filter_map(|persona| {
            let now = stars_mean(std::iter::once(persona), weeks.clone())?;
            Some(now - baseline(persona)?)
        })
        .collect()
}

fn trend_week(personas: &BTreeMap<&str, Weeks>, week: u32, moment: &Moment) -> Option<TrendWeek> {
    let differences = differences(personas, week..week + 1);
    let ratings = personas
        .values()
        .filter_map(|persona| persona.get(&week))
        .map(|week| week.1)
        .sum();
    Some(TrendWeek {
        ends_at: moment.days_ago_end(week * 7),
        personas: differences.len(),
        ratings,
        difference: mean(&differences)?,
        interval: bootstrap_90(&differences),
        is_thin: differences.len() < PERSONAS_THIN || ratings < RATINGS_THIN,
    })
}

/// Rated worse for three weeks: each of the last three below the eight before, by 0.3 stars together, and one chance in a
/// hundred or less by the exact sign-flip test. With six personas no chance is that small, so all six must have fallen.
fn verdict(personas: &BTreeMap<&str, Weeks>) -> Verdict {
    let changes = differences(personas, 0..NOW_WEEKS);
    let personas_compared = changes.len();
    let Some(difference) = mean(&changes).filter(|_| personas_compared >= PERSONAS_MIN) else {
        return Verdict::TooLittle {
            personas: personas_compared,
        };
    };
    let p_value = sign_flip_lower(&changes);
    let is_below_each_week = (0..NOW_WEEKS)
        .all(|week| mean(&differences(personas, week..week + 1)).is_some_and(|mean| mean < 0.0));
    let is_unlikely = if personas_compared == PERSONAS_MIN {
        changes.iter().all(|change| *change < 0.0)
    } else {
        p_value <= P_MAX
    };
    if is_below_each_week && difference <= -FALL_MIN && is_unlikely {
        Verdict::Worse {
            difference,
            p_value,
            personas: personas_compared,
        }
    } else {
        Verdict::Steady {
            difference,
            p_value,
            personas: personas_compared,
        }
    }
}

/// What the rule reports.
pub(super) fn rated_worse(history: &History, judged: &[Judged<'_>], moment: &Moment) -> Vec<Finding> {
    let worse = |judged: &Judged<'_>| {
        let Verdict::Worse {
            difference,
            p_value,
            personas,
        } = judged.verdict
        else {
            return None;
        };
        let from = moment.days_ago(NOW_WEEKS * 7 - 1);
        let rows = history.remarkable.iter().filter(|row| {
            row.module == judged.module
                && row.rater == *judged.rater
                && row.rating <= LOW_STARS
                && row.at >= from
        });
        Some(Finding {
            kind: FindingKind::RatedWorse,
            module: judged.module.to_owned(),
            tool: None,
            headline: format!(
                "{} is rated worse for three weeks: {difference:+.1} stars",
                judged.module
            ),
            detail: format!(
                "{personas} personas, each held against what it gave in the {BEFORE_WEEKS} weeks before; rated by {}",
                judged.rater
            ),
            since: step(&judged.personas).map(|week| moment.days_ago(week * 7 + 6)),
            deploy: None,
            personas_affected: personas as u64,
            p_value: Some(p_value),
            false_discovery_rate: None,
            evidence: rows.take(Evidence::MAX).map(Evidence::of_rating).collect(),
        })
    };
    judged.iter().filter_map(worse).collect()
}

/// The first week of the lower stars: the split with the largest persona-blocked difference.
fn step(personas: &BTreeMap<&str, Weeks>) -> Option<u32> {
    let change_at = |first: u32| {
        let changes: Vec<f64> = personas
            .values()
            .filter_map(|persona| {
                let mean_of = |weeks| stars_mean(std::iter::once(persona), weeks);
                Some(mean_of(0..first + 1)? - mean_of(first + 1..WEEKS)?)
            })
            .collect();
        mean(&changes).filter(|_| changes.len() >= PERSONAS_MIN)
    };
    (0..WEEKS - 1)
        .filter_map(|first| Some((first, change_at(first)?)))
        .min_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(first, _)| first)
}

#[cfg(test)]
mod tests;
