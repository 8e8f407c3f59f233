//! The report for a terminal. It reads well at 100 columns, coloured or not.

use comfy_table::{Cell, Color, Table};
use projections::{DayReport, PersonaDay};

use super::{FAILING_TOOLS_MAX, MorningReport, Totals, friction_bar, lowest, percent, stars, unfinished};
use crate::output::{Paint, count_of, printable, seconds_text, set_gap, table};

/// Characters of an example error or a note that are shown.
const EXAMPLE_CHARS_MAX: usize = 160;

/// Columns before the modules in the table of personas.
const PERSONA_COLUMNS: [&str; 6] = ["persona", "archetype", "calls", "errors", "retries", "mistakes"];

pub(super) fn render(morning: &MorningReport, width: u16, paint: Paint) -> String {
    let report = &morning.report;
    let mut page = Page {
        text: String::new(),
        width,
        paint,
    };
    page.line(&headline(morning, paint));
    page.prose(&summary(morning), |line| line);
    page.section("Who did what", &personas(report, width, paint));
    let troubles = unfinished(report);
    if !troubles.is_empty() {
        page.prose(&format!("{}.", troubles.join("; ")), |line| paint.dim(line));
    }
    page.section("How the modules fared", &modules(report, width, paint));
    page.section("What fails most", &failing_tools(report, width, paint));
    page.section("What newcomers stumbled over", &stumbles(report, width, paint));
    let low = complaints(report, width, paint);
    if !low.is_empty() {
        page.section("Lowest ratings", &low);
    }
    page.section("Do log and tables agree?", &agreements(morning, width, paint));
    page.prose(&folded(morning), |line| line);
    page.section("Where to look", &places(morning));
    page.text
}

/// Lines, sections with headings, and prose around them.
struct Page {
    text: String,
    width: u16,
    paint: Paint,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn section(&mut self, heading: &str, body: &str) {
        self.line("");
        self.line(&self.paint.bold(heading));
        for line in body.lines() {
            self.line(line);
        }
    }

    /// Sentences, broken between words where the line ends.
    fn prose(&mut self, text: &str, paint: impl Fn(String) -> String) {
        let mut line = String::new();
        for word in printable(text).split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > usize::from(self.width) {
                let full = paint(std::mem::take(&mut line));
                self.line(&full);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        let last = paint(line);
        self.line(&last);
    }
}

fn headline(morning: &MorningReport, paint: Paint) -> String {
    let days = if morning.days == 1 {
        "A day".to_owned()
    } else {
        format!("{} days", morning.days)
    };
    let cast = count_of(morning.report.personas.len() as u64, "persona");
    paint.bold(format!("{days} in the life of {cast}"))
}

fn summary(morning: &MorningReport) -> String {
    let totals = Totals::of(&morning.report);
    let mut parts = vec![
        format!(
            "{} in {}",
            count_of(totals.calls, "call"),
            seconds_text(morning.took_ms)
        ),
        format!("{} failed", totals.errors),
        format!("{} tried again", totals.retries),
        format!("{} on purpose", count_of(totals.mistakes, "mistake")),
        count_of(totals.ratings, "rating"),
    ];
    let counts = &morning.counts;
    if counts.actions_pending + counts.actions_unknown > 0 {
        parts.insert(
            2,
            format!(
                "{} without an outcome",
                counts.actions_pending + counts.actions_unknown
            ),
        );
    }
    if let Some(mean) = totals.stars_mean {
        parts.push(format!("mean {} {mean:.1}", stars(mean)));
    }
    parts.join(" · ")
}

/// One row per persona. The stars stand in one column per module where that fits, in one cell otherwise.
fn personas(report: &DayReport, width: u16, paint: Paint) -> String {
    if report.personas.is_empty() {
        return "Nobody is enrolled; `dramatis seed` creates the catalog's personas.".to_owned();
    }
    let mut wide = personas_by_module(report, width, paint);
    for gap in [2, 1] {
        set_gap(&mut wide, gap);
        let content = wide.column_max_content_widths();
        let gaps = gap * u16::try_from(content.len().saturating_sub(1)).unwrap_or(u16::MAX);
        if content.iter().sum::<u16>().saturating_add(gaps) <= width {
            return wide.trim_fmt();
        }
    }
    personas_with_list(report, width, paint).trim_fmt()
}

fn personas_by_module(report: &DayReport, width: u16, paint: Paint) -> Table {
    let modules = report
        .modules
        .iter()
        .map(|module| printable(&module.module))
        .collect::<Vec<_>>();
    let header: Vec<&str> = PERSONA_COLUMNS
        .into_iter()
        .chain(modules.iter().map(String::as_str))
        .collect();
    let mut rows = table(&header, &[2, 3, 4, 5], width, paint);
    for persona in &report.personas {
        let given = report.modules.iter().map(|module| {
            let rating = persona.ratings.iter().find(|given| given.module == module.module);
            rating.map_or_else(|| Cell::new(""), |given| stars_cell(given.rating))
        });
        rows.add_row(
            persona_cells(persona)
                .into_iter()
                .chain(given)
                .collect::<Vec<_>>(),
        );
    }
    rows
}

fn personas_with_list(report: &DayReport, width: u16, paint: Paint) -> Table {
    let header: Vec<&str> = PERSONA_COLUMNS.into_iter().chain(["rated"]).collect();
    let mut rows = table(&header, &[2, 3, 4, 5], width, paint);
    for persona in &report.personas {
        let given = persona.ratings.iter().map(|given| {
            let stars = given
                .rating
                .map_or_else(|| "–".to_owned(), |rating| stars(f64::from(rating)));
            format!("{} {stars}", printable(&given.module))
        });
        let given = Cell::new(given.collect::<Vec<_>>().join("\n"));
        rows.add_row(
            persona_cells(persona)
                .into_iter()
                .chain([given])
                .collect::<Vec<_>>(),
        );
    }
    rows
}

fn persona_cells(persona: &PersonaDay) -> [Cell; 6] {
    [
        Cell::new(printable(&persona.name)),
        Cell::new(printable(&persona.archetype)),
        Cell::new(persona.calls),
        count_cell(persona.errors),
        Cell::new(persona.retries),
        Cell::new(persona.mistakes),
    ]
}

/// Stars, or a dash where the rating turn gave none.
fn stars_cell(rating: Option<u8>) -> Cell {
    match rating {
        Some(rating) => Cell::new(stars(f64::from(rating))).fg(Color::Yellow),
        None => Cell::new("–"),
    }
}

/// A number that had better be zero.
fn count_cell(count: u64) -> Cell {
    if count == 0 {
        Cell::new(count)
    } else {
        Cell::new(count).fg(Color::Red)
    }
}

fn modules(report: &DayReport, width: u16, paint: Paint) -> String {
    if report.modules.is_empty() {
        return "No module was used.".to_owned();
    }
    let header = ["module", "calls", "errors", "ratings", "stars", "friction"];
    let mut rows = table(&header, &[1, 2, 3], width, paint);
    for module in &report.modules {
        let given = match module.stars_mean {
            Some(mean) => Cell::new(format!("{} {mean:.1}", stars(mean))).fg(Color::Yellow),
            None => Cell::new("–"),
        };
        let friction = module
            .friction_mean
            .map(|mean| format!("{} {mean:.2}", friction_bar(mean)));
        rows.add_row([
            Cell::new(printable(&module.module)),
            Cell::new(module.calls),
            count_cell(module.errors),
            Cell::new(module.ratings),
            given,
            Cell::new(friction.unwrap_or_else(|| "–".to_owned())),
        ]);
    }
    rows.trim_fmt()
}

fn failing_tools(report: &DayReport, width: u16, paint: Paint) -> String {
    let failing: Vec<_> = report
        .failing_tools
        .iter()
        .filter(|tool| tool.errors > 0)
        .collect();
    if failing.is_empty() {
        return "No call failed.".to_owned();
    }
    let mut rows = table(
        &["tool", "failed", "on purpose", "personas", "for example"],
        &[2, 3],
        width,
        paint,
    );
    for tool in failing.into_iter().take(FAILING_TOOLS_MAX) {
        rows.add_row([
            Cell::new(printable(&tool.tool)),
            Cell::new(format!(
                "{} of {} ({})",
                tool.errors,
                tool.calls,
                percent(tool.error_rate)
            ))
            .fg(Color::Red),
            Cell::new(tool.mistakes),
            Cell::new(tool.personas_affected),
            Cell::new(example(Some(&tool.example_error))),
        ]);
    }
    rows.trim_fmt()
}

fn stumbles(report: &DayReport, width: u16, paint: Paint) -> String {
    if report.newcomers.is_empty() {
        return "Nobody made a beginner's mistake.".to_owned();
    }
    let header = [
        "persona",
        "tool",
        "mistake",
        "times",
        "accepted",
        "recovered",
        "was told",
    ];
    let mut rows = table(&header, &[3, 4, 5], width, paint);
    for stumble in &report.newcomers {
        rows.add_row([
            printable(&stumble.persona_name),
            printable(&stumble.tool),
            printable(&stumble.mistake),
            stumble.times.to_string(),
            stumble.accepted.to_string(),
            stumble.recovered.to_string(),
            example(stumble.example_error.as_deref()),
        ]);
    }
    rows.trim_fmt()
}

fn complaints(report: &DayReport, width: u16, paint: Paint) -> String {
    let low = lowest(report);
    if low.is_empty() {
        return String::new();
    }
    let mut rows = table(&["persona", "module", "stars", "why"], &[], width, paint);
    for (persona, module, rating, notes) in low {
        rows.add_row([
            Cell::new(printable(persona)),
            Cell::new(printable(module)),
            stars_cell(Some(rating)),
            Cell::new(example(Some(notes))),
        ]);
    }
    rows.trim_fmt()
}

fn agreements(morning: &MorningReport, width: u16, paint: Paint) -> String {
    let mut rows = table(
        &["", "counted", "in the log", "in the tables", ""],
        &[2, 3],
        width,
        paint,
    );
    for line in &morning.agreement {
        let mark = if line.agrees {
            Cell::new("✓").fg(Color::Green)
        } else {
            Cell::new("✗").fg(Color::Red)
        };
        let note = Cell::new(line.note.as_deref().unwrap_or_default());
        rows.add_row([
            mark,
            Cell::new(line.what),
            Cell::new(line.log),
            Cell::new(line.table),
            note,
        ]);
    }
    let verdict = if morning.agrees() {
        paint.green("They agree.")
    } else {
        paint.red("They do not agree; `dramatis verify` says which rows differ.")
    };
    format!("{}\n{verdict}", rows.trim_fmt())
}

/// How much there is on both sides.
fn folded(morning: &MorningReport) -> String {
    format!(
        "The log holds {} in {}; the tables are folded up to sequence {} of {}.",
        count_of(morning.log.events(), "event"),
        count_of(morning.log.commits, "commit"),
        morning.counts.as_of_seq,
        morning.log.last_seq,
    )
}

fn places(morning: &MorningReport) -> String {
    let places = &morning.places;
    [
        ("dashboard", &places.dashboard_url),
        ("log", &places.log),
        ("tables", &places.tables),
        ("data", &places.data_dir),
    ]
    .map(|(what, place)| format!("{what:<10} {}", printable(place)))
    .join("\n")
}

/// An example error or note, on one line and not too long.
fn example(text: Option<&str>) -> String {
    text.map_or_else(
        || "–".to_owned(),
        |text| events::capped(&printable(text), EXAMPLE_CHARS_MAX),
    )
}
