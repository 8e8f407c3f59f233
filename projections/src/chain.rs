//! What the chains of the log say, in the words of a report.

use events::{AuditReport, StreamSeq};
use serde::Serialize;

/// Whether the commits that were read are the ones that were written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ChainReport {
    /// Links checked.
    pub links: u64,
    /// Where chains do not hold, in the log's order, at most 100.
    pub breaks: Vec<ChainBreakAt>,
    /// How many there are.
    pub breaks_total: u64,
}

/// One place where a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainBreakAt {
    /// The commit at which it shows.
    pub seq: StreamSeq,
    /// Whose chain.
    pub subject: String,
    /// What is wrong, in words.
    pub reason: String,
}

impl ChainReport {
    pub(crate) fn of(report: &AuditReport) -> Self {
        Self {
            links: report.links,
            breaks: report
                .breaks
                .iter()
                .map(|found| ChainBreakAt {
                    seq: found.at(),
                    subject: found.subject().to_owned(),
                    reason: found.to_string(),
                })
                .collect(),
            breaks_total: report.breaks_total,
        }
    }

    /// Whether all chains hold.
    pub fn holds(&self) -> bool {
        self.breaks_total == 0
    }
}
