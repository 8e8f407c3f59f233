//! The drift rule, over stars made up for it.

use super::*;
use crate::findings::history::{Moments, RatingCell};
use events::testing::sample_time;

fn rater(prompt_version: i64) -> Rater {
    Rater {
        source: "model".to_owned(),
        brain: None,
        model: None,
        prompt_version: Some(prompt_version),
        rubric_version: 1,
    }
}

/// One rating a week of each persona: `before` stars in the eight weeks before the last three, `now` in those.
fn history(
    personas: usize,
    before: usize,
    now: impl Fn(usize, u32) -> usize,
    prompt: impl Fn(u32) -> i64,
) -> History {
    let cells = (0..personas).flat_map(|persona| {
        let (now, prompt) = (&now, &prompt);
        (0..WEEKS).map(move |week| {
            let mut stars = [0; 5];
            stars[if week < NOW_WEEKS {
                now(persona, week)
            } else {
                before
            } - 1] = 1;
            RatingCell {
                module: "todo".to_owned(),
                rater: rater(prompt(week)),
                persona_id: format!("p{persona}"),
                archetype: String::new(),
                week,
                stars,
                unsupported: 0,
                friction: Moments::default(),
            }
        })
    });
    History {
        ratings: cells.collect(),
        ..History::default()
    }
}

fn found(history: &History) -> Vec<Finding> {
    rated_worse(history, &judged(history), &Moment(sample_time()))
}

#[test]
fn seven_who_all_gave_a_star_less_for_three_weeks_are_a_finding_dated_to_its_beginning() {
    let history = history(7, 4, |_, _| 3, |_| 1);
    let found = found(&history);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].headline,
        "todo is rated worse for three weeks: -1.0 stars"
    );
    assert_eq!(found[0].p_value, Some(1.0 / 128.0));
    assert_eq!(found[0].since, Some(Moment(sample_time()).days_ago(20)));
}

#[test]
fn of_six_all_must_have_fallen_and_five_are_not_enough() {
    assert_eq!(found(&history(6, 4, |_, _| 3, |_| 1)).len(), 1);
    let one_rose = history(6, 4, |persona, _| if persona == 0 { 5 } else { 2 }, |_| 1);
    assert_eq!(found(&one_rose), []);
    let five = history(5, 4, |_, _| 1, |_| 1);
    assert_eq!(judged(&five)[0].verdict, Verdict::TooLittle { personas: 5 });
    assert_eq!(found(&five), []);
}

#[test]
fn a_week_that_was_as_good_as_before_keeps_the_rule_silent() {
    let recovered = history(10, 4, |_, week| if week == 0 { 4 } else { 1 }, |_| 1);
    assert_eq!(found(&recovered), []);
}

#[test]
fn a_new_prompt_begins_a_trend_of_its_own_and_is_never_held_against_the_old_one() {
    let history = history(10, 5, |_, _| 1, |week| if week < NOW_WEEKS { 2 } else { 1 });
    let judged = judged(&history);
    assert_eq!(judged.len(), 2);
    assert!(
        judged
            .iter()
            .all(|judged| judged.verdict == Verdict::TooLittle { personas: 0 })
    );
    assert_eq!(found(&history), []);
}

#[test]
fn a_trend_has_its_weeks_with_intervals_and_says_which_are_thin() {
    let history = history(4, 4, |persona, _| if persona == 0 { 2 } else { 4 }, |_| 1);
    let trend = trends(&judged(&history), &Moment(sample_time())).remove(0);
    assert_eq!(trend.weeks.len(), WEEKS as usize);
    let last = trend.weeks.last().unwrap();
    assert_eq!((last.personas, last.ratings, last.is_thin), (4, 4, true));
    assert!((last.difference + 0.5).abs() < 1e-9);
    let interval = last.interval.unwrap();
    assert!(interval.low <= -0.5 && interval.high >= -0.5, "{interval:?}");
    assert_eq!(last.ends_at, sample_time());
}
