//! Making accounts: each with its password, its personal space and its vault, in one transaction.

use events::{SpaceId, UserId};
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret as _, SecretString};

use crate::accounts::{self, Account, AccountKind, Role, Tier};
use crate::audit::{self, Act, Deed};
use crate::database::{Source, Tx, query};
use crate::error::IdentityError;
use crate::{Identity, login, spaces, vault};

const EMAIL_BYTES_MAX: usize = 254;
const NAME_CHARS_MAX: usize = 200;
const PASSWORD_CHARS_MIN: usize = 8;
const PASSWORD_CHARS_MAX: usize = 256;

/// The time zone of accounts that do not say.
const TIME_ZONE_DEFAULT: &str = "UTC";

/// An account to make.
#[derive(Debug, Clone)]
pub struct Registration {
    /// What they log in with. Kept in lower case, without space around it.
    pub email: String,
    /// 8 to 256 characters.
    pub password: SecretString,
    /// What others see, 1 to 200 characters; absent: the email's part before the `@`.
    pub name: Option<String>,
    /// Who acts through the account.
    pub kind: AccountKind,
    /// What it may do beyond its own spaces.
    pub role: Role,
    /// What it has paid for.
    pub tier: Tier,
    /// IANA name; absent: UTC.
    pub time_zone: Option<String>,
}

/// A persona's account to make, or to bring up to date.
#[derive(Debug, Clone)]
pub struct PersonaAccount {
    /// Names the persona.
    pub email: String,
    /// What others see.
    pub name: String,
    /// 8 to 256 characters.
    pub password: SecretString,
    /// IANA name; absent: left as it is, UTC for a new account.
    pub time_zone: Option<String>,
}

/// What became of a [`PersonaAccount`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upserted {
    /// The account as it is now.
    pub account: Account,
    /// Whether it is new.
    pub created: bool,
}

impl Identity {
    /// Makes an account with its personal space and its vault: all of it, or nothing.
    ///
    /// # Errors
    /// [`IdentityError::InvalidField`], [`IdentityError::EmailTaken`], [`IdentityError::Busy`].
    pub async fn register(&self, registration: Registration) -> Result<Account, IdentityError> {
        let account = self.checked(&registration)?;
        if account.kind != AccountKind::System {
            self.must_be_kept_here()?;
        }
        // Before the expensive hash; the constraint decides when two register at once.
        if accounts::by_email(&self.inner.db, &account.email)
            .await?
            .is_some()
        {
            return Err(IdentityError::EmailTaken);
        }
        let password_hash = self.inner.passwords.hash(&registration.password).await?;
        let mut tx = self.inner.db.begin().await?;
        if !insert_user(&mut tx, &account).await? {
            return Err(IdentityError::EmailTaken);
        }
        login::set_password(&mut tx, &account.id, &password_hash, account.created_at).await?;
        let space_id = SpaceId::from(self.inner.ids.uuid());
        spaces::insert_personal(&mut tx, &space_id, &account).await?;
        vault::insert_if_absent(&mut tx, &self.inner.keks, &account.id, account.created_at).await?;
        let deed = Deed::of_the_house(Act::AccountRegistered, Some(&account.id)).with(account.kind.as_str());
        audit::record(&mut tx, deed, account.created_at).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Makes a persona's account, or brings name, password and time zone of the one with its email up to date.
    /// Doing it twice is doing it once.
    ///
    /// # Errors
    /// [`IdentityError::NotAPersona`] when the email belongs to an account of another kind, which is left as it
    /// is; [`IdentityError::Suspended`] when the persona with that email is being erased;
    /// [`IdentityError::UnknownElsewhere`] when accounts are kept elsewhere and it has none there; otherwise as
    /// [`Identity::register`].
    pub async fn upsert_persona(&self, persona: PersonaAccount) -> Result<Upserted, IdentityError> {
        if let Some(elsewhere) = self.external_persona(&persona.email, &persona.password).await {
            return elsewhere.map(|account| Upserted {
                account,
                created: false,
            });
        }
        let registration = Registration {
            email: persona.email,
            password: persona.password,
            name: Some(persona.name),
            kind: AccountKind::Persona,
            role: Role::User,
            tier: Tier::Free,
            time_zone: persona.time_zone,
        };
        match self.register(registration.clone()).await {
            Ok(account) => Ok(Upserted {
                account,
                created: true,
            }),
            Err(IdentityError::EmailTaken) => {
                let account = self.revise_persona(&registration).await?;
                Ok(Upserted {
                    account,
                    created: false,
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn revise_persona(&self, wanted: &Registration) -> Result<Account, IdentityError> {
        let checked = self.checked(wanted)?;
        let present = persona_by_email(&self.inner.db, &checked.email).await?;
        let time_zone = wanted
            .time_zone
            .as_ref()
            .map_or(&present.time_zone, |_| &checked.time_zone)
            .clone();
        let password_hash = self.inner.passwords.hash(&wanted.password).await?;
        let _forget = self.inner.known_accounts.forget_after(&present.id);
        let mut tx = self.inner.db.begin().await?;
        // Again, now that nobody else can write: the account may be gone, or another's.
        let present = persona_by_email(&mut tx, &checked.email).await?;
        let revised = Account {
            name: checked.name,
            time_zone,
            ..present
        };
        if !update_user(&mut tx, &revised, checked.created_at.as_microsecond()).await? {
            return Err(IdentityError::NotFound);
        }
        login::set_password(&mut tx, &revised.id, &password_hash, checked.created_at).await?;
        vault::insert_if_absent(&mut tx, &self.inner.keks, &revised.id, checked.created_at).await?;
        tx.commit().await?;
        Ok(revised)
    }

    /// The account `registration` describes, with a fresh id, or what is wrong with it.
    fn checked(&self, registration: &Registration) -> Result<Account, IdentityError> {
        let email = normalized_email(&registration.email);
        check_email(&email)?;
        let name = match &registration.name {
            Some(name) => name.trim().to_owned(),
            None => email.split('@').next().unwrap_or_default().to_owned(),
        };
        check_name(&name)?;
        check_password(&registration.password)?;
        let time_zone = registration
            .time_zone
            .as_deref()
            .unwrap_or(TIME_ZONE_DEFAULT)
            .to_owned();
        check_time_zone(&time_zone)?;
        Ok(Account {
            id: UserId::from(self.inner.ids.uuid()),
            email,
            name,
            kind: registration.kind,
            role: registration.role,
            tier: registration.tier,
            time_zone,
            created_at: self.inner.clock.now(),
            suspended_at: None,
        })
    }
}

async fn persona_by_email(db: impl Source, email: &str) -> Result<Account, IdentityError> {
    let account = accounts::by_email(db, email)
        .await?
        .ok_or(IdentityError::NotFound)?;
    if account.kind != AccountKind::Persona {
        return Err(IdentityError::NotAPersona);
    }
    account.refuse_if_suspended()?;
    Ok(account)
}

/// Writes the account; says false, and writes nothing, when its email is taken.
async fn insert_user(tx: &mut Tx, account: &Account) -> Result<bool, IdentityError> {
    let inserted = query(
        "-- insert_user
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
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
         ON CONFLICT (email) DO NOTHING",
    )
    .bind(account.id.as_str())
    .bind(&account.email)
    .bind(&account.name)
    .bind(account.kind.as_str())
    .bind(account.role.as_str())
    .bind(account.tier.as_str())
    .bind(&account.time_zone)
    .bind(account.created_at.as_microsecond())
    .execute(tx)
    .await?;
    Ok(inserted == 1)
}

async fn update_user(tx: &mut Tx, account: &Account, now: i64) -> Result<bool, IdentityError> {
    let updated = query(
        "-- update_user
         UPDATE users
         SET
             name = $1,
             time_zone = $2,
             updated_at = CASE WHEN created_at > $3 THEN created_at ELSE $3 END
         WHERE
             id = $4",
    )
    .bind(&account.name)
    .bind(&account.time_zone)
    .bind(now)
    .bind(account.id.as_str())
    .execute(tx)
    .await?;
    Ok(updated == 1)
}

/// `email` as accounts keep it.
pub(crate) fn normalized_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Shape only; whether it can be delivered to is not our question, and reserved domains are welcome.
pub(crate) fn check_email(email: &str) -> Result<(), IdentityError> {
    let parts = email.split_once('@');
    let holds = email.len() <= EMAIL_BYTES_MAX
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && parts.is_some_and(|(local, domain)| {
            (1..=64).contains(&local.len())
                && !domain.contains('@')
                && domain.contains('.')
                && domain.split('.').all(|label| !label.is_empty())
        });
    refuse_unless(
        holds,
        "email",
        "must be an address like name@example.com".to_owned(),
    )
}

fn check_name(name: &str) -> Result<(), IdentityError> {
    let holds = (1..=NAME_CHARS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    refuse_unless(
        holds,
        "name",
        format!("must be 1 to {NAME_CHARS_MAX} characters on one line"),
    )
}

fn check_password(password: &SecretString) -> Result<(), IdentityError> {
    let chars = password.expose_secret().chars().count();
    let holds = (PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&chars);
    refuse_unless(
        holds,
        "password",
        format!("must be {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters long"),
    )
}

fn check_time_zone(time_zone: &str) -> Result<(), IdentityError> {
    let holds = time_zone.len() <= 100 && TimeZone::get(time_zone).is_ok();
    refuse_unless(
        holds,
        "timeZone",
        "must be an IANA name like Europe/Berlin".to_owned(),
    )
}

/// The rule of one field: nothing when it holds.
pub(crate) fn refuse_unless(holds: bool, field: &'static str, reason: String) -> Result<(), IdentityError> {
    if holds {
        Ok(())
    } else {
        Err(IdentityError::InvalidField { field, reason })
    }
}
