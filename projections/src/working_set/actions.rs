//! Tool calls, which folds look for by their row id, by the call's id within its tick, and by their tick.

use std::collections::HashMap;

use super::held::Held;
use crate::error::FoldError;
use crate::queries::CallResult;
use crate::schema::Action;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    pub(super) rows: Held<Action>,
    ticks: HashMap<String, TickCalls>,
    knows_all: bool,
}

/// What is known of one tick's calls.
#[derive(Debug, Default)]
struct TickCalls {
    /// Row ids by call; `None` where there is no such call. An id may outlive its row or come to name that of another
    /// call when a commit is reverted, so the row decides.
    ids: HashMap<String, Option<String>>,
    has_all_pending: bool,
}

impl Actions {
    #[cfg(test)]
    pub(crate) fn assume_absent(&mut self) {
        self.rows.assume_absent();
        self.knows_all = true;
    }

    /// Notes that the table was asked for a call by its row id.
    pub(crate) fn asked_for_id(&mut self, id: String) {
        self.rows.asked_for(id);
    }

    /// Notes that the table was asked for a call by its tick and call id.
    pub(crate) fn asked_for_call(&mut self, tick: &str, call: &str) {
        let ids = &mut self.tick(tick).ids;
        if !ids.contains_key(call) {
            ids.insert(call.to_owned(), None);
        }
    }

    /// Notes that the table was asked for all calls of `tick` that wait for their outcome.
    pub(crate) fn asked_for_pending(&mut self, tick: &str) {
        self.tick(tick).has_all_pending = true;
    }

    fn tick(&mut self, tick: &str) -> &mut TickCalls {
        self.ticks.entry(tick.to_owned()).or_default()
    }

    /// Takes a row as the table has it.
    pub(crate) fn loaded(&mut self, row: Action) {
        self.index(&row);
        self.rows.loaded(row);
    }

    fn index(&mut self, row: &Action) {
        self.tick(&row.tick_id)
            .ids
            .insert(row.call_id.clone(), Some(row.id.clone()));
    }

    /// The call with that row id.
    pub(crate) fn get(&self, id: &str) -> Result<Option<&Action>, FoldError> {
        self.rows.get(id)
    }

    /// The call with that id in that tick.
    pub(crate) fn of_call(&self, tick: &str, call: &str) -> Result<Option<&Action>, FoldError> {
        match self.ticks.get(tick).and_then(|calls| calls.ids.get(call)) {
            Some(Some(id)) => {
                let row = self.rows.get(id.as_str())?;
                Ok(row.filter(|row| row.call_id == call && row.tick_id == tick))
            }
            Some(None) => Ok(None),
            None if self.knows_all => Ok(None),
            None => Err(FoldError::halt(format!(
                "a fold looked at call {call} of tick {tick} that was not loaded; this is a mistake in the program"
            ))),
        }
    }

    pub(crate) fn put(&mut self, row: Action) {
        self.index(&row);
        self.rows.put(row);
    }

    pub(crate) fn change(&mut self, id: &str, change: impl FnOnce(&mut Action)) -> Result<(), FoldError> {
        self.rows.change(id, change)
    }

    /// Row ids of the calls of `tick` that wait for their outcome.
    pub(crate) fn pending_of(&self, tick: &str) -> Result<Vec<String>, FoldError> {
        let calls = self.ticks.get(tick);
        if !self.knows_all && !calls.is_some_and(|calls| calls.has_all_pending) {
            return Err(FoldError::halt(format!(
                "a fold looked at the calls of tick {tick} that were not loaded; this is a mistake in the program"
            )));
        }
        let mut pending = Vec::new();
        for id in calls.iter().flat_map(|calls| calls.ids.values().flatten()) {
            let row = self.rows.get(id.as_str())?;
            if row.is_some_and(|row| row.result == CallResult::Pending && row.tick_id == tick) {
                pending.push(id.clone());
            }
        }
        Ok(pending)
    }

    pub(crate) fn remove_where(&mut self, is_gone: impl Fn(&Action) -> bool) {
        self.rows.remove_where(is_gone);
    }

    pub(super) fn settle(&mut self) {
        self.rows.settle();
    }

    pub(super) fn revert(&mut self) {
        self.rows.revert();
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<&Action> {
        self.rows.rows()
    }
}
