//! A new key beside the present one, and the end of those whose last token has ended.
//!
//! ```text
//!             made            signs
//! new key      ├── published ──┼─────────────────────────── …
//! old key   ───┼── signs ──────┼── verifies its last tokens ──┤ its seed is destroyed
//! ```
//!
//! Whoever keeps our published keys has the new one before it signs, and has the old one as long as a token of it
//! holds. Other processes on the same file see a rotation within [`READ_EVERY`].

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Keys, SigningKeyRow, stored};
use crate::Identity;
use crate::audit::{self, Act, Deed};
use crate::database::query;
use crate::error::IdentityError;

/// How long a key is published before it signs: twice what others may keep the published set, and more.
const PUBLISHED_AHEAD: SignedDuration = SignedDuration::from_mins(3);
/// How long a key verifies beyond the end of the last token it signed: clocks differ.
const BEYOND: SignedDuration = SignedDuration::from_mins(5);
/// How old the keys that were read may be. Well within [`PUBLISHED_AHEAD`], so that whoever signs knows its turn.
const READ_EVERY: Duration = Duration::from_secs(10);
/// Keys that overlap, at most.
const KEYS_MAX: usize = 500;

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RotatedSigningKey {
    /// The new key.
    pub kid: String,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// Keys that verify until their last token has ended.
    pub overlapping: usize,
    /// Keys whose last token had ended, which are destroyed now.
    pub destroyed: u64,
}

impl Identity {
    /// Makes a new signing key, and destroys those whose last token has ended. Nobody's token is refused for it.
    ///
    /// # Errors
    /// [`IdentityError::InvalidField`] when 500 keys overlap already.
    pub async fn rotate_signing_key(&self) -> Result<RotatedSigningKey, IdentityError> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let signs_from = now.saturating_add(PUBLISHED_AHEAD).unwrap_or(Timestamp::MAX);
        let retires_at = signs_from
            .saturating_add(inner.tokens.ttl())
            .and_then(|at| at.saturating_add(BEYOND))
            .unwrap_or(Timestamp::MAX);
        let row = SigningKeyRow::make(&inner.ids.uuid().to_string(), &inner.keks, signs_from)?;
        let mut tx = inner.db.begin().await?;
        let destroyed = query(
            "-- destroy_retired_signing_keys
             DELETE FROM signing_keys
             WHERE
                 retires_at <= $1",
        )
        .bind(now.as_microsecond())
        .execute(&mut tx)
        .await?;
        query(
            "-- retire_signing_keys
             UPDATE signing_keys
             SET
                 retires_at = $1
             WHERE
                 retires_at IS NULL",
        )
        .bind(retires_at.as_microsecond())
        .execute(&mut tx)
        .await?;
        row.insert(&mut tx, now).await?;
        let rows = stored(&mut tx).await?;
        if rows.len() > KEYS_MAX {
            return Err(IdentityError::InvalidField {
                field: "signing key",
                reason: format!("{KEYS_MAX} overlap already; wait until tokens of the oldest have ended"),
            });
        }
        let overlapping = rows.len() - 1;
        let made = Deed::of_the_house(Act::SigningKeyMade, None).with(&row.kid);
        audit::record(&mut tx, made, now).await?;
        if destroyed > 0 {
            let detail = format!("{destroyed} keys");
            let retired = Deed::of_the_house(Act::SigningKeyRetired, None).with(&detail);
            audit::record(&mut tx, retired, now).await?;
        }
        tx.commit().await?;
        self.keep_signing_keys(rows)?;
        Ok(RotatedSigningKey {
            kid: row.kid,
            signs_from,
            overlapping,
            destroyed,
        })
    }

    /// Reads the signing keys again where that is due: another process may have made one. Keys that cannot be read
    /// now leave those that were read before in force.
    pub async fn refresh_signing_keys(&self) {
        let since_start = self.inner.clock.monotonic();
        // Whoever comes meanwhile goes on with what there is.
        let Ok(mut read_at) = self.inner.signing_keys.read_at.try_lock() else {
            return;
        };
        if since_start.saturating_sub(*read_at) < READ_EVERY {
            return;
        }
        *read_at = since_start;
        let read = stored(&self.inner.db).await;
        if let Err(error) = read.and_then(|rows| self.keep_signing_keys(rows)) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                error,
                "the signing keys cannot be read again; those in hand go on"
            );
        }
    }

    fn keep_signing_keys(&self, rows: Vec<SigningKeyRow>) -> Result<(), IdentityError> {
        if rows.is_empty() {
            return Ok(());
        }
        let keys = Arc::new(Keys::open(rows, &self.inner.keks)?);
        *self
            .inner
            .signing_keys
            .read
            .write()
            .unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }
}
