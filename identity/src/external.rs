//! Another system's accounts in front of ours: its logins, its spaces and its vault, asked where it keeps them.
//!
//! ```text
//! login ────▶ its login ─▶ its token ─▶ whoever it is of stands in our tables too
//! token ────▶ its key set ─▶ its space list, when ours of it is older than [`PLACES_FRESH_FOR`] ─▶ our tables
//! space key ▶ the owner's token, as it was shown last ─▶ its vault ─▶ memory
//! ```
//!
//! What it says of accounts and spaces is kept in our tables, which are a copy here and nothing more: everything that
//! asks who somebody is and where they belong goes on as it does at home. What it says of keys is kept nowhere. A
//! caller's token is shown to that system alone, is in memory alone, and is forgotten when it ends.

mod mirror;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::{SpaceId, UserId};
use jiff::Timestamp;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::accounts::{Account, AccountKind, Role, Tier};
use crate::audit::{self, Act, Deed};
use crate::authenticate::TokenError;
use crate::cache::Recent;
use crate::error::IdentityError;
use crate::issuers::Vouched;
use crate::login::Login;
use crate::memberships::Membership;
use crate::registration::refuse_unless;
use crate::seal::KEY_BYTES;
use crate::vault::{self, MasterKey, SpaceKeys};
use crate::{Identity, throttle};

/// How old what we know of an account's spaces may be when its token is shown.
const PLACES_FRESH_FOR: Duration = Duration::from_secs(10);
/// Half of the callers whose tokens are remembered.
const REMEMBERED_HALF: usize = 4_096;

/// What an [`ExternalIdentity`] answers.
pub type ExternalFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ExternalError>> + Send + 'a>>;

/// Another system's accounts. It is asked at one origin, and nowhere else whatever it answers; it gives up within
/// seconds, and reads no more than an answer may have.
pub trait ExternalIdentity: fmt::Debug + Send + Sync + 'static {
    /// Where it is: scheme, host and port.
    fn origin(&self) -> &str;

    /// Trades an email and a password for a token of its.
    fn login<'a>(&'a self, email: &'a str, password: &'a SecretString) -> ExternalFuture<'a, ExternalLogin>;

    /// The spaces of whom `token` speaks for.
    fn spaces<'a>(&'a self, token: &'a SecretString) -> ExternalFuture<'a, Vec<Membership>>;

    /// The master key of whom `token` speaks for.
    fn vault_key<'a>(&'a self, token: &'a SecretString) -> ExternalFuture<'a, ExternalKey>;
}

/// Whom a token of another system is for, as that system says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    /// Its id there, and here.
    pub id: UserId,
    /// Its email.
    pub email: String,
    /// Its name.
    pub name: String,
    /// Who acts through it.
    pub kind: AccountKind,
    /// What it may do beyond its own spaces.
    pub role: Role,
    /// What it has paid for.
    pub tier: Tier,
}

/// A login at another system.
#[derive(Debug)]
pub struct ExternalLogin {
    /// Its token.
    pub token: SecretString,
    /// Whom it is for.
    pub account: ExternalAccount,
}

/// A master key of another system.
#[derive(Debug)]
pub enum ExternalKey {
    /// The key.
    Key {
        /// Its bytes.
        key: Zeroizing<[u8; KEY_BYTES]>,
        /// The format of the vault there.
        format_version: u32,
        /// What that system calls the key it is sealed with.
        kek_id: String,
    },
    /// Only its owner has it.
    OwnersOnly,
}

/// Why another system did not give what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExternalError {
    /// It knows no such email and password, or does not believe the token (any more).
    #[error("refused what it was shown")]
    Refused,
    /// It wants to be left alone for a while.
    #[error("is asked too often; try again in {retry_after_s} seconds")]
    Throttled {
        /// Seconds.
        retry_after_s: u64,
    },
    /// The account has no master key there.
    #[error("has no master key for the account")]
    NoVault,
    /// It did not answer, or not in time, or with an error of its own.
    #[error("does not answer: {0}")]
    Unavailable(String),
    /// What it answered is not what is answered there.
    #[error("answers in another shape: {0}")]
    Malformed(String),
}

/// The other system, and what was heard of it lately.
#[derive(Debug)]
pub(crate) struct External {
    source: Arc<dyn ExternalIdentity>,
    issuer: String,
    shown: Mutex<Recent<UserId, Shown>>,
}

/// A token as its account showed it last.
struct Shown {
    token: SecretString,
    expires_at: Timestamp,
    /// When the account's spaces were last asked for with it, since the start of the clock.
    places_at: Option<Duration>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl External {
    fn shown(&self) -> MutexGuard<'_, Recent<UserId, Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the token, and says whether the account's spaces are known well enough.
    fn show(&self, user: &UserId, token: &str, expires_at: Timestamp, now: Duration) -> bool {
        let mut shown = self.shown();
        let places_at = shown.get(user).and_then(|known| known.places_at);
        let token = SecretString::from(token);
        shown.insert(
            user.clone(),
            Shown {
                token,
                expires_at,
                places_at,
            },
        );
        places_at.is_some_and(|at| now.saturating_sub(at) < PLACES_FRESH_FOR)
    }

    fn places_known(&self, user: &UserId, at: Duration) {
        let mut shown = self.shown();
        if let Some(known) = shown.get(user) {
            let known = Shown {
                token: known.token.clone(),
                expires_at: known.expires_at,
                places_at: Some(at),
            };
            shown.insert(user.clone(), known);
        }
    }

    /// The account's token, if one that holds was shown.
    fn token_of(&self, user: &UserId, now: Timestamp) -> Option<SecretString> {
        let mut shown = self.shown();
        let known = shown.get(user)?;
        if known.expires_at <= now {
            shown.remove(user);
            return None;
        }
        Some(known.token.clone())
    }

    fn failed(&self, error: ExternalError) -> IdentityError {
        let origin = self.source.origin().to_owned();
        match error {
            ExternalError::Refused => IdentityError::LoginEnded,
            ExternalError::Throttled { retry_after_s } => IdentityError::Throttled { retry_after_s },
            ExternalError::NoVault => IdentityError::VaultNotInitialised,
            error => IdentityError::External { origin, error },
        }
    }
}

impl External {
    /// What it says is nothing that an account or a space may be.
    fn unfit(&self, error: IdentityError) -> IdentityError {
        match error {
            IdentityError::InvalidField { field, reason } => {
                self.failed(ExternalError::Malformed(format!("{field} {reason}")))
            }
            error => error,
        }
    }
}

impl Identity {
    /// Asks `source` for logins, spaces and keys from now on; `issuer` is who its tokens are of.
    /// Called once, before the first token is checked.
    ///
    /// # Errors
    /// [`IdentityError::InvalidField`] for an issuer that is not trusted, see [`Identity::trust`], or when it was called
    /// before.
    pub fn stand_in_front_of(
        &self,
        source: Arc<dyn ExternalIdentity>,
        issuer: String,
    ) -> Result<(), IdentityError> {
        refuse_unless(
            self.trusted_issuers().contains(&issuer),
            "external_identity",
            format!("is of {issuer}, who is not trusted"),
        )?;
        let external = External {
            source,
            issuer,
            shown: Mutex::new(Recent::new(REMEMBERED_HALF)),
        };
        let is_first = self.inner.external.set(external).is_ok();
        refuse_unless(is_first, "external_identity", "is set already".to_owned())
    }

    /// Where accounts, spaces and keys are kept, if not here.
    pub fn external_origin(&self) -> Option<&str> {
        self.inner.external.get().map(|external| external.source.origin())
    }

    /// Refuses to change here what is kept elsewhere.
    pub(crate) fn must_be_kept_here(&self) -> Result<(), IdentityError> {
        match self.external_origin() {
            None => Ok(()),
            Some(origin) => Err(IdentityError::KeptElsewhere {
                origin: origin.to_owned(),
            }),
        }
    }

    /// Logs in at the other system, as far as there is one.
    pub(crate) async fn external_login(
        &self,
        email: &str,
        password: &SecretString,
    ) -> Option<Result<Login, IdentityError>> {
        let external = self.inner.external.get()?;
        Some(self.logged_in_at(external, email, password).await)
    }

    async fn logged_in_at(
        &self,
        external: &External,
        email: &str,
        password: &SecretString,
    ) -> Result<Login, IdentityError> {
        let now = self.inner.clock.now();
        let login = match external.source.login(email, password).await {
            Ok(login) => login,
            Err(ExternalError::Refused) => {
                self.refuse_login(email, None, now).await?;
                return Err(IdentityError::BadCredentials);
            }
            Err(error) => return Err(external.failed(error)),
        };
        throttle::forget(&self.inner.db, email).await?;
        let account = self.mirror_account(&login.account).await;
        let account = account.map_err(|error| external.unfit(error))?;
        account
            .refuse_if_suspended()
            .map_err(|_| IdentityError::BadCredentials)?;
        // What it gave must be what it says it is: a token of its own for this account.
        let caller = self
            .authenticate(secrecy::ExposeSecret::expose_secret(&login.token))
            .await;
        let caller = caller.map_err(|error| match error {
            TokenError::Unavailable(error) => error,
            error => external.failed(ExternalError::Malformed(format!("its token: {error}"))),
        })?;
        if caller.user_id != account.id {
            let told = "its token is for another account than it says".to_owned();
            return Err(external.failed(ExternalError::Malformed(told)));
        }
        let deed = Deed::own(Act::LoginAccepted, &account.id).with("elsewhere");
        audit::record(&self.inner.db, deed, now).await?;
        Ok(Login {
            token: login.token,
            expires_at: caller.expires_at,
            account,
        })
    }

    /// The account of a token of the other system; `None` when the token is of somebody else.
    pub(crate) async fn external_account(&self, vouched: &Vouched) -> Option<Result<UserId, TokenError>> {
        let external = self.inner.external.get()?;
        (vouched.issuer == external.issuer).then_some(())?;
        Some(self.account_of_its(vouched).await)
    }

    async fn account_of_its(&self, vouched: &Vouched) -> Result<UserId, TokenError> {
        let id = UserId::try_new(vouched.subject.clone()).map_err(|_| TokenError::MalformedClaim("sub"))?;
        if self
            .account(&id)
            .await
            .map_err(TokenError::Unavailable)?
            .is_some()
        {
            return Ok(id);
        }
        // Somebody who logged in there and never here: what the token says is all there is to know.
        let email = vouched.email.clone().ok_or(TokenError::MissingClaim("email"))?;
        let account = ExternalAccount {
            name: email.split('@').next().unwrap_or_default().to_owned(),
            id: id.clone(),
            email,
            kind: AccountKind::Human,
            role: Role::User,
            tier: Tier::Free,
        };
        self.mirror_account(&account).await.map_err(|error| {
            tracing::warn!(error = %error, "a token of another system is for an account that cannot be one here");
            TokenError::UnknownAccount
        })?;
        Ok(id)
    }

    /// Brings what we know of the caller's spaces up to date, where its token is one of the other system.
    pub(crate) async fn seen_from_elsewhere(
        &self,
        token: &str,
        user: &UserId,
        issuer: &str,
        expires_at: Timestamp,
    ) -> Result<(), TokenError> {
        let Some(external) = self
            .inner
            .external
            .get()
            .filter(|external| external.issuer == issuer)
        else {
            return Ok(());
        };
        let now = self.inner.clock.monotonic();
        if external.show(user, token, expires_at, now) {
            return Ok(());
        }
        match external.source.spaces(&SecretString::from(token)).await {
            Ok(places) => {
                let mirrored = Box::pin(self.mirror_places(user, &places)).await;
                mirrored.map_err(|error| TokenError::Unavailable(external.unfit(error)))?;
                external.places_known(user, now);
                Ok(())
            }
            Err(ExternalError::Refused) => Err(TokenError::Revoked),
            Err(error) => Err(TokenError::Unavailable(external.failed(error))),
        }
    }

    /// The keys of a space, where they are kept elsewhere: its owner's, by the token its owner showed last.
    pub(crate) async fn external_space_keys(
        &self,
        space: &SpaceId,
    ) -> Option<Result<SpaceKeys, IdentityError>> {
        let external = self.inner.external.get()?;
        Some(self.keys_kept_at(external, space).await)
    }

    async fn keys_kept_at(&self, external: &External, space: &SpaceId) -> Result<SpaceKeys, IdentityError> {
        let now = self.inner.clock.now();
        let owner = vault::space_owner(&self.inner.db, space)
            .await?
            .ok_or(IdentityError::OwnerAway)?;
        let token = external.token_of(&owner, now).ok_or(IdentityError::OwnerAway)?;
        let key = external.source.vault_key(&token).await;
        let ExternalKey::Key {
            key,
            format_version,
            kek_id,
        } = key.map_err(|error| external.failed(error))?
        else {
            return Err(IdentityError::ZeroKnowledge);
        };
        let detail = format!("for space {space}, elsewhere");
        let deed = Deed::of_the_house(Act::VaultRead, Some(&owner)).with(&detail);
        audit::record(&self.inner.db, deed, now).await?;
        Ok(SpaceKeys {
            owner,
            current: MasterKey {
                key,
                format_version,
                kek_id,
            },
            past: Vec::new(),
        })
    }

    /// Forgets keys that were asked for elsewhere: one of them may have been replaced there just now.
    pub fn external_keys_changed(&self) {
        self.keys_changed();
    }

    /// A persona's account at the other system, where it must be already.
    pub(crate) async fn external_persona(
        &self,
        email: &str,
        password: &SecretString,
    ) -> Option<Result<Account, IdentityError>> {
        let external = self.inner.external.get()?;
        Some(match external.source.login(email, password).await {
            Ok(login) => {
                let account = ExternalAccount {
                    kind: AccountKind::Persona,
                    ..login.account
                };
                self.mirror_account(&account).await
            }
            Err(ExternalError::Refused) => Err(IdentityError::UnknownElsewhere {
                origin: external.source.origin().to_owned(),
            }),
            Err(error) => Err(external.failed(error)),
        })
    }
}
