//! A new master key in place of the present one, and the end of those before it.
//!
//! A rotated key stays as a past key, sealed like the present one, so that what it sealed can be read until it is
//! sealed anew. When that is done the past keys are destroyed, and with them what was left behind.

use events::UserId;

use super::{FORMAT_VERSION, MasterKey, label, stored};
use crate::audit::{self, Act, Deed};
use crate::database::{Source, query, query_as, query_scalar};
use crate::error::IdentityError;
use crate::key_ring::KeyRing;
use crate::{Identity, handover, key_changes, rewrite, seal};

/// A past key as it is stored.
#[derive(sqlx::FromRow)]
struct PastKeyRow {
    key_version: i64,
    sealed_key: Vec<u8>,
    kek_id: String,
    format_version: i64,
}

impl Identity {
    /// Gives the account a new master key and keeps the present one as a past key. A recovery wrap goes: it holds the
    /// key that was.
    ///
    /// # Errors
    /// [`IdentityError::VaultNotInitialised`] when there is no key; [`IdentityError::RotateForbidden`] when only its
    /// owner has it.
    pub async fn vault_rotate(&self, user: &UserId) -> Result<MasterKey, IdentityError> {
        let now = self.inner.clock.now();
        let mut tx = self.inner.db.begin().await?;
        let row = stored(&mut tx, user)
            .await?
            .ok_or(IdentityError::VaultNotInitialised)?;
        if row.sealed_key.is_none() {
            return Err(IdentityError::RotateForbidden);
        }
        let active = self.inner.keks.active();
        let key_version = row.key_version()?.saturating_add(1);
        let key = seal::random_key()?;
        let sealed = seal::seal(active, label(user, FORMAT_VERSION, key_version), &key)?;
        query(
            "-- retire_master_key
             INSERT INTO past_master_keys (
                 user_id,
                 key_version,
                 sealed_key,
                 kek_id,
                 format_version,
                 retired_at
             )
             SELECT
                 user_id,
                 key_version,
                 sealed_key,
                 kek_id,
                 format_version,
                 $2
             FROM vaults
             WHERE
                 user_id = $1",
        )
        .bind(user.as_str())
        .bind(now.as_microsecond())
        .execute(&mut tx)
        .await?;
        query(
            "-- replace_master_key
             UPDATE vaults
             SET
                 sealed_key = $2,
                 kek_id = $3,
                 format_version = $4,
                 key_version = $5,
                 rotated_at = $6,
                 recovery_wrapped_key = NULL,
                 recovery_iv = NULL,
                 seals_reserved = 0
             WHERE
                 user_id = $1",
        )
        .bind(user.as_str())
        .bind(sealed)
        .bind(active.id())
        .bind(i64::from(FORMAT_VERSION))
        .bind(i64::from(key_version))
        .bind(now.as_microsecond())
        .execute(&mut tx)
        .await?;
        audit::record(&mut tx, Deed::own(Act::VaultRotated, user), now).await?;
        key_changes::count(&mut tx).await?;
        tx.commit().await?;
        self.keys_changed();
        Ok(MasterKey {
            key,
            format_version: FORMAT_VERSION,
            kek_id: active.id().to_owned(),
        })
    }

    /// Destroys the account's past keys. What they sealed and nobody sealed anew is then lost to everybody: call it
    /// when nothing is left. Says how many there were.
    ///
    /// # Errors
    /// [`IdentityError::HandoverUnderWay`] while a space that was handed over needs them.
    pub async fn destroy_past_keys(&self, user: &UserId) -> Result<u64, IdentityError> {
        let now = self.inner.clock.now();
        let mut tx = self.inner.db.begin().await?;
        handover::must_not_be_under_way(&mut tx, user).await?;
        let destroyed = destroy_past_keys(&mut tx, user).await?;
        if destroyed == 0 {
            return Ok(0);
        }
        let detail = format!("{destroyed} keys");
        let deed = Deed::of_the_house(Act::PastKeysDestroyed, Some(user)).with(&detail);
        audit::record(&mut tx, deed, now).await?;
        rewrite::make_due(&mut tx, now).await?;
        key_changes::count(&mut tx).await?;
        tx.commit().await?;
        self.keys_changed();
        self.rewrite_or_warn().await;
        Ok(destroyed)
    }

    /// Every account with past keys.
    pub async fn with_past_keys(&self) -> Result<Vec<UserId>, IdentityError> {
        let users: Vec<String> = query_scalar(
            "-- with_past_keys
             SELECT DISTINCT user_id
             FROM past_master_keys
             ORDER BY user_id",
        )
        .fetch_all(&self.inner.db)
        .await?;
        users
            .into_iter()
            .map(|user| {
                UserId::try_new(user).map_err(|_| IdentityError::unknown_value("past_master_keys.user_id"))
            })
            .collect()
    }
}

/// Destroys the account's past keys and says how many there were.
pub(super) async fn destroy_past_keys(db: impl Source, user: &UserId) -> Result<u64, IdentityError> {
    let destroyed = query(
        "-- destroy_past_keys
         DELETE FROM past_master_keys
         WHERE
             user_id = $1",
    )
    .bind(user.as_str())
    .execute(db)
    .await?;
    Ok(destroyed)
}

/// The account's past keys, the latest first.
pub(super) async fn past_keys(
    db: impl Source,
    user: &UserId,
    keks: &KeyRing,
) -> Result<Vec<MasterKey>, IdentityError> {
    let rows: Vec<PastKeyRow> = query_as(
        "-- past_keys
         SELECT
             key_version,
             sealed_key,
             kek_id,
             format_version
         FROM past_master_keys
         WHERE
             user_id = $1
         ORDER BY key_version DESC",
    )
    .bind(user.as_str())
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let unknown = |_| IdentityError::unknown_value("past_master_keys.key_version");
            let key_version = u32::try_from(row.key_version).map_err(unknown)?;
            let format_version = u32::try_from(row.format_version).map_err(unknown)?;
            let label = label(user, format_version, key_version);
            Ok(MasterKey {
                key: seal::open(keks, label, &row.kek_id, &row.sealed_key)?,
                format_version,
                kek_id: row.kek_id,
            })
        })
        .collect()
}
