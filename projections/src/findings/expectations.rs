//! Shared spaces: whether what one persona put there was there for the others.
//!
//! A broken expectation needs no test: the app answered, the list was not full, nobody had touched the thing, and it was
//! not in it. One is enough.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::history::{BrokenExpectation, History};
use super::{Evidence, Finding, FindingKind};

/// What became of what personas expected of one another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExpectationFigures {
    /// The module.
    pub module: String,
    /// Things that were there.
    pub kept: u64,
    /// Things that were not.
    pub broken: u64,
    /// Things that were changed or removed before anybody looked.
    pub void: u64,
}

/// One finding for each module in which something was not there.
pub(super) fn broken(history: &History) -> Vec<Finding> {
    let mut modules: BTreeMap<&str, Vec<&BrokenExpectation>> = BTreeMap::new();
    for broken in &history.broken_expectations {
        modules.entry(&broken.module).or_default().push(broken);
    }
    modules
        .into_iter()
        .map(|(module, broken)| finding(history, module, &broken))
        .collect()
}

fn finding(history: &History, module: &str, broken: &[&BrokenExpectation]) -> Finding {
    let figures = history
        .expectations
        .iter()
        .find(|figures| figures.module == module);
    let kept = figures.map_or(0, |figures| figures.kept);
    let people: BTreeSet<&str> = broken
        .iter()
        .flat_map(|broken| [broken.made.persona_id.as_str(), broken.looked.persona_id.as_str()])
        .collect();
    let kinds: BTreeSet<&str> = broken.iter().map(|broken| broken.kind.as_str()).collect();
    let kinds: Vec<&str> = kinds.into_iter().collect();
    let since: Option<Timestamp> = broken.iter().map(|broken| broken.looked_at).min();
    Finding {
        kind: FindingKind::BrokenExpectation,
        module: module.to_owned(),
        tool: None,
        headline: format!("{module} does not show everybody in a shared space what is there"),
        detail: format!(
            "{} of {} that one member had put into a shared space and nobody had touched ({}) were not in the list of \
             another who looked by id",
            broken.len(),
            broken.len() as u64 + kept,
            kinds.join(", "),
        ),
        since,
        deploy: None,
        personas_affected: people.len() as u64,
        p_value: None,
        false_discovery_rate: None,
        // In pairs: the call that made it, and the other account's that did not find it.
        evidence: broken
            .iter()
            .take(Evidence::MAX.div_ceil(2))
            .flat_map(|broken| [broken.made.clone(), broken.looked.clone()])
            .collect(),
    }
}
