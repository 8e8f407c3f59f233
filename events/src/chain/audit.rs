//! All chains of a log in one pass.

use std::collections::{BTreeMap, BTreeSet};

use super::{ChainBreak, ChainHash, ChainStart, ChainVerifier};
use crate::commit::StreamSeq;
use crate::event::Event;
use crate::log::Delivery;
use crate::subject::Subject;

/// Breaks kept by name; more are only counted.
const BREAKS_KEPT_MAX: usize = 100;

/// Checks the chain of every chained subject while the log is read once, from its beginning.
#[derive(Debug, Clone, Default)]
pub struct ChainAudit {
    verifiers: BTreeMap<String, ChainVerifier>,
    erased: BTreeSet<String>,
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
    /// Subjects of personas and spaces that the log says were erased: commits may be missing there.
    pub erased: BTreeSet<String>,
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
        if let Delivery::Commit(recorded) = delivery {
            self.erased
                .extend(recorded.commit.events.iter().flat_map(erased_subjects));
        }
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
            erased: self.erased,
            breaks: self.breaks,
            breaks_total: self.breaks_total,
        }
    }
}

/// The subjects whose commits an event takes out of the log.
fn erased_subjects(event: &Event) -> Vec<String> {
    let erased = match event {
        Event::PersonaErased(erased) => erased,
        Event::SpaceErased(erased) => return vec![Subject::Record(erased.space_id.clone()).to_string()],
        _ => return Vec::new(),
    };
    let persona = &erased.persona_id;
    [
        Subject::Persona(persona.clone()),
        Subject::Session(persona.clone().into()),
    ]
    .into_iter()
    .chain(erased.spaces.iter().cloned().map(Subject::Record))
    .map(|subject| subject.to_string())
    .collect()
}
