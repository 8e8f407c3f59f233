//! How much one key may seal. Random 96-bit nonces are safe for 2³² messages under one key (NIST SP 800-38D); ours
//! stop at a quarter of that, and the count outlives restarts because it is reserved before it is used.

use events::UserId;

use crate::Identity;
use crate::database::query;
use crate::error::IdentityError;

/// Fields one master key seals, at most.
const SEALS_MAX: i64 = 1 << 30;

impl Identity {
    /// Sets aside `seals` of what the account's present key may still seal. What is not used is lost, never given out
    /// twice.
    ///
    /// # Errors
    /// [`IdentityError::KeyExhausted`] when fewer are left; [`IdentityError::VaultNotInitialised`] when there is no
    /// key.
    pub async fn reserve_seals(&self, user: &UserId, seals: u32) -> Result<(), IdentityError> {
        if self.external_origin().is_some() {
            // Others seal with the same key: it is counted where it is kept, or by nobody.
            return Ok(());
        }
        let reserved = query(
            "-- reserve_seals
             UPDATE vaults
             SET
                 seals_reserved = seals_reserved + $2
             WHERE
                 user_id = $1
                 AND seals_reserved + $2 <= $3",
        )
        .bind(user.as_str())
        .bind(i64::from(seals))
        .bind(SEALS_MAX)
        .execute(&self.inner.db)
        .await?;
        if reserved > 0 {
            return Ok(());
        }
        match self.vault_status(user).await? {
            Some(_) => Err(IdentityError::KeyExhausted),
            None => Err(IdentityError::VaultNotInitialised),
        }
    }
}
