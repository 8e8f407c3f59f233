//! What is reported of an app that breaks, and of one that does not.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// The first week at whose end each finding stood in the morning's report.
fn first_reported(cast: &mut Cast, faults: &[Fault]) -> BTreeMap<(FindingKind, String), u32> {
    let mut first = BTreeMap::new();
    for week in 1..=WEEKS {
        if week == PLANTED_WEEK + 1 {
            cast.break_app(faults);
        }
        for _ in 0..7 {
            cast.live_a_day();
        }
        for finding in named(&cast.morning()) {
            first.entry(finding).or_insert(week);
        }
    }
    first
}

#[test]
fn planted_faults_are_reported_within_three_weeks_and_nothing_else_is() {
    for seed in 0..3 {
        let mut cast = Cast::new(seed);
        let faults = [
            Fault::ToolFails("habits.list", 0.3),
            Fault::ErrorsNameNoField("todo"),
        ];
        let first = first_reported(&mut cast, &faults);
        let must_be_there = [
            (FindingKind::Regression, "habits.list"),
            (FindingKind::UnhelpfulErrors, "todo"),
        ];
        for (kind, about) in must_be_there {
            let week = first.get(&(kind, about.to_owned()));
            assert!(
                week.is_some_and(|week| (PLANTED_WEEK + 1..=PLANTED_WEEK + FOUND_WITHIN_WEEKS).contains(week)),
                "seed {seed}: {kind:?} of {about} in {week:?}; all: {first:?}"
            );
        }
        // What else is said is said of the same two: the new words of the failing tool, the stars of its module.
        let about: BTreeSet<&str> = first.keys().map(|(_, about)| about.as_str()).collect();
        let foreign: Vec<_> = about
            .iter()
            .filter(|about| !["habits", "habits.list", "todo"].contains(about))
            .collect();
        assert_eq!(foreign, Vec::<&&str>::new(), "seed {seed}: {first:?}");
    }
}

#[test]
fn of_twenty_casts_whose_app_never_breaks_at_most_one_finding_is_reported_in_all() {
    let five_from = |start: u64| {
        let casts = (start..start + 5).map(|seed| (seed, first_reported(&mut Cast::new(seed), &[])));
        casts.filter(|(_, first)| !first.is_empty()).collect::<Vec<_>>()
    };
    // Side by side: the casts have nothing in common.
    let reported: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = [100, 105, 110, 115]
            .map(|start| scope.spawn(move || five_from(start)))
            .into();
        let found = threads.into_iter().map(|thread| thread.join().unwrap());
        found.flatten().collect()
    });
    let findings: usize = reported.iter().map(|(_, first)| first.len()).sum();
    assert!(findings <= 1, "{reported:?}");
}
