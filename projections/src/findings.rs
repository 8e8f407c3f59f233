//! Findings: what a product manager ought to hear in the morning, and what it rests on.
//!
//! ```text
//! tables ── queries/findings/ ──▶ History ── tools, modules, errors, expectations, mistakes, … ──▶ FindingsReport
//!            (SQL, sums)          (rows)        pure functions, each rule in one file      (serde)
//! ```
//!
//! A *finding* is what crossed a rule whose false alarms are known: `findings/simulation.rs` lives thirty weeks with
//! planted faults and without, and holds the rules to it. Everything else in a report is a figure, with its interval, for
//! whoever wants to look. Every finding names rows and their places in the log; they can be read there.
//!
//! The report is a function of the tables and a moment: asked again as of then it is the same.

mod deploys;
mod edges;
mod errors;
mod expectations;
pub(crate) mod history;
mod mistakes;
mod modules;
mod people;
mod raters;
mod stats;
mod tools;
mod twins;

#[cfg(test)]
mod simulation;

use std::fmt;

use events::{DeployName, StreamSeq};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use crate::queries::{DeployRow, EdgeRow};
pub use deploys::{ModuleChange, SinceDeploy, ToolChange};
pub use errors::Confusion;
pub use expectations::ExpectationFigures;
use history::{AroundDeploy, History, Trouble};
pub use history::{Rater, RatingRow};
pub use mistakes::Recovery;
pub use modules::{ModuleTrend, TrendWeek, Verdict};
pub use people::{NewcomerGap, Side, UnusedTool};
pub use raters::{Discriminates, RaterMeter};
pub use stats::{Interval, Share};
pub use tools::ToolFigures;
pub use twins::{GapFigures, TwinGap, TwinWeek};

/// Confusions and flatteries named at most.
const NAMED_MAX: usize = 10;
/// A deployment so long before a step may have made it.
const DEPLOY_BEFORE_STEP: SignedDuration = SignedDuration::from_hours(72);

/// What is asked.
#[derive(Debug, Clone)]
pub struct FindingsQuery {
    /// The figures' beginning; `None` for seven days before the moment. The rules look back as far as they need.
    pub since: Option<Timestamp>,
    /// The moment that is reported; `None` for the latest that happened.
    pub as_of: Option<Timestamp>,
    /// Tools that are offered, so that those nobody ever called can be named.
    pub offered_tools: Vec<String>,
}

/// What was found as of one moment.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FindingsReport {
    /// The moment; the latest tick began then, unless another was asked for.
    #[schemars(with = "events::Moment")]
    pub as_of: Timestamp,
    /// Where the figures begin.
    #[schemars(with = "events::Moment")]
    pub since: Timestamp,
    /// The last commit folded.
    pub as_of_seq: StreamSeq,
    /// What crossed a rule, what concerns most personas first.
    pub findings: Vec<Finding>,
    /// What changed since the latest deployment that was marked.
    pub since_deploy: Option<SinceDeploy>,
    /// Deployments in the time that is looked back, newest first.
    pub deploys: Vec<DeployRow>,
    /// Every tool that was called.
    pub tools: Vec<ToolFigures>,
    /// Every module that was rated, by rater.
    pub modules: Vec<ModuleTrend>,
    /// What became of mistakes, by module.
    pub recoveries: Vec<Recovery>,
    /// Who was told the same twice or more.
    pub confusion: Vec<Confusion>,
    /// What became of what personas expected of one another in shared spaces, by module.
    pub expectations: Vec<ExpectationFigures>,
    /// Which edge classes each field of each tool has seen, ever.
    pub edges: Vec<EdgeRow>,
    /// What newcomers find harder.
    pub newcomers: Vec<NewcomerGap>,
    /// What is not found.
    pub unused_tools: Vec<UnusedTool>,
    /// Ratings that are kinder than what happened.
    pub flattery: Vec<RatingRow>,
    /// Whether the raters tell a good day from a bad one.
    pub raters: Vec<RaterMeter>,
    /// How far apart each rater puts the calibration twins, week by week: what its stars are worth.
    pub calibration: Vec<TwinGap>,
    /// Ratings that failed, by module.
    pub failed_ratings: Vec<FailedRatings>,
    /// More went wrong than is kept: older failures are not in these figures.
    pub is_shortened: bool,
}

/// Ratings of a module of which nothing usable came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FailedRatings {
    /// The module.
    pub module: String,
    /// How many.
    pub count: u64,
}

/// Something that crossed a rule.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Finding {
    /// Which rule.
    pub kind: FindingKind,
    /// The module it is about.
    pub module: String,
    /// The tool, where it is about one.
    pub tool: Option<String>,
    /// What it is, in a line.
    pub headline: String,
    /// What it rests on, in a sentence.
    pub detail: String,
    /// When it began, as far as that can be told.
    #[schemars(with = "Option<events::Moment>")]
    pub since: Option<Timestamp>,
    /// The deployment right before that.
    pub deploy: Option<DeployName>,
    /// Personas that met it.
    pub personas_affected: u64,
    /// How likely chance would be to make it, where a test was made.
    pub p_value: Option<f64>,
    /// The same among all tests of its kind.
    pub false_discovery_rate: Option<f64>,
    /// Rows that show it, latest first; each is in the log at its place.
    pub evidence: Vec<Evidence>,
}

/// Which rule was crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A tool fails more often than before.
    Regression,
    /// A module is rated worse for three weeks.
    RatedWorse,
    /// A module's refusals have stopped helping those who err.
    UnhelpfulErrors,
    /// A tool fails in words that nobody has read before.
    NewError,
    /// What one account put into a shared space another does not find there.
    BrokenExpectation,
    /// A tool takes a mistake as if it were right.
    AcceptedMistake,
    /// A tool does not stand edge input.
    EdgeCase,
}

impl FindingKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Regression,
        Self::RatedWorse,
        Self::UnhelpfulErrors,
        Self::NewError,
        Self::BrokenExpectation,
        Self::AcceptedMistake,
        Self::EdgeCase,
    ];

    /// The word used in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::RatedWorse => "rated-worse",
            Self::UnhelpfulErrors => "unhelpful-errors",
            Self::NewError => "new-error",
            Self::BrokenExpectation => "broken-expectation",
            Self::AcceptedMistake => "accepted-mistake",
            Self::EdgeCase => "edge-case",
        }
    }
}

/// A row that shows something, and where it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Evidence {
    /// `call` or `rating`.
    pub kind: &'static str,
    /// The row: in `persona_actions` or `persona_feedback`.
    pub id: String,
    /// The call, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// Whose.
    pub persona_id: String,
    /// Place of the commit that holds its `ToolCalled` or `Rated`.
    pub stream_seq: StreamSeq,
}

impl Evidence {
    /// Rows named at most.
    const MAX: usize = 5;

    fn of_call(trouble: &Trouble) -> Self {
        Self {
            kind: "call",
            id: trouble.action_id.clone(),
            call_id: Some(trouble.call_id.to_string()),
            persona_id: trouble.persona_id.to_string(),
            stream_seq: trouble.stream_seq,
        }
    }

    fn of_rating(row: &RatingRow) -> Self {
        Self {
            kind: "rating",
            id: row.id.clone(),
            call_id: None,
            persona_id: row.persona_id.to_string(),
            stream_seq: row.stream_seq,
        }
    }
}

/// The moment that is reported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl Moment {
    /// The beginning of day `day` before it, or the earliest time there is.
    pub(crate) fn days_ago(&self, day: u32) -> Timestamp {
        self.days_ago_end(day.saturating_add(1))
    }

    /// The end of day `day` before it.
    pub(crate) fn days_ago_end(&self, day: u32) -> Timestamp {
        let back = SignedDuration::from_hours(24 * i64::from(day));
        self.0.saturating_sub(back).unwrap_or(Timestamp::MIN)
    }
}

/// What is counted outside the history.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub(crate) deploys: Vec<DeployRow>,
    pub(crate) around_deploy: Option<AroundDeploy>,
    pub(crate) as_of_seq: StreamSeq,
}

/// Makes the report of `history`: a pure function.
pub(crate) fn report(
    history: &History,
    beside: Beside,
    as_of: Timestamp,
    since: Timestamp,
    offered_tools: &[String],
) -> FindingsReport {
    let moment = Moment(as_of);
    let days = days_between(since, as_of);
    let judged = modules::judged(history);
    let modules = modules::trends(&judged, &moment);
    let findings = crossed(history, &judged, &beside.deploys, &moment);
    FindingsReport {
        as_of,
        since,
        as_of_seq: beside.as_of_seq,
        findings,
        since_deploy: beside.around_deploy.map(deploys::changes),
        deploys: beside.deploys,
        tools: tools::figures(history, days),
        modules,
        recoveries: mistakes::recoveries(history, days),
        confusion: errors::confusion(history, days, NAMED_MAX),
        expectations: history.expectations.clone(),
        edges: history.edges.clone(),
        newcomers: people::newcomer_gaps(history, days),
        unused_tools: people::unused_tools(history, offered_tools),
        flattery: raters::flattery(history, since, NAMED_MAX),
        raters: raters::meters(history),
        calibration: twins::gaps(history),
        failed_ratings: history
            .failed_ratings
            .iter()
            .map(|(module, count)| FailedRatings {
                module: module.clone(),
                count: *count,
            })
            .collect(),
        is_shortened: history.is_shortened,
    }
}

/// What crosses a rule, what concerns most personas first.
fn crossed(
    history: &History,
    judged: &[modules::Judged<'_>],
    deploys: &[DeployRow],
    moment: &Moment,
) -> Vec<Finding> {
    let mut findings = tools::regressions(history, moment);
    findings.extend(mistakes::unhelpful(history, moment));
    findings.extend(modules::rated_worse(history, judged, moment));
    findings.extend(errors::new_errors(history));
    findings.extend(expectations::broken(history));
    findings.extend(mistakes::accepted(history));
    findings.extend(edges::broken(history));
    for finding in &mut findings {
        finding.deploy = finding.since.and_then(|since| deploy_before(deploys, since));
    }
    findings.sort_by(|one, other| {
        (other.personas_affected.cmp(&one.personas_affected))
            .then(one.kind.cmp(&other.kind))
            .then(one.module.cmp(&other.module))
            .then(one.tool.cmp(&other.tool))
    });
    findings
}

/// Whole days, at least one, at most as many as are looked back.
fn days_between(since: Timestamp, as_of: Timestamp) -> u32 {
    let hours = as_of.duration_since(since).as_hours().max(0);
    u32::try_from(hours.div_euclid(24) + i64::from(hours % 24 > 0))
        .unwrap_or(history::DAYS)
        .clamp(1, history::DAYS)
}

/// The newest deployment that went live within three days before `step`, or in the day that the step is dated to.
fn deploy_before(deploys: &[DeployRow], step: Timestamp) -> Option<DeployName> {
    let earliest = step.saturating_sub(DEPLOY_BEFORE_STEP).unwrap_or(Timestamp::MIN);
    let latest = step
        .saturating_add(SignedDuration::from_hours(24))
        .unwrap_or(Timestamp::MAX);
    deploys
        .iter()
        .find(|deploy| deploy.deployed_at >= earliest && deploy.deployed_at <= latest)
        .map(|deploy| deploy.name.clone())
}

/// The day of `at`, as a date.
fn day_text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// A rate as people say it.
fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    if percent > 0.0 && percent < 1.0 {
        "under 1 %".to_owned()
    } else {
        format!("{percent:.0} %")
    }
}

impl fmt::Display for Rater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.brain.as_deref().unwrap_or(&self.source))?;
        if let Some(model) = &self.model {
            write!(f, " {model}")?;
        }
        if let Some(version) = self.prompt_version {
            write!(f, ", prompt {version}")?;
        }
        write!(f, ", rubric {}", self.rubric_version)
    }
}
