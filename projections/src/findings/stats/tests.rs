//! Against values worked out by hand or found in the literature.

use super::*;

fn is_about(found: f64, expected: f64) {
    assert!((found - expected).abs() < 5e-4, "{found} is not about {expected}");
}

#[test]
fn wilson_s_interval_is_that_of_the_textbook() {
    // 8 of 10: Wilson gives (0.4902, 0.9433); Newcombe (1998) has 81 of 263 as (0.2553, 0.3662).
    let interval = Share::new(8, 10).interval().unwrap();
    is_about(interval.low, 0.4902);
    is_about(interval.high, 0.9433);
    let interval = Share::new(81, 263).interval().unwrap();
    is_about(interval.low, 0.2553);
    is_about(interval.high, 0.3662);
}

#[test]
fn nothing_of_many_has_an_upper_end_and_nothing_of_nothing_has_no_interval() {
    // 0 of 20: z² / (n + z²) = 3.8415 / 23.8415.
    let interval = Share::new(0, 20).interval().unwrap();
    is_about(interval.low, 0.0);
    is_about(interval.high, 0.1611);
    assert_eq!(Share::default().interval(), None);
    is_about(Share::default().rate(), 0.0);
}

#[test]
fn fisher_s_tea_taster_gets_what_fisher_gave_her() {
    // All four of four: 1 of C(8,4) = 70. Three or more of four: (16 + 1) / 70.
    is_about(fisher_greater(Share::new(4, 4), Share::new(0, 4)), 1.0 / 70.0);
    is_about(fisher_greater(Share::new(3, 4), Share::new(1, 4)), 17.0 / 70.0);
    is_about(fisher_greater(Share::new(0, 4), Share::new(4, 4)), 1.0);
    is_about(fisher_greater(Share::default(), Share::new(1, 4)), 1.0);
}

#[test]
fn false_discovery_rates_are_those_of_benjamini_and_hochberg() {
    // 4 tests: 0.01·4/1 = 0.04, 0.02·4/2 = 0.04, 0.03·4/3 = 0.04, 0.5·4/4; each at most that of the next larger p.
    let rates = false_discovery_rates(&[0.5, 0.01, 0.03, 0.02]);
    for (found, expected) in rates.into_iter().zip([0.5, 0.04, 0.04, 0.04]) {
        is_about(found, expected);
    }
    assert_eq!(false_discovery_rates(&[]), Vec::<f64>::new());
}

#[test]
fn six_who_all_fell_have_one_chance_in_sixty_four() {
    is_about(sign_flip_lower(&[-0.4; 6]), 1.0 / 64.0);
    // One of six rose as much as the others fell: 1 + 6 of 64.
    is_about(sign_flip_lower(&[-0.4, -0.4, -0.4, -0.4, -0.4, 0.4]), 7.0 / 64.0);
    is_about(sign_flip_lower(&[0.5; 6]), 1.0);
    is_about(sign_flip_lower(&[]), 1.0);
}

#[test]
fn beyond_sixteen_the_test_goes_over_into_the_normal_one_without_a_step() {
    // Ten of 16 and of 17 fell by one: exact P(X ≥ 10 | 16) = 0.2272, normal Φ(−3/√17) = 0.2334.
    let of = |fell: usize, all: usize| {
        let differences: Vec<f64> = (0..all).map(|at| if at < fell { -1.0 } else { 1.0 }).collect();
        sign_flip_lower(&differences)
    };
    is_about(of(10, 16), 0.2272);
    is_about(of(10, 17), 0.2334);
    is_about(sign_flip_lower(&[0.0; 30]), 1.0);
}

#[test]
fn the_normal_distribution_is_that_of_the_tables() {
    is_about(normal_below(-1.96), 0.0250);
    is_about(normal_below(0.0), 0.5);
    is_about(normal_below(1.644_854), 0.95);
}

#[test]
fn a_bootstrap_surrounds_the_mean_and_is_the_same_every_time() {
    let values = [1.0, 2.0, 3.0, 4.0, 5.0];
    let interval = bootstrap_90(&values).unwrap();
    assert!(interval.low < 3.0 && interval.high > 3.0, "{interval:?}");
    // The standard error of the resampled mean is √(2/5) = 0.632; 90 % reach ± 1.645 of it.
    assert!((interval.high - interval.low - 2.08).abs() < 0.25, "{interval:?}");
    assert_eq!(bootstrap_90(&values), Some(interval));
    assert_eq!(bootstrap_90(&[2.0, 2.0]), Some(Interval { low: 2.0, high: 2.0 }));
    assert_eq!(bootstrap_90(&[2.0]), None);
}

#[test]
fn a_step_is_dated_where_the_shares_change() {
    let series = [0, 1, 0, 0, 4, 3, 5].map(|of| Share::new(of, 10));
    assert_eq!(step_of(&series), Some(4));
    assert_eq!(step_of(&[Share::new(1, 2); 5]), None);
    assert_eq!(step_of(&[Share::default(); 5]), None);
    assert_eq!(step_of(&[Share::new(1, 2)]), None);
}
