//! Whose place is where: the questions every request asks about spaces.

use events::{SpaceId, UserId};

use crate::Identity;
use crate::database::{Source, query_as, query_scalar};
use crate::error::IdentityError;
use crate::spaces::{SpaceRole, SpaceType};

/// One account's place in one space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The space.
    pub space_id: SpaceId,
    /// The space's name.
    pub name: String,
    /// The space's name in addresses.
    pub slug: String,
    /// What sort of group the space is for.
    pub space_type: SpaceType,
    /// What the account may do in it.
    pub role: SpaceRole,
}

#[derive(sqlx::FromRow)]
struct MembershipRow {
    space_id: String,
    name: String,
    slug: String,
    space_type: String,
    role: String,
}

impl TryFrom<MembershipRow> for Membership {
    type Error = IdentityError;

    fn try_from(row: MembershipRow) -> Result<Self, IdentityError> {
        Ok(Self {
            space_id: SpaceId::try_new(row.space_id)
                .map_err(|_| IdentityError::unknown_value("spaces.id"))?,
            name: row.name,
            slug: row.slug,
            space_type: SpaceType::from_column(&row.space_type)?,
            role: SpaceRole::from_column(&row.role)?,
        })
    }
}

impl Identity {
    /// The spaces an account is in: its personal one first, then in the order it joined.
    pub async fn spaces_of(&self, user: &UserId) -> Result<Vec<Membership>, IdentityError> {
        Ok(self.places_seen_lately(user).await?.to_vec())
    }

    /// The account's place in the space; `None` for a stranger, and for a space that does not exist.
    pub async fn membership(
        &self,
        space: &SpaceId,
        user: &UserId,
    ) -> Result<Option<Membership>, IdentityError> {
        let places = self.places_seen_lately(user).await?;
        Ok(places.iter().find(|place| place.space_id == *space).cloned())
    }

    /// The account's personal space.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such account.
    pub async fn personal_space(&self, user: &UserId) -> Result<SpaceId, IdentityError> {
        let places = self.places_seen_lately(user).await?;
        let personal = places
            .iter()
            .find(|place| place.space_type == SpaceType::Personal);
        personal
            .map(|place| place.space_id.clone())
            .ok_or(IdentityError::NotFound)
    }
}

/// The spaces an account is in: its personal one first, then in the order it joined.
pub(crate) async fn by_user(db: impl Source, user: &UserId) -> Result<Vec<Membership>, IdentityError> {
    let rows: Vec<MembershipRow> = query_as(
        "-- spaces_of
         SELECT
             spaces.id AS space_id,
             spaces.name,
             spaces.slug,
             spaces.type AS space_type,
             space_members.role
         FROM space_members
         JOIN spaces ON spaces.id = space_members.space_id
         WHERE
             space_members.user_id = $1
         ORDER BY
             spaces.type = 'personal' DESC,
             space_members.joined_at,
             spaces.id",
    )
    .bind(user.as_str())
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Membership::try_from).collect()
}

/// The account's place in the space.
pub(crate) async fn by_space_and_user(
    db: impl Source,
    space: &SpaceId,
    user: &UserId,
) -> Result<Option<Membership>, IdentityError> {
    let row: Option<MembershipRow> = query_as(
        "-- membership
         SELECT
             spaces.id AS space_id,
             spaces.name,
             spaces.slug,
             spaces.type AS space_type,
             space_members.role
         FROM space_members
         JOIN spaces ON spaces.id = space_members.space_id
         WHERE
             space_members.space_id = $1
             AND space_members.user_id = $2",
    )
    .bind(space.as_str())
    .bind(user.as_str())
    .fetch_optional(db)
    .await?;
    row.map(Membership::try_from).transpose()
}

/// How many members a space has.
pub(crate) async fn count(db: impl Source, space: &SpaceId) -> Result<i64, IdentityError> {
    Ok(query_scalar(
        "-- count_members
         SELECT count(*)
         FROM space_members
         WHERE
             space_id = $1",
    )
    .bind(space.as_str())
    .fetch_one(db)
    .await?)
}

/// How many spaces an account owns.
pub(crate) async fn owned(db: impl Source, user: &UserId) -> Result<i64, IdentityError> {
    Ok(query_scalar(
        "-- count_owned_spaces
         SELECT count(*)
         FROM space_members
         WHERE
             user_id = $1
             AND role = 'owner'",
    )
    .bind(user.as_str())
    .fetch_one(db)
    .await?)
}
