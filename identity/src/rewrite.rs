//! Writing the whole file anew after a deletion, so that nothing of the deleted is left in its unused parts.
//!
//! `secure_delete` overwrites a row where it stands. It does not reach the copies that a row leaves behind where its
//! page was split or rebuilt as rows grew. Only a file that is written anew holds what its tables hold and nothing
//! else; docs/adr/0010 has the measurement.

use jiff::Timestamp;
use sqlx::{SqliteConnection, SqlitePool};

use crate::Identity;
use crate::error::{DatabaseError, IdentityError};

impl Identity {
    /// Writes the file anew if an account was deleted since the last time, and empties the write-ahead log.
    ///
    /// # Errors
    /// [`IdentityError::Database`] when it could not be done, for instance because a reader was in the way for
    /// too long. It stays due.
    pub async fn rewrite_if_due(&self) -> Result<(), IdentityError> {
        if_due(&self.inner.db).await
    }

    /// Does the same after a deletion that stands whether or not it can be done now.
    pub(crate) async fn rewrite_or_warn(&self) {
        if let Err(error) = self.rewrite_if_due().await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                error,
                "something is deleted, but its bytes may be in the file until it is rewritten"
            );
        }
    }
}

/// Notes, in the transaction that deletes, that the file must be rewritten.
pub(crate) async fn make_due(tx: &mut SqliteConnection, at: Timestamp) -> Result<(), IdentityError> {
    sqlx::query(
        "-- make_rewrite_due
         INSERT INTO rewrites_due (
             id,
             deleted_at
         )
         VALUES (1, $1)
         ON CONFLICT (id) DO UPDATE
         SET
             deleted_at = max(rewrites_due.deleted_at + 1, excluded.deleted_at)",
    )
    .bind(at.as_microsecond())
    .execute(tx)
    .await?;
    Ok(())
}

/// Rewrites the file if that is due.
pub(crate) async fn if_due(db: &SqlitePool) -> Result<(), IdentityError> {
    let deleted_at: Option<i64> = sqlx::query_scalar(
        "-- rewrite_due
         SELECT deleted_at
         FROM rewrites_due",
    )
    .fetch_optional(db)
    .await?;
    let Some(deleted_at) = deleted_at else {
        return Ok(());
    };
    sqlx::query("VACUUM").execute(db).await?;
    empty_write_ahead_log(db).await?;
    // A deletion in between has changed the row, and keeps the next rewrite due.
    sqlx::query(
        "-- rewrite_done
         DELETE FROM rewrites_due
         WHERE
             deleted_at = $1",
    )
    .bind(deleted_at)
    .execute(db)
    .await?;
    Ok(())
}

/// Moves everything out of the write-ahead log and cuts it to nothing: its pages are older than the file's.
async fn empty_write_ahead_log(db: &SqlitePool) -> Result<(), IdentityError> {
    let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(db)
        .await?;
    if busy == 0 {
        return Ok(());
    }
    Err(IdentityError::Database(DatabaseError::ReaderInTheWay))
}
