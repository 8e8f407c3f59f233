//! What another system says of an account, put into our tables.

use events::UserId;
use jiff::Timestamp;

use super::ExternalAccount;
use crate::Identity;
use crate::accounts::{self, Account};
use crate::database::{Tx, query};
use crate::error::IdentityError;
use crate::memberships::{self, Membership};
use crate::registration::{check_email, normalized_email, refuse_unless};
use crate::spaces::{SpaceRole, SpaceType, insert_member, slug};

/// Spaces an account may have elsewhere; more are not believed.
const PLACES_MAX: usize = 200;

impl Identity {
    /// The account as it stands here, as it is said to be.
    ///
    /// # Errors
    /// [`IdentityError::InvalidField`] for what no account may be, and where its email is another account's here.
    pub(super) async fn mirror_account(&self, said: &ExternalAccount) -> Result<Account, IdentityError> {
        let now = self.inner.clock.now();
        let email = normalized_email(&said.email);
        check_email(&email)?;
        let _forget = self.inner.known_accounts.forget_after(&said.id);
        let mut tx = self.inner.db.begin().await?;
        let other = accounts::by_email(&mut tx, &email).await?;
        refuse_unless(
            other.is_none_or(|other| other.id == said.id),
            "email",
            "is that of another account here; erase that one first".to_owned(),
        )?;
        upsert_user(&mut tx, said, &email, now).await?;
        let account = accounts::by_id(&mut tx, &said.id)
            .await?
            .ok_or(IdentityError::NotFound)?;
        tx.commit().await?;
        Ok(account)
    }

    /// The account's places as they are said to be, and no others.
    pub(super) async fn mirror_places(
        &self,
        user: &UserId,
        said: &[Membership],
    ) -> Result<(), IdentityError> {
        let personal = said
            .iter()
            .filter(|place| place.space_type == SpaceType::Personal)
            .count();
        refuse_unless(
            personal == 1 && said.len() <= PLACES_MAX,
            "spaces",
            format!(
                "must be 1 personal space and {PLACES_MAX} in all at most, are {personal} and {}",
                said.len()
            ),
        )?;
        let now = self.inner.clock.now();
        let mut tx = self.inner.db.begin().await?;
        let known = memberships::by_user(&mut tx, user).await?;
        let same = |one: &Membership, other: &Membership| {
            (&one.space_id, &one.name, one.space_type, one.role)
                == (&other.space_id, &other.name, other.space_type, other.role)
        };
        let is_news = known.len() != said.len()
            || said
                .iter()
                .any(|place| !known.iter().any(|known| same(known, place)));
        if !is_news {
            return Ok(());
        }
        let forget = self.inner.known_spaces.forget_after();
        for place in said {
            upsert_space(&mut tx, user, place, now).await?;
            if place.role == SpaceRole::Owner {
                demote_owner(&mut tx, place).await?;
            }
            insert_member(&mut tx, &place.space_id, user, place.role, now).await?;
        }
        for gone in known
            .iter()
            .filter(|known| said.iter().all(|place| place.space_id != known.space_id))
        {
            delete_place(&mut tx, user, gone).await?;
        }
        tx.commit().await?;
        drop(forget);
        self.keys_changed();
        Ok(())
    }
}

async fn upsert_user(
    tx: &mut Tx,
    said: &ExternalAccount,
    email: &str,
    now: Timestamp,
) -> Result<(), IdentityError> {
    let name: String = said
        .name
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    let name = if name.is_empty() { email.to_owned() } else { name };
    query(
        "-- mirror_user
         INSERT INTO users (
             id,
             email,
             name,
             kind,
             role,
             tier,
             time_zone,
             created_at,
             updated_at
         )
         VALUES ($1, $2, $3, $4, $5, $6, 'UTC', $7, $7)
         ON CONFLICT (id) DO UPDATE
         SET
             email = excluded.email,
             name = excluded.name,
             kind = CASE WHEN users.kind = 'persona' THEN users.kind ELSE excluded.kind END,
             role = excluded.role,
             tier = excluded.tier,
             updated_at = CASE
                 WHEN users.created_at > excluded.updated_at THEN users.created_at
                 ELSE excluded.updated_at
             END
         WHERE
             users.kind <> 'system'",
    )
    .bind(said.id.as_str())
    .bind(email)
    .bind(name)
    .bind(said.kind.as_str())
    .bind(said.role.as_str())
    .bind(said.tier.as_str())
    .bind(now.as_microsecond())
    .execute(tx)
    .await?;
    Ok(())
}

async fn upsert_space(
    tx: &mut Tx,
    user: &UserId,
    place: &Membership,
    now: Timestamp,
) -> Result<(), IdentityError> {
    let personal_of = (place.space_type == SpaceType::Personal).then(|| user.as_str());
    query(
        "-- mirror_space
         INSERT INTO spaces (
             id,
             type,
             name,
             slug,
             personal_of,
             created_at
         )
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE
         SET
             name = excluded.name,
             slug = excluded.slug",
    )
    .bind(place.space_id.as_str())
    .bind(place.space_type.as_str())
    .bind(&place.name)
    .bind(slug(&place.name, &place.space_id))
    .bind(personal_of)
    .bind(now.as_microsecond())
    .execute(tx)
    .await?;
    Ok(())
}

/// Whoever owned the space before is an admin until it is heard of again: a space has one owner.
async fn demote_owner(tx: &mut Tx, place: &Membership) -> Result<(), IdentityError> {
    query(
        "-- demote_mirrored_owner
         UPDATE space_members
         SET
             role = 'admin'
         WHERE
             space_id = $1
             AND role = 'owner'",
    )
    .bind(place.space_id.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

async fn delete_place(tx: &mut Tx, user: &UserId, place: &Membership) -> Result<(), IdentityError> {
    query(
        "-- delete_mirrored_place
         DELETE FROM space_members
         WHERE
             space_id = $1
             AND user_id = $2",
    )
    .bind(place.space_id.as_str())
    .bind(user.as_str())
    .execute(tx)
    .await?;
    Ok(())
}
