//! The report as a page: one document without scripts, readable on a phone and by a screen reader.
//!
//! Everything that came from personas or tools goes through maud, which escapes it.

use events::capped;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html as markup};
use projections::{DayReport, ModuleDay, PersonaDay, TableCounts};

use super::{FAILING_TOOLS_MAX, Totals, lowest, percent, stars, unfinished};
use crate::output::count_of;

/// The page's style sheet, served at `/style.css` so that the content security policy can forbid inline styles.
pub(crate) const STYLE: &str = include_str!("style.css");

/// Characters of an example error or a note that are shown.
const EXAMPLE_CHARS_MAX: usize = 300;

/// What the page says about itself.
#[derive(Debug, Clone)]
pub(crate) struct PageAbout {
    /// The page's title.
    pub(crate) title: String,
    /// This program's version.
    pub(crate) version: String,
    /// `development` or `production`.
    pub(crate) environment: String,
    /// When it was made.
    pub(crate) generated_at: Timestamp,
    /// Where to go from here.
    pub(crate) links: Vec<PageLink>,
}

/// A way to go on.
#[derive(Debug, Clone)]
pub(crate) struct PageLink {
    /// What it is called.
    pub(crate) label: String,
    /// Where it leads: an address of this server, never one from outside.
    pub(crate) href: String,
}

/// The page.
pub(crate) fn html(report: &DayReport, counts: &TableCounts, about: &PageAbout) -> Markup {
    markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (about.title) }
                link rel="stylesheet" href="/style.css";
            }
            body {
                header {
                    h1 { (about.title) " " span.badge { (about.environment) } }
                    (summary(report))
                    nav aria-label="More" {
                        ul { @for link in &about.links { li { a href=(link.href) { (link.label) } } } }
                    }
                }
                main {
                    (personas(report))
                    (modules(report))
                    (failing_tools(report))
                    (stumbles(report))
                    (complaints(report))
                    (rows_per_table(counts))
                }
                footer {
                    p {
                        "Dramatis " (about.version) ", as of sequence " (report.as_of_seq) ", "
                        time datetime=(about.generated_at) {
                            (about.generated_at.strftime("%Y-%m-%d %H:%M:%S UTC"))
                        }
                    }
                }
            }
        }
    }
}

fn summary(report: &DayReport) -> Markup {
    let totals = Totals::of(report);
    let facts = [
        ("personas", report.personas.len() as u64),
        ("calls", totals.calls),
        ("failed", totals.errors),
        ("tried again", totals.retries),
        ("mistakes on purpose", totals.mistakes),
        ("ratings", totals.ratings),
    ];
    markup! {
        dl.facts {
            @for (what, count) in facts { div { dt { (what) } dd { (count) } } }
            @if let Some(mean) = totals.stars_mean { div { dt { "mean rating" } dd { (stars_of(mean)) } } }
        }
    }
}

/// A table that scrolls by itself on a narrow screen, reachable by keyboard.
fn scrolling(label: &str, table: &Markup) -> Markup {
    markup! { div.scroll role="region" aria-label=(label) tabindex="0" { (table) } }
}

fn personas(report: &DayReport) -> Markup {
    let troubles = unfinished(report);
    let table = markup! {
        table {
            caption { "Who did what, and the stars each gave" }
            thead { tr {
                th scope="col" { "Persona" } th scope="col" { "Archetype" }
                @for what in ["Calls", "Errors", "Retries", "Mistakes"] { th.number scope="col" { (what) } }
                @for module in &report.modules { th scope="col" { (module.module) } }
            } }
            tbody { @for persona in &report.personas { (persona_row(persona, &report.modules)) } }
        }
    };
    markup! {
        section {
            h2 { "Personas" }
            @if report.personas.is_empty() {
                p { "Nobody is enrolled yet; " code { "dramatis seed" } " creates the catalog's personas." }
            } @else {
                (scrolling("Personas", &table))
            }
            @if !troubles.is_empty() { ul.notes { @for trouble in troubles { li { (trouble) } } } }
        }
    }
}

fn persona_row(persona: &PersonaDay, modules: &[ModuleDay]) -> Markup {
    markup! {
        tr {
            th scope="row" { (persona.name) }
            td { (persona.archetype) }
            td.number { (persona.calls) }
            (count_cell(persona.errors))
            td.number { (persona.retries) }
            td.number { (persona.mistakes) }
            @for module in modules {
                td {
                    @if let Some(given) = persona.ratings.iter().find(|given| given.module == module.module) {
                        @match given.rating {
                            Some(rating) => (stars_of(f64::from(rating))),
                            None => abbr title="the rating turn gave nothing usable" { "–" },
                        }
                    }
                }
            }
        }
    }
}

/// A number that had better be zero.
fn count_cell(count: u64) -> Markup {
    markup! { td.number.bad[count > 0] { (count) } }
}

/// Stars for the eye, a number for everybody.
fn stars_of(mean: f64) -> Markup {
    let is_whole = (mean - mean.round()).abs() < f64::EPSILON;
    let number = if is_whole {
        format!("{mean:.0}")
    } else {
        format!("{mean:.1}")
    };
    markup! {
        span.stars role="img" aria-label=(format!("{number} of 5 stars")) { (stars(mean)) }
        @if !is_whole { " " (number) }
    }
}

fn modules(report: &DayReport) -> Markup {
    let table = markup! {
        table {
            caption { "Stars are the personas' ratings; friction is our own measure, 0 smooth to 1 hopeless" }
            thead { tr {
                th scope="col" { "Module" }
                @for what in ["Calls", "Errors", "Ratings"] { th.number scope="col" { (what) } }
                th scope="col" { "Stars" } th scope="col" { "Friction" }
            } }
            tbody { @for module in &report.modules { tr {
                th scope="row" { (module.module) }
                td.number { (module.calls) }
                (count_cell(module.errors))
                td.number { (module.ratings) }
                td { @if let Some(mean) = module.stars_mean { (stars_of(mean)) } @else { "–" } }
                td { @if let Some(mean) = module.friction_mean { (friction_of(mean)) } @else { "–" } }
            } } }
        }
    };
    markup! {
        section {
            h2 { "Modules" }
            @if report.modules.is_empty() { p { "No module was used yet." } }
            @else { (scrolling("Modules", &table)) }
        }
    }
}

fn friction_of(friction: f64) -> Markup {
    let text = format!("{friction:.2}");
    markup! {
        meter min="0" max="1" low="0.3" high="0.6" optimum="0" value=(text) aria-label="friction" { (text) }
        " " (text)
    }
}

fn failing_tools(report: &DayReport) -> Markup {
    let failing: Vec<_> = report
        .failing_tools
        .iter()
        .filter(|tool| tool.errors > 0)
        .take(FAILING_TOOLS_MAX)
        .collect();
    let table = markup! {
        table {
            caption { "The tools that fail most, by personas affected" }
            thead { tr {
                th scope="col" { "Tool" }
                @for what in ["Failed", "On purpose", "Calls", "Share", "Personas"] { th.number scope="col" { (what) } }
                th scope="col" { "For example" }
            } }
            tbody { @for tool in &failing { tr {
                th scope="row" { code { (tool.tool) } }
                (count_cell(tool.errors))
                td.number { (tool.mistakes) }
                td.number { (tool.calls) }
                td.number { (percent(tool.error_rate)) }
                td.number { (tool.personas_affected) }
                td.words { (example(Some(&tool.example_error))) }
            } } }
        }
    };
    markup! {
        section {
            h2 { "What fails most" }
            @if failing.is_empty() { p { "No call failed." } } @else { (scrolling("Failing tools", &table)) }
        }
    }
}

fn stumbles(report: &DayReport) -> Markup {
    let table = markup! {
        table {
            caption { "Mistakes made on purpose, as somebody new to the app makes them" }
            thead { tr {
                @for what in ["Persona", "Tool", "Mistake"] { th scope="col" { (what) } }
                @for what in ["Times", "Accepted", "Recovered"] { th.number scope="col" { (what) } }
                th scope="col" { "Was told" }
            } }
            tbody { @for stumble in &report.newcomers { tr {
                th scope="row" { (stumble.persona_name) }
                td { code { (stumble.tool) } }
                td { (stumble.mistake) }
                td.number { (stumble.times) }
                td.number { (stumble.accepted) }
                td.number { (stumble.recovered) }
                td.words { (example(stumble.example_error.as_deref())) }
            } } }
        }
    };
    markup! {
        section {
            h2 { "What newcomers stumbled over" }
            @if report.newcomers.is_empty() { p { "Nobody made a beginner's mistake." } }
            @else { (scrolling("Stumbles", &table)) }
        }
    }
}

fn complaints(report: &DayReport) -> Markup {
    let low = lowest(report);
    markup! {
        @if !low.is_empty() {
            section {
                h2 { "Lowest ratings" }
                @for (persona, module, rating, notes) in low {
                    figure {
                        blockquote { p { (example(Some(notes))) } }
                        figcaption { (persona) " on " (module) ", " (stars_of(f64::from(rating))) }
                    }
                }
            }
        }
    }
}

fn rows_per_table(counts: &TableCounts) -> Markup {
    let rows = [
        ("Personas", counts.personas),
        ("Ticks", counts.ticks),
        ("of them interrupted", counts.ticks_interrupted),
        ("Tool calls", counts.actions),
        ("of them without an outcome yet", counts.actions_pending),
        ("of them with an outcome nobody knows", counts.actions_unknown),
        ("Ratings", counts.feedback),
        ("Records", counts.records),
        ("Sessions", counts.sessions),
        ("Refused calls", counts.refusals),
        ("Calls at the gateway", counts.calls),
        ("of them without an outcome yet", counts.calls_pending),
        ("Events parked because they could not be folded", counts.parked),
    ];
    markup! {
        section {
            h2 { "Tables" }
            table {
                caption { "Rows, folded from the log up to sequence " (counts.as_of_seq) }
                thead { tr { th scope="col" { "What" } th.number scope="col" { "Rows" } } }
                tbody { @for (what, count) in rows { tr { th scope="row" { (what) } td.number { (count) } } } }
            }
            p { (count_of(counts.personas, "persona")) " live." }
        }
    }
}

fn example(text: Option<&str>) -> String {
    text.map_or_else(|| "–".to_owned(), |text| capped(text, EXAMPLE_CHARS_MAX))
}
