//! Edge input: what a tool neither took as it was nor refused cleanly. One is enough: there is no day on which a tool may
//! break on a letter.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{BadEdge, History};
use super::{Evidence, Finding, FindingKind};

/// Fields and classes named in a sentence.
const NAMED_MAX: usize = 4;

/// One finding for each tool.
pub(super) fn broken(history: &History) -> Vec<Finding> {
    let mut tools: BTreeMap<&str, Vec<&BadEdge>> = BTreeMap::new();
    for edge in &history.bad_edges {
        tools.entry(&edge.tool).or_default().push(edge);
    }
    tools
        .into_iter()
        .map(|(tool, edges)| finding(tool, &edges))
        .collect()
}

fn finding(tool: &str, edges: &[&BadEdge]) -> Finding {
    let fields: BTreeSet<&str> = edges.iter().map(|edge| edge.field.as_str()).collect();
    let people: BTreeSet<&str> = edges
        .iter()
        .map(|edge| edge.evidence.persona_id.as_str())
        .collect();
    let named: Vec<String> = edges.iter().take(NAMED_MAX).map(|edge| said(edge)).collect();
    let more = edges.len().saturating_sub(NAMED_MAX);
    let more = if more == 0 {
        String::new()
    } else {
        format!("; and {more} more")
    };
    let fields: Vec<&str> = fields.into_iter().collect();
    Finding {
        kind: FindingKind::EdgeCase,
        module: edges.first().map(|edge| edge.module.clone()).unwrap_or_default(),
        tool: Some(tool.to_owned()),
        headline: format!("{tool} does not stand edge input in {}", fields.join(", ")),
        detail: format!("{}{more}", named.join("; ")),
        since: edges.iter().map(|edge| edge.at).min(),
        deploy: None,
        personas_affected: people.len() as u64,
        p_value: None,
        false_discovery_rate: None,
        evidence: edges
            .iter()
            .take(Evidence::MAX)
            .map(|edge| edge.evidence.clone())
            .collect(),
    }
}

fn said(edge: &BadEdge) -> String {
    let what = match edge.verdict.as_str() {
        "altered" => "was read back otherwise",
        "unanswered" => "was not answered",
        _ => "broke it",
    };
    let detail = edge
        .detail
        .as_ref()
        .map(|detail| format!(" ({detail})"))
        .unwrap_or_default();
    format!("{} in {} {what}{detail}", edge.class, edge.field)
}
