//! One screen, from what the server said.

use serde_json::Value;

use crate::output::{Paint, printable};

/// Another screen, without a cursor.
pub(super) const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
/// Back to the screen there was.
pub(super) const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// To the upper left corner.
pub(super) const HOME: &str = "\u{1b}[H";
/// Whatever was below goes.
pub(super) const REST: &str = "\u{1b}[0J";

/// Personas shown that act.
const ACTING_MAX: usize = 8;
/// Cells of a budget's bar.
const BAR: usize = 20;

/// The screen. Every line ends with what clears the rest of it, where lines are drawn over others.
pub(super) fn draw(
    overview: &Value,
    lines: &[String],
    rate: Option<f64>,
    width: u16,
    paint: Paint,
) -> String {
    let mut screen = Screen {
        text: String::new(),
        width: usize::from(width),
        clears: rate.is_some(),
    };
    screen.line(
        &format!(
            "Dramatis {}  {}{}",
            text(&overview["version"]),
            text(&overview["environment"]),
            if overview["cast"]["paused"] == true {
                "  schedule paused"
            } else {
                ""
            }
        ),
        |line| paint.bold(line),
    );
    let per_second = rate.map_or_else(String::new, |rate| format!("  {rate:.1} events/s"));
    screen.line(
        &format!(
            "log #{}  lag {}{per_second}  calls in a day {}, {} went wrong",
            overview["log_seq"], overview["lag_events"], overview["day"]["calls"], overview["day"]["errors"]
        ),
        str::to_owned,
    );
    for (name, spent, budget) in [
        ("today", "today_micro_usd", "day_usd"),
        ("month", "month_micro_usd", "month_usd"),
    ] {
        let spent = overview["spend"][spent].as_f64().unwrap_or_default() / 1e6;
        let budget = overview["spend"]["budgets"][budget].as_f64().unwrap_or_default();
        screen.line(
            &format!("{name:<6} {} ${spent:.2} of ${budget:.2}", bar(spent, budget)),
            str::to_owned,
        );
    }
    screen.alarms(overview, paint);
    screen.stage(&overview["cast"], paint);
    screen.modules(overview, paint);
    if !lines.is_empty() {
        screen.gap();
        screen.line("just now", |line| paint.bold(line));
        for line in lines {
            screen.line(&format!("  {line}"), |line| paint.dim(line));
        }
    }
    screen.text
}

fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn bar(spent: f64, budget: f64) -> String {
    let share = if budget > 0.0 {
        (spent / budget).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (0..BAR)
        .map(|cell| {
            if (cell as f64 + 0.5) / (BAR as f64) < share {
                '█'
            } else {
                '░'
            }
        })
        .collect()
}

struct Screen {
    text: String,
    width: usize,
    clears: bool,
}

impl Screen {
    fn alarms(&mut self, overview: &Value, paint: Paint) {
        self.gap();
        let alarms = list(&overview["alarms"]);
        if alarms.is_empty() {
            self.line("no alarm", |line| paint.green(line));
        }
        for alarm in alarms {
            let is_urgent = alarm["severity"] == "page";
            self.line(&text(&alarm["text"]), |line| {
                if is_urgent {
                    paint.red(line)
                } else {
                    paint.yellow(line)
                }
            });
        }
    }

    fn stage(&mut self, cast: &Value, paint: Paint) {
        let (acting, waiting) = (list(&cast["acting"]), list(&cast["waiting"]));
        self.gap();
        self.line(
            &format!(
                "on stage: {} of {}, {} wait",
                acting.len(),
                cast["personas"],
                waiting.len()
            ),
            |line| paint.bold(line),
        );
        for persona in acting.iter().take(ACTING_MAX) {
            self.line(
                &format!(
                    "  {:<22} {:<12} tick {}, {} calls, {} went wrong",
                    text(&persona["name"]),
                    text(&persona["doing"]),
                    persona["number"],
                    persona["calls"],
                    persona["errors"]
                ),
                str::to_owned,
            );
        }
    }

    fn modules(&mut self, overview: &Value, paint: Paint) {
        self.gap();
        self.line("modules, seven days", |line| paint.bold(line));
        for module in list(&overview["scores"]["modules"]) {
            let mean = module["stars_mean"].as_f64().unwrap_or_default();
            self.line(
                &format!(
                    "  {:<14} {} {mean:.2}  {} ratings",
                    text(&module["module"]),
                    crate::report::stars(mean),
                    module["ratings"]
                ),
                str::to_owned,
            );
        }
    }

    /// One line, cut to the width before it is coloured.
    fn line(&mut self, line: &str, paint: impl Fn(&str) -> String) {
        self.text.push_str(&paint(&events::capped(line, self.width)));
        self.gap();
    }

    fn gap(&mut self) {
        if self.clears {
            self.text.push_str("\u{1b}[K");
        }
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn overview() -> Value {
        json!({
            "version": "0.1.0", "environment": "development", "log_seq": 812, "lag_events": 3,
            "cast": {
                "paused": false, "personas": 10, "waiting": ["p2"],
                "acting": [{ "name": "Anna\u{1b}[2J", "doing": "calling", "number": 4, "calls": 6, "errors": 1 }],
            },
            "day": { "calls": 105, "errors": 5 },
            "scores": { "modules": [{ "module": "todo", "stars_mean": 4.5, "ratings": 12 }] },
            "spend": { "today_micro_usd": 5_000_000, "month_micro_usd": 5_000_000, "budgets": { "day_usd": 10.0, "month_usd": 100.0 } },
            "alarms": [{ "severity": "ticket", "text": "1 commits could not be folded" }],
        })
    }

    #[test]
    fn one_screen_tells_who_acts_what_it_costs_and_what_is_wrong() {
        let paint = Paint { colour: false };
        let screen = draw(
            &overview(),
            &["#811 ToolCalled todo.create".to_owned()],
            None,
            80,
            paint,
        );
        insta::assert_snapshot!(screen);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_name_moves_the_cursor() {
        let paint = Paint { colour: false };
        let screen = draw(&overview(), &["x".repeat(300)], None, 60, paint);
        assert!(screen.lines().all(|line| line.chars().count() <= 60), "{screen}");
        assert!(!screen.contains('\u{1b}'), "{screen}");
    }
}
