//! Invitations: how somebody comes into a space with the consent of both sides.
//!
//! An invitation is to an email, and whoever logs in with it may accept. Whether there is such an account shows in
//! no answer, so that nobody learns from inviting who is registered.

use events::{InvitationId, SpaceId, UserId};
use jiff::{SignedDuration, Timestamp};

use crate::audit::{self, Act, Deed};
use crate::database::{Tx, query, query_as, query_scalar};
use crate::error::IdentityError;
use crate::memberships::{self, Membership};
use crate::registration::{check_email, normalized_email, refuse_unless};
use crate::spaces::{MEMBERS_MAX, SpaceRole, SpaceType, insert_member};
use crate::{Identity, accounts, store};

/// How long an invitation can be accepted.
const VALID_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Invitations a space may have open at the same time.
const OPEN_MAX: i64 = 200;

/// An invitation, as those see it who manage the space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Names it.
    pub id: InvitationId,
    /// The space it lets into.
    pub space_id: SpaceId,
    /// Who is invited, lower case.
    pub email: String,
    /// What the invited may do there once they accept.
    pub role: SpaceRole,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it can no more be accepted.
    pub expires_at: Timestamp,
}

/// An invitation, as the invited sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationToMe {
    /// The invitation.
    pub invitation: Invitation,
    /// The space's name.
    pub space_name: String,
    /// What sort of group the space is for.
    pub space_type: SpaceType,
    /// The name of who invited.
    pub invited_by: String,
}

#[derive(sqlx::FromRow)]
struct InvitationRow {
    id: String,
    space_id: String,
    email: String,
    role: String,
    created_at: i64,
    expires_at: i64,
}

#[derive(sqlx::FromRow)]
struct ToMeRow {
    #[sqlx(flatten)]
    invitation: InvitationRow,
    space_name: String,
    space_type: String,
    invited_by: String,
}

impl TryFrom<InvitationRow> for Invitation {
    type Error = IdentityError;

    fn try_from(row: InvitationRow) -> Result<Self, IdentityError> {
        Ok(Self {
            id: InvitationId::try_new(row.id)
                .map_err(|_| IdentityError::unknown_value("space_invitations.id"))?,
            space_id: SpaceId::try_new(row.space_id)
                .map_err(|_| IdentityError::unknown_value("space_invitations.space_id"))?,
            email: row.email,
            role: SpaceRole::from_column(&row.role)?,
            created_at: store::instant(row.created_at, "space_invitations.created_at")?,
            expires_at: store::instant(row.expires_at, "space_invitations.expires_at")?,
        })
    }
}

impl TryFrom<ToMeRow> for InvitationToMe {
    type Error = IdentityError;

    fn try_from(row: ToMeRow) -> Result<Self, IdentityError> {
        Ok(Self {
            invitation: row.invitation.try_into()?,
            space_name: row.space_name,
            space_type: SpaceType::from_column(&row.space_type)?,
            invited_by: row.invited_by,
        })
    }
}

impl Identity {
    /// Invites whoever has, or will have, `email` into the space. Inviting again renews the invitation.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] for a stranger to the space; [`IdentityError::SpaceRoleNeeded`] for a plain member,
    /// and for an admin that would make another one; [`IdentityError::InvalidField`] for a personal space, a bad
    /// email, or the role owner; [`IdentityError::AlreadyMember`]; [`IdentityError::SpaceLimit`] when too many are
    /// open.
    pub async fn invite(
        &self,
        by: &UserId,
        space: &SpaceId,
        email: &str,
        role: SpaceRole,
    ) -> Result<Invitation, IdentityError> {
        self.must_be_kept_here()?;
        let email = normalized_email(email);
        check_email(&email)?;
        refuse_unless(
            role != SpaceRole::Owner,
            "role",
            "must be admin or member".to_owned(),
        )?;
        let mut tx = self.inner.db.begin().await?;
        let inviter = memberships::by_space_and_user(&mut tx, space, by)
            .await?
            .ok_or(IdentityError::NotFound)?;
        let shared = inviter.space_type != SpaceType::Personal;
        refuse_unless(shared, "space", "is personal; nobody else can join it".to_owned())?;
        inviter.role.must_outrank(role)?;
        if let Some(account) = accounts::by_email(&mut tx, &email).await?
            && memberships::by_space_and_user(&mut tx, space, &account.id)
                .await?
                .is_some()
        {
            return Err(IdentityError::AlreadyMember);
        }
        let now = self.inner.clock.now();
        delete_expired(&mut tx, now).await?;
        let invitation = Invitation {
            id: self.inner.ids.uuid().into(),
            space_id: space.clone(),
            email,
            role,
            created_at: now,
            expires_at: now.saturating_add(VALID_FOR).unwrap_or(Timestamp::MAX),
        };
        upsert(&mut tx, &invitation, by).await?;
        if open_invitations(&mut tx, space).await? > OPEN_MAX {
            return Err(IdentityError::SpaceLimit {
                what: "open invitations",
                max: OPEN_MAX,
            });
        }
        let deed = Deed::own(Act::SpaceInvited, by).with(space.as_str());
        audit::record(&mut tx, deed, now).await?;
        tx.commit().await?;
        Ok(invitation)
    }

    /// The space's open invitations, the newest first.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] for a stranger to the space; [`IdentityError::SpaceRoleNeeded`] for a plain member.
    pub async fn invitations_of_space(
        &self,
        by: &UserId,
        space: &SpaceId,
    ) -> Result<Vec<Invitation>, IdentityError> {
        let place = self.membership(space, by).await?.ok_or(IdentityError::NotFound)?;
        place.role.must_outrank(SpaceRole::Member)?;
        let rows: Vec<InvitationRow> = query_as(
            "-- invitations_of_space
             SELECT
                 id,
                 space_id,
                 email,
                 role,
                 created_at,
                 expires_at
             FROM space_invitations
             WHERE
                 space_id = $1
                 AND expires_at > $2
             ORDER BY
                 created_at DESC,
                 id",
        )
        .bind(space.as_str())
        .bind(self.inner.clock.now().as_microsecond())
        .fetch_all(&self.inner.db)
        .await?;
        rows.into_iter().map(Invitation::try_from).collect()
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] for a stranger to the space and for an invitation that is not there;
    /// [`IdentityError::SpaceRoleNeeded`] for a plain member.
    pub async fn withdraw_invitation(
        &self,
        by: &UserId,
        space: &SpaceId,
        id: &InvitationId,
    ) -> Result<(), IdentityError> {
        let place = self.membership(space, by).await?.ok_or(IdentityError::NotFound)?;
        place.role.must_outrank(SpaceRole::Member)?;
        let withdrawn = query(
            "-- withdraw_invitation
             DELETE FROM space_invitations
             WHERE
                 id = $1
                 AND space_id = $2",
        )
        .bind(id.as_str())
        .bind(space.as_str())
        .execute(&self.inner.db)
        .await?;
        found(withdrawn)
    }

    /// What the account is invited to, the newest first.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such account.
    pub async fn invitations_to(&self, user: &UserId) -> Result<Vec<InvitationToMe>, IdentityError> {
        let account = self.account(user).await?.ok_or(IdentityError::NotFound)?;
        let rows: Vec<ToMeRow> = query_as(
            "-- invitations_to
             SELECT
                 space_invitations.id,
                 space_invitations.space_id,
                 space_invitations.email,
                 space_invitations.role,
                 space_invitations.created_at,
                 space_invitations.expires_at,
                 spaces.name AS space_name,
                 spaces.type AS space_type,
                 users.name AS invited_by
             FROM space_invitations
             JOIN spaces ON spaces.id = space_invitations.space_id
             JOIN users ON users.id = space_invitations.invited_by
             WHERE
                 space_invitations.email = $1
                 AND space_invitations.expires_at > $2
             ORDER BY
                 space_invitations.created_at DESC,
                 space_invitations.id",
        )
        .bind(&account.email)
        .bind(self.inner.clock.now().as_microsecond())
        .fetch_all(&self.inner.db)
        .await?;
        rows.into_iter().map(InvitationToMe::try_from).collect()
    }

    /// Takes the place the account is invited to. From its next request on it may act there.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when the account has no such invitation (any more);
    /// [`IdentityError::SpaceLimit`] when the space is full; [`IdentityError::Suspended`] when the account is being
    /// erased.
    pub async fn accept_invitation(
        &self,
        user: &UserId,
        id: &InvitationId,
    ) -> Result<Membership, IdentityError> {
        self.must_be_kept_here()?;
        let _forget = self.inner.known_spaces.forget_after();
        let now = self.inner.clock.now();
        let mut tx = self.inner.db.begin().await?;
        let invitation = take(&mut tx, user, id).await?;
        if invitation.expires_at <= now {
            return Err(IdentityError::NotFound);
        }
        let space = &invitation.space_id;
        // Somebody the house let in meanwhile keeps the place they have.
        if memberships::by_space_and_user(&mut tx, space, user)
            .await?
            .is_none()
        {
            insert_member(&mut tx, space, user, invitation.role, now).await?;
        }
        if memberships::count(&mut tx, space).await? > MEMBERS_MAX {
            return Err(IdentityError::SpaceLimit {
                what: "members",
                max: MEMBERS_MAX,
            });
        }
        let place = memberships::by_space_and_user(&mut tx, space, user)
            .await?
            .ok_or(IdentityError::NotFound)?;
        let deed = Deed::own(Act::SpaceJoined, user).with(space.as_str());
        audit::record(&mut tx, deed, now).await?;
        tx.commit().await?;
        Ok(place)
    }

    /// Declines an invitation; it is gone, and its sender may invite anew.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when the account has no such invitation (any more).
    pub async fn decline_invitation(&self, user: &UserId, id: &InvitationId) -> Result<(), IdentityError> {
        let mut tx = self.inner.db.begin().await?;
        take(&mut tx, user, id).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Takes the account's own invitation out of the table.
async fn take(tx: &mut Tx, user: &UserId, id: &InvitationId) -> Result<Invitation, IdentityError> {
    let account = accounts::by_id(&mut *tx, user)
        .await?
        .ok_or(IdentityError::NotFound)?;
    account.refuse_if_suspended()?;
    let row: Option<InvitationRow> = query_as(
        "-- take_invitation
         DELETE FROM space_invitations
         WHERE
             id = $1
             AND email = $2
         RETURNING
             id,
             space_id,
             email,
             role,
             created_at,
             expires_at",
    )
    .bind(id.as_str())
    .bind(&account.email)
    .fetch_optional(tx)
    .await?;
    row.ok_or(IdentityError::NotFound)?.try_into()
}

async fn upsert(tx: &mut Tx, invitation: &Invitation, by: &UserId) -> Result<(), IdentityError> {
    query(
        "-- upsert_invitation
         INSERT INTO space_invitations (
             id,
             space_id,
             email,
             role,
             invited_by,
             created_at,
             expires_at
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (space_id, email) DO UPDATE
         SET
             id = excluded.id,
             role = excluded.role,
             invited_by = excluded.invited_by,
             created_at = excluded.created_at,
             expires_at = excluded.expires_at",
    )
    .bind(invitation.id.as_str())
    .bind(invitation.space_id.as_str())
    .bind(&invitation.email)
    .bind(invitation.role.as_str())
    .bind(by.as_str())
    .bind(invitation.created_at.as_microsecond())
    .bind(invitation.expires_at.as_microsecond())
    .execute(tx)
    .await?;
    Ok(())
}

async fn delete_expired(tx: &mut Tx, now: Timestamp) -> Result<(), IdentityError> {
    query(
        "-- delete_expired_invitations
         DELETE FROM space_invitations
         WHERE
             expires_at <= $1",
    )
    .bind(now.as_microsecond())
    .execute(tx)
    .await?;
    Ok(())
}

async fn open_invitations(tx: &mut Tx, space: &SpaceId) -> Result<i64, IdentityError> {
    Ok(query_scalar(
        "-- open_invitations
         SELECT count(*)
         FROM space_invitations
         WHERE
             space_id = $1",
    )
    .bind(space.as_str())
    .fetch_one(tx)
    .await?)
}

/// Deletes the invitations somebody has sent for a space they manage no more.
pub(crate) async fn delete_sent_by(tx: &mut Tx, space: &SpaceId, by: &UserId) -> Result<(), IdentityError> {
    query(
        "-- delete_invitations_sent_by
         DELETE FROM space_invitations
         WHERE
             space_id = $1
             AND invited_by = $2",
    )
    .bind(space.as_str())
    .bind(by.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes the invitations to an email whose account is deleted: the email is nobody's any more.
pub(crate) async fn delete_to(tx: &mut Tx, email: &str) -> Result<(), IdentityError> {
    query(
        "-- delete_invitations_to
         DELETE FROM space_invitations
         WHERE
             email = $1",
    )
    .bind(email)
    .execute(tx)
    .await?;
    Ok(())
}

/// Says that there was something where rows were touched.
pub(crate) fn found(rows: u64) -> Result<(), IdentityError> {
    if rows == 0 {
        return Err(IdentityError::NotFound);
    }
    Ok(())
}
