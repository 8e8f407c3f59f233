//! The breaker of one mount: stops asking a server that cannot be reached, and tries again one call at a time.
//!
//! What a server answers, an error included, is a sign of life. Only what kept an answer from coming counts.

use std::time::Duration;

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 5;
/// How long it stays open before one call is let through to see.
const OPEN_FOR: Duration = Duration::from_secs(10);

/// See the module. A pure state machine over a monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Calls go through.
    #[default]
    Closed,
    /// None do until then.
    Open { until: Duration },
    /// One is on its way to see; should it never come back, another may try then.
    Probing { until: Duration },
}

impl Breaker {
    /// Whether a call may go through now; else how long until one may.
    pub(super) fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until } | State::Probing { until } if now < until => Err(until.saturating_sub(now)),
            State::Open { .. } | State::Probing { .. } => {
                self.state = State::Probing {
                    until: now + OPEN_FOR,
                };
                Ok(())
            }
        }
    }

    /// The server gave a sign of life.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// No answer came, and the server is to blame.
    pub(super) fn failed(&mut self, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_MAX || self.state != State::Closed {
            self.state = State::Open {
                until: now + OPEN_FOR,
            };
        }
    }

    /// Whether calls are turned away.
    pub(super) fn is_open(&self) -> bool {
        self.state != State::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        (0..FAILURES_MAX).for_each(|_| breaker.failed(Duration::ZERO));
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_any_sign_of_life_starts_the_count_anew() {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES_MAX {
            breaker.failed(Duration::ZERO);
        }
        breaker.succeeded();
        for _ in 1..FAILURES_MAX {
            breaker.failed(Duration::ZERO);
        }
        assert_eq!(breaker.admit(Duration::ZERO), Ok(()));
        breaker.failed(Duration::ZERO);
        assert_eq!(breaker.admit(Duration::from_secs(3)), Err(Duration::from_secs(7)));
    }

    #[test]
    fn after_a_while_one_call_is_let_through_and_decides() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(OPEN_FOR), Ok(()));
        assert!(breaker.admit(OPEN_FOR).is_err(), "one at a time");
        breaker.failed(OPEN_FOR);
        assert!(breaker.admit(OPEN_FOR + Duration::from_secs(1)).is_err());
        assert_eq!(breaker.admit(OPEN_FOR * 2), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.admit(OPEN_FOR * 2), Ok(()));
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_probe_that_never_came_back_does_not_keep_it_open_for_ever() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(OPEN_FOR), Ok(()));
        assert_eq!(breaker.admit(OPEN_FOR * 2), Ok(()));
    }
}
