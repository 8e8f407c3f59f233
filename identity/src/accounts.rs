//! Accounts: what they are, finding them, changing their role.

use events::UserId;
use jiff::Timestamp;

use crate::audit::{self, Act, Deed};
use crate::database::{Source, query, query_as, query_scalar};
use crate::error::IdentityError;
use crate::registration::normalized_email;
use crate::text_enum::text_enum;
use crate::{Identity, store};

text_enum! {
    /// Who acts through an account. A person's can be marked as a persona's, never the other way.
    AccountKind stored in "users.kind" {
        /// A person.
        Human = "human",
        /// A synthetic user of the catalog.
        Persona = "persona",
        /// The house itself.
        System = "system",
    }
}

text_enum! {
    /// What an account may do beyond its own spaces.
    Role stored in "users.role" {
        /// Nothing.
        User = "user",
        /// Use the admin API.
        Admin = "admin",
    }
}

text_enum! {
    /// What an account has paid for.
    Tier stored in "users.tier" {
        /// Nothing.
        Free = "free",
        /// Everything.
        Pro = "pro",
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id; a persona's is also its persona id.
    pub id: UserId,
    /// Lower case, unique.
    pub email: String,
    /// What others see.
    pub name: String,
    /// Who acts through it.
    pub kind: AccountKind,
    /// What it may do beyond its own spaces.
    pub role: Role,
    /// What it has paid for.
    pub tier: Tier,
    /// IANA name of the time zone its days are in.
    pub time_zone: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was shut out because its erasure began; `None` for every account that is to stay.
    pub suspended_at: Option<Timestamp>,
}

impl Account {
    /// Refuses to give an account that is being erased anything new.
    pub(crate) fn refuse_if_suspended(&self) -> Result<(), IdentityError> {
        match self.suspended_at {
            None => Ok(()),
            Some(_) => Err(IdentityError::Suspended),
        }
    }
}

#[derive(sqlx::FromRow)]
struct AccountRow {
    id: String,
    email: String,
    name: String,
    kind: String,
    role: String,
    tier: String,
    time_zone: String,
    created_at: i64,
    suspended_at: Option<i64>,
}

impl TryFrom<AccountRow> for Account {
    type Error = IdentityError;

    fn try_from(row: AccountRow) -> Result<Self, IdentityError> {
        Ok(Self {
            id: UserId::try_new(row.id).map_err(|_| IdentityError::unknown_value("users.id"))?,
            email: row.email,
            name: row.name,
            kind: AccountKind::from_column(&row.kind)?,
            role: Role::from_column(&row.role)?,
            tier: Tier::from_column(&row.tier)?,
            time_zone: row.time_zone,
            created_at: store::instant(row.created_at, "users.created_at")?,
            suspended_at: row
                .suspended_at
                .map(|at| store::instant(at, "users.suspended_at"))
                .transpose()?,
        })
    }
}

impl Identity {
    /// The account with this id.
    pub async fn account(&self, id: &UserId) -> Result<Option<Account>, IdentityError> {
        by_id(&self.inner.db, id).await
    }

    /// The account with this email, in whatever case it is written.
    pub async fn account_by_email(&self, email: &str) -> Result<Option<Account>, IdentityError> {
        by_email(&self.inner.db, &normalized_email(email)).await
    }

    /// Accounts of `kinds` in the order of their emails, those after the email `after`, at most `limit`.
    pub async fn accounts_after(
        &self,
        kinds: &[AccountKind],
        after: &str,
        limit: u32,
    ) -> Result<Vec<Account>, IdentityError> {
        let rows: Vec<AccountRow> = query_as(
            "-- accounts_after
             SELECT
                 id,
                 email,
                 name,
                 kind,
                 role,
                 tier,
                 time_zone,
                 created_at,
                 suspended_at
             FROM users
             WHERE
                 $1 LIKE '% ' || kind || ' %'
                 AND email > $2
                 AND suspended_at IS NULL
             ORDER BY email
             LIMIT $3",
        )
        .bind(words(kinds))
        .bind(normalized_email(after))
        .bind(i64::from(limit))
        .fetch_all(&self.inner.db)
        .await?;
        rows.into_iter().map(Account::try_from).collect()
    }

    /// How many accounts of `kinds` there are.
    pub async fn count_accounts(&self, kinds: &[AccountKind]) -> Result<u64, IdentityError> {
        let count: i64 = query_scalar(
            "-- count_accounts
             SELECT count(*)
             FROM users
             WHERE
                 $1 LIKE '% ' || kind || ' %'
                 AND suspended_at IS NULL",
        )
        .bind(words(kinds))
        .fetch_one(&self.inner.db)
        .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Marks an ordinary person's account as a persona's, for good. Doing it twice is doing it once.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such account; [`IdentityError::NotStampable`] for an
    /// administrator's and the house's own.
    pub async fn stamp_persona(&self, id: &UserId) -> Result<Account, IdentityError> {
        let _forget = self.inner.known_accounts.forget_after(id);
        let now = self.inner.clock.now();
        let mut tx = self.inner.db.begin().await?;
        let account = by_id(&mut tx, id).await?.ok_or(IdentityError::NotFound)?;
        match (account.kind, account.role) {
            (AccountKind::Persona, _) => return Ok(account),
            (AccountKind::Human, Role::User) => {}
            _ => return Err(IdentityError::NotStampable),
        }
        query(
            "-- stamp_persona
             UPDATE users
             SET
                 kind = 'persona',
                 updated_at = CASE WHEN created_at > $1 THEN created_at ELSE $1 END
             WHERE
                 id = $2",
        )
        .bind(now.as_microsecond())
        .bind(id.as_str())
        .execute(&mut tx)
        .await?;
        audit::record(&mut tx, Deed::of_the_house(Act::PersonaStamped, Some(id)), now).await?;
        tx.commit().await?;
        Ok(Account {
            kind: AccountKind::Persona,
            ..account
        })
    }

    /// Gives the account another role, from its next request on.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] when there is no such account.
    pub async fn set_role(&self, id: &UserId, role: Role) -> Result<(), IdentityError> {
        let _forget = self.inner.known_accounts.forget_after(id);
        let now = self.inner.clock.now();
        let mut tx = self.inner.db.begin().await?;
        let changed = query(
            "-- set_role
             UPDATE users
             SET
                 role = $1,
                 updated_at = CASE WHEN created_at > $2 THEN created_at ELSE $2 END
             WHERE
                 id = $3",
        )
        .bind(role.as_str())
        .bind(now.as_microsecond())
        .bind(id.as_str())
        .execute(&mut tx)
        .await?;
        if changed == 0 {
            return Err(IdentityError::NotFound);
        }
        let deed = Deed::of_the_house(Act::RoleChanged, Some(id)).with(role.as_str());
        audit::record(&mut tx, deed, now).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// The kinds in one text, each between blanks: both databases look a word up in it.
fn words(kinds: &[AccountKind]) -> String {
    kinds
        .iter()
        .fold(" ".to_owned(), |words, kind| words + kind.as_str() + " ")
}

/// The account with this id.
pub(crate) async fn by_id(db: impl Source, id: &UserId) -> Result<Option<Account>, IdentityError> {
    let row: Option<AccountRow> = query_as(
        "-- account_by_id
         SELECT
             id,
             email,
             name,
             kind,
             role,
             tier,
             time_zone,
             created_at,
             suspended_at
         FROM users
         WHERE
             id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(db)
    .await?;
    row.map(Account::try_from).transpose()
}

/// The account with this email, which must be normalized.
pub(crate) async fn by_email(db: impl Source, email: &str) -> Result<Option<Account>, IdentityError> {
    let row: Option<AccountRow> = query_as(
        "-- account_by_email
         SELECT
             id,
             email,
             name,
             kind,
             role,
             tier,
             time_zone,
             created_at,
             suspended_at
         FROM users
         WHERE
             email = $1",
    )
    .bind(email)
    .fetch_optional(db)
    .await?;
    row.map(Account::try_from).transpose()
}
