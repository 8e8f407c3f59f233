//! Who did what with accounts and keys. One row for every sensitive act, written with it or before it.
//!
//! Rows name accounts by id and never by email or name, and hold no secret. When an account is deleted its rows stay and
//! its id goes out of them. What is older than [`KEPT_FOR`] is let go when the room is opened.

use events::UserId;
use jiff::{SignedDuration, Timestamp};

use crate::database::{Db, Source, query, query_as};
use crate::error::IdentityError;
use crate::text_enum::text_enum;
use crate::{Identity, store};

/// How long an act stays on record.
pub(crate) const KEPT_FOR: SignedDuration = SignedDuration::from_hours(400 * 24);
/// Acts read at once, at most.
const PAGE_MAX: u32 = 1_000;
/// Characters of the detail that are kept.
const DETAIL_CHARS_MAX: usize = 500;

text_enum! {
    /// What was done.
    Act stored in "audit_log.act" {
        /// An account was made.
        AccountRegistered = "account.registered",
        /// An account was deleted.
        AccountDeleted = "account.deleted",
        /// An account got another role.
        RoleChanged = "role.changed",
        /// A human account became a persona's.
        PersonaStamped = "persona.stamped",
        /// A password was right.
        LoginAccepted = "login.accepted",
        /// A password was wrong, or the account is unknown.
        LoginRefused = "login.refused",
        /// Too many wrong passwords for one email.
        LoginThrottled = "login.throttled",
        /// A token was made without a password.
        TokenMinted = "token.minted",
        /// A token was made from one that still held.
        TokenRefreshed = "token.refreshed",
        /// Tokens were revoked.
        TokensRevoked = "tokens.revoked",
        /// A key that signs tokens was made.
        SigningKeyMade = "signing-key.made",
        /// A key that signed tokens was taken out of the published set.
        SigningKeyRetired = "signing-key.retired",
        /// A master key was made.
        VaultMade = "vault.made",
        /// A master key was read by its owner or for a space of theirs.
        VaultRead = "vault.read",
        /// A master key was replaced by another.
        VaultRotated = "vault.rotated",
        /// Earlier master keys were destroyed.
        PastKeysDestroyed = "vault.past-keys-destroyed",
        /// A key was sealed anew with another key-encryption key.
        KeysRewrapped = "vault.rewrapped",
        /// The owner left a copy of the master key that only a recovery code opens.
        RecoverySet = "recovery.set",
        /// That copy was taken away.
        RecoveryRemoved = "recovery.removed",
        /// The server's copy of a master key was destroyed at its owner's wish.
        ZeroKnowledgeOn = "zero-knowledge.on",
        /// An owner gave the server a copy of the master key again.
        ZeroKnowledgeOff = "zero-knowledge.off",
        /// An encrypted field did not open: it was moved, changed, or sealed with another key.
        FieldRefused = "field.refused",
        /// Encrypted fields were sealed anew in the form and with the key of today.
        FieldsSealedAnew = "fields.sealed-anew",
        /// A data key was handed out.
        GrantMinted = "grant.minted",
        /// A data key was used.
        GrantUsed = "grant.used",
        /// A data key was asked for more than it covers, or after its end.
        GrantRefused = "grant.refused",
        /// A data key was revoked.
        GrantRevoked = "grant.revoked",
        /// A space for several was made.
        SpaceMade = "space.made",
        /// Somebody was invited into a space; whom, is not on record.
        SpaceInvited = "space.invited",
        /// An invited account joined a space.
        SpaceJoined = "space.joined",
        /// A member got another role in a space.
        SpaceRoleChanged = "space.role-changed",
        /// A member left a space, or was taken out of it.
        SpaceLeft = "space.left",
        /// A space got another owner.
        SpaceHandedOver = "space.handed-over",
        /// Nothing in a space is sealed with a past owner's key any more.
        SpaceSealedAnew = "space.sealed-anew",
        /// A space was deleted.
        SpaceDeleted = "space.deleted",
    }
}

/// One act to be put on record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deed<'a> {
    /// What was done.
    pub(crate) act: Act,
    /// Whose account or key it is about; `None` where it is nobody's or nobody's known.
    pub(crate) user: Option<&'a UserId>,
    /// Who did it; `None` for the house itself and for whoever did not prove who they are.
    pub(crate) by: Option<&'a UserId>,
    /// What else is to be known: ids and words of ours, never a secret, an email or a name.
    pub(crate) detail: Option<&'a str>,
}

impl<'a> Deed<'a> {
    /// What an account did with what is its own.
    pub(crate) fn own(act: Act, user: &'a UserId) -> Self {
        Self {
            act,
            user: Some(user),
            by: Some(user),
            detail: None,
        }
    }

    /// What one account did about another, or about itself.
    pub(crate) fn about(act: Act, user: &'a UserId, by: &'a UserId) -> Self {
        Self {
            by: Some(by),
            ..Self::own(act, user)
        }
    }

    /// What the house did.
    pub(crate) fn of_the_house(act: Act, user: Option<&'a UserId>) -> Self {
        Self {
            act,
            user,
            by: None,
            detail: None,
        }
    }

    /// The same with more to be known.
    #[must_use]
    pub(crate) fn with(self, detail: &'a str) -> Self {
        Self {
            detail: Some(detail),
            ..self
        }
    }
}

/// One act on record.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AuditEntry {
    /// Its number; a later act has a higher one.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub act: Act,
    /// Whose account or key it is about.
    pub user_id: Option<String>,
    /// Who did it.
    pub by_id: Option<String>,
    /// What else is known.
    pub detail: Option<String>,
}

#[derive(sqlx::FromRow)]
struct AuditRow {
    id: i64,
    at: i64,
    act: String,
    user_id: Option<String>,
    by_id: Option<String>,
    detail: Option<String>,
}

impl TryFrom<AuditRow> for AuditEntry {
    type Error = IdentityError;

    fn try_from(row: AuditRow) -> Result<Self, IdentityError> {
        Ok(Self {
            id: row.id,
            at: store::instant(row.at, "audit_log.at")?,
            act: Act::from_column(&row.act)?,
            user_id: row.user_id,
            by_id: row.by_id,
            detail: row.detail,
        })
    }
}

impl Identity {
    /// The acts on record, the latest first: of one account or of all, before the act numbered `before`, at most
    /// `limit` and never more than 1,000.
    pub async fn acts(
        &self,
        user: Option<&UserId>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, IdentityError> {
        let rows: Vec<AuditRow> = query_as(
            "-- acts
             SELECT
                 id,
                 at,
                 act,
                 user_id,
                 by_id,
                 detail
             FROM audit_log
             WHERE
                 ($1 IS NULL OR user_id = $1)
                 AND ($2 IS NULL OR id < $2)
             ORDER BY id DESC
             LIMIT $3",
        )
        .bind(user.map(UserId::as_str))
        .bind(before)
        .bind(i64::from(limit.min(PAGE_MAX)))
        .fetch_all(&self.inner.db)
        .await?;
        rows.into_iter().map(AuditEntry::try_from).collect()
    }

    /// Puts on record that an encrypted field did not open, and where it stood.
    pub async fn audit_refused_field(&self, place: &str) -> Result<(), IdentityError> {
        let deed = Deed::of_the_house(Act::FieldRefused, None).with(place);
        record(&self.inner.db, deed, self.inner.clock.now()).await
    }
}

impl Identity {
    /// Puts on record that encrypted fields were sealed anew, and how many.
    pub async fn audit_sealed_anew(&self, how_many: &str) -> Result<(), IdentityError> {
        let deed = Deed::of_the_house(Act::FieldsSealedAnew, None).with(how_many);
        record(&self.inner.db, deed, self.inner.clock.now()).await
    }
}

/// Puts one act on record.
pub(crate) async fn record(db: impl Source, deed: Deed<'_>, at: Timestamp) -> Result<(), IdentityError> {
    query(
        "-- record_act
         INSERT INTO audit_log (
             at,
             act,
             user_id,
             by_id,
             detail
         )
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(at.as_microsecond())
    .bind(deed.act.as_str())
    .bind(deed.user.map(UserId::as_str))
    .bind(deed.by.map(UserId::as_str))
    .bind(
        deed.detail
            .map(|detail| detail.chars().take(DETAIL_CHARS_MAX).collect::<String>()),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lets go of what is older than [`KEPT_FOR`].
pub(crate) async fn let_go_of_old(db: &Db, now: Timestamp) -> Result<(), IdentityError> {
    let before = now.saturating_sub(KEPT_FOR).unwrap_or(Timestamp::MIN);
    query(
        "-- let_go_of_old_acts
         DELETE FROM audit_log
         WHERE
             at < $1",
    )
    .bind(before.as_microsecond())
    .execute(db)
    .await?;
    Ok(())
}
