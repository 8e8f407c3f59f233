//! When a persona is due: calendar days of its own time zone, at its own time of day.
//!
//! Everything follows from the instant the last tick [counts for](counted_at), so a tick that was missed for days is due once, not many
//! times, and a tick asked for by hand counts as that day's. The result is an instant; whoever asks compares it
//! with the present.

use events::{Cadence, TickTrigger};
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use sha2::{Digest as _, Sha256};

/// The hour the earliest daily slot is in; nobody acts at night.
const DAY_STARTS_HOUR: i8 = 7;
/// Minutes over which daily slots are spread: 07:00 to 21:59.
const DAY_MINUTES: u64 = 15 * 60;
/// Seconds over which those are spread who come back after having been put off.
const DEFERRAL_SPREAD_S: i64 = 600;
/// Seconds in an hour.
const HOUR_S: i64 = 3_600;

/// A persona's own time within a day or an hour, so that a hundred personas of one cadence do not all act at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Local time of day of a daily tick.
    pub time: Time,
    /// Seconds into the hour of an hourly tick.
    pub second_of_hour: i64,
}

impl Slot {
    /// The slot that follows from the account's email and `seed`, the same on every machine and in every database:
    /// an account's id is made up anew where it is registered anew.
    pub fn of(email: &str, seed: u64) -> Self {
        let digest = Sha256::new()
            .chain_update(seed.to_be_bytes())
            .chain_update(email)
            .finalize();
        let drawn = digest
            .iter()
            .take(8)
            .fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        let minute = i64::try_from(drawn % DAY_MINUTES).unwrap_or(0);
        let morning = Time::constant(DAY_STARTS_HOUR, 0, 0, 0);
        Self {
            // Wrapping cannot happen: 07:00 and less than fifteen hours.
            time: morning.wrapping_add(minute.minutes()),
            second_of_hour: i64::try_from((drawn >> 32) % 3_600).unwrap_or(0),
        }
    }
}

/// The zone of that IANA name; UTC where this machine knows none of that name. Catalog and admin API refuse unknown
/// names, so only a foreign log leads here.
pub(crate) fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// The instant a tick counts for: when it was due by its cadence, unless it began an hour or more too late. Who acts a
/// little late through no fault of its own keeps its day's course, and a slow machine lives the same days as a fast one.
pub(crate) fn counted_at(trigger: TickTrigger, due_at: Timestamp, started_at: Timestamp) -> Timestamp {
    let late = started_at.duration_since(due_at);
    let is_in_time = !late.is_negative() && late < SignedDuration::from_secs(HOUR_S);
    if trigger == TickTrigger::Schedule && is_in_time {
        due_at
    } else {
        started_at
    }
}

/// When the next tick is due. A persona that never ran is due since `enrolled_at`.
///
/// `last` is the instant the last tick counted for, whatever it was triggered by. Daily and weekday ticks fall on the
/// first fitting calendar day after it, at the slot's time on the wall clock there; where a change of daylight
/// saving leaves that time out, as much later as the clock jumps, and where it comes twice, the first of the two.
/// Hourly ticks fall into the first whole hour after it.
pub fn next_due(
    cadence: Cadence,
    zone: &TimeZone,
    enrolled_at: Timestamp,
    last: Option<Timestamp>,
    slot: Slot,
) -> Timestamp {
    let Some(last) = last else {
        return enrolled_at;
    };
    match cadence {
        Cadence::Hourly => {
            let hour = last.as_second().div_euclid(HOUR_S) + 1;
            Timestamp::from_second(hour * HOUR_S + slot.second_of_hour).unwrap_or(Timestamp::MAX)
        }
        Cadence::Daily => next_day(last, zone, slot, |_| true),
        Cadence::Weekdays => next_day(last, zone, slot, |day| {
            !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday)
        }),
    }
}

/// When a persona whose tick was put off until `resume_at` is due: spread over ten minutes by its slot, so that those
/// who were put off together do not come back together, and later each time in a row, so that a server that is never
/// ready does not fill the log.
pub(crate) fn after_deferral(last: Timestamp, resume_at: Timestamp, in_a_row: u32, slot: Slot) -> Timestamp {
    let spread = SignedDuration::from_secs(slot.second_of_hour % DEFERRAL_SPREAD_S);
    let at_least = SignedDuration::from_mins(1 << (2 * in_a_row.saturating_sub(1)).min(10));
    let resume_at = resume_at.saturating_add(spread).unwrap_or(Timestamp::MAX);
    resume_at.max(last.saturating_add(at_least).unwrap_or(Timestamp::MAX))
}

/// When the schedule lets a persona act that is due since `due_since`, where nobody let anybody act until `back_since`. Who
/// missed its time by an hour or more waits for its own second of the hour that begins then: after days of downtime
/// everybody acts once, and not all at once.
pub(crate) fn made_up_at(due_since: Timestamp, back_since: Timestamp, slot: Slot) -> Timestamp {
    if back_since.duration_since(due_since) < SignedDuration::from_secs(HOUR_S) {
        return due_since;
    }
    let wait = SignedDuration::from_secs(slot.second_of_hour);
    back_since.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// The slot on the first day after `last`'s that `fits`.
fn next_day(last: Timestamp, zone: &TimeZone, slot: Slot, fits: impl Fn(Date) -> bool) -> Timestamp {
    let mut day = last.to_zoned(zone.clone()).date();
    loop {
        let Ok(tomorrow) = day.tomorrow() else {
            return Timestamp::MAX;
        };
        day = tomorrow;
        if !fits(day) {
            continue;
        }
        let due = day
            .to_datetime(slot.time)
            .to_zoned(zone.clone())
            .map_or(Timestamp::MAX, |due| due.timestamp());
        // A zone that skips a whole day puts that day's slot on the next one: still later than `last`.
        return due.max(
            last.saturating_add(SignedDuration::from_secs(1))
                .unwrap_or(Timestamp::MAX),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn slot(hour: i8, minute: i8) -> Slot {
        Slot {
            time: Time::constant(hour, minute, 0, 0),
            second_of_hour: 600,
        }
    }

    const ENROLLED: Timestamp = Timestamp::constant(1_767_600_000, 0);

    fn daily(zone: &TimeZone, last: &str, slot: Slot) -> Timestamp {
        next_due(Cadence::Daily, zone, ENROLLED, Some(at(last)), slot)
    }

    #[test]
    fn who_was_put_off_comes_back_spread_out_and_later_each_time() {
        let (last, resume) = (at("2026-01-05T08:00:00Z"), at("2026-01-05T08:00:30Z"));
        let due = |in_a_row, second_of_hour| {
            let slot = Slot {
                second_of_hour,
                ..slot(9, 0)
            };
            after_deferral(last, resume, in_a_row, slot)
        };
        assert_eq!(due(1, 45), at("2026-01-05T08:01:15Z"));
        assert_eq!(due(1, 645), at("2026-01-05T08:01:15Z"), "within ten minutes");
        assert_eq!(due(1, 0), at("2026-01-05T08:01:00Z"), "never at once");
        assert_eq!(due(3, 45), at("2026-01-05T08:16:00Z"));
        assert_eq!(due(50, 0), at("2026-01-06T01:04:00Z"), "and never for ever");
    }

    #[test]
    fn a_persona_that_never_ran_is_due_since_its_enrolment() {
        for cadence in [Cadence::Daily, Cadence::Weekdays, Cadence::Hourly] {
            assert_eq!(next_due(cadence, &berlin(), ENROLLED, None, slot(9, 0)), ENROLLED);
        }
    }

    #[test]
    fn a_daily_slot_keeps_its_wall_clock_time_when_daylight_saving_begins() {
        // 28 to 29 March 2026: the day has 23 hours.
        assert_eq!(
            daily(&berlin(), "2026-03-28T08:00:00Z", slot(9, 0)),
            at("2026-03-29T07:00:00Z")
        );
    }

    #[test]
    fn a_daily_slot_keeps_its_wall_clock_time_when_daylight_saving_ends() {
        // 24 to 25 October 2026: the day has 25 hours.
        assert_eq!(
            daily(&berlin(), "2026-10-24T07:00:00Z", slot(9, 0)),
            at("2026-10-25T08:00:00Z")
        );
    }

    #[test]
    fn a_slot_that_the_clock_jumps_over_is_as_much_later() {
        // 02:30 on 29 March 2026 does not exist in Berlin; 03:30 summer time stands for it.
        assert_eq!(
            daily(&berlin(), "2026-03-28T12:00:00Z", slot(2, 30)),
            at("2026-03-29T01:30:00Z")
        );
    }

    #[test]
    fn a_slot_that_comes_twice_is_due_at_the_first() {
        // 02:30 on 25 October 2026 comes at 00:30 and at 01:30 UTC; having run at the first, the next is a day away.
        assert_eq!(
            daily(&berlin(), "2026-10-24T12:00:00Z", slot(2, 30)),
            at("2026-10-25T00:30:00Z")
        );
        assert_eq!(
            daily(&berlin(), "2026-10-25T00:30:00Z", slot(2, 30)),
            at("2026-10-26T01:30:00Z")
        );
    }

    #[test]
    fn days_are_those_of_the_persona() {
        // 20:00 UTC on the 5th is already the 6th in Auckland, and still the 5th in Los Angeles.
        let (auckland, angeles) = (
            TimeZone::get("Pacific/Auckland").unwrap(),
            TimeZone::get("America/Los_Angeles").unwrap(),
        );
        assert_eq!(
            daily(&auckland, "2026-01-05T20:00:00Z", slot(9, 0)),
            at("2026-01-06T20:00:00Z")
        );
        assert_eq!(
            daily(&angeles, "2026-01-05T20:00:00Z", slot(9, 0)),
            at("2026-01-06T17:00:00Z")
        );
    }

    #[test]
    fn weekdays_leave_out_the_weekend_of_the_persona() {
        let weekdays = |last| next_due(Cadence::Weekdays, &berlin(), ENROLLED, Some(at(last)), slot(9, 0));
        assert_eq!(
            weekdays("2026-01-08T08:00:00Z"),
            at("2026-01-09T08:00:00Z"),
            "Thursday to Friday"
        );
        assert_eq!(
            weekdays("2026-01-09T08:00:00Z"),
            at("2026-01-12T08:00:00Z"),
            "Friday to Monday"
        );
        // 23:30 UTC on Sunday is Monday in Berlin, so the next one is Tuesday.
        assert_eq!(
            weekdays("2026-01-11T23:30:00Z"),
            at("2026-01-13T08:00:00Z"),
            "late on Sunday"
        );
    }

    #[test]
    fn weekdays_keep_their_wall_clock_time_over_a_weekend_in_which_the_clock_changes() {
        let weekdays = |last| next_due(Cadence::Weekdays, &berlin(), ENROLLED, Some(at(last)), slot(9, 0));
        // Friday to Monday over 29 March 2026, when summer time begins, and over 25 October 2026, when it ends.
        assert_eq!(weekdays("2026-03-27T08:00:00Z"), at("2026-03-30T07:00:00Z"));
        assert_eq!(weekdays("2026-10-23T07:00:00Z"), at("2026-10-26T08:00:00Z"));
        // On the other side of the world the clock changes on another Sunday, the other way round.
        let auckland = TimeZone::get("Pacific/Auckland").unwrap();
        let weekdays = |last| next_due(Cadence::Weekdays, &auckland, ENROLLED, Some(at(last)), slot(9, 0));
        assert_eq!(weekdays("2026-04-02T20:00:00Z"), at("2026-04-05T21:00:00Z"));
        assert_eq!(weekdays("2026-09-24T21:00:00Z"), at("2026-09-27T20:00:00Z"));
    }

    #[test]
    fn an_hourly_persona_is_due_in_the_next_hour_at_its_own_minute() {
        let hourly = |last| next_due(Cadence::Hourly, &berlin(), ENROLLED, Some(at(last)), slot(9, 0));
        assert_eq!(hourly("2026-03-29T00:10:00Z"), at("2026-03-29T01:10:00Z"));
        assert_eq!(
            hourly("2026-03-29T00:59:59Z"),
            at("2026-03-29T01:10:00Z"),
            "across the jump of the wall clock"
        );
    }

    #[test]
    fn a_tick_that_begins_a_little_late_leaves_no_hour_out_and_one_that_was_missed_does_not_count_for_then() {
        let (due, slot) = (
            at("2026-01-05T08:59:59Z"),
            Slot {
                second_of_hour: 3_599,
                ..slot(9, 0)
            },
        );
        let counted = |started| counted_at(TickTrigger::Schedule, due, at(started));
        let next = |last| next_due(Cadence::Hourly, &berlin(), ENROLLED, Some(last), slot);
        assert_eq!(next(counted("2026-01-05T09:00:02Z")), at("2026-01-05T09:59:59Z"));
        assert_eq!(counted("2026-01-05T10:00:00Z"), at("2026-01-05T10:00:00Z"));
        let by_hand = counted_at(TickTrigger::Manual, due, at("2026-01-05T09:00:02Z"));
        assert_eq!(by_hand, at("2026-01-05T09:00:02Z"));
    }

    #[test]
    fn after_downtime_one_tick_is_due_not_many() {
        let (slot, back) = (slot(9, 0), at("2026-01-20T15:00:00Z"));
        let missed = daily(&berlin(), "2026-01-10T08:00:00Z", slot);
        assert_eq!(missed, at("2026-01-11T08:00:00Z"));
        assert!(missed < back);
        let after = next_due(Cadence::Daily, &berlin(), ENROLLED, Some(back), slot);
        assert_eq!(
            after,
            at("2026-01-21T08:00:00Z"),
            "the tick made up for counts as today's"
        );
    }

    #[test]
    fn after_downtime_those_who_missed_their_time_are_spread_over_an_hour_and_the_others_are_not() {
        let (missed, back) = (at("2026-01-11T08:00:00Z"), at("2026-01-20T15:10:00Z"));
        let slot = |second_of_hour| Slot {
            second_of_hour,
            ..slot(9, 0)
        };
        assert_eq!(made_up_at(missed, back, slot(0)), back);
        assert_eq!(made_up_at(missed, back, slot(3_599)), at("2026-01-20T16:09:59Z"));
        let just_before = at("2026-01-20T14:11:00Z");
        assert_eq!(
            made_up_at(just_before, back, slot(3_599)),
            just_before,
            "a short absence"
        );
        let later = at("2026-01-20T15:30:00Z");
        assert_eq!(made_up_at(later, back, slot(3_599)), later, "nothing was missed");
    }

    #[test]
    fn slots_follow_from_persona_and_seed_and_lie_in_the_day() {
        let anna = "persona.anna@mana.test";
        assert_eq!(Slot::of(anna, 1), Slot::of(anna, 1));
        assert_ne!(Slot::of(anna, 1), Slot::of(anna, 2));
        let hours = (0..500)
            .map(|n| Slot::of(anna, n).time.hour())
            .collect::<std::collections::BTreeSet<_>>();
        assert_eq!(hours, (7..22).collect());
    }

    proptest! {
        #[test]
        fn the_next_tick_is_later_than_the_last_and_never_two_on_one_day(
            last in 1_500_000_000i64..2_000_000_000,
            minute in 0i8..60, hour in 0i8..24,
            name in proptest::sample::select(vec![
                "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia", "Africa/Casablanca", "UTC",
            ]),
        ) {
            let (zone, last) = (TimeZone::get(name).unwrap(), Timestamp::from_second(last).unwrap());
            let slot = Slot { time: Time::constant(hour, minute, 0, 0), second_of_hour: i64::from(minute) * 60 };
            for cadence in [Cadence::Daily, Cadence::Weekdays, Cadence::Hourly] {
                let due = next_due(cadence, &zone, ENROLLED, Some(last), slot);
                prop_assert!(due > last);
                if cadence != Cadence::Hourly {
                    let day = |at: Timestamp| at.to_zoned(zone.clone()).date();
                    prop_assert!(day(due) > day(last));
                }
            }
        }
    }
}
