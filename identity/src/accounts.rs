//! Accounts: what they are, finding them, changing their role.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::UserId;
use jiff::Timestamp;
use sqlx::SqliteExecutor;

use crate::cache::Recent;
use crate::error::IdentityError;
use crate::registration::normalized_email;
use crate::text_enum::text_enum;
use crate::{Identity, store};

/// How long an account that was seen is believed to be there unchanged. Changes made by this process are seen
/// at once; this is the delay for changes made by another process on the same file.
const BELIEVED_FOR: Duration = Duration::from_secs(2);

/// Half of the accounts remembered.
const KNOWN_HALF: usize = 4_096;

text_enum! {
    /// Who acts through an account. It never changes.
    AccountKind stored in "users.kind" {
        /// A person.
        Human = "human",
        /// A synthetic user of the catalog.
        Persona = "persona",
        /// The house itself.
        System = "system",
    }
}

text_enum! {
    /// What an account may do beyond its own spaces.
    Role stored in "users.role" {
        /// Nothing.
        User = "user",
        /// Use the admin API.
        Admin = "admin",
    }
}

text_enum! {
    /// What an account has paid for.
    Tier stored in "users.tier" {
        /// Nothing.
        Free = "free",
        /// Everything.
        Pro = "pro",
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id; a persona's is also its persona id.
    pub id: UserId,
    /// Lower case, unique.
    pub email: String,
    /// What others see.
    pub name: String,
    /// Who acts through it.
    pub kind: AccountKind,
    /// What it may do beyond its own spaces.
    pub role: Role,
    /// What it has paid for.
    pub tier: Tier,
    /// IANA name of the time zone its days are in.
    pub time_zone: String,
    /// When it was registered.
    pub created_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct AccountRow {
    id: String,
    email: String,
    name: String,
    kind: String,
    role: String,
    tier: String,
    time_zone: String,
    created_at: i64,
}

impl TryFrom<AccountRow> for Account {
    type Error = IdentityError;

    fn try_from(row: AccountRow) -> Result<Self, IdentityError> {
        Ok(Self {
            id: UserId::try_new(row.id).map_err(|_| IdentityError::unknown_value("users.id"))?,
            email: row.email,
            name: row.name,
            kind: AccountKind::from_column(&row.kind)?,
            role: Role::from_column(&row.role)?,
            tier: Tier::from_column(&row.tier)?,
            time_zone: row.time_zone,
            created_at: store::instant(row.created_at, "users.created_at")?,
        })
    }
}

impl Identity {
    /// The account with this id.
    pub async fn account(&self, id: &UserId) -> Result<Option<Account>, IdentityError> {
        by_id(&self.inner.db, id).await
    }

    /// The account with this email, in whatever case it is written.
    pub async fn account_by_email(&self, email: &str) -> Result<Option<Account>, IdentityError> {
        by_email(&self.inner.db, &normalized_email(email)).await
    }

    /// Gives the account another role, from its next request on.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such account.
    pub async fn set_role(&self, id: &UserId, role: Role) -> Result<(), IdentityError> {
        let _forget = self.inner.known_accounts.forget_after(id);
        let now = self.inner.clock.now().as_microsecond();
        let changed = sqlx::query(
            "-- set_role
             UPDATE users
             SET
                 role = $1,
                 updated_at = max(created_at, $2)
             WHERE
                 id = $3",
        )
        .bind(role.as_str())
        .bind(now)
        .bind(id.as_str())
        .execute(&self.inner.db)
        .await?;
        if changed.rows_affected() == 0 {
            return Err(IdentityError::NotFound);
        }
        Ok(())
    }

    /// As [`Identity::account`], believing for a moment what was seen last. Asked on every request.
    pub(crate) async fn account_seen_lately(&self, id: &UserId) -> Result<Option<Account>, IdentityError> {
        let known = &self.inner.known_accounts;
        let now = self.inner.clock.monotonic();
        if let Some(account) = known.seen(id, now) {
            return Ok(Some(account));
        }
        let changes = known.changes();
        let account = self.account(id).await?;
        if let Some(account) = &account {
            known.remember(account.clone(), now, changes);
        }
        Ok(account)
    }
}

/// The account with this id.
pub(crate) async fn by_id(
    db: impl SqliteExecutor<'_>,
    id: &UserId,
) -> Result<Option<Account>, IdentityError> {
    let row: Option<AccountRow> = sqlx::query_as(
        "-- account_by_id
         SELECT
             id,
             email,
             name,
             kind,
             role,
             tier,
             time_zone,
             created_at
         FROM users
         WHERE
             id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(db)
    .await?;
    row.map(Account::try_from).transpose()
}

/// The account with this email, which must be normalized.
pub(crate) async fn by_email(
    db: impl SqliteExecutor<'_>,
    email: &str,
) -> Result<Option<Account>, IdentityError> {
    let row: Option<AccountRow> = sqlx::query_as(
        "-- account_by_email
         SELECT
             id,
             email,
             name,
             kind,
             role,
             tier,
             time_zone,
             created_at
         FROM users
         WHERE
             email = $1",
    )
    .bind(email)
    .fetch_optional(db)
    .await?;
    row.map(Account::try_from).transpose()
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

    fn seen(&self, id: &UserId, now: Duration) -> Option<Account> {
        let mut known = self.lock();
        let seen = known.get(id)?;
        (now.saturating_sub(seen.at) < BELIEVED_FOR).then(|| seen.account.clone())
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn remember(&self, account: Account, at: Duration, changes: u64) {
        // The lock is taken first: a change either is counted by now, or forgets what is remembered here.
        let mut known = self.lock();
        if self.changes() == changes {
            known.insert(account.id.clone(), Seen { account, at });
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
        }
    }

    #[test]
    fn an_account_is_believed_for_a_moment_only() {
        let known = KnownAccounts::default();
        known.remember(anna(), Duration::ZERO, known.changes());
        assert_eq!(known.seen(&anna().id, Duration::from_millis(1_999)), Some(anna()));
        assert_eq!(known.seen(&anna().id, Duration::from_secs(2)), None);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let known = KnownAccounts::default();
        let changes = known.changes();
        drop(known.forget_after(&anna().id));
        known.remember(anna(), Duration::ZERO, changes);
        assert_eq!(known.seen(&anna().id, Duration::ZERO), None);
    }
}
