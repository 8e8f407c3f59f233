//! How fast the log grows, from where its end was when somebody looked.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use events::StreamSeq;

/// How far back a look counts.
const WINDOW: Duration = Duration::from_secs(30);
/// Looks closer together than this are one.
const APART: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<VecDeque<(Duration, StreamSeq)>>);

impl Pace {
    /// Notes that the log ended at `end` at `now`; says how many commits a second came lately, if two looks tell.
    pub(crate) fn look(&self, now: Duration, end: StreamSeq) -> Option<f64> {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks
            .back()
            .is_none_or(|(at, _)| now.saturating_sub(*at) >= APART)
        {
            looks.push_back((now, end));
        }
        // One look from before the window stays, so that there is something to compare with.
        while looks.len() > 2
            && looks
                .get(1)
                .is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW)
        {
            looks.pop_front();
        }
        let (at, seq) = looks.front()?;
        let seconds = now.saturating_sub(*at).as_secs_f64();
        (seconds > 0.0).then(|| end.0.saturating_sub(seq.0) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_half_minute() {
        let pace = Pace::default();
        let at = Duration::from_secs;
        assert_eq!(pace.look(at(0), StreamSeq(100)), None);
        assert_eq!(pace.look(at(10), StreamSeq(150)), Some(5.0));
        for second in 11..200 {
            pace.look(at(second), StreamSeq(150));
        }
        assert_eq!(pace.look(at(200), StreamSeq(150)), Some(0.0));
        assert!(pace.0.lock().unwrap().len() < 40);
    }
}
