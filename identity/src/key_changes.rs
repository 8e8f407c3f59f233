//! How often keys that somebody may hold in memory were replaced or destroyed, by this process or another.
//!
//! It is counted in the database in the transaction that makes the change. This process sees its own changes at once,
//! and those of others whenever it looks an account up again, which every request does that finds none of the last two
//! seconds: so no key serves a request that came in two seconds after its end.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::Identity;
use crate::database::{Db, Tx, query, query_scalar};
use crate::error::IdentityError;

/// See the module.
#[derive(Debug)]
pub(crate) struct KeyChanges {
    /// As whoever keeps keys sees it.
    seen: AtomicU64,
    /// What stood in the database when it was last read.
    stored: AtomicI64,
}

impl KeyChanges {
    pub(crate) async fn read(db: &Db) -> Result<Self, IdentityError> {
        Ok(Self {
            seen: AtomicU64::new(0),
            stored: AtomicI64::new(stored(db).await?),
        })
    }
}

impl Identity {
    /// How often a key that somebody may hold in memory was replaced or destroyed, as far as this process has seen.
    /// Whoever keeps keys compares it before each use, and forgets them when it has moved on.
    pub fn key_changes(&self) -> u64 {
        self.inner.key_changes.seen.load(Ordering::SeqCst)
    }

    /// Makes whoever keeps keys in this process forget them.
    pub(crate) fn keys_changed(&self) {
        self.inner.key_changes.seen.fetch_add(1, Ordering::SeqCst);
    }

    /// Does the same where another process has changed keys since this was last asked.
    pub(crate) async fn look_for_key_changes(&self) -> Result<(), IdentityError> {
        let stored = stored(&self.inner.db).await?;
        if self.inner.key_changes.stored.swap(stored, Ordering::SeqCst) != stored {
            self.keys_changed();
        }
        Ok(())
    }
}

/// Counts a change, in the transaction that makes it.
pub(crate) async fn count(tx: &mut Tx) -> Result<(), IdentityError> {
    query(
        "-- count_key_change
         INSERT INTO key_changes (
             id,
             changes
         )
         VALUES (1, 1)
         ON CONFLICT (id) DO UPDATE
         SET
             changes = key_changes.changes + 1",
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn stored(db: &Db) -> Result<i64, IdentityError> {
    let changes: Option<i64> = query_scalar(
        "-- key_changes
         SELECT changes
         FROM key_changes",
    )
    .fetch_optional(db)
    .await?;
    Ok(changes.unwrap_or(0))
}
