//! Raters: whether their stars tell a good day from a bad one. Stars that do not are no trend, however many there are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::history::{History, Moments, Rater, RatingRow};
use super::stats::Share;
use super::twins::{self, GapFigures};

/// Fewer ratings say nothing of their rater.
const RATINGS_MIN: u64 = 30;
/// With friction that varies less there is nothing to tell apart.
const FRICTION_SPREAD_MIN: f64 = 0.05;
/// Stars have to go down when friction goes up, at least so clearly.
const CORRELATION_MAX: f64 = -0.3;
/// More stars without support than that, and what is left is a selection.
const UNSUPPORTED_MAX: f64 = 0.2;
/// Stars that are kind…
const KIND_STARS: u8 = 4;
/// …beside this much friction are flattery.
const FLATTERED_FRICTION: f64 = 0.5;

/// How well one rater discriminates.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RaterMeter {
    /// Who.
    pub rater: Rater,
    /// Its first rating on record, where a trend of its own begins.
    #[schemars(with = "events::Moment")]
    pub first_at: Timestamp,
    /// Ratings that count.
    pub ratings: u64,
    /// How many of one star, two, up to five.
    pub stars: [u64; 5],
    /// The share of fours, which raters that do not look give.
    pub fours: f64,
    /// The standard deviation of the stars.
    pub deviation: f64,
    /// Stars against friction, from −1 (they fall as it rises) to 1; absent where one of the two does not vary.
    pub correlation: Option<f64>,
    /// Stars that rest on nothing that happened, of all that were given.
    pub unsupported: Share,
    /// How it rates the calibration twins, where it has visited them.
    pub twins: Option<GapFigures>,
    /// What follows.
    pub discriminates: Discriminates,
}

/// Whether stars tell a good day from a bad one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Discriminates {
    /// They do.
    Yes,
    /// They do not: trends of this rater mean nothing.
    No,
    /// Too few ratings, or too even days, to say.
    Unknown,
}

/// One meter per rater.
pub(super) fn meters(history: &History) -> Vec<RaterMeter> {
    let mut raters: BTreeMap<&Rater, ([u64; 5], u64, Moments)> = BTreeMap::new();
    for cell in &history.ratings {
        let (stars, unsupported, moments) = raters.entry(&cell.rater).or_default();
        for (sum, count) in stars.iter_mut().zip(cell.stars) {
            *sum += count;
        }
        *unsupported += cell.unsupported;
        *moments = moments.plus(cell.friction);
    }
    let gaps = twins::gaps(history);
    raters
        .into_iter()
        .filter_map(|(rater, (stars, unsupported, moments))| {
            let first_at = history.raters.iter().find(|span| span.rater == *rater)?.first_at;
            let ratings: u64 = stars.iter().sum();
            let unsupported = Share::new(unsupported, ratings + unsupported);
            let correlation = correlation(moments);
            let twins = gaps.iter().find(|gap| gap.rater == *rater).map(|gap| gap.all);
            Some(RaterMeter {
                rater: rater.clone(),
                first_at,
                ratings,
                stars,
                fours: Share::new(stars[3], ratings).rate(),
                deviation: spread(&stars),
                correlation,
                unsupported,
                discriminates: judge(ratings, moments, correlation, unsupported, twins),
                twins,
            })
        })
        .collect()
}

fn judge(
    ratings: u64,
    moments: Moments,
    correlation: Option<f64>,
    unsupported: Share,
    twins: Option<GapFigures>,
) -> Discriminates {
    // Whoever gives a toolset that is known to be bad nearly what it gives the good one tells nothing apart.
    if twins.and_then(|twins| twins.tells_apart()) == Some(false) {
        return Discriminates::No;
    }
    if ratings < RATINGS_MIN {
        return Discriminates::Unknown;
    }
    if unsupported.rate() > UNSUPPORTED_MAX {
        return Discriminates::No;
    }
    if moments.count < RATINGS_MIN || friction_spread(moments) < FRICTION_SPREAD_MIN {
        return Discriminates::Unknown;
    }
    // Stars that do not vary beside friction that does have no correlation, and tell nothing apart.
    match correlation {
        Some(correlation) if correlation <= CORRELATION_MAX => Discriminates::Yes,
        _ => Discriminates::No,
    }
}

fn friction_spread(moments: Moments) -> f64 {
    let count = moments.count.max(1) as f64;
    (moments.friction_squared / count - (moments.friction / count).powi(2))
        .max(0.0)
        .sqrt()
}

fn correlation(moments: Moments) -> Option<f64> {
    let count = moments.count as f64;
    let together = count * moments.product - moments.stars * moments.friction;
    let stars = count * moments.stars_squared - moments.stars.powi(2);
    let friction = count * moments.friction_squared - moments.friction.powi(2);
    (stars > 1e-9 && friction > 1e-9).then(|| together / (stars * friction).sqrt())
}

fn spread(stars: &[u64; 5]) -> f64 {
    let count: u64 = stars.iter().sum();
    let sum = |of: fn(f64) -> f64| -> f64 {
        (1_u32..)
            .zip(stars)
            .map(|(star, count)| of(f64::from(star)) * *count as f64)
            .sum()
    };
    let count = count.max(1) as f64;
    (sum(|star| star * star) / count - (sum(|star| star) / count).powi(2))
        .max(0.0)
        .sqrt()
}

/// Ratings that are kinder than what happened: four stars or more beside a friction of a half or more.
pub(super) fn flattery(history: &History, since: Timestamp, most: usize) -> Vec<RatingRow> {
    let is_flattery = |row: &&RatingRow| {
        row.at >= since
            && row.rating >= KIND_STARS
            && row
                .friction
                .is_some_and(|friction| friction >= FLATTERED_FRICTION)
    };
    history
        .remarkable
        .iter()
        .filter(is_flattery)
        .take(most)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::history::{RaterSpan, RatingCell};
    use events::testing::sample_time;

    fn rater(model: &str) -> Rater {
        Rater {
            source: "model".to_owned(),
            brain: Some("anthropic".to_owned()),
            model: Some(model.to_owned()),
            prompt_version: Some(1),
            rubric_version: 1,
        }
    }

    /// One meter of a rater that gave those stars beside that friction, so many times each.
    fn meter(given: &[(u8, f64)], times: usize, unsupported: u64) -> RaterMeter {
        let mut stars = [0; 5];
        let mut moments = Moments::default();
        for (star, friction) in given.iter().cycle().take(given.len() * times) {
            stars[usize::from(*star) - 1] += 1;
            let star = f64::from(*star);
            moments = moments.plus(Moments {
                count: 1,
                stars: star,
                stars_squared: star * star,
                friction: *friction,
                friction_squared: friction * friction,
                product: star * friction,
            });
        }
        let history = History {
            ratings: vec![RatingCell {
                module: "todo".to_owned(),
                rater: rater("m"),
                persona_id: "anna".to_owned(),
                archetype: String::new(),
                week: 0,
                stars,
                unsupported,
                friction: moments,
            }],
            raters: vec![RaterSpan {
                rater: rater("m"),
                first_at: sample_time(),
            }],
            ..History::default()
        };
        meters(&history).remove(0)
    }

    #[test]
    fn stars_that_fall_as_friction_rises_discriminate() {
        let found = meter(&[(5, 0.0), (4, 0.1), (2, 0.5)], 20, 0);
        assert_eq!(found.discriminates, Discriminates::Yes);
        // Sums of (5, 4, 2) against (0, 0.1, 0.5), by hand: −0.76667 / √(4.66667 · 0.14).
        let correlation = found.correlation.unwrap();
        assert!((correlation + 0.9897).abs() < 5e-3, "{correlation}");
        assert!((found.deviation - (14.0_f64 / 9.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn a_rater_that_gives_fours_whatever_happens_does_not() {
        let found = meter(&[(4, 0.0), (4, 0.1), (4, 0.5)], 20, 0);
        assert_eq!(
            (found.discriminates, found.correlation),
            (Discriminates::No, None)
        );
        assert!((found.fours - 1.0).abs() < 1e-9);
    }

    #[test]
    fn neither_does_one_a_fifth_of_whose_stars_rest_on_nothing() {
        let given = [(5, 0.0), (4, 0.1), (2, 0.5)];
        assert_eq!(meter(&given, 20, 16).discriminates, Discriminates::No);
        assert_eq!(meter(&given, 20, 15).discriminates, Discriminates::Yes);
    }

    #[test]
    fn few_ratings_or_days_all_alike_say_nothing_of_a_rater() {
        assert_eq!(
            meter(&[(5, 0.0), (2, 0.5)], 14, 0).discriminates,
            Discriminates::Unknown
        );
        assert_eq!(
            meter(&[(5, 0.0), (4, 0.01)], 50, 0).discriminates,
            Discriminates::Unknown
        );
    }
}
