//! The newest link of each subject this process wrote to, so that an append need not read before it writes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::chain::ChainHash;
use crate::commit::StreamSeq;

/// Subjects remembered in each of two generations: some 10 MB at most.
const GENERATION_MAX: usize = 32 * 1024;

/// A subject's newest commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: StreamSeq,
    pub(super) id: String,
    pub(super) link: ChainHash,
}

/// Two generations: what was not asked for while the younger filled up is forgotten with the older.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<String, Head>,
    old: HashMap<String, Head>,
}

/// See the module. What it says may be outdated: the guard decides, and the place tells whether it fits.
#[derive(Debug, Default)]
pub(super) struct Heads(Mutex<Generations>);

impl Heads {
    /// The subject's head, if it is known and stands at `seq`.
    pub(super) fn at(&self, subject: &str, seq: StreamSeq) -> Option<Head> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(head) = generations.young.get(subject) {
            return (head.seq == seq).then(|| head.clone());
        }
        let head = generations.old.remove(subject)?;
        let found = (head.seq == seq).then(|| head.clone());
        generations.put(subject.to_owned(), head);
        found
    }

    /// Remembers a head. An older one does not replace a newer.
    pub(super) fn put(&self, subject: &str, head: Head) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = generations.young.get_mut(subject) {
            if known.seq < head.seq {
                *known = head;
            }
            return;
        }
        generations.put(subject.to_owned(), head);
    }

    /// Forgets a subject, which was erased.
    pub(super) fn forget(&self, subject: &str) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.remove(subject);
        generations.old.remove(subject);
    }
}

impl Generations {
    fn put(&mut self, subject: String, head: Head) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(subject, head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64) -> Head {
        Head {
            seq: StreamSeq(seq),
            id: seq.to_string(),
            link: ChainHash::genesis("x"),
        }
    }

    #[test]
    fn a_head_is_known_only_at_its_place_and_never_goes_back() {
        let heads = Heads::default();
        heads.put("a", head(7));
        heads.put("a", head(3));
        assert_eq!(heads.at("a", StreamSeq(7)), Some(head(7)));
        assert_eq!(heads.at("a", StreamSeq(3)), None);
        heads.forget("a");
        assert_eq!(heads.at("a", StreamSeq(7)), None);
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_used() {
        let heads = Heads::default();
        heads.put("used", head(1));
        for n in 0..(2 * GENERATION_MAX + 2_000) {
            heads.put(&n.to_string(), head(1));
            if n % 1_000 == 0 {
                assert!(heads.at("used", StreamSeq(1)).is_some(), "forgotten after {n}");
            }
        }
        let generations = heads.0.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION_MAX);
        assert!(!generations.young.contains_key("0") && !generations.old.contains_key("0"));
    }
}
