//! The vault: one master key per account, sealed. Whoever destroys the key has destroyed what it encrypted.
//!
//! ```text
//! key-encryption keys (configuration) ─ seal ─▶ master key per account (here) ─ seals ─▶ fields (log and tables)
//! ```
//!
//! A key that is rotated stays as a past key until what it sealed is sealed anew; see `rotation`. A zero-knowledge
//! account's key is not here at all; see `zero_knowledge`. Every time a key is opened it is put on record first.

mod budget;
mod rewrap;
mod rotation;
mod zero_knowledge;

use std::fmt;

use events::{SpaceId, UserId};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::audit::{self, Act, Deed};
use crate::database::{Source, Tx, query, query_as, query_scalar};
use crate::error::IdentityError;
use crate::key_ring::KeyRing;
use crate::seal::{self, KEY_BYTES, Label};
use crate::{Identity, accounts, store};

pub use rewrap::Rewrapped;
pub use zero_knowledge::{RecoveryWrap, VaultAccess};

/// The format of vaults made now.
const FORMAT_VERSION: u32 = 1;
/// What a sealed master key says it is.
const WHAT: &str = "a master key";

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

/// What the fields of a space are sealed with: its owner's keys.
#[derive(Debug, Clone)]
pub struct SpaceKeys {
    /// Whose they are.
    pub owner: UserId,
    /// Seals and opens.
    pub current: MasterKey,
    /// Open what was sealed before a rotation and not sealed anew yet, the latest first.
    pub past: Vec<MasterKey>,
}

/// What may be told of a vault without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultStatus {
    /// Its format.
    pub format_version: u32,
    /// The name of the key-encryption key it is sealed with.
    pub kek_id: String,
    /// When its first key was made.
    pub created_at: Timestamp,
    /// Which of the account's keys it holds, from 1.
    pub key_version: u32,
    /// Whether its owner left a copy that a recovery code opens.
    pub has_recovery_wrap: bool,
    /// Whether only its owner has the key.
    pub is_zero_knowledge: bool,
}

/// A vault as it is stored.
#[derive(sqlx::FromRow)]
struct VaultRow {
    sealed_key: Option<Vec<u8>>,
    kek_id: String,
    format_version: i64,
    key_version: i64,
    created_at: i64,
    recovery_wrapped_key: Option<String>,
    recovery_iv: Option<String>,
}

impl VaultRow {
    fn format_version(&self) -> Result<u32, IdentityError> {
        u32::try_from(self.format_version).map_err(|_| IdentityError::unknown_value("vaults.format_version"))
    }

    fn key_version(&self) -> Result<u32, IdentityError> {
        u32::try_from(self.key_version).map_err(|_| IdentityError::unknown_value("vaults.key_version"))
    }

    fn open(&self, user: &UserId, keks: &KeyRing) -> Result<MasterKey, IdentityError> {
        let sealed = self.sealed_key.as_deref().ok_or(IdentityError::ZeroKnowledge)?;
        let format_version = self.format_version()?;
        let label = label(user, format_version, self.key_version()?);
        Ok(MasterKey {
            key: seal::open(keks, label, &self.kek_id, sealed)?,
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
            key_version: row.key_version()?,
            has_recovery_wrap: row.recovery_wrapped_key.is_some(),
            is_zero_knowledge: row.sealed_key.is_none(),
            kek_id: row.kek_id,
        }))
    }

    /// Makes the account's vault where it has none. Doing it twice changes nothing.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such account.
    pub async fn vault_init(&self, user: &UserId) -> Result<VaultAccess, IdentityError> {
        let now = self.inner.clock.now();
        let mut tx = self.inner.db.begin().await?;
        accounts::by_id(&mut tx, user)
            .await?
            .ok_or(IdentityError::NotFound)?;
        if insert_if_absent(&mut tx, &self.inner.keks, user, now).await? {
            audit::record(&mut tx, Deed::own(Act::VaultMade, user), now).await?;
        }
        tx.commit().await?;
        self.vault_access(user).await
    }

    /// The account's master key, put on record as read by its owner.
    ///
    /// # Errors
    /// [`IdentityError::VaultNotInitialised`] when it has none; [`IdentityError::ZeroKnowledge`] when only its owner has
    /// it; [`IdentityError::WrongKeyEncryptionKey`] or [`crate::CryptoError::DoesNotOpen`] when it was sealed with a key
    /// that is not configured. Without a record there is no key: [`IdentityError::Database`].
    pub async fn vault_key(&self, user: &UserId) -> Result<MasterKey, IdentityError> {
        let row = stored(&self.inner.db, user)
            .await?
            .ok_or(IdentityError::VaultNotInitialised)?;
        let key = row.open(user, &self.inner.keks)?;
        let deed = Deed::own(Act::VaultRead, user);
        audit::record(&self.inner.db, deed, self.inner.clock.now()).await?;
        Ok(key)
    }

    /// The key all members' encrypted fields in the space are sealed with: its owner's master key. Whether the
    /// caller may have it is the caller's membership, which must be checked before.
    ///
    /// # Errors
    /// As [`Identity::space_keys`].
    pub async fn space_key(&self, space: &SpaceId) -> Result<MasterKey, IdentityError> {
        Ok(self.space_keys(space).await?.current)
    }

    /// As [`Identity::space_key`], with the keys that were current before.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such space; otherwise as [`Identity::vault_key`], for the owner.
    pub async fn space_keys(&self, space: &SpaceId) -> Result<SpaceKeys, IdentityError> {
        if let Some(elsewhere) = self.external_space_keys(space).await {
            return elsewhere;
        }
        let owner = space_owner(&self.inner.db, space)
            .await?
            .ok_or(IdentityError::NotFound)?;
        let row = stored(&self.inner.db, &owner)
            .await?
            .ok_or(IdentityError::VaultNotInitialised)?;
        let current = row.open(&owner, &self.inner.keks)?;
        let mut past = rotation::past_keys(&self.inner.db, &owner, &self.inner.keks).await?;
        past.extend(self.past_owners_keys(space).await?);
        let detail = format!("for space {space}");
        let deed = Deed::of_the_house(Act::VaultRead, Some(&owner)).with(&detail);
        audit::record(&self.inner.db, deed, self.inner.clock.now()).await?;
        Ok(SpaceKeys { owner, current, past })
    }

    /// Every key of an account that is here, the present one first. Whoever asks puts it on record.
    pub(crate) async fn all_keys(&self, user: &UserId) -> Result<Vec<MasterKey>, IdentityError> {
        let row = stored(&self.inner.db, user)
            .await?
            .ok_or(IdentityError::VaultNotInitialised)?;
        let mut keys = vec![row.open(user, &self.inner.keks)?];
        keys.extend(rotation::past_keys(&self.inner.db, user, &self.inner.keks).await?);
        Ok(keys)
    }
}

/// Whether the account's key is here: not so for a zero-knowledge account.
///
/// # Errors
/// [`IdentityError::VaultNotInitialised`] where there is none anywhere.
pub(crate) async fn has_key(db: impl Source, user: &UserId) -> Result<bool, IdentityError> {
    let row = stored(db, user)
        .await?
        .ok_or(IdentityError::VaultNotInitialised)?;
    Ok(row.sealed_key.is_some())
}

/// The account whose keys a space's fields are sealed with.
pub(crate) async fn space_owner(db: impl Source, space: &SpaceId) -> Result<Option<UserId>, IdentityError> {
    let owner: Option<String> = query_scalar(
        "-- space_owner
         SELECT user_id
         FROM space_members
         WHERE
             space_id = $1
             AND role = 'owner'",
    )
    .bind(space.as_str())
    .fetch_optional(db)
    .await?;
    owner
        .map(|owner| {
            UserId::try_new(owner).map_err(|_| IdentityError::unknown_value("space_members.user_id"))
        })
        .transpose()
}

async fn stored(db: impl Source, user: &UserId) -> Result<Option<VaultRow>, IdentityError> {
    let row = query_as(
        "-- vault_by_user
         SELECT
             sealed_key,
             kek_id,
             format_version,
             key_version,
             created_at,
             recovery_wrapped_key,
             recovery_iv
         FROM vaults
         WHERE
             user_id = $1",
    )
    .bind(user.as_str())
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Makes a vault with a fresh master key, unless there is one; says whether it did.
pub(crate) async fn insert_if_absent(
    tx: &mut Tx,
    keks: &KeyRing,
    user: &UserId,
    now: Timestamp,
) -> Result<bool, IdentityError> {
    let sealed = seal::seal(
        keks.active(),
        label(user, FORMAT_VERSION, 1),
        &*seal::random_key()?,
    )?;
    let inserted = query(
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
    .bind(keks.active().id())
    .bind(i64::from(FORMAT_VERSION))
    .bind(now.as_microsecond())
    .execute(tx)
    .await?;
    Ok(inserted > 0)
}

fn label(user: &UserId, format_version: u32, key_version: u32) -> Label<'_> {
    Label {
        what: WHAT,
        owner: user.as_str(),
        format_version,
        key_version,
    }
}
