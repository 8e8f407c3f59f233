//! What personas are doing right now, while somebody waits for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actors::{TickProgress, TickReport};
use events::{Clock, PersonaId};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

use super::{Lines, Pace, stderr_is_terminal, stderr_lines, write_line};
use crate::output::{count_of, printable, seconds_text};

/// One line per acting persona above a bar over all of them; without a terminal, one line per finished persona.
pub(crate) struct TickDisplay {
    total: u64,
    finished: u64,
    calls: u64,
    clock: Arc<dyn Clock>,
    began: Duration,
    acting: BTreeMap<PersonaId, Acting>,
    display: Display,
}

enum Display {
    Bars {
        all: MultiProgress,
        overall: ProgressBar,
    },
    Lines(Lines),
}

/// One persona on stage.
struct Acting {
    calls: u64,
    errors: u64,
    line: Option<ProgressBar>,
}

impl TickDisplay {
    /// Shows on stderr how `total` personas act. `clock` gives rate and time left.
    pub(crate) fn on_stderr(total: u64, clock: Arc<dyn Clock>) -> Self {
        let display = if stderr_is_terminal() {
            let all = MultiProgress::new();
            Display::Bars {
                overall: all.add(overall_bar(total)),
                all,
            }
        } else {
            Display::Lines(stderr_lines())
        };
        Self::new(total, clock, display)
    }

    fn new(total: u64, clock: Arc<dyn Clock>, display: Display) -> Self {
        let began = clock.monotonic();
        Self {
            total,
            finished: 0,
            calls: 0,
            clock,
            began,
            acting: BTreeMap::new(),
            display,
        }
    }

    /// Shows every step from `steps` until `done` is cancelled or nobody sends any more, then takes the bars away.
    ///
    /// Cancel `done` when the ticks are over: what was sent before is still shown.
    pub(crate) async fn follow(mut self, mut steps: Receiver<TickProgress>, done: CancellationToken) {
        loop {
            let step = tokio::select! {
                // What is waiting is shown before the end is looked at; the branch that lost has received nothing.
                biased;
                step = steps.recv() => step,
                () = done.cancelled() => break,
            };
            match step {
                Ok(step) => self.show(&step),
                // Only the display missed something; the log has it all.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
        loop {
            match steps.try_recv() {
                Ok(step) => self.show(&step),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        self.end();
    }

    /// Takes one step.
    pub(crate) fn show(&mut self, step: &TickProgress) {
        match step {
            TickProgress::Started { persona_id, name, .. } => {
                self.update(persona_id, name, "on stage", |_| {});
            }
            TickProgress::Called {
                persona_id,
                name,
                tool,
            } => {
                self.calls += 1;
                self.update(persona_id, name, tool, |acting| acting.calls += 1);
            }
            TickProgress::Returned {
                persona_id,
                name,
                tool,
                ..
            } => {
                self.update(persona_id, name, &format!("{tool} ✓"), |_| {});
            }
            TickProgress::Failed {
                persona_id,
                name,
                tool,
                ..
            } => {
                self.update(persona_id, name, &format!("{tool} ✗"), |acting| {
                    acting.errors += 1;
                });
            }
            TickProgress::Rated {
                persona_id,
                name,
                module,
                rating,
            } => {
                let given = rating.map_or_else(|| "no rating".to_owned(), |rating| format!("{rating} of 5"));
                self.update(persona_id, name, &format!("rates {module}: {given}"), |_| {});
            }
            TickProgress::Finished(report) => self.finish(report),
        }
        self.update_overall();
    }

    fn update(&mut self, id: &PersonaId, name: &str, doing: &str, count: impl FnOnce(&mut Acting)) {
        let display = &self.display;
        let acting = self.acting.entry(id.clone()).or_insert_with(|| Acting {
            calls: 0,
            errors: 0,
            line: match display {
                Display::Bars { all, overall } => Some(all.insert_before(overall, persona_line(name))),
                Display::Lines(_) => None,
            },
        });
        count(acting);
        if let Some(line) = &acting.line {
            let sofar = format!(
                "{}, {}",
                count_of(acting.calls, "call"),
                count_of(acting.errors, "error")
            );
            line.set_message(format!("{sofar:<20} {}", printable(doing)));
            line.tick();
        }
    }

    fn finish(&mut self, report: &TickReport) {
        if let Some(line) = self
            .acting
            .remove(&report.persona_id)
            .and_then(|acting| acting.line)
        {
            line.finish_and_clear();
        }
        self.finished += 1;
        let text = finished_text(report);
        match &mut self.display {
            Display::Bars { all, .. } => {
                // Only the display's own line is lost when the terminal refuses it.
                let _ = all.println(text);
            }
            Display::Lines(lines) => write_line(lines, &format!("{}/{} {text}", self.finished, self.total)),
        }
    }

    fn update_overall(&mut self) {
        let Display::Bars { overall, .. } = &self.display else {
            return;
        };
        let elapsed = self.clock.monotonic().saturating_sub(self.began);
        let pace = Pace {
            done: self.finished,
            total: self.total,
            elapsed,
        };
        let calls = Pace {
            done: self.calls,
            total: self.calls,
            elapsed,
        };
        let said = count_of(self.calls, "call");
        overall.set_position(self.finished);
        overall.set_message(format!(
            "{said}, {:.1}/s {}",
            calls.per_second(),
            pace.left_text()
        ));
    }

    fn end(self) {
        if let Display::Bars { overall, .. } = &self.display {
            for line in self.acting.values().filter_map(|acting| acting.line.as_ref()) {
                line.finish_and_clear();
            }
            overall.finish_and_clear();
        }
    }
}

impl std::fmt::Debug for TickDisplay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TickDisplay")
            .field("finished", &self.finished)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

/// `Anna Berger: completed, 14 calls, 1 error, 3 modules rated, 2.1 s`.
fn finished_text(report: &TickReport) -> String {
    let why = report
        .reason
        .as_deref()
        .map(|reason| format!(" ({})", printable(reason)))
        .unwrap_or_default();
    format!(
        "{}: {}, {}, {}, {} rated, {}{why}",
        printable(&report.name),
        report.outcome,
        count_of(report.calls.into(), "call"),
        count_of(report.errors.into(), "error"),
        count_of(report.ratings.into(), "module"),
        seconds_text(report.duration_ms)
    )
}

fn overall_bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} personas {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}

fn persona_line(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix:<20!} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner()
        .with_style(style)
        .with_prefix(printable(name))
}

#[cfg(test)]
mod tests;
