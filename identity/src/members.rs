//! The members of a space: who they are, what they may do, and how they go.

use events::{SpaceId, UserId};
use jiff::Timestamp;

use crate::audit::{self, Act, Deed};
use crate::database::{Tx, query, query_as};
use crate::error::IdentityError;
use crate::invitations;
use crate::memberships;
use crate::registration::refuse_unless;
use crate::spaces::{SpaceRole, SpaceType};
use crate::{Identity, store};

/// One member, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The account.
    pub user_id: UserId,
    /// Its name.
    pub name: String,
    /// Its email, which only those who manage the space should be shown.
    pub email: String,
    /// What it may do in the space.
    pub role: SpaceRole,
    /// When it joined.
    pub joined_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct MemberRow {
    user_id: String,
    name: String,
    email: String,
    role: String,
    joined_at: i64,
}

impl TryFrom<MemberRow> for Member {
    type Error = IdentityError;

    fn try_from(row: MemberRow) -> Result<Self, IdentityError> {
        Ok(Self {
            user_id: UserId::try_new(row.user_id).map_err(|_| IdentityError::unknown_value("users.id"))?,
            name: row.name,
            email: row.email,
            role: SpaceRole::from_column(&row.role)?,
            joined_at: store::instant(row.joined_at, "space_members.joined_at")?,
        })
    }
}

impl Identity {
    /// The members of a space, in the order they joined.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] for a stranger to the space.
    pub async fn members(&self, by: &UserId, space: &SpaceId) -> Result<Vec<Member>, IdentityError> {
        self.membership(space, by).await?.ok_or(IdentityError::NotFound)?;
        let rows: Vec<MemberRow> = query_as(
            "-- members
             SELECT
                 users.id AS user_id,
                 users.name,
                 users.email,
                 space_members.role,
                 space_members.joined_at
             FROM space_members
             JOIN users ON users.id = space_members.user_id
             WHERE
                 space_members.space_id = $1
             ORDER BY
                 space_members.joined_at,
                 users.id",
        )
        .bind(space.as_str())
        .fetch_all(&self.inner.db)
        .await?;
        rows.into_iter().map(Member::try_from).collect()
    }

    /// Gives a member another role, from its next request on. For the owner alone.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] for a stranger to the space, and for a member that is none;
    /// [`IdentityError::SpaceRoleNeeded`] for anybody but the owner; [`IdentityError::OwnerStays`] for the owner
    /// itself; [`IdentityError::InvalidField`] for the role owner: the space is sealed with its owner's key.
    pub async fn set_member_role(
        &self,
        by: &UserId,
        space: &SpaceId,
        member: &UserId,
        role: SpaceRole,
    ) -> Result<(), IdentityError> {
        refuse_unless(
            role != SpaceRole::Owner,
            "role",
            "must be admin or member".to_owned(),
        )?;
        self.must_be_kept_here()?;
        let _forget = self.inner.known_spaces.forget_after();
        let mut tx = self.inner.db.begin().await?;
        let place = memberships::by_space_and_user(&mut tx, space, by)
            .await?
            .ok_or(IdentityError::NotFound)?;
        place.role.must_outrank(SpaceRole::Admin)?;
        if by == member {
            return Err(IdentityError::OwnerStays);
        }
        let changed = query(
            "-- set_member_role
             UPDATE space_members
             SET
                 role = $1
             WHERE
                 space_id = $2
                 AND user_id = $3",
        )
        .bind(role.as_str())
        .bind(space.as_str())
        .bind(member.as_str())
        .execute(&mut tx)
        .await?;
        invitations::found(changed)?;
        if role == SpaceRole::Member {
            // What somebody who may not invite has sent would still let others in.
            invitations::delete_sent_by(&mut tx, space, member).await?;
        }
        let detail = format!("{role}: {space}");
        let deed = Deed::about(Act::SpaceRoleChanged, member, by).with(&detail);
        audit::record(&mut tx, deed, self.inner.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes a member out of a space, from its next request on; oneself, to leave it. What the member has written
    /// stays with the space.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] for a stranger to the space, and for a member that is none;
    /// [`IdentityError::SpaceRoleNeeded`] where the member's role is not below that of who asks;
    /// [`IdentityError::OwnerStays`] for the owner: the space is sealed with its key.
    pub async fn remove_member(
        &self,
        by: &UserId,
        space: &SpaceId,
        member: &UserId,
    ) -> Result<(), IdentityError> {
        self.must_be_kept_here()?;
        let _forget = self.inner.known_spaces.forget_after();
        let mut tx = self.inner.db.begin().await?;
        let place = memberships::by_space_and_user(&mut tx, space, by)
            .await?
            .ok_or(IdentityError::NotFound)?;
        let leaving = memberships::by_space_and_user(&mut tx, space, member)
            .await?
            .ok_or(IdentityError::NotFound)?;
        if leaving.role == SpaceRole::Owner || leaving.space_type == SpaceType::Personal {
            return Err(IdentityError::OwnerStays);
        }
        if by != member {
            place.role.must_outrank(leaving.role)?;
        }
        delete_member(&mut tx, space, member).await?;
        invitations::delete_sent_by(&mut tx, space, member).await?;
        let deed = Deed::about(Act::SpaceLeft, member, by).with(space.as_str());
        audit::record(&mut tx, deed, self.inner.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn delete_member(tx: &mut Tx, space: &SpaceId, member: &UserId) -> Result<(), IdentityError> {
    query(
        "-- delete_member
         DELETE FROM space_members
         WHERE
             space_id = $1
             AND user_id = $2",
    )
    .bind(space.as_str())
    .bind(member.as_str())
    .execute(tx)
    .await?;
    Ok(())
}
