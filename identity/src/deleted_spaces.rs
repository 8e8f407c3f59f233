//! Spaces that their owners deleted: gone for everybody at once, and remembered until their records are gone too.

use events::{SpaceId, UserId};
use jiff::Timestamp;

use crate::audit::{self, Act, Deed};
use crate::database::{Tx, query, query_as};
use crate::error::IdentityError;
use crate::{Identity, handover, key_changes, store};

/// A space that is deleted, whose records may not be yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedSpace {
    /// The space that was.
    pub space_id: SpaceId,
    /// When it was deleted.
    pub at: Timestamp,
}

impl Identity {
    /// Deletes a space with its members, invitations and grants: from the next request on there is no such space. What
    /// is to become of its records is the caller's, who says when they are gone with [`Identity::forget_deleted_space`].
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] for a stranger to the space; [`IdentityError::SpaceRoleNeeded`] for anybody but the
    /// owner; [`IdentityError::OwnerStays`] for a personal space, which goes with its account.
    pub async fn delete_space(&self, by: &UserId, space: &SpaceId) -> Result<(), IdentityError> {
        self.must_be_kept_here()?;
        let now = self.inner.clock.now();
        let forget = self.inner.known_spaces.forget_after();
        let mut tx = self.inner.db.begin().await?;
        handover::owned(&mut tx, by, space).await?;
        query(
            "-- delete_space
             DELETE FROM spaces
             WHERE
                 id = $1",
        )
        .bind(space.as_str())
        .execute(&mut tx)
        .await?;
        insert(&mut tx, by, space, now).await?;
        let deed = Deed::own(Act::SpaceDeleted, by).with(space.as_str());
        audit::record(&mut tx, deed, now).await?;
        key_changes::count(&mut tx).await?;
        tx.commit().await?;
        drop(forget);
        self.keys_changed();
        Ok(())
    }

    /// Deleted spaces whose records may be left.
    pub async fn deleted_spaces(&self) -> Result<Vec<DeletedSpace>, IdentityError> {
        let rows: Vec<(String, i64)> = query_as(
            "-- deleted_spaces
             SELECT
                 space_id,
                 deleted_at
             FROM deleted_spaces
             ORDER BY
                 deleted_at,
                 space_id",
        )
        .fetch_all(&self.inner.db)
        .await?;
        rows.into_iter()
            .map(|(space_id, at)| {
                Ok(DeletedSpace {
                    space_id: SpaceId::try_new(space_id)
                        .map_err(|_| IdentityError::unknown_value("deleted_spaces.space_id"))?,
                    at: store::instant(at, "deleted_spaces.deleted_at")?,
                })
            })
            .collect()
    }

    /// Says that nothing is left of a deleted space.
    pub async fn forget_deleted_space(&self, space: &SpaceId) -> Result<(), IdentityError> {
        query(
            "-- forget_deleted_space
             DELETE FROM deleted_spaces
             WHERE
                 space_id = $1",
        )
        .bind(space.as_str())
        .execute(&self.inner.db)
        .await?;
        Ok(())
    }
}

async fn insert(tx: &mut Tx, owner: &UserId, space: &SpaceId, now: Timestamp) -> Result<(), IdentityError> {
    query(
        "-- insert_deleted_space
         INSERT INTO deleted_spaces (
             space_id,
             owner_id,
             deleted_at
         )
         VALUES ($1, $2, $3)",
    )
    .bind(space.as_str())
    .bind(owner.as_str())
    .bind(now.as_microsecond())
    .execute(tx)
    .await?;
    Ok(())
}
