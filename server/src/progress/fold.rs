//! How far a fold of the log has come, for `rebuild` and `verify`.

use std::sync::Arc;
use std::time::Duration;

use events::Clock;
use indicatif::{ProgressBar, ProgressStyle};
use projections::Progress;
use serde::Serialize;

use super::{Lines, Pace, millis, stderr_is_terminal, stderr_lines, write_line};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// A bar with rate and time left, or one JSON line a second.
pub(crate) struct FoldProgress {
    what: &'static str,
    clock: Arc<dyn Clock>,
    began: Duration,
    display: Display,
}

enum Display {
    Bar(ProgressBar),
    Lines { lines: Lines, last: Option<Duration> },
}

/// One line where there is no terminal.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    what: &'a str,
    seq: u64,
    target: u64,
    events: u64,
    events_per_second: f64,
    seconds_left: Option<f64>,
}

impl FoldProgress {
    /// Shows on stderr how far `what` ("rebuilding", "verifying") has come.
    pub(crate) fn start(what: &'static str, clock: Arc<dyn Clock>) -> Self {
        let display = if stderr_is_terminal() {
            Display::Bar(ProgressBar::new(0).with_style(bar_style()).with_prefix(what))
        } else {
            Display::Lines {
                lines: stderr_lines(),
                last: None,
            }
        };
        Self::new(what, clock, display)
    }

    fn new(what: &'static str, clock: Arc<dyn Clock>, display: Display) -> Self {
        let began = clock.monotonic();
        Self {
            what,
            clock,
            began,
            display,
        }
    }

    /// Takes one report of the fold.
    pub(crate) fn update(&mut self, progress: Progress) {
        let now = self.clock.monotonic();
        let elapsed = now.saturating_sub(self.began);
        // Time left follows the sequence, which has a known end; the rate people care for is of events.
        let pace = Pace {
            done: progress.seq.0,
            total: progress.target.0,
            elapsed,
        };
        let events = Pace {
            done: progress.events,
            total: progress.events,
            elapsed,
        };
        let is_done = progress.seq >= progress.target;
        match &mut self.display {
            Display::Bar(bar) => {
                bar.set_length(progress.target.0);
                bar.set_position(progress.seq.0);
                bar.set_message(format!(
                    "{:.0} events/s {}",
                    events.per_second(),
                    pace.left_text()
                ));
            }
            Display::Lines { lines, last } => {
                let is_due = last.is_none_or(|last| now.saturating_sub(last) >= LINE_EVERY);
                if !is_due && !is_done {
                    return;
                }
                *last = Some(now);
                let line = Line {
                    what: self.what,
                    seq: progress.seq.0,
                    target: progress.target.0,
                    events: progress.events,
                    events_per_second: tenths(events.per_second()),
                    seconds_left: pace.left().map(|left| tenths(millis(left) as f64 / 1_000.0)),
                };
                if let Ok(text) = serde_json::to_string(&line) {
                    write_line(lines, &text);
                }
            }
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}

impl std::fmt::Debug for FoldProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoldProgress")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

/// To one digit after the point.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} {bar:40} {human_pos}/{human_len} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Captured;
    use events::{ManualClock, StreamSeq};
    use jiff::Timestamp;

    fn progress(seq: u64) -> Progress {
        Progress {
            seq: StreamSeq(seq),
            target: StreamSeq(100),
            events: seq * 2,
        }
    }

    fn lines(clock: &Arc<ManualClock>) -> (FoldProgress, Captured) {
        let captured = Captured::default();
        let display = Display::Lines {
            lines: Box::new(captured.clone()),
            last: None,
        };
        (FoldProgress::new("rebuild", clock.clone(), display), captured)
    }

    #[test]
    fn without_a_terminal_there_is_one_json_line_a_second_and_one_at_the_end() {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let (mut display, captured) = lines(&clock);
        for seq in [10, 20, 30] {
            clock.advance(Duration::from_millis(600));
            display.update(progress(seq));
        }
        clock.advance(Duration::from_millis(100));
        display.update(progress(100));
        display.finish();
        assert_eq!(
            captured.text(),
            "{\"what\":\"rebuild\",\"seq\":10,\"target\":100,\"events\":20,\"eventsPerSecond\":33.3,\"secondsLeft\":5.4}\n\
             {\"what\":\"rebuild\",\"seq\":30,\"target\":100,\"events\":60,\"eventsPerSecond\":33.3,\"secondsLeft\":4.2}\n\
             {\"what\":\"rebuild\",\"seq\":100,\"target\":100,\"events\":200,\"eventsPerSecond\":105.3,\"secondsLeft\":0.0}\n"
        );
    }

    #[test]
    fn the_bar_stands_where_the_fold_is() {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let bar = ProgressBar::hidden();
        let mut display = FoldProgress::new("verify", clock.clone(), Display::Bar(bar.clone()));
        clock.advance(Duration::from_secs(1));
        display.update(progress(25));
        assert_eq!((bar.position(), bar.length()), (25, Some(100)));
        assert_eq!(bar.message(), "50 events/s about 3.0 s left");
        display.finish();
        assert!(bar.is_finished());
    }
}
