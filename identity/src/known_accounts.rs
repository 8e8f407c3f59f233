//! Accounts as they were a moment ago: every request asks whether its account lives, and few of them need to ask
//! the database.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::UserId;

use crate::Identity;
use crate::accounts::Account;
use crate::cache::Recent;
use crate::error::IdentityError;
use crate::revocation::{self, Revoked};

/// How long an account that was seen is believed to be there unchanged. Changes made by this process are seen
/// at once; this is the delay for changes made by another process.
const BELIEVED_FOR: Duration = Duration::from_secs(2);

/// Half of the accounts remembered.
const KNOWN_HALF: usize = 4_096;

impl Identity {
    /// As [`Identity::account`], believing for a moment what was seen last. Asked on every request.
    pub(crate) async fn account_seen_lately(
        &self,
        id: &UserId,
    ) -> Result<Option<(Account, Arc<Revoked>)>, IdentityError> {
        let known = &self.inner.known_accounts;
        let now = self.inner.clock.monotonic();
        if let Some(seen) = known.seen(id, now) {
            return Ok(Some(seen));
        }
        let changes = known.changes();
        let Some(account) = self.account(id).await? else {
            return Ok(None);
        };
        self.look_for_key_changes().await?;
        let revoked = Arc::new(revocation::of(&self.inner.db, id).await?);
        known.remember(account.clone(), revoked.clone(), now, changes);
        Ok(Some((account, revoked)))
    }
}

/// Accounts seen in the last moments.
///
/// Whoever changes or deletes an account holds a [`ForgetAfter`] meanwhile. An account that was read before the
/// change and arrives after it is not remembered: `changes` has moved on.
#[derive(Debug)]
pub(crate) struct KnownAccounts {
    seen: Mutex<Recent<UserId, Seen>>,
    changes: AtomicU64,
}

#[derive(Debug)]
struct Seen {
    account: Account,
    revoked: Arc<Revoked>,
    at: Duration,
}

impl Default for KnownAccounts {
    fn default() -> Self {
        Self {
            seen: Mutex::new(Recent::new(KNOWN_HALF)),
            changes: AtomicU64::new(0),
        }
    }
}

impl KnownAccounts {
    fn lock(&self) -> MutexGuard<'_, Recent<UserId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self, id: &UserId, now: Duration) -> Option<(Account, Arc<Revoked>)> {
        let mut known = self.lock();
        let seen = known.get(id)?;
        (now.saturating_sub(seen.at) < BELIEVED_FOR).then(|| (seen.account.clone(), seen.revoked.clone()))
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn remember(&self, account: Account, revoked: Arc<Revoked>, at: Duration, changes: u64) {
        // The lock is taken first: a change either is counted by now, or forgets what is remembered here.
        let mut known = self.lock();
        if self.changes() == changes {
            let id = account.id.clone();
            let seen = Seen { account, revoked, at };
            known.insert(id, seen);
        }
    }

    /// Forgets the account when the answer is dropped: after the change, also when its future is cancelled.
    #[must_use]
    pub(crate) fn forget_after(&self, id: &UserId) -> ForgetAfter<'_> {
        ForgetAfter {
            known: self,
            id: id.clone(),
        }
    }
}

/// See [`KnownAccounts::forget_after`].
#[derive(Debug)]
pub(crate) struct ForgetAfter<'a> {
    known: &'a KnownAccounts,
    id: UserId,
}

impl Drop for ForgetAfter<'_> {
    fn drop(&mut self) {
        let mut known = self.known.lock();
        self.known.changes.fetch_add(1, Ordering::SeqCst);
        known.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{AccountKind, Role, Tier};
    use jiff::Timestamp;

    fn anna() -> Account {
        Account {
            id: UserId::derived(&["anna"]),
            email: "anna@example.test".to_owned(),
            name: "Anna".to_owned(),
            kind: AccountKind::Human,
            role: Role::User,
            tier: Tier::Free,
            time_zone: "UTC".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            suspended_at: None,
        }
    }

    #[test]
    fn an_account_is_believed_for_a_moment_only() {
        let known = KnownAccounts::default();
        known.remember(anna(), Arc::default(), Duration::ZERO, known.changes());
        let seen = known.seen(&anna().id, Duration::from_millis(1_999));
        assert_eq!(seen.map(|(account, _)| account), Some(anna()));
        assert!(known.seen(&anna().id, Duration::from_secs(2)).is_none());
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let known = KnownAccounts::default();
        let changes = known.changes();
        drop(known.forget_after(&anna().id));
        known.remember(anna(), Arc::default(), Duration::ZERO, changes);
        assert!(known.seen(&anna().id, Duration::ZERO).is_none());
    }
}
