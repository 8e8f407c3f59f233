//! Rows of one table, with what a commit changed until it settles.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use crate::database::Changed;
use crate::error::FoldError;
use crate::row::Row;

/// Rows of one table by their key.
#[derive(Debug)]
pub(crate) struct Held<R: Row> {
    slots: HashMap<R::Key, Slot<R>>,
    /// What the present commit changed, as it was before, latest last.
    undo: Vec<(R::Key, Option<Slot<R>>)>,
    knows_all: bool,
}

/// What is known of one key.
#[derive(Debug, Clone)]
struct Slot<R> {
    row: Option<R>,
    /// Whether the table does not have it so.
    is_changed: bool,
    /// Whether the table was asked and has no row of that key.
    is_new: bool,
}

impl<R: Row> Default for Held<R> {
    fn default() -> Self {
        Self {
            slots: HashMap::new(),
            undo: Vec::new(),
            knows_all: false,
        }
    }
}

impl<R: Row> Held<R> {
    #[cfg(test)]
    pub(crate) fn assume_absent(&mut self) {
        self.knows_all = true;
    }

    /// Notes that the table was asked for `key`: without a row that follows it is not there.
    pub(crate) fn asked_for(&mut self, key: R::Key) {
        self.slots.entry(key).or_insert(Slot {
            row: None,
            is_changed: false,
            is_new: true,
        });
    }

    /// Takes a row as the table has it.
    pub(crate) fn loaded(&mut self, row: R) {
        let slot = Slot {
            row: Some(row),
            is_changed: false,
            is_new: false,
        };
        if let Some(row) = &slot.row {
            self.slots.insert(row.key(), slot);
        }
    }

    /// The row named `key`, `None` when it does not exist.
    pub(crate) fn get<Q>(&self, key: &Q) -> Result<Option<&R>, FoldError>
    where
        R::Key: Borrow<Q>,
        Q: Eq + Hash + std::fmt::Debug + ?Sized,
    {
        match self.slots.get(key) {
            Some(slot) => Ok(slot.row.as_ref()),
            None if self.knows_all => Ok(None),
            None => Err(FoldError::halt(format!(
                "a fold looked at row {key:?} of {} that was not loaded; this is a mistake in the program",
                R::TABLE.name
            ))),
        }
    }

    /// Puts `row` in the place its key names.
    pub(crate) fn put(&mut self, row: R) {
        let key = row.key();
        let slot = Slot {
            row: Some(row),
            is_changed: true,
            is_new: self.slots.get(&key).is_some_and(|slot| slot.is_new),
        };
        let before = self.slots.insert(key.clone(), slot);
        self.undo.push((key, before));
    }

    /// Changes the row named `key`, if it exists.
    pub(crate) fn change<Q>(&mut self, key: &Q, change: impl FnOnce(&mut R)) -> Result<(), FoldError>
    where
        R::Key: Borrow<Q>,
        Q: Eq + Hash + std::fmt::Debug + ?Sized,
    {
        if let Some(row) = self.get(key)? {
            let mut row = row.clone();
            change(&mut row);
            self.put(row);
        }
        Ok(())
    }

    /// Forgets the rows that `is_gone` names. Their going from the table is the caller's to note.
    pub(crate) fn remove_where(&mut self, is_gone: impl Fn(&R) -> bool) {
        for (key, slot) in &mut self.slots {
            if slot.row.as_ref().is_some_and(&is_gone) {
                let gone = Slot {
                    row: None,
                    is_changed: false,
                    is_new: slot.is_new,
                };
                self.undo.push((key.clone(), Some(std::mem::replace(slot, gone))));
            }
        }
    }

    pub(super) fn settle(&mut self) {
        self.undo.clear();
    }

    pub(super) fn revert(&mut self) {
        for (key, before) in self.undo.drain(..).rev() {
            match before {
                Some(slot) => self.slots.insert(key, slot),
                None => self.slots.remove(&key),
            };
        }
    }

    /// The rows that the table does not have so, in the order of their keys: neighbours share pages.
    pub(super) fn into_changed(self) -> Changed<R> {
        let mut changed: Vec<(R::Key, bool, R)> = self
            .slots
            .into_iter()
            .filter(|(_, slot)| slot.is_changed)
            .filter_map(|(key, slot)| slot.row.map(|row| (key, slot.is_new, row)))
            .collect();
        changed.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        let (mut new, mut others) = (Vec::new(), Vec::new());
        for (_, is_new, row) in changed {
            if is_new { &mut new } else { &mut others }.push(row);
        }
        Changed { new, others }
    }

    #[cfg(test)]
    pub(crate) fn rows(&self) -> Vec<&R> {
        let mut rows: Vec<&R> = self.slots.values().filter_map(|slot| slot.row.as_ref()).collect();
        rows.sort_by_key(|row| row.key());
        rows
    }
}
