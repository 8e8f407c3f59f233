//! Sealing every key anew with the key-encryption key that is active now, a batch at a time, while everybody goes on.
//!
//! What is left to do is what the rows themselves say (`kek_id`), so whoever is killed on the way goes on where it
//! stopped, and two at once do no harm. A row changes from one readable state to another in one statement: a reader who
//! has both keys finds one or the other.

use events::UserId;
use serde::Serialize;

use super::{WHAT, label};
use crate::audit::{self, Act, Deed};
use crate::database::{query, query_as};
use crate::error::IdentityError;
use crate::seal::{self, Label};
use crate::{Identity, signing_keys};

/// Keys sealed anew in one transaction, at most.
const BATCH_MAX: u32 = 1_000;

/// How far a rewrap is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rewrapped {
    /// Keys sealed anew by this call.
    pub done: u64,
    /// Whether no key was left that another key-encryption key seals.
    pub is_complete: bool,
}

#[derive(sqlx::FromRow)]
struct SealedRow {
    /// Which table, as [`Kind`] spells it.
    kind: String,
    /// The account, or the signing key's id.
    owner: String,
    key_version: i64,
    format_version: i64,
    sealed: Vec<u8>,
    kek_id: String,
}

impl Identity {
    /// Seals up to `batch` keys anew with the active key-encryption key: master keys, past ones, and keys that sign
    /// tokens. Call it until it is complete; then the older key-encryption keys can be left out of the ring.
    ///
    /// # Errors
    /// [`IdentityError::WrongKeyEncryptionKey`] naming a key-encryption key that is missing, and
    /// [`crate::CryptoError::DoesNotOpen`] for a row that was changed: nothing of the batch is then written.
    pub async fn rewrap(&self, batch: u32) -> Result<Rewrapped, IdentityError> {
        let keks = &self.inner.keks;
        let active = keks.active();
        let batch = batch.clamp(1, BATCH_MAX);
        let mut tx = self.inner.db.begin().await?;
        let rows: Vec<SealedRow> = query_as(
            "-- keys_to_rewrap
             SELECT 'vault' AS kind, user_id AS owner, key_version, format_version, sealed_key AS sealed, kek_id
             FROM vaults
             WHERE
                 kek_id <> $1
                 AND sealed_key IS NOT NULL
             UNION ALL
             SELECT 'past', user_id, key_version, format_version, sealed_key, kek_id
             FROM past_master_keys
             WHERE
                 kek_id <> $1
             UNION ALL
             SELECT 'signing', kid, 1, 1, sealed_seed, kek_id
             FROM signing_keys
             WHERE
                 kek_id <> $1
             LIMIT $2",
        )
        .bind(active.id())
        .bind(i64::from(batch))
        .fetch_all(&mut tx)
        .await?;
        for row in &rows {
            let unknown = |_| IdentityError::unknown_value("vaults.key_version");
            let key_version = u32::try_from(row.key_version).map_err(unknown)?;
            let format_version = u32::try_from(row.format_version).map_err(unknown)?;
            let user;
            let label = if row.kind == "signing" {
                signing_keys::label(&row.owner)
            } else {
                user = UserId::try_new(row.owner.clone())
                    .map_err(|_| IdentityError::unknown_value("vaults.user_id"))?;
                Label {
                    what: WHAT,
                    ..label(&user, format_version, key_version)
                }
            };
            let key = seal::open(keks, label, &row.kek_id, &row.sealed)?;
            let sealed = seal::seal(active, label, &key)?;
            let write = match row.kind.as_str() {
                "vault" => {
                    "-- rewrap_vault
                     UPDATE vaults
                     SET
                         sealed_key = $1,
                         kek_id = $2
                     WHERE
                         user_id = $3
                         AND key_version = $4"
                }
                "past" => {
                    "-- rewrap_past_key
                     UPDATE past_master_keys
                     SET
                         sealed_key = $1,
                         kek_id = $2
                     WHERE
                         user_id = $3
                         AND key_version = $4"
                }
                _ => {
                    "-- rewrap_signing_key
                     UPDATE signing_keys
                     SET
                         sealed_seed = $1,
                         kek_id = $2
                     WHERE
                         kid = $3
                         AND $4 = 1"
                }
            };
            query(write)
                .bind(sealed)
                .bind(active.id())
                .bind(&row.owner)
                .bind(row.key_version)
                .execute(&mut tx)
                .await?;
        }
        if !rows.is_empty() {
            let detail = format!("{} keys with {}", rows.len(), active.id());
            let deed = Deed::of_the_house(Act::KeysRewrapped, None).with(&detail);
            audit::record(&mut tx, deed, self.inner.clock.now()).await?;
        }
        tx.commit().await?;
        Ok(Rewrapped {
            done: rows.len() as u64,
            // Nobody else wrote meanwhile, and counting what is left after each batch would take longer than the batch.
            is_complete: rows.len() < batch as usize,
        })
    }

    /// How many keys each key-encryption key seals, by its name.
    pub async fn sealed_by_key(&self) -> Result<Vec<(String, u64)>, IdentityError> {
        let counted: Vec<(String, i64)> = query_as(
            "-- sealed_by_key
             SELECT
                 kek_id,
                 count(*)
             FROM (
                 SELECT kek_id FROM vaults WHERE sealed_key IS NOT NULL
                 UNION ALL
                 SELECT kek_id FROM past_master_keys
                 UNION ALL
                 SELECT kek_id FROM signing_keys
             ) AS sealed
             GROUP BY kek_id
             ORDER BY kek_id",
        )
        .fetch_all(&self.inner.db)
        .await?;
        Ok(counted
            .into_iter()
            .map(|(kek_id, keys)| (kek_id, u64::try_from(keys).unwrap_or(0)))
            .collect())
    }

    /// The name of the key-encryption key that seals what is new.
    pub fn active_kek(&self) -> &str {
        self.inner.keks.active().id()
    }
}
