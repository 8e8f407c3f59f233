//! Places in spaces as they were a moment ago: every request asks where its caller acts, and few of them need to ask
//! the database.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::UserId;

use crate::Identity;
use crate::cache::Recent;
use crate::error::IdentityError;
use crate::memberships::{self, Membership};

/// How long an account's places are believed to be unchanged. Changes made by this process are seen at once; this is
/// the delay for changes made by another process.
const BELIEVED_FOR: Duration = Duration::from_secs(2);

/// Half of the accounts whose places are remembered.
const KNOWN_HALF: usize = 4_096;

impl Identity {
    /// All places of an account, the personal space first, believing for a moment what was seen last.
    pub(crate) async fn places_seen_lately(&self, user: &UserId) -> Result<Arc<[Membership]>, IdentityError> {
        let known = &self.inner.known_spaces;
        let now = self.inner.clock.monotonic();
        if let Some(places) = known.seen(user, now) {
            return Ok(places);
        }
        let changes = known.changes();
        let places: Arc<[Membership]> = memberships::by_user(&self.inner.db, user).await?.into();
        // An account without a place is one that does not exist, and may yet.
        if !places.is_empty() {
            known.remember(user.clone(), places.clone(), now, changes);
        }
        Ok(places)
    }
}

/// Places seen in the last moments.
///
/// Whoever changes places holds a [`ForgetAll`] meanwhile. A change may concern others than the one who makes it, and
/// is rare: it forgets everybody's. What was read before a change and arrives after it is not remembered.
#[derive(Debug)]
pub(crate) struct KnownSpaces {
    seen: Mutex<Recent<UserId, Seen>>,
    changes: AtomicU64,
}

#[derive(Debug)]
struct Seen {
    places: Arc<[Membership]>,
    at: Duration,
}

impl Default for KnownSpaces {
    fn default() -> Self {
        Self {
            seen: Mutex::new(Recent::new(KNOWN_HALF)),
            changes: AtomicU64::new(0),
        }
    }
}

impl KnownSpaces {
    fn lock(&self) -> MutexGuard<'_, Recent<UserId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self, user: &UserId, now: Duration) -> Option<Arc<[Membership]>> {
        let mut known = self.lock();
        let seen = known.get(user)?;
        (now.saturating_sub(seen.at) < BELIEVED_FOR).then(|| seen.places.clone())
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn remember(&self, user: UserId, places: Arc<[Membership]>, at: Duration, changes: u64) {
        // The lock is taken first: a change either is counted by now, or forgets what is remembered here.
        let mut known = self.lock();
        if self.changes() == changes {
            known.insert(user, Seen { places, at });
        }
    }

    /// Forgets all places when the answer is dropped: after the change, also when its future is cancelled.
    #[must_use]
    pub(crate) fn forget_after(&self) -> ForgetAll<'_> {
        ForgetAll(self)
    }
}

/// See [`KnownSpaces::forget_after`].
#[derive(Debug)]
pub(crate) struct ForgetAll<'a>(&'a KnownSpaces);

impl Drop for ForgetAll<'_> {
    fn drop(&mut self) {
        let mut known = self.0.lock();
        self.0.changes.fetch_add(1, Ordering::SeqCst);
        *known = Recent::new(KNOWN_HALF);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::testing::id;

    fn places() -> Arc<[Membership]> {
        Arc::new([])
    }

    #[test]
    fn places_are_believed_for_a_moment_only() {
        let known = KnownSpaces::default();
        known.remember(id("anna"), places(), Duration::ZERO, known.changes());
        assert!(known.seen(&id("anna"), Duration::from_millis(1_999)).is_some());
        assert!(known.seen(&id("anna"), Duration::from_secs(2)).is_none());
    }

    #[test]
    fn a_change_forgets_everybodys_and_what_was_read_before_it() {
        let known = KnownSpaces::default();
        let changes = known.changes();
        known.remember(id("ben"), places(), Duration::ZERO, changes);
        drop(known.forget_after());
        known.remember(id("anna"), places(), Duration::ZERO, changes);
        assert!(known.seen(&id("anna"), Duration::ZERO).is_none());
        assert!(known.seen(&id("ben"), Duration::ZERO).is_none());
    }
}
