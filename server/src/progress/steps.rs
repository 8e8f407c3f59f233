//! Work of a known number of similar steps, such as seeding the catalog.

use indicatif::{ProgressBar, ProgressStyle};

use super::{Lines, stderr_is_terminal, stderr_lines, write_line};
use crate::output::printable;

/// Counts steps on a bar, or says each on a line.
pub(crate) struct Steps {
    what: &'static str,
    total: u64,
    done: u64,
    display: Display,
}

enum Display {
    Bar(ProgressBar),
    Lines(Lines),
}

impl Steps {
    /// Shows the steps of `what` on stderr.
    pub(crate) fn on_stderr(what: &'static str) -> Self {
        let display = if stderr_is_terminal() {
            Display::Bar(ProgressBar::new(0).with_style(bar_style()).with_prefix(what))
        } else {
            Display::Lines(stderr_lines())
        };
        Self {
            what,
            total: 0,
            done: 0,
            display,
        }
    }

    /// There will be `total` steps.
    pub(crate) fn begin(&mut self, total: u64) {
        self.total = total;
        self.done = 0;
        if let Display::Bar(bar) = &self.display {
            bar.set_length(total);
        }
    }

    /// One step ended, with this outcome.
    pub(crate) fn done(&mut self, outcome: &str) {
        let outcome = printable(outcome);
        self.done += 1;
        match &mut self.display {
            Display::Bar(bar) => {
                bar.set_message(outcome);
                bar.inc(1);
            }
            Display::Lines(lines) => {
                write_line(
                    lines,
                    &format!("{} {}/{} {outcome}", self.what, self.done, self.total),
                );
            }
        }
    }

    /// No more steps: takes the bar away, so that what is printed next stands alone.
    pub(crate) fn end(&mut self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steps")
            .field("what", &self.what)
            .field("done", &self.done)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Captured;

    #[test]
    fn without_a_terminal_each_step_is_one_line_with_its_count() {
        let captured = Captured::default();
        let display = Display::Lines(Box::new(captured.clone()));
        let mut steps = Steps {
            what: "seed",
            total: 0,
            done: 0,
            display,
        };
        steps.begin(2);
        steps.done("anna@mana.test: created");
        steps.done("ben@mana.test: unchanged");
        steps.end();
        assert_eq!(
            captured.text(),
            "seed 1/2 anna@mana.test: created\nseed 2/2 ben@mana.test: unchanged\n"
        );
    }
}
