//! What changed since the app was deployed anew.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::history::{AroundDeploy, Rater};
use super::stats::{Interval, Share, bootstrap_90, false_discovery_rates, fisher_greater, mean};
use crate::queries::DeployRow;

/// Fewer answered calls on either side say nothing.
const CALLS_MIN: u64 = 20;
/// The rate of false discovery over all tools and both directions.
const RATE_MAX: f64 = 0.1;
/// Fewer personas on both sides are not shown.
const PERSONAS_MIN: usize = 3;

/// What changed since one deployment, up to the report's moment.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SinceDeploy {
    /// The deployment.
    pub deploy: DeployRow,
    /// Answered ordinary calls since.
    pub calls_since: u64,
    /// Tools that fail more or less often than before, worst first.
    pub tools: Vec<ToolChange>,
    /// Modules with their stars, persona against the same persona.
    pub modules: Vec<ModuleChange>,
}

/// A tool that fails more or less often.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ToolChange {
    /// The tool.
    pub tool: String,
    /// Ordinary calls that failed before, of those answered.
    pub before: Share,
    /// Since.
    pub after: Share,
    /// Whether it fails more often.
    pub is_worse: bool,
    /// The rate of false discovery at which it is one.
    pub false_discovery_rate: f64,
}

/// How the stars of a module moved.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ModuleChange {
    /// The module.
    pub module: String,
    /// By whom.
    pub rater: Rater,
    /// Personas that rated before and since.
    pub personas: usize,
    /// Mean over them of the stars since minus those before.
    pub difference: f64,
    /// Where that may well lie (90 %, bootstrap).
    pub interval: Option<Interval>,
}

/// Sums up what was counted around a deployment.
pub(super) fn changes(around: AroundDeploy) -> SinceDeploy {
    let calls_since = around.tools.iter().map(|tool| tool.after.total).sum();
    let compared: Vec<_> = around
        .tools
        .into_iter()
        .filter(|tool| tool.before.total >= CALLS_MIN && tool.after.total >= CALLS_MIN)
        .collect();
    let p_values: Vec<f64> = compared
        .iter()
        .flat_map(|tool| {
            [
                fisher_greater(tool.after, tool.before),
                fisher_greater(tool.before, tool.after),
            ]
        })
        .collect();
    let rates = false_discovery_rates(&p_values);
    let mut tools: Vec<ToolChange> = compared
        .into_iter()
        .zip(rates.chunks(2))
        .filter_map(|(tool, rates)| {
            let [worse, better] = *rates else { return None };
            (worse.min(better) <= RATE_MAX).then(|| ToolChange {
                tool: tool.name,
                before: tool.before,
                after: tool.after,
                is_worse: worse < better,
                false_discovery_rate: worse.min(better),
            })
        })
        .collect();
    tools.sort_by(|one, other| {
        let rise = |change: &ToolChange| change.after.rate() - change.before.rate();
        rise(other).total_cmp(&rise(one)).then(one.tool.cmp(&other.tool))
    });
    let mut stars: BTreeMap<(String, Rater), Vec<f64>> = BTreeMap::new();
    for (rater, one) in around.stars {
        stars
            .entry((one.name, rater))
            .or_default()
            .push(one.after - one.before);
    }
    let modules = stars
        .into_iter()
        .filter(|(_, differences)| differences.len() >= PERSONAS_MIN)
        .filter_map(|((module, rater), differences)| {
            Some(ModuleChange {
                module,
                rater,
                personas: differences.len(),
                difference: mean(&differences)?,
                interval: bootstrap_90(&differences),
            })
        })
        .collect();
    SinceDeploy {
        deploy: around.deploy,
        calls_since,
        tools,
        modules,
    }
}
