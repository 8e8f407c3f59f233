//! Shutting an account out for good, as the first step of erasing it.
//!
//! An erasure touches several rooms and may break off between them. The suspended account is what remembers that
//! it began: it lets nobody in, and it is deleted last, so whoever finishes finds it here.

use events::UserId;

use crate::Identity;
use crate::accounts::{self, Account};
use crate::database::{Source, query, query_scalar};
use crate::error::IdentityError;

impl Identity {
    /// Refuses the account's tokens and its password from now on. Doing it twice is doing it once; there is no way
    /// back.
    ///
    /// Requests that were let in before go on: whoever carries them out ends them.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such account.
    pub async fn suspend(&self, id: &UserId) -> Result<Account, IdentityError> {
        let forget = self.inner.known_accounts.forget_after(id);
        let mut tx = self.inner.db.begin().await?;
        query(
            "-- suspend
             UPDATE users
             SET
                 suspended_at = $1
             WHERE
                 id = $2
                 AND suspended_at IS NULL",
        )
        .bind(self.inner.clock.now().as_microsecond())
        .bind(id.as_str())
        .execute(&mut tx)
        .await?;
        let account = accounts::by_id(&mut tx, id)
            .await?
            .ok_or(IdentityError::NotFound)?;
        tx.commit().await?;
        drop(forget);
        Ok(account)
    }

    /// The accounts whose erasure has begun and not ended, those suspended longest ago first.
    pub async fn suspended(&self) -> Result<Vec<UserId>, IdentityError> {
        let ids: Vec<String> = query_scalar(
            "-- suspended
             SELECT id
             FROM users
             WHERE
                 suspended_at IS NOT NULL
             ORDER BY
                 suspended_at,
                 id",
        )
        .fetch_all(&self.inner.db)
        .await?;
        ids.into_iter()
            .map(|id| UserId::try_new(id).map_err(|_| IdentityError::unknown_value("users.id")))
            .collect()
    }
}

/// Refuses what would give an account that is being erased something new.
pub(crate) async fn refuse_unless_active(db: impl Source, id: &UserId) -> Result<(), IdentityError> {
    let account = accounts::by_id(db, id).await?.ok_or(IdentityError::NotFound)?;
    account.refuse_if_suspended()
}
