//! How far work has come: bars on a terminal, plain lines elsewhere, always on stderr.

mod fold;
mod steps;
mod ticks;

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

pub(crate) use fold::FoldProgress;
pub(crate) use steps::Steps;
pub(crate) use ticks::TickDisplay;

use crate::output::seconds_text;

/// Where progress goes when there is no terminal to draw on.
type Lines = Box<dyn Write + Send>;

/// Whether bars can be drawn.
fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

fn stderr_lines() -> Lines {
    Box::new(io::stderr())
}

/// Writes one line. Progress is for onlookers: when nobody reads it, the work goes on all the same.
fn write_line(lines: &mut Lines, text: &str) {
    let _ = writeln!(lines, "{text}");
}

/// How fast a piece of work goes, from what is done and how long it took.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pace {
    done: u64,
    total: u64,
    elapsed: Duration,
}

impl Pace {
    /// Pieces per second; 0 before any time has passed.
    fn per_second(self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 {
            self.done as f64 / seconds
        } else {
            0.0
        }
    }

    /// Time until all is done, if it goes on like this; `None` before there is anything to go by.
    fn left(self) -> Option<Duration> {
        if self.done == 0 {
            return None;
        }
        let remaining = self.total.saturating_sub(self.done) as f64;
        Duration::try_from_secs_f64(self.elapsed.as_secs_f64() * remaining / self.done as f64).ok()
    }

    /// `about 12.4 s left`, or nothing while unknown or done.
    fn left_text(self) -> String {
        match self.left() {
            Some(left) if !left.is_zero() => format!("about {} left", seconds_text(millis(left))),
            _ => String::new(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_tells_rate_and_time_left_from_what_is_done() {
        let pace = Pace {
            done: 4,
            total: 10,
            elapsed: Duration::from_secs(2),
        };
        assert!((pace.per_second() - 2.0).abs() < f64::EPSILON);
        assert_eq!(pace.left(), Some(Duration::from_secs(3)));
        assert_eq!(pace.left_text(), "about 3.0 s left");
    }

    #[test]
    fn pace_says_nothing_before_there_is_anything_to_go_by() {
        let pace = Pace {
            done: 0,
            total: 10,
            elapsed: Duration::ZERO,
        };
        assert!(pace.per_second().abs() < f64::EPSILON);
        assert_eq!(pace.left(), None);
        assert_eq!(pace.left_text(), "");
    }

    #[test]
    fn work_that_grew_past_its_total_has_no_time_left() {
        let pace = Pace {
            done: 12,
            total: 10,
            elapsed: Duration::from_secs(6),
        };
        assert_eq!(pace.left(), Some(Duration::ZERO));
    }
}
