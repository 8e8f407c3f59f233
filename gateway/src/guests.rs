//! Who is being served, and who is not served any more.
//!
//! Whoever is to be erased must have nothing under way: a write that is appended after the erasure would bring back
//! what was taken out. Asking "may it come in" and counting it are one step here, so that a request is either waited
//! for or refused, and never neither.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use events::UserId;
use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    table: Mutex<Table>,
    somebody_left: Notify,
}

#[derive(Debug, Default)]
struct Table {
    served: HashMap<UserId, usize>,
    /// Kept for the life of the process: an account's id is never given twice.
    expelled: HashSet<UserId>,
}

/// While one lives, something of its user is under way.
#[derive(Debug)]
pub(crate) struct Present {
    guests: Arc<Guests>,
    user_id: UserId,
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut table = self.guests.table();
        if let Some(served) = table.served.get_mut(&self.user_id) {
            *served -= 1;
            if *served == 0 {
                table.served.remove(&self.user_id);
            }
        }
        drop(table);
        self.guests.somebody_left.notify_waiters();
    }
}

impl Guests {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more thing under way for `user_id`; `None` when it is not served any more.
    pub(crate) fn enter(self: &Arc<Self>, user_id: &UserId) -> Option<Present> {
        let mut table = self.table();
        if table.expelled.contains(user_id) {
            return None;
        }
        *table.served.entry(user_id.clone()).or_default() += 1;
        Some(Present {
            guests: self.clone(),
            user_id: user_id.clone(),
        })
    }

    /// Serves `user_id` no more. What is under way goes on.
    pub(crate) fn expel(&self, user_id: &UserId) {
        self.table().expelled.insert(user_id.clone());
    }

    /// Waits until nothing of `user_id` is under way.
    pub(crate) async fn gone(&self, user_id: &UserId) {
        loop {
            // Before the look, so that whoever leaves after it is heard.
            let left = self.somebody_left.notified();
            if self.served(user_id) == 0 {
                return;
            }
            left.await;
        }
    }

    /// How many things of `user_id` are under way.
    pub(crate) fn served(&self, user_id: &UserId) -> usize {
        self.table().served.get(user_id).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::testing::id;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn whoever_is_expelled_is_gone_when_the_last_of_it_has_ended_and_does_not_come_back() {
        let guests = Arc::new(Guests::default());
        let (first, second) = (guests.enter(&id("anna")), guests.enter(&id("anna")));
        let ben = guests.enter(&id("ben"));
        guests.expel(&id("anna"));
        assert!(guests.enter(&id("anna")).is_none());
        let user = id("anna");
        let mut gone = Box::pin(guests.gone(&user));
        assert!((&mut gone).now_or_never().is_none());
        drop(first);
        assert!((&mut gone).now_or_never().is_none());
        drop(second);
        assert!((&mut gone).now_or_never().is_some());
        assert!(ben.is_some() && guests.enter(&id("ben")).is_some(), "others stay");
    }

    #[tokio::test]
    async fn somebody_without_anything_under_way_is_gone_at_once() {
        let guests = Guests::default();
        guests.expel(&id("anna"));
        assert!(guests.gone(&id("anna")).now_or_never().is_some());
    }
}
