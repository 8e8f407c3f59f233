//! A space's next owner, and the keys of those before until nothing needs them any more.
//!
//! What is encrypted in a space is sealed with its owner's key. Handing it over changes the owner in one step: from then
//! on everything new is sealed with the next owner's key, and what is there opens with the past owner's until it has
//! been sealed anew. Whoever seals anew says when nothing is left; then the past owner's keys open nothing there.

use events::{SpaceId, UserId};
use jiff::Timestamp;

use crate::audit::{self, Act, Deed};
use crate::database::{Source, Tx, query, query_as, query_scalar};
use crate::error::IdentityError;
use crate::memberships::{self, Membership};
use crate::spaces::{OWNED_MAX, SpaceRole, SpaceType, insert_member};
use crate::suspension::refuse_unless_active;
use crate::vault::MasterKey;
use crate::{Identity, grants, key_changes, store, vault};

/// A space that was handed over and may hold what a past owner's key sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// The space.
    pub space_id: SpaceId,
    /// When it was last handed over.
    pub at: Timestamp,
}

impl Identity {
    /// Makes a member the owner of a space; who owned it becomes an admin there, and may leave. Grants that reached into
    /// the space end. The past owner's keys go on opening what they sealed there until [`Identity::finish_handover`].
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] for a stranger to the space, and for a member that is none;
    /// [`IdentityError::SpaceRoleNeeded`] for anybody but the owner; [`IdentityError::OwnerStays`] for a personal space;
    /// [`IdentityError::ZeroKnowledgeHandover`] where only one of the two has their key;
    /// [`IdentityError::VaultNotInitialised`] for a member without one; [`IdentityError::SpaceLimit`] when the member
    /// owns as many as it may; [`IdentityError::Suspended`] when it is being erased.
    pub async fn hand_over_space(
        &self,
        by: &UserId,
        space: &SpaceId,
        to: &UserId,
    ) -> Result<Membership, IdentityError> {
        self.must_be_kept_here()?;
        let now = self.inner.clock.now();
        let forget = self.inner.known_spaces.forget_after();
        let mut tx = self.inner.db.begin().await?;
        let mut place = owned(&mut tx, by, space).await?;
        memberships::by_space_and_user(&mut tx, space, to)
            .await?
            .ok_or(IdentityError::NotFound)?;
        if by == to {
            return Ok(place);
        }
        refuse_unless_active(&mut tx, to).await?;
        for (user, whose) in [(by, "yours"), (to, "the member's")] {
            if !vault::has_key(&mut tx, user).await? {
                return Err(IdentityError::ZeroKnowledgeHandover { whose });
            }
        }
        // The one before goes first: there is never more than one owner.
        insert_member(&mut tx, space, by, SpaceRole::Admin, now).await?;
        insert_member(&mut tx, space, to, SpaceRole::Owner, now).await?;
        if memberships::owned(&mut tx, to).await? > OWNED_MAX {
            return Err(IdentityError::SpaceLimit {
                what: "spaces of the member's own",
                max: OWNED_MAX,
            });
        }
        put_past_owner(&mut tx, space, by, now).await?;
        delete_past_owner(&mut tx, space, to).await?;
        grants::revoke_in_space(&mut tx, by, space, now).await?;
        let deed = Deed::about(Act::SpaceHandedOver, to, by).with(space.as_str());
        audit::record(&mut tx, deed, now).await?;
        key_changes::count(&mut tx).await?;
        tx.commit().await?;
        drop(forget);
        self.keys_changed();
        place.role = SpaceRole::Admin;
        Ok(place)
    }

    /// Spaces that were handed over and may still hold what a past owner's key sealed.
    pub async fn handovers(&self) -> Result<Vec<Handover>, IdentityError> {
        let rows: Vec<(String, i64)> = query_as(
            "-- handovers
             SELECT
                 space_id,
                 max(handed_over_at)
             FROM space_past_owners
             GROUP BY space_id
             ORDER BY space_id",
        )
        .fetch_all(&self.inner.db)
        .await?;
        rows.into_iter()
            .map(|(space_id, at)| {
                Ok(Handover {
                    space_id: SpaceId::try_new(space_id)
                        .map_err(|_| IdentityError::unknown_value("space_past_owners.space_id"))?,
                    at: store::instant(at, "space_past_owners.handed_over_at")?,
                })
            })
            .collect()
    }

    /// Says that nothing in the space is sealed with the keys of those who handed it over until `until`: they open
    /// nothing there from now on.
    pub async fn finish_handover(&self, space: &SpaceId, until: Timestamp) -> Result<(), IdentityError> {
        let mut tx = self.inner.db.begin().await?;
        let finished = query(
            "-- finish_handover
             DELETE FROM space_past_owners
             WHERE
                 space_id = $1
                 AND handed_over_at <= $2",
        )
        .bind(space.as_str())
        .bind(until.as_microsecond())
        .execute(&mut tx)
        .await?;
        if finished > 0 {
            let deed = Deed::of_the_house(Act::SpaceSealedAnew, None).with(space.as_str());
            audit::record(&mut tx, deed, self.inner.clock.now()).await?;
        }
        key_changes::count(&mut tx).await?;
        tx.commit().await?;
        self.keys_changed();
        Ok(())
    }

    /// The keys of those who owned the space before, of whom something may be left there: present ones and past ones.
    pub(crate) async fn past_owners_keys(&self, space: &SpaceId) -> Result<Vec<MasterKey>, IdentityError> {
        let mut keys = Vec::new();
        for owner in past_owners(&self.inner.db, space).await? {
            keys.extend(self.all_keys(&owner).await?);
            let detail = format!("for space {space}, which was handed over");
            let deed = Deed::of_the_house(Act::VaultRead, Some(&owner)).with(&detail);
            audit::record(&self.inner.db, deed, self.inner.clock.now()).await?;
        }
        Ok(keys)
    }
}

/// Refuses to destroy keys that a space which was handed over still needs, or that it is being sealed with.
pub(crate) async fn must_not_be_under_way(tx: &mut Tx, user: &UserId) -> Result<(), IdentityError> {
    let under_way: Option<String> = query_scalar(
        "-- handover_under_way
         SELECT space_past_owners.space_id
         FROM space_past_owners
         LEFT JOIN space_members
             ON space_members.space_id = space_past_owners.space_id
             AND space_members.role = 'owner'
         WHERE
             space_past_owners.user_id = $1
             OR space_members.user_id = $1
         LIMIT 1",
    )
    .bind(user.as_str())
    .fetch_optional(tx)
    .await?;
    if under_way.is_some() {
        return Err(IdentityError::HandoverUnderWay);
    }
    Ok(())
}

/// The place of `by` in a space that it owns and may let go of.
pub(crate) async fn owned(tx: &mut Tx, by: &UserId, space: &SpaceId) -> Result<Membership, IdentityError> {
    let place = memberships::by_space_and_user(&mut *tx, space, by)
        .await?
        .ok_or(IdentityError::NotFound)?;
    place.role.must_outrank(SpaceRole::Admin)?;
    if place.space_type == SpaceType::Personal {
        return Err(IdentityError::OwnerStays);
    }
    Ok(place)
}

async fn past_owners(db: impl Source, space: &SpaceId) -> Result<Vec<UserId>, IdentityError> {
    let owners: Vec<String> = query_scalar(
        "-- past_owners
         SELECT user_id
         FROM space_past_owners
         WHERE
             space_id = $1
         ORDER BY
             handed_over_at DESC,
             user_id",
    )
    .bind(space.as_str())
    .fetch_all(db)
    .await?;
    owners
        .into_iter()
        .map(|owner| {
            UserId::try_new(owner).map_err(|_| IdentityError::unknown_value("space_past_owners.user_id"))
        })
        .collect()
}

async fn put_past_owner(
    tx: &mut Tx,
    space: &SpaceId,
    owner: &UserId,
    now: Timestamp,
) -> Result<(), IdentityError> {
    query(
        "-- put_past_owner
         INSERT INTO space_past_owners (
             space_id,
             user_id,
             handed_over_at
         )
         VALUES ($1, $2, $3)
         ON CONFLICT (space_id, user_id) DO UPDATE
         SET
             handed_over_at = excluded.handed_over_at",
    )
    .bind(space.as_str())
    .bind(owner.as_str())
    .bind(now.as_microsecond())
    .execute(tx)
    .await?;
    Ok(())
}

async fn delete_past_owner(tx: &mut Tx, space: &SpaceId, owner: &UserId) -> Result<(), IdentityError> {
    query(
        "-- delete_past_owner
         DELETE FROM space_past_owners
         WHERE
             space_id = $1
             AND user_id = $2",
    )
    .bind(space.as_str())
    .bind(owner.as_str())
    .execute(tx)
    .await?;
    Ok(())
}
