//! A bounded memory of recent things.

use std::collections::HashMap;
use std::hash::Hash;

/// Remembers at most `2 × half` entries and forgets those not asked for the longest, half of them at a time.
///
/// Two maps, the younger of which becomes the older when it is full: constant time for everything, and no order
/// to keep.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    pub(crate) fn new(half: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half,
        }
    }

    /// What is remembered under `key`; asking keeps it young.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_holds_more_than_twice_its_half() {
        let mut recent = Recent::new(4);
        for n in 0..1_000 {
            recent.insert(n, n);
            assert!(recent.len() <= 8, "{n}");
        }
        assert_eq!(recent.get(&999), Some(&999));
        assert_eq!(recent.get(&0), None);
    }

    #[test]
    fn what_is_asked_for_again_outlives_what_is_not() {
        let mut recent = Recent::new(4);
        recent.insert(0, ());
        for n in 1..100 {
            assert!(recent.get(&0).is_some(), "{n}");
            recent.insert(n, ());
        }
    }

    #[test]
    fn a_removed_entry_is_gone_from_both_halves() {
        let mut recent = Recent::new(1);
        recent.insert("a", 1);
        recent.insert("b", 2);
        recent.remove(&"a");
        recent.remove(&"b");
        assert_eq!(recent.len(), 0);
        assert_eq!(recent.get(&"a"), None);
        assert_eq!(recent.get(&"b"), None);
    }
}
