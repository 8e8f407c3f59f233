//! What subjects folded to, between ticks. A life is long and a tick is short: who acts again is folded from where it
//! was last looked at, not from its first day.
//!
//! Nothing here is the truth. The log is asked each time, beginning with the commit the kept fold ended at; where
//! another one stands there now, or none, the kept fold counts for nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use events::{CommitId, PersonaId, RecordedCommit, StreamSeq};

use crate::diary::Diary;
use crate::roster::{self, RosterEntry};

/// Folds that are kept, those used last; a few KiB each.
const KEPT_MAX: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Recall(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    folds: HashMap<PersonaId, (Fold, u64)>,
    uses: u64,
}

/// A persona's subject, folded up to one of its commits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fold {
    entry: Option<RosterEntry>,
    diary: Diary,
    /// The last commit that is in it.
    end: Option<(StreamSeq, CommitId)>,
}

impl Fold {
    /// After which place the log is to be read: the fold's last commit is read once more, to know it again.
    pub(crate) fn read_after(&self) -> StreamSeq {
        self.end
            .map_or(StreamSeq::ZERO, |(seq, _)| StreamSeq(seq.0.saturating_sub(1)))
    }

    /// Whether `commits`, read from there on, begin with the commit it ends at.
    pub(crate) fn leads_to(&self, commits: &[RecordedCommit]) -> bool {
        self.end.is_none_or(|(seq, id)| {
            let first = commits.first();
            first.is_some_and(|first| (first.seq, first.commit.id) == (seq, id))
        })
    }

    /// Takes in what is new of `commits`.
    pub(crate) fn fold(&mut self, commits: &[RecordedCommit]) {
        let known = self.end.map_or(StreamSeq::ZERO, |(seq, _)| seq);
        for recorded in commits.iter().filter(|recorded| recorded.seq > known) {
            self.diary.fold(recorded);
            self.entry = roster::fold(self.entry.take(), recorded);
            self.end = Some((recorded.seq, recorded.commit.id));
        }
    }

    /// The persona, and what it remembers; `None` when it is not enrolled.
    pub(crate) fn into_persona(self) -> Option<(RosterEntry, Diary)> {
        Some((self.entry?, self.diary))
    }
}

impl Recall {
    /// Where the persona's fold stood last; the beginning, where that is not kept.
    pub(crate) fn of(&self, persona_id: &PersonaId) -> Fold {
        let mut kept = self.kept();
        kept.uses += 1;
        let now = kept.uses;
        let found = kept.folds.get_mut(persona_id);
        found.map_or_else(Fold::default, |(fold, used)| {
            *used = now;
            fold.clone()
        })
    }

    /// Keeps `fold`, and forgets what was not used for longest. Who is not enrolled is not kept.
    pub(crate) fn keep(&self, persona_id: &PersonaId, fold: &Fold) {
        let mut kept = self.kept();
        kept.uses += 1;
        let now = kept.uses;
        if fold.entry.is_none() {
            kept.folds.remove(persona_id);
            return;
        }
        if kept.folds.len() >= KEPT_MAX && !kept.folds.contains_key(persona_id) {
            let oldest = kept.folds.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(persona_id, _)| persona_id.clone()) {
                kept.folds.remove(&oldest);
            }
        }
        kept.folds.insert(persona_id.clone(), (fold.clone(), now));
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
