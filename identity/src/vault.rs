//! The vault: one master key per account, sealed. Whoever destroys the key has destroyed what it encrypted.

use std::fmt;

use events::{SpaceId, UserId};
use jiff::Timestamp;
use sqlx::{SqliteConnection, SqlitePool};
use zeroize::Zeroizing;

use crate::error::IdentityError;
use crate::seal::{self, KEY_BYTES, KeyEncryptionKey, Label};
use crate::{Identity, accounts, store};

/// The format of vaults made now.
const FORMAT_VERSION: u32 = 1;

/// An account's master key, in the clear. Wiped when dropped; keep it no longer than it is used.
#[derive(Clone)]
pub struct MasterKey {
    /// The key, for AES-256-GCM.
    pub key: Zeroizing<[u8; KEY_BYTES]>,
    /// The format of the vault it came from.
    pub format_version: u32,
    /// The name of the key-encryption key it was sealed with.
    pub kek_id: String,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("format_version", &self.format_version)
            .field("kek_id", &self.kek_id)
            .finish_non_exhaustive()
    }
}

/// What may be told of a vault without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultStatus {
    /// Its format.
    pub format_version: u32,
    /// The name of the key-encryption key it is sealed with.
    pub kek_id: String,
    /// When its key was made.
    pub created_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct VaultRow {
    sealed_key: Vec<u8>,
    kek_id: String,
    format_version: i64,
    created_at: i64,
}

impl VaultRow {
    fn format_version(&self) -> Result<u32, IdentityError> {
        u32::try_from(self.format_version).map_err(|_| IdentityError::unknown_value("vaults.format_version"))
    }

    fn open(&self, user: &UserId, kek: &KeyEncryptionKey) -> Result<MasterKey, IdentityError> {
        let format_version = self.format_version()?;
        let key = seal::open(kek, label(user, format_version), &self.kek_id, &self.sealed_key)?;
        Ok(MasterKey {
            key,
            format_version,
            kek_id: self.kek_id.clone(),
        })
    }
}

impl Identity {
    /// Whether the account has a vault, and which; `None` when it has none, or does not exist.
    pub async fn vault_status(&self, user: &UserId) -> Result<Option<VaultStatus>, IdentityError> {
        let Some(row) = stored(&self.inner.db, user).await? else {
            return Ok(None);
        };
        Ok(Some(VaultStatus {
            format_version: row.format_version()?,
            created_at: store::instant(row.created_at, "vaults.created_at")?,
            kek_id: row.kek_id,
        }))
    }

    /// Makes the account's vault where it has none, and opens it. Doing it twice changes nothing.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such account; otherwise as [`Identity::vault_key`].
    pub async fn vault_init(&self, user: &UserId) -> Result<MasterKey, IdentityError> {
        let mut tx = store::begin(&self.inner.db).await?;
        accounts::by_id(&mut *tx, user)
            .await?
            .ok_or(IdentityError::NotFound)?;
        insert_if_absent(&mut tx, &self.inner.kek, user, self.inner.clock.now()).await?;
        tx.commit().await?;
        self.vault_key(user).await
    }

    /// The account's master key.
    ///
    /// # Errors
    /// [`IdentityError::VaultNotInitialised`] when it has none; [`IdentityError::WrongKeyEncryptionKey`] or
    /// [`crate::CryptoError::DoesNotOpen`] when the vault was sealed with a key other than the configured one.
    pub async fn vault_key(&self, user: &UserId) -> Result<MasterKey, IdentityError> {
        let row = stored(&self.inner.db, user)
            .await?
            .ok_or(IdentityError::VaultNotInitialised)?;
        row.open(user, &self.inner.kek)
    }

    /// The key all members' encrypted fields in the space are sealed with: its owner's master key. Whether the
    /// caller may have it is the caller's membership, which must be checked before.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such space; otherwise as [`Identity::vault_key`].
    pub async fn space_key(&self, space: &SpaceId) -> Result<MasterKey, IdentityError> {
        let owner: Option<String> = sqlx::query_scalar(
            "-- space_owner
             SELECT user_id
             FROM space_members
             WHERE
                 space_id = $1
                 AND role = 'owner'",
        )
        .bind(space.as_str())
        .fetch_optional(&self.inner.db)
        .await?;
        let owner = UserId::try_new(owner.ok_or(IdentityError::NotFound)?)
            .map_err(|_| IdentityError::unknown_value("space_members.user_id"))?;
        self.vault_key(&owner).await
    }
}

async fn stored(db: &SqlitePool, user: &UserId) -> Result<Option<VaultRow>, IdentityError> {
    let row = sqlx::query_as(
        "-- vault_by_user
         SELECT
             sealed_key,
             kek_id,
             format_version,
             created_at
         FROM vaults
         WHERE
             user_id = $1",
    )
    .bind(user.as_str())
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Makes a vault with a fresh master key, unless there is one.
pub(crate) async fn insert_if_absent(
    tx: &mut SqliteConnection,
    kek: &KeyEncryptionKey,
    user: &UserId,
    now: Timestamp,
) -> Result<(), IdentityError> {
    let sealed = seal::seal(kek, label(user, FORMAT_VERSION), &*seal::random_key()?)?;
    sqlx::query(
        "-- insert_vault_if_absent
         INSERT INTO vaults (
             user_id,
             sealed_key,
             kek_id,
             format_version,
             created_at
         )
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (user_id) DO NOTHING",
    )
    .bind(user.as_str())
    .bind(sealed)
    .bind(kek.id())
    .bind(i64::from(FORMAT_VERSION))
    .bind(now.as_microsecond())
    .execute(tx)
    .await?;
    Ok(())
}

fn label(user: &UserId, format_version: u32) -> Label<'_> {
    Label {
        what: "a master key",
        owner: user.as_str(),
        format_version,
    }
}
