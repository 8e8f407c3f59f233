//! How often something may fail before it is restarted no more.

use std::collections::VecDeque;
use std::time::Duration;

/// Counts failures within a moving window. Pure: the time is handed in.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    restarts_max: u32,
    window: Duration,
    failures: VecDeque<Duration>,
}

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Restart it.
    Restart,
    /// Leave it down: it was restarted `restarts` times within the window, and failed again.
    Spent {
        /// Restarts within the window.
        restarts: u32,
    },
}

impl Budget {
    pub(crate) fn new(restarts_max: u32, window: Duration) -> Self {
        Self {
            restarts_max,
            window,
            failures: VecDeque::new(),
        }
    }

    /// Counts a failure at `now` (of [`events::Clock::monotonic`]).
    pub(crate) fn failed(&mut self, now: Duration) -> Verdict {
        while self
            .failures
            .front()
            .is_some_and(|at| now.saturating_sub(*at) >= self.window)
        {
            self.failures.pop_front();
        }
        let restarts = u32::try_from(self.failures.len()).unwrap_or(u32::MAX);
        if restarts >= self.restarts_max {
            return Verdict::Spent { restarts };
        }
        self.failures.push_back(now);
        Verdict::Restart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn failures_beyond_the_budget_within_the_window_spend_it() {
        let mut budget = Budget::new(2, 10 * MINUTE);
        assert_eq!(budget.failed(MINUTE), Verdict::Restart);
        assert_eq!(budget.failed(2 * MINUTE), Verdict::Restart);
        assert_eq!(budget.failed(3 * MINUTE), Verdict::Spent { restarts: 2 });
    }

    #[test]
    fn failures_that_are_long_past_do_not_count() {
        let mut budget = Budget::new(1, 10 * MINUTE);
        assert_eq!(budget.failed(MINUTE), Verdict::Restart);
        assert_eq!(budget.failed(11 * MINUTE), Verdict::Restart);
    }

    #[test]
    fn a_budget_of_nothing_restarts_nothing() {
        assert_eq!(
            Budget::new(0, MINUTE).failed(MINUTE),
            Verdict::Spent { restarts: 0 }
        );
    }
}
