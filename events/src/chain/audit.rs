//! All chains of a log in one pass.

use std::collections::BTreeMap;

use super::{ChainBreak, ChainHash, ChainStart, ChainVerifier};
use crate::commit::StreamSeq;
use crate::log::Delivery;

/// Breaks kept by name; more are only counted.
const BREAKS_KEPT_MAX: usize = 100;

/// Checks the chain of every chained subject while the log is read once, from its beginning.
#[derive(Debug, Default)]
pub struct ChainAudit {
    verifiers: BTreeMap<String, ChainVerifier>,
    breaks: Vec<ChainBreak>,
    breaks_total: u64,
}

/// What an audit found.
#[derive(Debug, Clone)]
pub struct AuditReport {
    /// Links that were checked, of all subjects.
    pub links: u64,
    /// Where each subject's chain begins: other than at its genesis, its beginning was purged or taken away.
    pub starts: BTreeMap<String, ChainStart>,
    /// The newest link of each subject.
    pub heads: BTreeMap<String, (StreamSeq, ChainHash)>,
    /// Where chains do not hold, in the log's order; at most 100.
    pub breaks: Vec<ChainBreak>,
    /// How many there are.
    pub breaks_total: u64,
}

impl ChainAudit {
    /// Before the first message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next message of the log, readable or not. Subjects without a chain are passed over.
    pub fn observe(&mut self, delivery: &Delivery) {
        let Some((subject, link)) = delivery.link() else {
            return;
        };
        let verifier = self
            .verifiers
            .entry(subject)
            .or_insert_with_key(|subject| ChainVerifier::new(subject.as_str()));
        if let Err(found) = verifier.check(&link) {
            self.breaks_total += 1;
            if self.breaks.len() < BREAKS_KEPT_MAX {
                self.breaks.push(found);
            }
        }
    }

    /// What was found.
    pub fn finish(self) -> AuditReport {
        AuditReport {
            links: self.verifiers.values().map(ChainVerifier::links).sum(),
            heads: self
                .verifiers
                .iter()
                .filter_map(|(subject, verifier)| Some((subject.clone(), verifier.head()?)))
                .collect(),
            starts: self
                .verifiers
                .iter()
                .filter_map(|(subject, verifier)| Some((subject.clone(), verifier.start()?)))
                .collect(),
            breaks: self.breaks,
            breaks_total: self.breaks_total,
        }
    }
}
