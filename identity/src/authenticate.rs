//! Who is calling: the check on every request.

#[cfg(test)]
mod bad_tokens;

use std::sync::{Mutex, MutexGuard, PoisonError};

use events::UserId;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::accounts::{AccountKind, Role, Tier};
use crate::cache::Recent;
use crate::error::IdentityError;
use crate::tokens::{LoginSession, TOKEN_BYTES_MAX, Verified};
use crate::{Identity, telemetry};

/// Half of the verified tokens remembered.
const REMEMBERED_HALF: usize = 4_096;

/// Whom a token speaks for, as the account is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub user_id: UserId,
    /// Its email.
    pub email: String,
    /// Who acts through it.
    pub kind: AccountKind,
    /// What it may do beyond its own spaces.
    pub role: Role,
    /// What it has paid for.
    pub tier: Tier,
    /// IANA name of the time zone its days are in.
    pub time_zone: String,
    /// Who vouches for it.
    pub issuer: String,
    /// When the token ends.
    pub expires_at: Timestamp,
    /// The login the token goes back to; `None` for another issuer's.
    pub login: Option<LoginSession>,
}

/// Why a token is not accepted. The text says what to do, and never holds anything of the token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("no token was sent; log in at /api/v1/auth/login and send `Authorization: Bearer <token>`")]
    Missing,
    /// It is not a token of the form we write.
    #[error("the token is not readable; send it exactly as login answered it")]
    Malformed,
    /// It is longer than any token of ours.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes; send it exactly as login answered it")]
    TooLong,
    /// It names an algorithm other than its key's.
    #[error("the token is not signed with EdDSA; get one from this server's login")]
    WrongAlgorithm,
    /// It names no key of ours.
    #[error("the token is signed with a key this server does not have; log in here again")]
    UnknownKey,
    /// The key it names did not sign it.
    #[error("the token's signature does not hold; log in again")]
    BadSignature,
    /// A claim that must be there is not.
    #[error("the token has no claim `{0}`; get one from this server's login")]
    MissingClaim(&'static str),
    /// A claim has a form it must not have.
    #[error("the token's claim `{0}` has the wrong form; get one from this server's login")]
    MalformedClaim(&'static str),
    /// Somebody else issued it.
    #[error("the token is from another issuer; log in at this server")]
    WrongIssuer,
    /// It is for somebody else, or for others beside us.
    #[error("the token is for another audience; log in at this server")]
    WrongAudience,
    /// Its time is over.
    #[error("the token has expired; log in again")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet; check the clock of the machine that issued it")]
    NotYetValid,
    /// Its account is not there (any more).
    #[error("the token's account does not exist; register, or log in with another one")]
    UnknownAccount,
    /// It was taken back.
    #[error("the token was revoked; log in again")]
    Revoked,
    /// Its account is being erased.
    #[error("the token's account is being erased; register again, or log in with another one")]
    Suspended,
    /// It holds, but does not reach as far as it must.
    #[error("the token lacks the scope `{0}`; ask its issuer for one that has it")]
    InsufficientScope(String),
    /// Its issuer's keys cannot be had. Not a refusal: the same token may be accepted later.
    #[error("the keys of the token's issuer cannot be had right now; try again")]
    KeysUnavailable,
    /// We could not find out. Not a refusal: the same token may be accepted later.
    #[error("the token could not be checked; try again")]
    Unavailable(#[source] IdentityError),
}

impl TokenError {
    /// A stable word for metrics, logs and response bodies.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::TooLong => "too-long",
            Self::WrongAlgorithm => "wrong-algorithm",
            Self::UnknownKey => "unknown-key",
            Self::BadSignature => "bad-signature",
            Self::MissingClaim(_) => "missing-claim",
            Self::MalformedClaim(_) => "malformed-claim",
            Self::WrongIssuer => "wrong-issuer",
            Self::WrongAudience => "wrong-audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::UnknownAccount => "unknown-account",
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
            Self::InsufficientScope(_) => "insufficient-scope",
            Self::KeysUnavailable => "keys-unavailable",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// Whether the token was judged and refused, rather than not judged at all.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Unavailable(_) | Self::KeysUnavailable)
    }
}

impl Identity {
    /// Whom `token` speaks for: its signature, claims and time are checked, and its account must exist and
    /// not be suspended.
    ///
    /// # Errors
    /// [`TokenError::Unavailable`] when it could not be checked; any other is a refusal.
    pub async fn authenticate(&self, token: &str) -> Result<Caller, TokenError> {
        let outcome = self.caller(token).await;
        if let Err(error) = &outcome {
            metrics::counter!(telemetry::TOKENS_REFUSED, "reason" => error.reason()).increment(1);
        }
        outcome
    }

    async fn caller(&self, token: &str) -> Result<Caller, TokenError> {
        let verified = self.verified(token).await?;
        verified.check_time(self.inner.clock.now())?;
        let user_id = verified.user_id;
        let account = self
            .account_seen_lately(&user_id)
            .await
            .map_err(TokenError::Unavailable)?;
        let (account, revoked) = account.ok_or(TokenError::UnknownAccount)?;
        if verified.issuer == self.inner.tokens.issuer() {
            revoked.check(verified.login.as_ref())?;
        }
        account.refuse_if_suspended().map_err(|_| TokenError::Suspended)?;
        self.seen_from_elsewhere(token, &user_id, &verified.issuer, verified.expires_at)
            .await?;
        Ok(Caller {
            user_id,
            email: account.email,
            kind: account.kind,
            role: account.role,
            tier: account.tier,
            time_zone: account.time_zone,
            issuer: verified.issuer,
            expires_at: verified.expires_at,
            login: verified.login,
        })
    }

    async fn verified(&self, token: &str) -> Result<Verified, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        self.refresh_signing_keys().await;
        let digest = Sha256::digest(token).into();
        if let Some(verified) = self.inner.verified_tokens.get(&digest)
            && self.is_key_in_force(&verified).await?
        {
            return Ok(verified);
        }
        let verified = match Box::pin(self.vouched(token)).await {
            Some(verified) => verified?,
            None => self
                .inner
                .tokens
                .verify(&self.inner.signing_keys, token, self.inner.clock.now())?,
        };
        self.inner.verified_tokens.insert(digest, verified.clone());
        Ok(verified)
    }
}

impl Identity {
    /// The token as one of another issuer; `None` when it says to be of none we trust.
    async fn vouched(&self, token: &str) -> Option<Result<Verified, TokenError>> {
        let vouched = match self.inner.issuers.get()?.verify(token).await? {
            Ok(vouched) => vouched,
            Err(error) => return Some(Err(error)),
        };
        if let Some(own) = self.external_account(&vouched).await {
            return Some(own.and_then(|user_id| vouched.of(user_id)));
        }
        let account = self
            .account_by_email(vouched.email.as_deref().unwrap_or_default())
            .await;
        Some(
            account
                .map_err(TokenError::Unavailable)
                .and_then(|account| account.ok_or(TokenError::UnknownAccount))
                .and_then(|account| vouched.of(account.id)),
        )
    }

    /// Whether the key that signed a token we verified once is still one to be believed.
    async fn is_key_in_force(&self, verified: &Verified) -> Result<bool, TokenError> {
        if verified.issuer == self.inner.tokens.issuer() {
            return Ok(self
                .inner
                .signing_keys
                .find(&verified.key, self.inner.clock.now())
                .is_some());
        }
        match self.inner.issuers.get() {
            Some(issuers) => issuers.still_has(&verified.issuer, &verified.key).await,
            None => Ok(false),
        }
    }
}

/// Tokens that were verified, by their SHA-256: the tokens themselves are not kept. Refused ones are not
/// remembered, so a flood of them drives out nobody.
#[derive(Debug)]
pub(crate) struct VerifiedTokens(Mutex<Recent<[u8; 32], Verified>>);

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(REMEMBERED_HALF)))
    }
}

impl VerifiedTokens {
    fn lock(&self) -> MutexGuard<'_, Recent<[u8; 32], Verified>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, digest: &[u8; 32]) -> Option<Verified> {
        self.lock().get(digest).cloned()
    }

    fn insert(&self, digest: [u8; 32], verified: Verified) {
        let mut tokens = self.lock();
        tokens.insert(digest, verified);
        metrics::gauge!(telemetry::TOKENS_REMEMBERED).set(tokens.len() as f64);
    }
}
