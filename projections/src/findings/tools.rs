//! Tools: how often they fail, are tried again and keep people waiting, and which of them got worse.

use std::collections::{BTreeMap, BTreeSet};

use events::{Cause, Intent};
use schemars::JsonSchema;
use serde::Serialize;

use super::history::{CallCell, History, Trouble};
use super::stats::{Interval, Share, false_discovery_rates, fisher_greater, step_of};
use super::{Evidence, Finding, FindingKind, Moment, percent};

/// The days that are held against the ones before.
const NOW_DAYS: u32 = 7;
/// The days before them.
const BEFORE_DAYS: u32 = 28;
/// Fewer answered calls in either say nothing.
const CALLS_MIN: u64 = 20;
/// A rate of false discovery at which a change is one when it is there two weeks running…
const RATE_TWICE: f64 = 0.1;
/// …and at which one week is enough.
const RATE_ONCE: f64 = 0.0005;
/// A rise of fewer percentage points is nobody's morning news.
const RISE_MIN: f64 = 0.05;
/// One stuck persona is no regression.
const PERSONAS_MIN: u64 = 2;

/// What a tool did to its callers within the report's own time.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ToolFigures {
    /// The tool.
    pub tool: String,
    /// Its module.
    pub module: String,
    /// All calls, mistakes included.
    pub calls: u64,
    /// Ordinary calls that failed, of those that were answered.
    pub errors: Share,
    /// Where their rate may well lie (95 %).
    pub error_interval: Option<Interval>,
    /// Calls that got no answer, of all.
    pub unanswered: Share,
    /// Calls that tried a failed one again, of all.
    pub retries: Share,
    /// Where their rate may well lie (95 %).
    pub retry_interval: Option<Interval>,
    /// Personas that met an error of it that was not their own.
    pub personas_affected: u64,
    /// Half of the callers waited at most so long, in milliseconds.
    pub p50_ms: Option<u64>,
    /// All but a twentieth of them.
    pub p95_ms: Option<u64>,
}

/// Every tool that was called in the last `days` days: by personas affected, then errors, then name.
pub(super) fn figures(history: &History, days: u32) -> Vec<ToolFigures> {
    let mut by_tool: BTreeMap<(&str, &str), Vec<&CallCell>> = BTreeMap::new();
    for cell in history.calls.iter().filter(|cell| cell.day < days) {
        by_tool.entry((&cell.tool, &cell.module)).or_default().push(cell);
    }
    let mut figures: Vec<ToolFigures> = by_tool
        .into_iter()
        .map(|((tool, module), cells)| {
            let sum = |of: fn(&CallCell) -> u64| cells.iter().map(|cell| of(cell)).sum::<u64>();
            let calls = sum(|cell| cell.calls);
            let errors = Share::new(sum(|cell| cell.app_errors), sum(|cell| cell.answered));
            let retries = Share::new(sum(|cell| cell.retries), calls);
            let latency = history.latencies.iter().find(|latency| latency.tool == tool);
            ToolFigures {
                tool: tool.to_owned(),
                module: module.to_owned(),
                calls,
                errors,
                error_interval: errors.interval(),
                unanswered: Share::new(sum(|cell| cell.infra_errors), calls),
                retries,
                retry_interval: retries.interval(),
                personas_affected: affected(failures(history, tool, 0..days)),
                p50_ms: latency.map(|latency| latency.p50_ms),
                p95_ms: latency.map(|latency| latency.p95_ms),
            }
        })
        .collect();
    figures.sort_by(|one, other| {
        let weight = |figures: &ToolFigures| (figures.personas_affected, figures.errors.of);
        weight(other).cmp(&weight(one)).then(one.tool.cmp(&other.tool))
    });
    figures
}

/// Tools that fail more than before: the last seven days against the 28 before, Fisher's exact test, false discovery over
/// all tools. It has to be there two weeks running, or beyond doubt at once.
pub(super) fn regressions(history: &History, moment: &Moment) -> Vec<Finding> {
    let mut tools: BTreeMap<Tool<'_>, Days> = BTreeMap::new();
    for cell in &history.calls {
        let days = tools.entry((&cell.tool, &cell.module)).or_default();
        let day = days.entry(cell.day).or_default();
        *day = Share::new(day.of + cell.app_errors, day.total + cell.answered);
    }
    let tools: Vec<_> = tools.into_iter().collect();
    let now = judged(&tools, 0);
    let week_before = judged(&tools, NOW_DAYS);
    let mut found = Vec::new();
    for (at, ((tool, module), days)) in tools.iter().enumerate() {
        let (now, before) = (now[at], week_before[at]);
        let is_certain = now.rate <= RATE_ONCE;
        let is_twice = now.rate <= RATE_TWICE && before.rate <= RATE_TWICE;
        if !(is_certain || is_twice) || now.now.rate() - now.before.rate() < RISE_MIN {
            continue;
        }
        let personas = affected(failures(history, tool, 0..NOW_DAYS));
        if personas < PERSONAS_MIN {
            continue;
        }
        let since = step_of(&oldest_first(days)).map(|day| moment.days_ago(day_of(day)));
        let mut latest: Vec<&Trouble> = failures(history, tool, 0..NOW_DAYS).collect();
        latest.truncate(Evidence::MAX);
        let told = latest.first().and_then(|trouble| trouble.error.clone());
        found.push(Finding {
            kind: FindingKind::Regression,
            module: (*module).to_owned(),
            tool: Some((*tool).to_owned()),
            headline: format!(
                "{tool} fails {} of the time; before it was {}",
                percent(now.now.rate()),
                percent(now.before.rate())
            ),
            detail: format!(
                "{} of {} calls failed in the last {NOW_DAYS} days, {} of {} in the {BEFORE_DAYS} before{}",
                now.now.of,
                now.now.total,
                now.before.of,
                now.before.total,
                told.map(|told| format!("; it says: {told}")).unwrap_or_default()
            ),
            since,
            deploy: None,
            personas_affected: personas,
            p_value: Some(now.p_value),
            false_discovery_rate: Some(now.rate),
            evidence: latest.into_iter().map(Evidence::of_call).collect(),
        });
    }
    found
}

/// A tool and its module.
type Tool<'a> = (&'a str, &'a str);
/// Failed calls of those answered, by day before the report's moment.
type Days = BTreeMap<u32, Share>;

/// One comparison of two times.
#[derive(Debug, Clone, Copy)]
struct Judged {
    now: Share,
    before: Share,
    p_value: f64,
    rate: f64,
}

/// Each tool's week that ended `shift` days ago against the four before it. Tools with too few calls take no part.
fn judged(tools: &[(Tool<'_>, Days)], shift: u32) -> Vec<Judged> {
    let sum = |days: &Days, from: u32, to: u32| {
        days.range(from..to).fold(Share::default(), |sum, (_, day)| {
            Share::new(sum.of + day.of, sum.total + day.total)
        })
    };
    let compared = |days: &Days| {
        let now = sum(days, shift, shift + NOW_DAYS);
        let before = sum(days, shift + NOW_DAYS, shift + NOW_DAYS + BEFORE_DAYS);
        let is_enough = now.total >= CALLS_MIN && before.total >= CALLS_MIN;
        (now, before, is_enough.then(|| fisher_greater(now, before)))
    };
    let compared: Vec<_> = tools.iter().map(|(_, days)| compared(days)).collect();
    let p_values: Vec<f64> = compared.iter().filter_map(|(_, _, p_value)| *p_value).collect();
    let mut rates = false_discovery_rates(&p_values).into_iter();
    compared
        .into_iter()
        .map(|(now, before, p_value)| Judged {
            now,
            before,
            p_value: p_value.unwrap_or(1.0),
            rate: p_value.and_then(|_| rates.next()).unwrap_or(1.0),
        })
        .collect()
}

/// Days in which a step is looked for.
const STEP_DAYS: u32 = NOW_DAYS + BEFORE_DAYS;

fn oldest_first(days: &Days) -> Vec<Share> {
    (0..STEP_DAYS)
        .rev()
        .map(|day| days.get(&day).copied().unwrap_or_default())
        .collect()
}

/// The day, counted back, at that place of a series that begins with the oldest.
fn day_of(place: usize) -> u32 {
    (STEP_DAYS - 1).saturating_sub(u32::try_from(place).unwrap_or(STEP_DAYS))
}

/// Ordinary calls of `tool` that failed, not by the caller's fault, latest first.
pub(super) fn failures<'a>(
    history: &'a History,
    tool: &'a str,
    days: std::ops::Range<u32>,
) -> impl Iterator<Item = &'a Trouble> {
    history.troubles.iter().filter(move |trouble| {
        &*trouble.tool == tool
            && days.contains(&trouble.day)
            && trouble.intent == Intent::Valid
            && trouble.cause == Some(Cause::App)
    })
}

fn affected<'a>(troubles: impl Iterator<Item = &'a Trouble>) -> u64 {
    let personas: BTreeSet<_> = troubles.map(|trouble| &trouble.persona_id).collect();
    personas.len() as u64
}
