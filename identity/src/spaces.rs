//! Spaces: who shares records with whom.

use events::{SpaceId, UserId};
use jiff::Timestamp;

use crate::Identity;
use crate::accounts::Account;
use crate::audit::{self, Act, Deed};
use crate::database::{Source, Tx, query, query_scalar};
use crate::error::IdentityError;
use crate::memberships::{self, Membership};
use crate::registration::refuse_unless;
use crate::suspension::refuse_unless_active;
use crate::text_enum::text_enum;

/// Characters of a space's name, at most.
const NAME_CHARS_MAX: usize = 200;

/// Characters of the readable part of a slug, at most.
const SLUG_WORDS_MAX: usize = 40;

/// Spaces one account may own, its personal one included.
pub(crate) const OWNED_MAX: i64 = 100;

/// Members a space may have.
pub(crate) const MEMBERS_MAX: i64 = 1_000;

text_enum! {
    /// What sort of group a space is for.
    SpaceType stored in "spaces.type" {
        /// One person's own. Made at registration; nobody else can join it.
        Personal = "personal",
        /// A brand.
        Brand = "brand",
        /// A club.
        Club = "club",
        /// A family.
        Family = "family",
        /// A team.
        Team = "team",
        /// A practice.
        Practice = "practice",
    }
}

text_enum! {
    /// What a member may do in a space.
    SpaceRole stored in "space_members.role" {
        /// Everything; the space's encrypted fields are sealed with the owner's master key. One per space.
        Owner = "owner",
        /// Manage members.
        Admin = "admin",
        /// Use it.
        Member = "member",
    }
}

impl SpaceRole {
    /// Refuses to do to somebody of the role `other` what only those above it may.
    pub(crate) fn must_outrank(self, other: Self) -> Result<(), IdentityError> {
        let needed = match (self, other) {
            (Self::Owner, Self::Admin | Self::Member) | (Self::Admin, Self::Member) => return Ok(()),
            (Self::Member, Self::Member) => "an admin or the owner",
            _ => "the owner",
        };
        Err(IdentityError::SpaceRoleNeeded { needed })
    }
}

/// A space to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSpace {
    /// What members see, 1 to 200 characters.
    pub name: String,
    /// Any but [`SpaceType::Personal`], which registration makes.
    pub space_type: SpaceType,
}

impl Identity {
    /// Makes a space that `owner` owns.
    ///
    /// # Errors
    /// [`IdentityError::InvalidField`] for a personal space or a bad name; [`IdentityError::NotFound`] when there
    /// is no such account, [`IdentityError::Suspended`] when it is being erased; [`IdentityError::SpaceLimit`] when
    /// the account owns as many as it may.
    pub async fn create_space(&self, owner: &UserId, space: NewSpace) -> Result<Membership, IdentityError> {
        self.must_be_kept_here()?;
        let name = space.name.trim().to_owned();
        let one_line =
            (1..=NAME_CHARS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        refuse_unless(
            one_line,
            "name",
            format!("must be 1 to {NAME_CHARS_MAX} characters on one line"),
        )?;
        let shared = space.space_type != SpaceType::Personal;
        refuse_unless(
            shared,
            "type",
            "must not be personal; registration makes that space".to_owned(),
        )?;
        let now = self.inner.clock.now();
        let space_id = SpaceId::from(self.inner.ids.uuid());
        let made = Membership {
            slug: slug(&name, &space_id),
            space_id,
            name,
            space_type: space.space_type,
            role: SpaceRole::Owner,
        };
        let _forget = self.inner.known_spaces.forget_after();
        let mut tx = self.inner.db.begin().await?;
        refuse_unless_active(&mut tx, owner).await?;
        insert_space(&mut tx, &made, None, now).await?;
        insert_member(&mut tx, &made.space_id, owner, SpaceRole::Owner, now).await?;
        if memberships::owned(&mut tx, owner).await? > OWNED_MAX {
            return Err(IdentityError::SpaceLimit {
                what: "spaces of your own",
                max: OWNED_MAX,
            });
        }
        let deed = Deed::own(Act::SpaceMade, owner).with(made.space_id.as_str());
        audit::record(&mut tx, deed, now).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Lets an account into a space, or changes its role there, without asking anybody: what the house does for
    /// personas. People are invited, see [`Identity::invite`].
    ///
    /// # Errors
    /// [`IdentityError::InvalidField`] when the space is personal, when the role is owner, or when the member is
    /// the owner; [`IdentityError::NotFound`] when there is no such space or account;
    /// [`IdentityError::Suspended`] when the account is being erased.
    pub async fn add_member(
        &self,
        space: &SpaceId,
        user: &UserId,
        role: SpaceRole,
    ) -> Result<(), IdentityError> {
        refuse_unless(
            role != SpaceRole::Owner,
            "role",
            "must be admin or member".to_owned(),
        )?;
        let _forget = self.inner.known_spaces.forget_after();
        let mut tx = self.inner.db.begin().await?;
        let space_type = space_type(&mut tx, space).await?.ok_or(IdentityError::NotFound)?;
        let shared = space_type != SpaceType::Personal;
        refuse_unless(shared, "space", "is personal; nobody else can join it".to_owned())?;
        refuse_unless_active(&mut tx, user).await?;
        let present = memberships::by_space_and_user(&mut tx, space, user).await?;
        let is_owner = present.is_some_and(|present| present.role == SpaceRole::Owner);
        refuse_unless(
            !is_owner,
            "member",
            "owns the space and stays its owner".to_owned(),
        )?;
        insert_member(&mut tx, space, user, role, self.inner.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Makes the personal space of a new account.
pub(crate) async fn insert_personal(
    tx: &mut Tx,
    space_id: &SpaceId,
    account: &Account,
) -> Result<(), IdentityError> {
    let space = Membership {
        space_id: space_id.clone(),
        name: account.name.clone(),
        slug: slug(&account.name, space_id),
        space_type: SpaceType::Personal,
        role: SpaceRole::Owner,
    };
    insert_space(tx, &space, Some(&account.id), account.created_at).await?;
    insert_member(tx, space_id, &account.id, SpaceRole::Owner, account.created_at).await
}

async fn insert_space(
    tx: &mut Tx,
    space: &Membership,
    personal_of: Option<&UserId>,
    now: Timestamp,
) -> Result<(), IdentityError> {
    query(
        "-- insert_space
         INSERT INTO spaces (
             id,
             type,
             name,
             slug,
             personal_of,
             created_at
         )
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(space.space_id.as_str())
    .bind(space.space_type.as_str())
    .bind(&space.name)
    .bind(&space.slug)
    .bind(personal_of.map(UserId::as_str))
    .bind(now.as_microsecond())
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn insert_member(
    tx: &mut Tx,
    space: &SpaceId,
    user: &UserId,
    role: SpaceRole,
    now: Timestamp,
) -> Result<(), IdentityError> {
    query(
        "-- insert_member
         INSERT INTO space_members (
             space_id,
             user_id,
             role,
             joined_at
         )
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (space_id, user_id) DO UPDATE
         SET
             role = excluded.role",
    )
    .bind(space.as_str())
    .bind(user.as_str())
    .bind(role.as_str())
    .bind(now.as_microsecond())
    .execute(tx)
    .await?;
    Ok(())
}

async fn space_type(db: impl Source, space: &SpaceId) -> Result<Option<SpaceType>, IdentityError> {
    let text: Option<String> = query_scalar(
        "-- space_type
         SELECT type
         FROM spaces
         WHERE
             id = $1",
    )
    .bind(space.as_str())
    .fetch_optional(db)
    .await?;
    text.map(|text| SpaceType::from_column(&text)).transpose()
}

/// A name for addresses: the readable letters of `name`, and enough of the id to be the only one.
pub(crate) fn slug(name: &str, id: &SpaceId) -> String {
    let mut words = String::new();
    for c in name.chars().take(SLUG_WORDS_MAX) {
        if c.is_ascii_alphanumeric() {
            words.push(c.to_ascii_lowercase());
        } else if !words.is_empty() && !words.ends_with('-') {
            words.push('-');
        }
    }
    let unique: String = id
        .as_str()
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(12)
        .collect();
    let words = words.trim_end_matches('-');
    if words.is_empty() {
        unique
    } else {
        format!("{words}-{unique}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_slug_is_safe_in_an_address_whatever_the_name(name in "\\PC{1,200}") {
            let slug = slug(&name, &SpaceId::derived(&[&name]));
            prop_assert!((1..=100).contains(&slug.len()));
            prop_assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", slug);
        }
    }

    #[test]
    fn only_a_higher_role_outranks_another() {
        use SpaceRole::{Admin, Member, Owner};
        let all = [Owner, Admin, Member];
        let outranks: Vec<(SpaceRole, SpaceRole)> = all
            .iter()
            .flat_map(|role| all.map(|other| (*role, other)))
            .filter(|(role, other)| role.must_outrank(*other).is_ok())
            .collect();
        assert_eq!(outranks, [(Owner, Admin), (Owner, Member), (Admin, Member)]);
    }

    #[test]
    fn a_slug_keeps_what_is_readable_of_the_name() {
        let id: SpaceId = "018f0000-0000-7000-8000-000000000001".parse().unwrap();
        assert_eq!(slug("  Anna & Ben!", &id), "anna-ben-018f00000000");
        assert_eq!(slug("日本", &id), "018f00000000");
    }
}
