//! Grants as they are stored.

use events::{SpaceId, UserId};
use jiff::Timestamp;

use super::{KeyGrant, Minter};
use crate::database::{Source, query, query_as, query_scalar};
use crate::error::IdentityError;
use crate::store;

#[derive(sqlx::FromRow)]
struct GrantRow {
    id: String,
    user_id: String,
    space_id: String,
    mission_id: String,
    tables: String,
    record_ids: String,
    wrapped_key: String,
    minted_by: String,
    key_version: i64,
    issued_at: i64,
    expires_at: i64,
    revoked_at: Option<i64>,
}

impl TryFrom<GrantRow> for KeyGrant {
    type Error = IdentityError;

    fn try_from(row: GrantRow) -> Result<Self, IdentityError> {
        let unknown = IdentityError::unknown_value;
        let names = |json: &str, column| serde_json::from_str(json).map_err(|_| unknown(column));
        Ok(Self {
            user_id: UserId::try_new(row.user_id).map_err(|_| unknown("key_grants.user_id"))?,
            space_id: SpaceId::try_new(row.space_id).map_err(|_| unknown("key_grants.space_id"))?,
            tables: names(&row.tables, "key_grants.tables")?,
            record_ids: names(&row.record_ids, "key_grants.record_ids")?,
            minted_by: Minter::from_column(&row.minted_by)?,
            key_version: u32::try_from(row.key_version).map_err(|_| unknown("key_grants.key_version"))?,
            issued_at: store::instant(row.issued_at, "key_grants.issued_at")?,
            expires_at: store::instant(row.expires_at, "key_grants.expires_at")?,
            revoked_at: row
                .revoked_at
                .map(|at| store::instant(at, "key_grants.revoked_at"))
                .transpose()?,
            id: row.id,
            mission_id: row.mission_id,
            wrapped_key: row.wrapped_key,
        })
    }
}

pub(super) async fn by_id(db: impl Source, id: &str) -> Result<Option<KeyGrant>, IdentityError> {
    let row: Option<GrantRow> = query_as(
        "-- grant_by_id
         SELECT *
         FROM key_grants
         WHERE
             id = $1",
    )
    .bind(id)
    .fetch_optional(db)
    .await?;
    row.map(KeyGrant::try_from).transpose()
}

/// The account's grants, the latest first.
pub(super) async fn of_user(db: impl Source, user: &UserId) -> Result<Vec<KeyGrant>, IdentityError> {
    let rows: Vec<GrantRow> = query_as(
        "-- grants_of
         SELECT *
         FROM key_grants
         WHERE
             user_id = $1
         ORDER BY
             issued_at DESC,
             id
         LIMIT 1000",
    )
    .bind(user.as_str())
    .fetch_all(db)
    .await?;
    rows.into_iter().map(KeyGrant::try_from).collect()
}

/// How many grants of the account hold at `now`.
pub(super) async fn holding(db: impl Source, user: &UserId, now: Timestamp) -> Result<i64, IdentityError> {
    let holding = query_scalar(
        "-- grants_that_hold
         SELECT count(*)
         FROM key_grants
         WHERE
             user_id = $1
             AND revoked_at IS NULL
             AND expires_at > $2",
    )
    .bind(user.as_str())
    .bind(now.as_microsecond())
    .fetch_one(db)
    .await?;
    Ok(holding)
}

/// Revokes the account's grant, and says whether there is such a one.
pub(super) async fn revoke(
    db: impl Source,
    user: &UserId,
    id: &str,
    now: Timestamp,
) -> Result<bool, IdentityError> {
    let revoked = query(
        "-- revoke_grant
         UPDATE key_grants
         SET
             revoked_at = coalesce(revoked_at, $3)
         WHERE
             id = $1
             AND user_id = $2",
    )
    .bind(id)
    .bind(user.as_str())
    .bind(now.as_microsecond())
    .execute(db)
    .await?;
    Ok(revoked > 0)
}

/// Revokes every grant of the account that reaches into a space it owns no more.
pub(crate) async fn revoke_in_space(
    db: impl Source,
    user: &UserId,
    space: &SpaceId,
    now: Timestamp,
) -> Result<(), IdentityError> {
    query(
        "-- revoke_grants_in_space
         UPDATE key_grants
         SET
             revoked_at = $3
         WHERE
             user_id = $1
             AND space_id = $2
             AND revoked_at IS NULL",
    )
    .bind(user.as_str())
    .bind(space.as_str())
    .bind(now.as_microsecond())
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn insert(db: impl Source, grant: &KeyGrant) -> Result<(), IdentityError> {
    query(
        "-- insert_grant
         INSERT INTO key_grants (
             id,
             user_id,
             space_id,
             mission_id,
             tables,
             record_ids,
             wrapped_key,
             minted_by,
             key_version,
             issued_at,
             expires_at
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&grant.id)
    .bind(grant.user_id.as_str())
    .bind(grant.space_id.as_str())
    .bind(&grant.mission_id)
    .bind(serde_json::json!(grant.tables).to_string())
    .bind(serde_json::json!(grant.record_ids).to_string())
    .bind(&grant.wrapped_key)
    .bind(grant.minted_by.as_str())
    .bind(i64::from(grant.key_version))
    .bind(grant.issued_at.as_microsecond())
    .bind(grant.expires_at.as_microsecond())
    .execute(db)
    .await?;
    Ok(())
}
