//! Deleting an account, and with it everything that was its alone.

use events::{SpaceId, UserId};
use sqlx::{SqliteConnection, SqliteExecutor, SqlitePool};

use crate::error::IdentityError;
use crate::{Identity, store};

/// What went with a deleted account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The spaces that were its alone and are gone; their records are now nobody's.
    pub spaces: Vec<SpaceId>,
}

impl Identity {
    /// Deletes the account, its password, its master key, its memberships, and the spaces it was alone in. Its
    /// tokens die at once.
    ///
    /// A space it owned and shared goes on under another owner: an admin of it first, then whoever joined first.
    /// What was encrypted in that space with the deleted account's master key can be read by nobody any more.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such account.
    pub async fn delete_account(&self, id: &UserId) -> Result<Deleted, IdentityError> {
        let forget = self.inner.known_accounts.forget_after(id);
        let mut tx = store::begin(&self.inner.db).await?;
        let spaces = sole_spaces(&mut *tx, id).await?;
        delete_sole_spaces(&mut tx, id).await?;
        leave_shared_spaces(&mut tx, id).await?;
        if !delete_user(&mut tx, id).await? {
            return Err(IdentityError::NotFound);
        }
        tx.commit().await?;
        drop(forget);
        empty_write_ahead_log(&self.inner.db).await;
        Ok(Deleted { spaces })
    }

    /// The spaces the account is alone in: what [`Identity::delete_account`] would remove.
    pub async fn sole_spaces(&self, id: &UserId) -> Result<Vec<SpaceId>, IdentityError> {
        sole_spaces(&self.inner.db, id).await
    }
}

async fn sole_spaces(db: impl SqliteExecutor<'_>, id: &UserId) -> Result<Vec<SpaceId>, IdentityError> {
    let spaces: Vec<String> = sqlx::query_scalar(
        "-- sole_spaces
         SELECT mine.space_id
         FROM space_members AS mine
         WHERE
             mine.user_id = $1
             AND NOT EXISTS (
                 SELECT 1
                 FROM space_members AS others
                 WHERE
                     others.space_id = mine.space_id
                     AND others.user_id <> mine.user_id
             )
         ORDER BY mine.space_id",
    )
    .bind(id.as_str())
    .fetch_all(db)
    .await?;
    spaces
        .into_iter()
        .map(|space| SpaceId::try_new(space).map_err(|_| IdentityError::unknown_value("spaces.id")))
        .collect()
}

async fn delete_sole_spaces(tx: &mut SqliteConnection, id: &UserId) -> Result<(), IdentityError> {
    sqlx::query(
        "-- delete_sole_spaces
         DELETE FROM spaces
         WHERE
             id IN (
                 SELECT mine.space_id
                 FROM space_members AS mine
                 WHERE
                     mine.user_id = $1
                     AND NOT EXISTS (
                         SELECT 1
                         FROM space_members AS others
                         WHERE
                             others.space_id = mine.space_id
                             AND others.user_id <> mine.user_id
                     )
             )",
    )
    .bind(id.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes the account out of what is left, and gives each space that lost its owner to the next in line.
async fn leave_shared_spaces(tx: &mut SqliteConnection, id: &UserId) -> Result<(), IdentityError> {
    sqlx::query(
        "-- leave_shared_spaces
         DELETE FROM space_members
         WHERE
             user_id = $1",
    )
    .bind(id.as_str())
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "-- give_ownerless_spaces_to_the_next_in_line
         UPDATE space_members
         SET
             role = 'owner'
         WHERE
             space_id NOT IN (
                 SELECT owners.space_id
                 FROM space_members AS owners
                 WHERE
                     owners.role = 'owner'
             )
             AND user_id = (
                 SELECT line.user_id
                 FROM space_members AS line
                 WHERE
                     line.space_id = space_members.space_id
                 ORDER BY
                     line.role = 'admin' DESC,
                     line.joined_at,
                     line.user_id
                 LIMIT 1
             )",
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes the account; the password and the vault go with it by their foreign keys.
async fn delete_user(tx: &mut SqliteConnection, id: &UserId) -> Result<bool, IdentityError> {
    let deleted = sqlx::query(
        "-- delete_user
         DELETE FROM users
         WHERE
             id = $1",
    )
    .bind(id.as_str())
    .execute(tx)
    .await?;
    Ok(deleted.rows_affected() == 1)
}

/// Moves everything out of the write-ahead log, so that the destroyed key is not readable there either.
///
/// The account is gone whether this works or not; a reader in the way only delays it to the next checkpoint.
async fn empty_write_ahead_log(db: &SqlitePool) {
    let answer: Result<(i64, i64, i64), sqlx::Error> = sqlx::query_as(
        "-- empty_write_ahead_log
         PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .fetch_one(db)
    .await;
    match answer {
        Ok((0, _, _)) => {}
        Ok(_) => tracing::info!(
            "sealed bytes of a deleted account stay in the write-ahead log until its next checkpoint"
        ),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the write-ahead log could not be emptied after an account was deleted"
        ),
    }
}
