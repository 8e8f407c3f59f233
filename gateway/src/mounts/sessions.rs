//! The sessions with one mounted server: one for each MCP session of ours, or one for all where the server keeps none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::{Clock, SessionId, UserId};

use super::connection::{Connection, OpenError};

/// Sessions with one server at once.
const SESSIONS_MAX: usize = 512;

/// Whose session with a server it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    /// Everybody's: ours, for asking what tools there are, and all users' of a server that keeps no state.
    Everybodys,
    /// That of one user, in one MCP session of its own or in none.
    Users(UserId, Option<SessionId>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sessions {
    clock: Arc<dyn Clock>,
    slots: Mutex<HashMap<Whose, Arc<Slot>>>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Held while it is opened, so that it is opened once.
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
    in_use: AtomicUsize,
    rested_since_ms: AtomicU64,
}

impl Slot {
    fn is_idle(&self) -> bool {
        self.in_use.load(Ordering::SeqCst) == 0
    }
}

/// A session in use. It is not closed for its rest while one lives.
#[derive(Debug)]
pub(super) struct InUse {
    pub(super) connection: Arc<Connection>,
    _hold: Hold,
}

#[derive(Debug)]
struct Hold {
    slot: Arc<Slot>,
    clock: Arc<dyn Clock>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let now = millis(self.clock.monotonic());
        self.slot.rested_since_ms.store(now, Ordering::SeqCst);
        self.slot.in_use.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Sessions {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            slots: Mutex::default(),
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Whose, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of `whose`, opened by `open` where there is none (any more).
    pub(super) async fn get(
        &self,
        whose: &Whose,
        open: impl AsyncFnOnce() -> Result<Connection, OpenError>,
    ) -> Result<InUse, OpenError> {
        let hold = self.hold(whose)?;
        let mut connection = hold.slot.connection.lock().await;
        if let Some(closed) = connection.take_if(|connection| connection.is_closed()) {
            Box::pin(closed.close()).await;
        }
        let found = if let Some(open) = connection.as_ref() {
            open.clone()
        } else {
            let opened = Arc::new(open().await?);
            connection.insert(opened).clone()
        };
        drop(connection);
        Ok(InUse {
            connection: found,
            _hold: hold,
        })
    }

    fn hold(&self, whose: &Whose) -> Result<Hold, OpenError> {
        let mut slots = self.slots();
        if slots.len() >= SESSIONS_MAX && !slots.contains_key(whose) {
            return Err(OpenError::TooMany);
        }
        let slot = slots.entry(whose.clone()).or_default().clone();
        slot.in_use.fetch_add(1, Ordering::SeqCst);
        drop(slots);
        Ok(Hold {
            slot,
            clock: self.clock.clone(),
        })
    }

    /// Closes the sessions that `is_over` names.
    pub(super) async fn close_where(&self, is_over: impl Fn(&Whose) -> bool) {
        let over: Vec<_> = self.slots().extract_if(|whose, _| is_over(whose)).collect();
        close_all(over).await;
    }

    /// Closes the sessions that have rested for `limit`.
    pub(super) async fn close_rested(&self, limit: Duration) {
        let now = millis(self.clock.monotonic());
        let limit = millis(limit);
        let has_rested = |slot: &Slot| {
            slot.is_idle() && now.saturating_sub(slot.rested_since_ms.load(Ordering::SeqCst)) >= limit
        };
        let rested: Vec<_> = self
            .slots()
            .extract_if(|whose, slot| *whose != Whose::Everybodys && has_rested(slot))
            .collect();
        close_all(rested).await;
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots().len()
    }
}

async fn close_all(slots: Vec<(Whose, Arc<Slot>)>) {
    let closing = slots.into_iter().map(|(_, slot)| async move {
        let connection = slot.connection.lock().await.take();
        if let Some(connection) = connection {
            connection.close().await;
        }
    });
    futures::future::join_all(closing).await;
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
