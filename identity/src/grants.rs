//! Key grants: data keys for a few records until a date, so that a runner works on exactly what was granted while
//! nobody is logged in.
//!
//! ```text
//! master key ─ HKDF-SHA256, bound to mission, tables and records ─▶ data key ─ RSA-OAEP to the runner ─▶ grant
//! ```
//!
//! The data key opens nothing that is stored. What is granted is sealed with it when it is asked for, and only while
//! the grant holds: so it can be revoked at once, ends by itself, and whoever keeps the key has nothing to open with
//! it. A zero-knowledge owner's client makes the data key itself and seals what it grants.

mod derive;
mod runner_key;
mod stored;

pub(crate) use stored::revoke_in_space;

use events::{SpaceId, UserId};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::audit::{self, Act, Deed};
use crate::error::IdentityError;
use crate::registration::refuse_unless;
use crate::seal::KEY_BYTES;
use crate::text_enum::text_enum;
use crate::{Identity, vault};

pub use derive::DERIVATION_VERSION;
pub use runner_key::RunnerKey;

/// How long a grant holds where nobody says otherwise, and at most.
const HOLDS: SignedDuration = SignedDuration::from_hours(7 * 24);
const HOLDS_MAX: SignedDuration = SignedDuration::from_hours(31 * 24);
/// Tables and records of one grant, at most.
const TABLES_MAX: usize = 20;
const RECORDS_MAX: usize = 500;
/// Bytes of one name.
const NAME_BYTES_MAX: usize = 200;
/// Grants of one account that hold at once, at most.
const GRANTS_MAX: i64 = 100;

text_enum! {
    /// Who made a grant's data key.
    Minter stored in "key_grants.minted_by" {
        /// This server, from the master key.
        Server = "server",
        /// The owner's own client.
        Client = "client",
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct GrantRequest {
    /// What it is for.
    pub mission_id: String,
    /// The space; the personal one where none is named.
    pub space_id: Option<SpaceId>,
    /// The tables.
    pub tables: Vec<String>,
    /// The records.
    pub record_ids: Vec<String>,
    /// How long it is to hold; seven days where nothing is said, 31 at most.
    pub holds: Option<SignedDuration>,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyGrant {
    /// Its id.
    pub id: String,
    /// Whose data it opens.
    pub user_id: UserId,
    /// The space it reaches into.
    pub space_id: SpaceId,
    /// What it is for.
    pub mission_id: String,
    /// The tables, sorted.
    pub tables: Vec<String>,
    /// The records, sorted.
    pub record_ids: Vec<String>,
    /// The data key wrapped to the runner's public key, base64.
    pub wrapped_key: String,
    /// Who made it.
    pub minted_by: Minter,
    /// From when it holds.
    pub issued_at: Timestamp,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    #[serde(skip)]
    key_version: u32,
}

/// A grant that holds for what it is used for.
#[derive(Debug)]
pub struct GrantInUse {
    /// The grant.
    pub grant: KeyGrant,
    /// Its data key; `None` where the owner's client made it, which sealed with it what is granted.
    pub data_key: Option<Zeroizing<[u8; KEY_BYTES]>>,
}

/// Why a grant is of no use.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// There is none of that id.
    #[error("there is no such grant")]
    Unknown,
    /// It does not cover what was asked for.
    #[error("the grant does not cover this table and record")]
    OutOfScope,
    /// Its time is over.
    #[error("the grant has expired; its owner can give another")]
    Expired,
    /// Its owner took it back.
    #[error("the grant was revoked by its owner")]
    Revoked,
    /// The master key it came from is not the account's any more, or not here.
    #[error("the grant's master key was replaced; its owner can give another")]
    KeyReplaced,
    /// We could not find out.
    #[error("the grant could not be checked")]
    Unavailable(#[from] IdentityError),
}

impl GrantError {
    /// A stable word for records.
    fn reason(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::OutOfScope => "out of scope",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::KeyReplaced => "key replaced",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl KeyGrant {
    fn covers(&self, table: &str, record: &str) -> bool {
        let has = |names: &[String], name: &str| names.iter().any(|it| it == name);
        has(&self.tables, table) && has(&self.record_ids, record)
    }

    /// Why it does not hold at `now` for this record, with the account's key of that number.
    fn refusal(&self, table: &str, record: &str, key_version: u32, now: Timestamp) -> Option<GrantError> {
        if self.revoked_at.is_some() {
            Some(GrantError::Revoked)
        } else if now >= self.expires_at {
            Some(GrantError::Expired)
        } else if !self.covers(table, record) {
            Some(GrantError::OutOfScope)
        } else if self.key_version != key_version {
            Some(GrantError::KeyReplaced)
        } else {
            None
        }
    }
}

impl Identity {
    /// Derives a data key for what is asked for and wraps it to the runner's key.
    ///
    /// # Errors
    /// [`IdentityError::ZeroKnowledge`] for an account whose key is not here, [`IdentityError::VaultNotInitialised`],
    /// [`IdentityError::InvalidField`], and [`IdentityError::NotFound`] for a space the account does not own.
    pub async fn mint_grant(
        &self,
        user: &UserId,
        request: GrantRequest,
        runner: &RunnerKey,
    ) -> Result<KeyGrant, IdentityError> {
        let request = checked(request)?;
        let key = self.vault_key(user).await?;
        let bound_to = (&*request.mission_id, &*request.tables, &*request.record_ids);
        let wrapped_key = runner.wrap(&*derive::data_key(&key.key, bound_to)?)?;
        self.keep_grant(user, request, wrapped_key, Minter::Server).await
    }

    /// Keeps a grant whose data key the owner's own client made and wrapped.
    ///
    /// # Errors
    /// As [`Identity::mint_grant`], but for zero knowledge.
    pub async fn keep_client_grant(
        &self,
        user: &UserId,
        request: GrantRequest,
        wrapped_key: String,
    ) -> Result<KeyGrant, IdentityError> {
        refuse_unless(
            (1..=2_048).contains(&wrapped_key.len()),
            "wrappedKey",
            "must have 1 to 2048 characters".to_owned(),
        )?;
        self.keep_grant(user, checked(request)?, wrapped_key, Minter::Client)
            .await
    }

    async fn keep_grant(
        &self,
        user: &UserId,
        request: GrantRequest,
        wrapped_key: String,
        minted_by: Minter,
    ) -> Result<KeyGrant, IdentityError> {
        let now = self.inner.clock.now();
        let space_id = match request.space_id {
            Some(space) => space,
            None => self.personal_space(user).await?,
        };
        let status = self.vault_status(user).await?;
        let key_version = status.ok_or(IdentityError::VaultNotInitialised)?.key_version;
        let holds = request.holds.unwrap_or(HOLDS);
        let grant = KeyGrant {
            id: self.inner.ids.uuid().to_string(),
            user_id: user.clone(),
            space_id,
            mission_id: request.mission_id,
            tables: request.tables,
            record_ids: request.record_ids,
            wrapped_key,
            minted_by,
            issued_at: now,
            expires_at: now.saturating_add(holds).unwrap_or(Timestamp::MAX),
            revoked_at: None,
            key_version,
        };
        let mut tx = self.inner.db.begin().await?;
        if vault::space_owner(&mut tx, &grant.space_id).await?.as_ref() != Some(user) {
            return Err(IdentityError::NotFound);
        }
        refuse_unless(
            stored::holding(&mut tx, user, now).await? < GRANTS_MAX,
            "grant",
            format!("{GRANTS_MAX} grants hold already; revoke one first"),
        )?;
        stored::insert(&mut tx, &grant).await?;
        let detail = format!("grant {} by {minted_by} until {}", grant.id, grant.expires_at);
        audit::record(&mut tx, Deed::own(Act::GrantMinted, user).with(&detail), now).await?;
        tx.commit().await?;
        Ok(grant)
    }

    /// The account's grants, the latest first, at most 1,000.
    pub async fn grants_of(&self, user: &UserId) -> Result<Vec<KeyGrant>, IdentityError> {
        stored::of_user(&self.inner.db, user).await
    }

    /// Takes a grant back, from now on. Doing it twice is doing it once.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when the account has no such grant.
    pub async fn revoke_grant(&self, user: &UserId, id: &str) -> Result<(), IdentityError> {
        let now = self.inner.clock.now();
        let mut tx = self.inner.db.begin().await?;
        if !stored::revoke(&mut tx, user, id, now).await? {
            return Err(IdentityError::NotFound);
        }
        let detail = format!("grant {id}");
        audit::record(&mut tx, Deed::own(Act::GrantRevoked, user).with(&detail), now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Uses a grant for one record. Whether it may be or not, it is put on record first.
    ///
    /// # Errors
    /// [`GrantError`]: nothing may be handed out.
    pub async fn use_grant(&self, id: &str, table: &str, record: &str) -> Result<GrantInUse, GrantError> {
        let (db, now) = (&self.inner.db, self.inner.clock.now());
        let Some(grant) = stored::by_id(db, id).await? else {
            let deed = Deed::of_the_house(Act::GrantRefused, None).with("unknown");
            audit::record(db, deed, now).await?;
            return Err(GrantError::Unknown);
        };
        let user = grant.user_id.clone();
        let status = self.vault_status(&user).await?;
        let key_version = status.as_ref().map_or(0, |status| status.key_version);
        let is_key_gone = status.is_none_or(|status| status.is_zero_knowledge);
        let refusal = grant
            .refusal(table, record, key_version, now)
            .or((is_key_gone && grant.minted_by == Minter::Server).then_some(GrantError::KeyReplaced));
        if let Some(refusal) = refusal {
            let detail = format!("grant {id}: {}", refusal.reason());
            let deed = Deed::of_the_house(Act::GrantRefused, Some(&user)).with(&detail);
            audit::record(db, deed, now).await?;
            return Err(refusal);
        }
        let detail = format!("grant {id}: table {table}, record {record}");
        let deed = Deed::of_the_house(Act::GrantUsed, Some(&user)).with(&detail);
        audit::record(db, deed, now).await?;
        let data_key = match grant.minted_by {
            Minter::Client => None,
            Minter::Server => {
                let key = self.vault_key(&user).await?;
                let bound_to = (&*grant.mission_id, &*grant.tables, &*grant.record_ids);
                Some(derive::data_key(&key.key, bound_to)?)
            }
        };
        Ok(GrantInUse { grant, data_key })
    }
}

/// The request with its names sorted and each there once.
fn checked(mut request: GrantRequest) -> Result<GrantRequest, IdentityError> {
    // Not every database holds a zero byte, and no name has one.
    let is_name = |name: &String| (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains('\0');
    let within = |names: &[String], max: usize| (1..=max).contains(&names.len()) && names.iter().all(is_name);
    refuse_unless(
        is_name(&request.mission_id),
        "missionId",
        format!("must have 1 to {NAME_BYTES_MAX} bytes"),
    )?;
    refuse_unless(
        within(&request.tables, TABLES_MAX),
        "tables",
        format!("must name 1 to {TABLES_MAX} tables"),
    )?;
    refuse_unless(
        within(&request.record_ids, RECORDS_MAX),
        "recordIds",
        format!("must name 1 to {RECORDS_MAX} records"),
    )?;
    let holds = request.holds.unwrap_or(HOLDS);
    refuse_unless(
        holds > SignedDuration::ZERO && holds <= HOLDS_MAX,
        "ttlMs",
        "must be more than nought and 31 days at most".to_owned(),
    )?;
    for names in [&mut request.tables, &mut request.record_ids] {
        names.sort();
        names.dedup();
    }
    Ok(request)
}
