//! Deleting an account, and with it everything that was its alone.

mod leaving;

use events::{SpaceId, UserId};

use crate::audit::{self, Act, Deed};
use crate::database::{Tx, query, query_scalar};
use crate::error::IdentityError;
use crate::{Identity, accounts, invitations, key_changes, rewrite, throttle};

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
    /// What was encrypted in that space with the deleted account's master key can be read by nobody any more. Where
    /// the space's name holds the account's, the account's is taken out of it.
    ///
    /// Afterwards the file is written anew, so that no byte of the account is left in it. Where that has to wait, the
    /// account is deleted all the same and [`Identity::rewrite_if_due`] does the rest.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such account.
    pub async fn delete_account(&self, id: &UserId) -> Result<Deleted, IdentityError> {
        let forget = (
            self.inner.known_accounts.forget_after(id),
            self.inner.known_spaces.forget_after(),
        );
        let mut tx = self.inner.db.begin().await?;
        let account = accounts::by_id(&mut tx, id)
            .await?
            .ok_or(IdentityError::NotFound)?;
        let spaces = delete_spaces_left_empty(&mut tx, id).await?;
        leaving::leave_shared_spaces(&mut tx, &account).await?;
        invitations::delete_to(&mut tx, &account.email).await?;
        throttle::forget(&mut tx, &account.email).await?;
        delete_user(&mut tx, id).await?;
        let now = self.inner.clock.now();
        let deed = Deed::of_the_house(Act::AccountDeleted, None).with(account.kind.as_str());
        audit::record(&mut tx, deed, now).await?;
        rewrite::make_due(&mut tx, now).await?;
        key_changes::count(&mut tx).await?;
        tx.commit().await?;
        drop(forget);
        // Spaces it owned have another owner and with it another key from now on.
        self.keys_changed();
        self.rewrite_or_warn().await;
        Ok(Deleted { spaces })
    }

    /// The spaces that are the account's alone, those it deleted whose records may be left, or that nobody shares with it but accounts that are being erased like
    /// itself. Of several that are erased at once, the last one to be suspended finds every space they shared here.
    pub async fn sole_spaces(&self, id: &UserId) -> Result<Vec<SpaceId>, IdentityError> {
        let spaces: Vec<String> = query_scalar(
            "-- sole_spaces
             SELECT mine.space_id
             FROM space_members AS mine
             WHERE
                 mine.user_id = $1
                 AND NOT EXISTS (
                     SELECT 1
                     FROM space_members AS others
                     JOIN users ON users.id = others.user_id
                     WHERE
                         others.space_id = mine.space_id
                         AND others.user_id <> mine.user_id
                         AND users.suspended_at IS NULL
                 )
             UNION
             SELECT space_id
             FROM deleted_spaces
             WHERE
                 owner_id = $1
             ORDER BY 1",
        )
        .bind(id.as_str())
        .fetch_all(&self.inner.db)
        .await?;
        spaces.into_iter().map(space_id).collect()
    }
}

/// Deletes the spaces that nobody else is in, and names them.
async fn delete_spaces_left_empty(tx: &mut Tx, id: &UserId) -> Result<Vec<SpaceId>, IdentityError> {
    let spaces: Vec<String> = query_scalar(
        "-- delete_spaces_left_empty
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
             )
         RETURNING id",
    )
    .bind(id.as_str())
    .fetch_all(tx)
    .await?;
    spaces.into_iter().map(space_id).collect()
}

fn space_id(id: String) -> Result<SpaceId, IdentityError> {
    SpaceId::try_new(id).map_err(|_| IdentityError::unknown_value("spaces.id"))
}

/// Deletes the account; the password and the vault go with it by their foreign keys.
async fn delete_user(tx: &mut Tx, id: &UserId) -> Result<(), IdentityError> {
    query(
        "-- delete_user
         DELETE FROM users
         WHERE
             id = $1",
    )
    .bind(id.as_str())
    .execute(tx)
    .await?;
    Ok(())
}
