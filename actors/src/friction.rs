//! The friction index: one number for how much a module got in the way, from counts alone.
//!
//! ```text
//! friction = 0.5 · weighted errors / calls     a refused mistake that was then corrected weighs 0.2, any other error 1
//!          + 0.1 · retries / calls
//!          + 0.1 · repeats / calls
//!          + 0.2 · gave up                      1 when the module's last call failed, else 0
//!          + 0.1 · slowness                     0 up to 500 ms for the slowest call, 1 from 5 000 ms, linear between
//! ```
//!
//! It is 0 when nothing was in the way and 1 when nothing worked. `docs/ratings.md` explains it to operators; a
//! change here raises [`RUBRIC_VERSION`], and ratings of two versions never share a trend.

use crate::digest::ModuleDigest;

/// Version of the formula and of the thresholds in [`stars_for`].
pub const RUBRIC_VERSION: u32 = 1;

const ERRORS: f64 = 0.5;
const RETRIES: f64 = 0.1;
const REPEATS: f64 = 0.1;
const GAVE_UP: f64 = 0.2;
const SLOWNESS: f64 = 0.1;
/// What a refused and then corrected mistake counts, where another error counts 1.
const HELPED: f64 = 0.2;
const SLOW_FROM_MS: f64 = 500.0;
const SLOW_TO_MS: f64 = 5_000.0;

/// Below each of these friction values there is one star more: 5, 4, 3, 2.
const STAR_STEPS: [(f64, u8); 4] = [(0.05, 5), (0.15, 4), (0.35, 3), (0.6, 2)];

/// How much the module got in the way: 0 (not at all) to 1, to three decimals.
pub fn friction(digest: &ModuleDigest) -> f64 {
    let share = |count: f64| count / f64::from(digest.calls.max(1));
    let helped = f64::from(digest.helped);
    let errors = f64::from(digest.errors) - helped + helped * HELPED;
    let slowness = ((digest.slowest_ms as f64 - SLOW_FROM_MS) / (SLOW_TO_MS - SLOW_FROM_MS)).clamp(0.0, 1.0);
    let sum = ERRORS * share(errors)
        + RETRIES * share(f64::from(digest.retries))
        + REPEATS * share(f64::from(digest.repeats))
        + GAVE_UP * f64::from(u8::from(digest.gave_up))
        + SLOWNESS * slowness;
    (sum.clamp(0.0, 1.0) * 1_000.0).round() / 1_000.0
}

/// The stars that stand for a friction value.
pub fn stars_for(friction: f64) -> u8 {
    STAR_STEPS
        .iter()
        .find(|(below, _)| friction < *below)
        .map_or(1, |(_, stars)| *stars)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(calls: u32, errors: u32) -> ModuleDigest {
        ModuleDigest {
            calls,
            errors,
            slowest_ms: 20,
            ..ModuleDigest::default()
        }
    }

    fn is(digest: &ModuleDigest, friction_expected: f64, stars: u8) {
        let friction = friction(digest);
        assert_eq!(
            (friction, stars_for(friction)),
            (friction_expected, stars),
            "{digest:?}"
        );
    }

    #[test]
    fn the_formula_gives_what_the_page_says() {
        is(&digest(5, 0), 0.0, 5);
        is(&digest(5, 1), 0.1, 4);
        is(&digest(5, 3), 0.3, 3);
        is(
            &ModuleDigest {
                gave_up: true,
                retries: 1,
                repeats: 1,
                ..digest(5, 2)
            },
            0.44,
            2,
        );
        is(
            &ModuleDigest {
                gave_up: true,
                retries: 3,
                repeats: 3,
                ..digest(4, 4)
            },
            0.85,
            1,
        );
        is(
            &ModuleDigest {
                slowest_ms: 5_000,
                ..digest(5, 0)
            },
            0.1,
            4,
        );
        is(
            &ModuleDigest {
                slowest_ms: 500,
                ..digest(5, 0)
            },
            0.0,
            5,
        );
    }

    #[test]
    fn a_refusal_that_helped_weighs_a_fifth_of_one_that_did_not() {
        is(
            &ModuleDigest {
                helped: 1,
                retries: 1,
                ..digest(5, 1)
            },
            0.04,
            5,
        );
        is(
            &ModuleDigest {
                retries: 1,
                ..digest(5, 1)
            },
            0.12,
            4,
        );
    }

    #[test]
    fn a_module_without_calls_has_no_friction() {
        is(&ModuleDigest::default(), 0.0, 5);
    }

    #[test]
    fn the_page_for_operators_has_these_weights_and_steps() {
        let page = include_str!("../../docs/ratings.md");
        let mut promised = vec![
            format!("rubric version {RUBRIC_VERSION}"),
            format!("{ERRORS} · (errors − {} · helped) / calls", 1.0 - HELPED),
            format!("{RETRIES} · retries / calls"),
            format!("{REPEATS} · repeats / calls"),
            format!("{GAVE_UP} · gave up"),
            format!("{SLOWNESS} · slowness"),
        ];
        promised.extend(STAR_STEPS.map(|(below, stars)| format!("| below {below} | {stars} |")));
        for text in promised {
            assert!(page.contains(&text), "docs/ratings.md does not say: {text}");
        }
    }

    proptest! {
        #[test]
        fn friction_stays_between_0_and_1_and_more_trouble_never_gives_more_stars(
            calls in 1u32..40, errors in 0u32..40, helped in 0u32..40, retries in 0u32..40, repeats in 0u32..40,
            gave_up: bool, slowest_ms: u64,
        ) {
            let errors = errors.min(calls - 1);
            let one = ModuleDigest {
                calls, errors, helped: helped.min(errors), retries: retries.min(calls), repeats: repeats.min(calls),
                gave_up, slowest_ms, ..ModuleDigest::default()
            };
            let worse = ModuleDigest { errors: errors + 1, gave_up: true, ..one.clone() };
            prop_assert!((0.0..=1.0).contains(&friction(&one)));
            prop_assert!((1..=5).contains(&stars_for(friction(&one))));
            prop_assert!(friction(&worse) > friction(&one) || friction(&one) >= 1.0);
            prop_assert!(stars_for(friction(&worse)) <= stars_for(friction(&one)));
        }
    }
}
