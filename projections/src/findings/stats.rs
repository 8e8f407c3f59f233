//! The statistics that findings rest on: pure functions over counts and differences, each with its source.
//!
//! Small samples are the rule here (ten personas, some dozen calls a week), so tests are exact where exact ones exist,
//! and intervals are those that keep their promise near 0 and 1.

use schemars::JsonSchema;
use serde::Serialize;

/// The two-sided 95 % point of the standard normal distribution.
const Z_95: f64 = 1.959_963_984_540_054;
/// Up to so many differences every assignment of signs is tried: 2^16 sums.
const SIGN_FLIP_EXACT_MAX: usize = 16;
/// Resamples of a bootstrap; more change the second digit of its ends no longer.
const RESAMPLES: usize = 2_000;
/// Sums that differ by less are equal: what is left of decimal fractions in binary.
const SUM_TOLERANCE: f64 = 1e-9;

/// A share or mean, and where it may well lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Share {
    /// Those that are.
    pub of: u64,
    /// All of them.
    pub total: u64,
}

impl Share {
    /// `of` among `total`.
    pub fn new(of: u64, total: u64) -> Self {
        Self { of, total }
    }

    /// From 0 to 1; 0 of nothing is 0.
    pub fn rate(self) -> f64 {
        self.of as f64 / self.total.max(1) as f64
    }

    /// The 95 % interval of the rate after Wilson; `None` of nothing.
    ///
    /// E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22 (1927), 209–212.
    pub fn interval(self) -> Option<Interval> {
        if self.total == 0 {
            return None;
        }
        let total = self.total as f64;
        let rate = self.rate();
        let squared = Z_95 * Z_95;
        let scale = 1.0 + squared / total;
        let centre = (rate + squared / (2.0 * total)) / scale;
        let reach = Z_95 / scale * (rate * (1.0 - rate) / total + squared / (4.0 * total * total)).sqrt();
        Some(Interval {
            low: (centre - reach).max(0.0),
            high: (centre + reach).min(1.0),
        })
    }
}

/// How likely at least `now.of` of the events would fall into `now` if both shares were equal: Fisher's exact test, one
/// side.
///
/// R. A. Fisher, "The Logic of Inductive Inference", Journal of the Royal Statistical Society 98 (1935), 39–82.
pub(super) fn fisher_greater(now: Share, before: Share) -> f64 {
    let (drawn, all) = (now.total, now.total + before.total);
    let marked = now.of + before.of;
    let most = marked.min(drawn);
    let logs = LogFactorials::up_to(all);
    let ways = logs.choose(all, drawn);
    let tail: f64 = (now.of..=most)
        .filter(|of| drawn - of <= all - marked)
        .map(|of| (logs.choose(marked, of) + logs.choose(all - marked, drawn - of) - ways).exp())
        .sum();
    tail.min(1.0)
}

/// Logarithms of factorials, once each.
struct LogFactorials(Vec<f64>);

impl LogFactorials {
    fn up_to(most: u64) -> Self {
        let mut logs = Vec::with_capacity(usize::try_from(most).unwrap_or_default() + 1);
        let mut sum = 0.0;
        logs.push(sum);
        for factor in 1..=most {
            sum += (factor as f64).ln();
            logs.push(sum);
        }
        Self(logs)
    }

    fn of(&self, number: u64) -> f64 {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        self.0.get(at).copied().unwrap_or(f64::INFINITY)
    }

    fn choose(&self, all: u64, some: u64) -> f64 {
        self.of(all) - self.of(some) - self.of(all - some)
    }
}

/// The same tests' p-values as rates of false discovery among all of them, in the same order.
///
/// Y. Benjamini and Y. Hochberg, "Controlling the False Discovery Rate", Journal of the Royal Statistical Society B 57
/// (1995), 289–300.
pub(super) fn false_discovery_rates(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|one, other| p_values[*other].total_cmp(&p_values[*one]));
    let mut rates = vec![1.0; p_values.len()];
    let mut least = 1.0_f64;
    for (place, at) in order.into_iter().enumerate() {
        let rank = p_values.len() - place;
        least = least.min(p_values[at] * p_values.len() as f64 / rank as f64);
        rates[at] = least;
    }
    rates
}

/// How likely a sum as low as that of `differences` would be if each could as well have been of the other sign: the
/// sign-flip (one-sample permutation) test, lower side. Every assignment of signs is tried for up to 16 of them; beyond,
/// the sum of flipped signs is as good as normal.
///
/// R. A. Fisher, "The Design of Experiments" (1935), §21.
pub(super) fn sign_flip_lower(differences: &[f64]) -> f64 {
    if differences.is_empty() {
        return 1.0;
    }
    let seen: f64 = differences.iter().sum();
    if differences.len() > SIGN_FLIP_EXACT_MAX {
        let spread = differences.iter().map(|one| one * one).sum::<f64>().sqrt();
        return if spread > 0.0 {
            normal_below(seen / spread)
        } else {
            1.0
        };
    }
    let assignments = 1_u64 << differences.len();
    let as_low = (0..assignments)
        .filter(|signs| {
            let sum: f64 = (differences.iter().enumerate())
                .map(|(at, one)| if signs >> at & 1 == 1 { -one } else { *one })
                .sum();
            sum <= seen + SUM_TOLERANCE
        })
        .count();
    as_low as f64 / assignments as f64
}

/// The share of a standard normal distribution below `z`, to seven digits.
///
/// M. Abramowitz and I. Stegun, "Handbook of Mathematical Functions" (1964), 26.2.17.
fn normal_below(z: f64) -> f64 {
    const COEFFICIENTS: [f64; 5] = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let polynomial = COEFFICIENTS
        .iter()
        .rev()
        .fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    let above = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * polynomial;
    if z < 0.0 { above } else { 1.0 - above }
}

/// Where a series of shares most likely took its one step, as the place of the first share after it; `None` where there
/// are fewer than two shares, or all alike.
///
/// D. V. Hinkley and E. A. Hinkley, "Inference about the Change-Point in a Sequence of Binomial Variables", Biometrika 57
/// (1970), 477–488.
pub(super) fn step_of(series: &[Share]) -> Option<usize> {
    let sum = |part: &[Share]| {
        part.iter().fold(Share::default(), |sum, one| {
            Share::new(sum.of + one.of, sum.total + one.total)
        })
    };
    let likelihood = |share: Share| {
        let term = |count: u64| {
            let share = count as f64 / share.total.max(1) as f64;
            if count == 0 {
                0.0
            } else {
                count as f64 * share.ln()
            }
        };
        term(share.of) + term(share.total - share.of)
    };
    let of_split = |at: usize| likelihood(sum(&series[..at])) + likelihood(sum(&series[at..]));
    let without = likelihood(sum(series));
    (1..series.len())
        .map(|at| (at, of_split(at)))
        .filter(|(_, found)| *found > without + SUM_TOLERANCE)
        .max_by(|one, other| one.1.total_cmp(&other.1).then(other.0.cmp(&one.0)))
        .map(|(at, _)| at)
}

/// The arithmetic mean; `None` of nothing.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The 90 % interval of the mean by resampling: what it would have been with other personas of their kind. Chance is a
/// fixed seed, so the same values have the same interval. `None` of fewer than two.
///
/// B. Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7 (1979), 1–26 (percentile method).
pub(super) fn bootstrap_90(values: &[f64]) -> Option<Interval> {
    if values.len() < 2 {
        return None;
    }
    let mut chance = SplitMix(0x5EED);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sum: f64 = (0..values.len())
                .map(|_| values[chance.below(values.len())])
                .sum();
            sum / values.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    Some(Interval {
        low: means[RESAMPLES / 20],
        high: means[RESAMPLES - 1 - RESAMPLES / 20],
    })
}

/// G. L. Steele, D. Lea and C. H. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
struct SplitMix(u64);

impl SplitMix {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is small beside 2^64.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.draw() % end as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
