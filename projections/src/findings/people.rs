//! People: what newcomers find harder than others, and what nobody finds.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::history::{History, RatingCell};
use super::stats::Share;

/// What the name of a newcomer's archetype holds.
const NEWCOMER: &str = "newbie";
/// Fewer calls of an archetype do not show what it never uses.
const CALLS_MIN: u64 = 20;

/// What newcomers meet in a module, beside what everybody else meets.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct NewcomerGap {
    /// The module.
    pub module: String,
    /// Newcomers.
    pub newcomers: Side,
    /// Everybody else.
    pub others: Side,
}

/// One side of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Side {
    /// Calls that failed, mistakes included, of all.
    pub errors: Share,
    /// Calls for each that succeeded.
    pub calls_per_success: Option<f64>,
    /// Mean stars.
    pub stars_mean: Option<f64>,
}

/// A tool that an archetype had and never called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UnusedTool {
    /// The tool.
    pub tool: String,
    /// Archetypes that never called it; those with few calls are not counted.
    pub archetypes: Vec<String>,
    /// Nobody did.
    pub by_nobody: bool,
}

/// Per module that both have used in the last `days` days.
pub(super) fn newcomer_gaps(history: &History, days: u32) -> Vec<NewcomerGap> {
    let is_newcomer = |archetype: &str| archetype.contains(NEWCOMER);
    let modules: BTreeSet<&str> = history
        .calls
        .iter()
        .filter(|cell| cell.day < days && is_newcomer(&cell.archetype))
        .map(|cell| cell.module.as_str())
        .collect();
    let side = |module: &str, newcomers: bool| {
        let is_side =
            |cell_module: &str, archetype: &str| cell_module == module && is_newcomer(archetype) == newcomers;
        let calls = history
            .calls
            .iter()
            .filter(|cell| cell.day < days && is_side(&cell.module, &cell.archetype));
        let (all, ok, errors) = calls.fold((0, 0, 0), |(all, ok, errors), cell| {
            (all + cell.calls, ok + cell.ok, errors + cell.errors)
        });
        let ratings = history
            .ratings
            .iter()
            .filter(|cell| cell.week * 7 < days && is_side(&cell.module, &cell.archetype));
        Side {
            errors: Share::new(errors, all),
            calls_per_success: (ok > 0).then(|| all as f64 / ok as f64),
            stars_mean: stars_mean(ratings),
        }
    };
    modules
        .into_iter()
        .map(|module| NewcomerGap {
            module: module.to_owned(),
            newcomers: side(module, true),
            others: side(module, false),
        })
        .filter(|gap| gap.others.errors.total > 0)
        .collect()
}

fn stars_mean<'a>(cells: impl Iterator<Item = &'a RatingCell>) -> Option<f64> {
    let (sum, count) = cells.fold((0.0, 0), |(sum, count), cell| {
        (sum + cell.sum(), count + cell.count())
    });
    (count > 0).then(|| sum / count as f64)
}

/// Tools of `offered` that an archetype with enough calls has not called in all the time that is looked back.
pub(super) fn unused_tools(history: &History, offered: &[String]) -> Vec<UnusedTool> {
    let mut calls: BTreeMap<&str, u64> = BTreeMap::new();
    let mut used: BTreeSet<(&str, &str)> = BTreeSet::new();
    for cell in &history.calls {
        *calls.entry(&cell.archetype).or_default() += cell.calls;
        used.insert((&cell.archetype, &cell.tool));
    }
    calls.retain(|_, calls| *calls >= CALLS_MIN);
    let offered: BTreeSet<&str> = offered
        .iter()
        .map(String::as_str)
        .chain(history.calls.iter().map(|cell| cell.tool.as_str()))
        .collect();
    offered
        .into_iter()
        .filter_map(|tool| {
            let archetypes: Vec<String> = calls
                .keys()
                .filter(|archetype| !used.contains(&(**archetype, tool)))
                .map(|archetype| (*archetype).to_owned())
                .collect();
            let by_nobody = !used.iter().any(|(_, known)| *known == tool);
            (!archetypes.is_empty()).then(|| UnusedTool {
                tool: tool.to_owned(),
                archetypes,
                by_nobody,
            })
        })
        .collect()
}
