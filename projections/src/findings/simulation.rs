//! Thirty weeks of a cast, lived in a second: recorded ticks of the simulated brain, played anew against an app that can
//! be told what to break. It holds the rules to what they promise: planted faults are reported, and nothing else is.
//!
//! What a tick sets out to do is recorded (`tests/fixtures/tick_shapes.json`, from fourteen days of `dramatis demo`); what
//! the app answers, what is tried again and which stars follow is played here, as `docs/ratings.md` says.

mod cast;
mod faults;

use std::collections::BTreeSet;

use cast::{Cast, Fault};

use super::{Finding, FindingKind};

/// Weeks that are lived.
const WEEKS: u32 = 30;
/// The week at whose end a fault is planted.
const PLANTED_WEEK: u32 = 12;
/// Weeks in which it must be found.
const FOUND_WITHIN_WEEKS: u32 = 3;

/// One line per finding: its kind and what it is about.
fn named(findings: &[Finding]) -> BTreeSet<(FindingKind, String)> {
    findings
        .iter()
        .map(|finding| {
            let about = finding.tool.as_ref().unwrap_or(&finding.module);
            (finding.kind, about.clone())
        })
        .collect()
}
