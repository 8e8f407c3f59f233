//! The report of a day: what the personas did, how they rated it, and whether log and tables tell the same story.
//!
//! [`MorningReport`] is the data, and as JSON the answer of `demo --json`; [`MorningReport::text`] is for a terminal.
//! Both are pure functions of what the tables and the log say.

mod agreement;
mod text;

use std::collections::BTreeMap;

use actors::BehaviourDigest;
use events::StreamSeq;
use projections::{CallAgreement, DayReport, PersonaDay, TableCounts};
use serde::Serialize;

pub(crate) use agreement::{Agreement, agreement};

use crate::output::{Paint, count_of};

/// Tools shown among those that fail most.
const FAILING_TOOLS_MAX: usize = 3;
/// Ratings shown among the lowest.
const LOW_RATINGS_MAX: usize = 3;
/// Stars from which on a rating is no complaint.
const CONTENT_STARS: u8 = 4;
/// Cells of a friction bar.
const BAR_CELLS: usize = 10;

/// Everything about a day.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MorningReport {
    /// What the tables say happened.
    pub(crate) report: DayReport,
    /// Rows per table.
    pub(crate) counts: TableCounts,
    /// What the log holds.
    pub(crate) log: LogCounts,
    /// Whether the two agree.
    pub(crate) agreement: Vec<Agreement>,
    /// Where to look further.
    pub(crate) places: Places,
    /// Milliseconds the ticks took, all together.
    pub(crate) took_ms: u64,
    /// Days that were lived.
    pub(crate) days: u32,
    /// What all personas in the log did, as one number: the same for the same seed in any fresh folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) behaviour: Option<BehaviourDigest>,
}

/// What the log holds, counted event by event up to [`LogCounts::last_seq`].
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct LogCounts {
    /// Messages.
    pub(crate) commits: u64,
    /// Personas that were enrolled and not erased.
    pub(crate) personas: u64,
    /// Events in them, by type.
    pub(crate) events_by_type: BTreeMap<String, u64>,
    /// The last message counted.
    pub(crate) last_seq: StreamSeq,
}

impl LogCounts {
    /// How many events of these types there are.
    pub(crate) fn of(&self, types: &[&str]) -> u64 {
        types
            .iter()
            .filter_map(|name| self.events_by_type.get(*name))
            .sum()
    }

    /// How many events there are.
    pub(crate) fn events(&self) -> u64 {
        self.events_by_type.values().sum()
    }
}

/// Where to look further.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Places {
    /// The page in a browser.
    pub(crate) dashboard_url: String,
    /// How to read the log.
    pub(crate) log: String,
    /// The tables' file or address.
    pub(crate) tables: String,
    /// The folder of it all.
    pub(crate) data_dir: String,
}

impl MorningReport {
    /// The report, with the agreement of `log` and `counts` worked out.
    pub(crate) fn new(
        report: DayReport,
        counts: TableCounts,
        log: LogCounts,
        places: Places,
        took_ms: u64,
        days: u32,
    ) -> Self {
        let agreement = agreement(&log, &counts);
        Self {
            report,
            counts,
            log,
            agreement,
            places,
            took_ms,
            days,
            behaviour: None,
        }
    }

    /// The same report with what came of holding personas' calls against the gateway's record of them.
    #[must_use]
    pub(crate) fn with_calls(mut self, calls: &CallAgreement) -> Self {
        self.agreement.push(Agreement::of_calls(calls));
        self
    }

    /// The same report with what they did as one number.
    #[must_use]
    pub(crate) fn with_behaviour(mut self, behaviour: BehaviourDigest) -> Self {
        self.behaviour = Some(behaviour);
        self
    }

    /// Whether log and tables tell the same story.
    pub(crate) fn agrees(&self) -> bool {
        self.disagreements().next().is_none()
    }

    /// What log and tables tell differently.
    pub(crate) fn disagreements(&self) -> impl Iterator<Item = &Agreement> {
        self.agreement.iter().filter(|line| !line.agrees)
    }

    /// The report for a terminal `width` columns wide, ending in a line break.
    pub(crate) fn text(&self, width: u16, paint: Paint) -> String {
        text::render(self, width, paint)
    }
}

/// `★★★★☆` for a mean of stars, to the nearest whole one.
pub(crate) fn stars(mean: f64) -> String {
    (1..=5)
        .map(|star| {
            if mean + 0.5 >= f64::from(star) {
                '★'
            } else {
                '☆'
            }
        })
        .collect()
}

/// `██░░░░░░░░` for a friction from 0 to 1. Any friction at all shows.
fn friction_bar(friction: f64) -> String {
    let share = friction.clamp(0.0, 1.0) * BAR_CELLS as f64;
    let is_full = |cell: usize| (cell == 0 && share > 0.0) || share + 0.5 >= (cell + 1) as f64;
    (0..BAR_CELLS)
        .map(|cell| if is_full(cell) { '█' } else { '░' })
        .collect()
}

/// Sums over all personas.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Totals {
    calls: u64,
    errors: u64,
    retries: u64,
    mistakes: u64,
    ratings: u64,
    stars_mean: Option<f64>,
}

impl Totals {
    fn of(report: &DayReport) -> Self {
        let sum = |count: fn(&PersonaDay) -> u64| report.personas.iter().map(count).sum();
        let stars: Vec<f64> = given_stars(report)
            .map(|(_, _, stars, _)| f64::from(stars))
            .collect();
        Self {
            calls: sum(|persona| persona.calls),
            errors: sum(|persona| persona.errors),
            retries: sum(|persona| persona.retries),
            mistakes: sum(|persona| persona.mistakes),
            ratings: stars.len() as u64,
            stars_mean: (!stars.is_empty()).then(|| stars.iter().sum::<f64>() / stars.len() as f64),
        }
    }
}

/// Every rating with stars: persona, module, stars, notes.
fn given_stars(report: &DayReport) -> impl Iterator<Item = (&str, &str, u8, &str)> {
    report.personas.iter().flat_map(|persona| {
        persona.ratings.iter().filter_map(|given| {
            given
                .rating
                .map(|stars| (&*persona.name, &*given.module, stars, &*given.notes))
        })
    })
}

/// The lowest ratings, worst first, that are complaints.
fn lowest(report: &DayReport) -> Vec<(&str, &str, u8, &str)> {
    let mut low: Vec<_> = given_stars(report)
        .filter(|(_, _, stars, _)| *stars < CONTENT_STARS)
        .collect();
    low.sort_by_key(|(name, module, stars, _)| (*stars, *name, *module));
    low.truncate(LOW_RATINGS_MAX);
    low
}

/// Personas whose tick did not end as it should, in words.
fn unfinished(report: &DayReport) -> Vec<String> {
    let mut said = Vec::new();
    for persona in &report.personas {
        match persona.outcome.as_deref() {
            Some("completed") => {}
            Some("abandoned") => said.push(format!("{} gave up", persona.name)),
            Some("limit") => said.push(format!("{} ran into the tick's limit", persona.name)),
            Some("failed") => said.push(format!("{} could not go on", persona.name)),
            Some(other) => said.push(format!("{} ended as {other}", persona.name)),
            None if persona.ticks == 0 => said.push(format!("{} has not acted yet", persona.name)),
            None => said.push(format!("{} is still acting", persona.name)),
        }
        if persona.interrupted > 0 {
            said.push(format!(
                "{} was interrupted {}",
                persona.name,
                count_of(persona.interrupted, "time")
            ));
        }
    }
    said
}

/// A share as people read it: `16 %`, `<1 %`.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 1.0 {
        "<1 %".to_owned()
    } else {
        format!("{percent:.0} %")
    }
}

#[cfg(test)]
mod tests;
