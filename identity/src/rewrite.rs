//! Writing the accounts' files anew after a deletion, so that nothing of the deleted is left in their unused parts.
//!
//! SQLite's `secure_delete` overwrites a row where it stands. It does not reach the copies that a row leaves behind where
//! its page was split or rebuilt as rows grew; Postgres overwrites nothing at all. Only a file that is written anew
//! holds what its tables hold and nothing else; docs/adr/0010 has the measurement, docs/adr/0030 what it does not reach.

use jiff::Timestamp;

use crate::Identity;
use crate::database::{Db, Tx, query, query_scalar};
use crate::error::{DatabaseError, IdentityError};

impl Identity {
    /// Writes the files anew if an account was deleted since the last time; SQLite's write-ahead log is emptied too.
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
pub(crate) async fn make_due(tx: &mut Tx, at: Timestamp) -> Result<(), IdentityError> {
    query(
        "-- make_rewrite_due
         INSERT INTO rewrites_due (
             id,
             deleted_at
         )
         VALUES (1, $1)
         ON CONFLICT (id) DO UPDATE
         SET
             deleted_at = CASE
                 WHEN rewrites_due.deleted_at >= excluded.deleted_at THEN rewrites_due.deleted_at + 1
                 ELSE excluded.deleted_at
             END",
    )
    .bind(at.as_microsecond())
    .execute(tx)
    .await?;
    Ok(())
}

/// Does what a deletion that was cut short left to do. Who reads on from before keeps nobody from starting: it stays due.
pub(crate) async fn at_start(db: &Db) -> Result<(), IdentityError> {
    match if_due(db).await {
        Err(IdentityError::Database(error @ DatabaseError::ReaderInTheWay)) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                error,
                "something is deleted, and its bytes are not written over yet"
            );
            Ok(())
        }
        done => done,
    }
}

/// Rewrites the file if that is due.
pub(crate) async fn if_due(db: &Db) -> Result<(), IdentityError> {
    let deleted_at: Option<i64> = query_scalar(
        "-- rewrite_due
         SELECT deleted_at
         FROM rewrites_due",
    )
    .fetch_optional(db)
    .await?;
    let Some(deleted_at) = deleted_at else {
        return Ok(());
    };
    db.rewrite().await.map_err(IdentityError::Database)?;
    // A deletion in between has changed the row, and keeps the next rewrite due.
    query(
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
