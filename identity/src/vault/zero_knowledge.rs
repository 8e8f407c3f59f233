//! Keys only their owners have, and the wraps that keep owners from losing them.
//!
//! The owner's client wraps the master key with a recovery code nobody here sees and leaves the wrap here. Turning
//! zero knowledge on then destroys every copy this server could open; what is left opens with the code alone.

use std::fmt;

use events::UserId;
use zeroize::Zeroizing;

use super::{FORMAT_VERSION, MasterKey, VaultRow, label, rotation, stored};
use crate::audit::{self, Act, Deed};
use crate::database::query;
use crate::error::IdentityError;
use crate::seal::KEY_BYTES;
use crate::{Identity, handover, key_changes, rewrite, seal};

/// A master key wrapped with a recovery code. It is of no use without the code.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryWrap {
    /// The wrapped key, base64, 1 to 1,024 characters.
    pub wrapped_key: String,
    /// Its nonce, base64, 1 to 64 characters.
    pub iv: String,
}

impl fmt::Debug for RecoveryWrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryWrap(…)")
    }
}

/// What an owner gets who asks for the master key.
#[derive(Debug)]
pub enum VaultAccess {
    /// The key.
    Key(MasterKey),
    /// Only what the recovery code opens: the account is zero-knowledge.
    Recovery {
        /// The wrap the owner left.
        wrap: RecoveryWrap,
        /// The format of the vault.
        format_version: u32,
    },
}

impl VaultRow {
    fn recovery(&self) -> Option<RecoveryWrap> {
        Some(RecoveryWrap {
            wrapped_key: self.recovery_wrapped_key.clone()?,
            iv: self.recovery_iv.clone()?,
        })
    }
}

impl Identity {
    /// The account's master key, or for a zero-knowledge account the wrap that its owner can open. Either is put on
    /// record.
    ///
    /// # Errors
    /// As [`Identity::vault_key`], but for [`IdentityError::ZeroKnowledge`].
    pub async fn vault_access(&self, user: &UserId) -> Result<VaultAccess, IdentityError> {
        let row = stored(&self.inner.db, user)
            .await?
            .ok_or(IdentityError::VaultNotInitialised)?;
        if row.sealed_key.is_some() {
            return self.vault_key(user).await.map(VaultAccess::Key);
        }
        let deed = Deed::own(Act::VaultRead, user).with("recovery wrap");
        audit::record(&self.inner.db, deed, self.inner.clock.now()).await?;
        Ok(VaultAccess::Recovery {
            wrap: row.recovery().ok_or(IdentityError::RecoveryWrapMissing)?,
            format_version: row.format_version()?,
        })
    }

    /// Keeps the owner's wrap of the present key, in place of the one before.
    ///
    /// # Errors
    /// [`IdentityError::VaultNotInitialised`] when there is no key to wrap.
    pub async fn set_recovery_wrap(&self, user: &UserId, wrap: &RecoveryWrap) -> Result<(), IdentityError> {
        self.write_recovery_wrap(user, Some(wrap)).await
    }

    /// Takes the owner's wrap away.
    ///
    /// # Errors
    /// [`IdentityError::ZeroKnowledgeActive`] when the wrap is the only copy of the key, and
    /// [`IdentityError::VaultNotInitialised`] when there is no key.
    pub async fn remove_recovery_wrap(&self, user: &UserId) -> Result<(), IdentityError> {
        self.write_recovery_wrap(user, None).await
    }

    async fn write_recovery_wrap(
        &self,
        user: &UserId,
        wrap: Option<&RecoveryWrap>,
    ) -> Result<(), IdentityError> {
        let now = self.inner.clock.now();
        let mut tx = self.inner.db.begin().await?;
        let row = stored(&mut tx, user)
            .await?
            .ok_or(IdentityError::VaultNotInitialised)?;
        if wrap.is_none() && row.sealed_key.is_none() {
            return Err(IdentityError::ZeroKnowledgeActive);
        }
        query(
            "-- write_recovery_wrap
             UPDATE vaults
             SET
                 recovery_wrapped_key = $2,
                 recovery_iv = $3
             WHERE
                 user_id = $1",
        )
        .bind(user.as_str())
        .bind(wrap.map(|wrap| wrap.wrapped_key.as_str()))
        .bind(wrap.map(|wrap| wrap.iv.as_str()))
        .execute(&mut tx)
        .await?;
        let act = if wrap.is_some() {
            Act::RecoverySet
        } else {
            Act::RecoveryRemoved
        };
        audit::record(&mut tx, Deed::own(act, user), now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Destroys every copy of the account's keys that this server could open. From now on its encrypted fields are
    /// read and written by its owner's own client alone. Doing it twice changes nothing.
    ///
    /// # Errors
    /// [`IdentityError::RecoveryWrapMissing`] when the owner left no wrap, [`IdentityError::HandoverUnderWay`] while a
    /// space needs the key, and [`IdentityError::VaultNotInitialised`] when there is none.
    pub async fn zero_knowledge_on(&self, user: &UserId) -> Result<(), IdentityError> {
        let now = self.inner.clock.now();
        let mut tx = self.inner.db.begin().await?;
        let row = stored(&mut tx, user)
            .await?
            .ok_or(IdentityError::VaultNotInitialised)?;
        if row.sealed_key.is_none() {
            return Ok(());
        }
        if row.recovery_wrapped_key.is_none() {
            return Err(IdentityError::RecoveryWrapMissing);
        }
        handover::must_not_be_under_way(&mut tx, user).await?;
        query(
            "-- destroy_master_key
             UPDATE vaults
             SET
                 sealed_key = NULL,
                 zero_knowledge_since = $2
             WHERE
                 user_id = $1",
        )
        .bind(user.as_str())
        .bind(now.as_microsecond())
        .execute(&mut tx)
        .await?;
        rotation::destroy_past_keys(&mut tx, user).await?;
        audit::record(&mut tx, Deed::own(Act::ZeroKnowledgeOn, user), now).await?;
        // Not even a freed page keeps the key.
        rewrite::make_due(&mut tx, now).await?;
        key_changes::count(&mut tx).await?;
        tx.commit().await?;
        self.keys_changed();
        self.rewrite_or_warn().await;
        Ok(())
    }

    /// Takes the account's key back into the vault, given by its owner. Whether it is the key that sealed what is
    /// there cannot be known here. For an ordinary account it changes nothing.
    ///
    /// # Errors
    /// [`IdentityError::VaultNotInitialised`] when there is no vault.
    pub async fn zero_knowledge_off(
        &self,
        user: &UserId,
        key: Zeroizing<[u8; KEY_BYTES]>,
    ) -> Result<(), IdentityError> {
        let now = self.inner.clock.now();
        let mut tx = self.inner.db.begin().await?;
        let row = stored(&mut tx, user)
            .await?
            .ok_or(IdentityError::VaultNotInitialised)?;
        if row.sealed_key.is_some() {
            return Ok(());
        }
        let active = self.inner.keks.active();
        let sealed = seal::seal(active, label(user, FORMAT_VERSION, row.key_version()?), &key)?;
        query(
            "-- take_master_key_back
             UPDATE vaults
             SET
                 sealed_key = $2,
                 kek_id = $3,
                 format_version = $4,
                 zero_knowledge_since = NULL
             WHERE
                 user_id = $1",
        )
        .bind(user.as_str())
        .bind(sealed)
        .bind(active.id())
        .bind(i64::from(FORMAT_VERSION))
        .execute(&mut tx)
        .await?;
        audit::record(&mut tx, Deed::own(Act::ZeroKnowledgeOff, user), now).await?;
        key_changes::count(&mut tx).await?;
        tx.commit().await?;
        self.keys_changed();
        Ok(())
    }
}
