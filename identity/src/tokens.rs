//! What is in a token, and what must be in one.
//!
//! `jsonwebtoken` reads tokens and checks their signatures. What the claims say is judged here, all in one place,
//! and the library's own judgement is switched off: it passes over a claim of the wrong type unless told not to,
//! accepts an issuer or audience array with ours somewhere in it, and asks the machine for the time, where ours
//! must be that of the clock handed in, virtual days included.

use std::time::Duration;

use events::UserId;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::accounts::Account;
use crate::authenticate::TokenError;
use crate::error::{CryptoError, IdentityError};
use crate::registration::refuse_unless;
use crate::signing_keys::{SigningKey, SigningKeys};

/// How far clocks may differ, seconds.
const LEEWAY_S: u64 = 30;

/// Bytes of the longest token that is looked at; ours have about 700.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// What every token of ours says, and what every token must say.
#[derive(Debug)]
pub(crate) struct TokenRules {
    issuer: String,
    audiences: Vec<String>,
    ttl_s: u64,
}

/// What we write. Old clients read `email`, `role` and `tier` from the token; we ourselves never do: they are
/// looked up, so that a change counts at once.
#[derive(Serialize)]
struct OurClaims<'a> {
    iss: &'a str,
    aud: &'a [String],
    sub: &'a str,
    iat: u64,
    nbf: u64,
    exp: u64,
    email: &'a str,
    role: &'a str,
    tier: &'a str,
    sid: &'a str,
    auth_time: u64,
    epoch: u64,
}

/// The login a token goes back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginSession {
    /// Its name.
    pub(crate) id: String,
    /// When the password was shown, or what stood for it.
    pub(crate) signed_in_at_s: u64,
    /// How often all of the account's tokens had been taken back by then.
    pub(crate) epoch: u64,
}

/// What we state of an account to somebody else.
#[derive(Serialize)]
struct StatedClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: &'a str,
    email: &'a str,
}

/// What anybody may have written. Each claim is taken as it is, so that its shape can be judged by name.
#[derive(Deserialize, Debug)]
pub(crate) struct AnyClaims {
    pub(crate) iss: Option<Value>,
    pub(crate) aud: Option<Value>,
    pub(crate) sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    pub(crate) scope: Option<Value>,
    /// Read of nobody but a system whose accounts are ours, when it is heard of somebody for the first time.
    pub(crate) email: Option<Value>,
    sid: Option<Value>,
    auth_time: Option<Value>,
    epoch: Option<Value>,
}

/// A token whose signature and claims hold; whether now is its time is asked on every use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    /// The key that signed it: one of ours by its id, another issuer's by what tells it from all others.
    pub(crate) key: String,
    /// The account it is for.
    pub(crate) user_id: UserId,
    pub(crate) issuer: String,
    pub(crate) expires_at: Timestamp,
    /// The login it goes back to; `None` for other issuers' tokens, and for ours of before there were any.
    pub(crate) login: Option<LoginSession>,
    expires_at_s: u64,
    not_before_s: u64,
}

impl Verified {
    /// A token with `claims`, of which the times are read here.
    pub(crate) fn new(
        key: String,
        user_id: UserId,
        issuer: String,
        claims: &AnyClaims,
        needs_beginning: bool,
    ) -> Result<Self, TokenError> {
        let expires_at_s = whole_seconds("exp", claims.exp.as_ref())?;
        let not_before_s = match &claims.nbf {
            None if !needs_beginning => 0,
            beginning => whole_seconds("nbf", beginning.as_ref())?,
        };
        Ok(Self {
            key,
            user_id,
            issuer,
            login: None,
            expires_at: instant(expires_at_s).ok_or(TokenError::MalformedClaim("exp"))?,
            expires_at_s,
            not_before_s,
        })
    }

    /// Whether `now` is between the token's instants, give or take the leeway.
    pub(crate) fn check_time(&self, now: Timestamp) -> Result<(), TokenError> {
        let now_s = seconds(now);
        if now_s >= self.expires_at_s.saturating_add(LEEWAY_S) {
            return Err(TokenError::Expired);
        }
        if now_s.saturating_add(LEEWAY_S) < self.not_before_s {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }
}

impl TokenRules {
    pub(crate) fn try_new(
        issuer: String,
        audiences: Vec<String>,
        ttl: Duration,
    ) -> Result<Self, IdentityError> {
        refuse_unless(!issuer.is_empty(), "issuer", "must not be empty".to_owned())?;
        let named = !audiences.is_empty() && audiences.iter().all(|audience| !audience.is_empty());
        refuse_unless(
            named,
            "audiences",
            "must name at least one, none of them empty".to_owned(),
        )?;
        refuse_unless(
            ttl.as_secs() > 0,
            "token_ttl",
            "must be at least one second".to_owned(),
        )?;
        // Chosen by name: were another one compiled in beside it, the library would choose neither and panic.
        // An error says that one was chosen before, which is as good.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        Ok(Self {
            issuer,
            audiences,
            ttl_s: ttl.as_secs(),
        })
    }

    /// A token for `account`, and when it ends.
    pub(crate) fn sign(
        &self,
        key: &SigningKey,
        account: &Account,
        login: &LoginSession,
        now: Timestamp,
    ) -> Result<(SecretString, Timestamp), IdentityError> {
        let issued_s = seconds(now);
        let expires_s = issued_s.saturating_add(self.ttl_s);
        let expires_at = instant(expires_s).ok_or(CryptoError::NotSigned)?;
        let claims = OurClaims {
            iss: &self.issuer,
            aud: &self.audiences,
            sub: account.id.as_str(),
            iat: issued_s,
            nbf: issued_s,
            exp: expires_s,
            email: &account.email,
            role: account.role.as_str(),
            tier: account.tier.as_str(),
            sid: &login.id,
            auth_time: login.signed_in_at_s,
            epoch: login.epoch,
        };
        let token = jsonwebtoken::encode(&header_of(key), &claims, &key.private)
            .map_err(|_| CryptoError::NotSigned)?;
        Ok((token.into(), expires_at))
    }

    /// A statement about `account` to `audience` alone, which must not be one of ours: whoever reads it could
    /// otherwise come here with it.
    pub(crate) fn sign_for(
        &self,
        key: &SigningKey,
        account: &Account,
        audience: &str,
        id: &str,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<SecretString, IdentityError> {
        let is_another = !audience.is_empty() && self.audiences.iter().all(|ours| ours != audience);
        refuse_unless(
            is_another,
            "audience",
            "must be somebody else's address or name".to_owned(),
        )?;
        let issued_s = seconds(now);
        let claims = StatedClaims {
            iss: &self.issuer,
            aud: audience,
            sub: account.id.as_str(),
            iat: issued_s,
            nbf: issued_s,
            exp: issued_s.saturating_add(ttl.as_secs()),
            jti: id,
            email: &account.email,
        };
        jsonwebtoken::encode(&header_of(key), &claims, &key.private)
            .map(SecretString::from)
            .map_err(|_| CryptoError::NotSigned.into())
    }

    /// Checks everything about `token` but the time.
    pub(crate) fn verify(
        &self,
        keys: &SigningKeys,
        token: &str,
        now: Timestamp,
    ) -> Result<Verified, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| refusal(error.kind()))?;
        if header.alg != Algorithm::EdDSA {
            return Err(TokenError::WrongAlgorithm);
        }
        let key = header
            .kid
            .as_deref()
            .and_then(|kid| keys.find(kid, now))
            .ok_or(TokenError::UnknownKey)?;
        // Nothing more and nothing else than we write: no `crit`, no `jku`, no embedded key, no other `typ`.
        if header != header_of(&key) {
            return Err(TokenError::Malformed);
        }
        let claims = signed_claims(token, &key.public, Algorithm::EdDSA)?;
        self.judge(&key.kid, &claims)
    }

    /// Whether every claim is there, has its shape, and is about us.
    fn judge(&self, kid: &str, claims: &AnyClaims) -> Result<Verified, TokenError> {
        let issuer = text("iss", claims.iss.as_ref())?;
        if issuer != self.issuer {
            return Err(TokenError::WrongIssuer);
        }
        let audience = claims.aud.as_ref().ok_or(TokenError::MissingClaim("aud"))?;
        if !is_for(audience, &self.audiences)? {
            return Err(TokenError::WrongAudience);
        }
        let subject = text("sub", claims.sub.as_ref())?;
        let user_id = UserId::try_new(subject).map_err(|_| TokenError::MalformedClaim("sub"))?;
        let mut verified = Verified::new(kid.to_owned(), user_id, issuer, claims, true)?;
        verified.login = login_of(claims)?;
        Ok(verified)
    }

    /// How long a token lasts.
    pub(crate) fn ttl(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::try_from(self.ttl_s).unwrap_or(i64::MAX))
    }

    /// Who we are as an issuer.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// Whether `audience` is one of `ours`, or an array of nothing else: a token that is also for somebody else could be
/// replayed to us by them.
pub(crate) fn is_for(audience: &Value, ours: &[String]) -> Result<bool, TokenError> {
    let is_ours = |audience: &str| ours.iter().any(|ours| ours == audience);
    match audience {
        Value::String(audience) => Ok(is_ours(audience)),
        Value::Array(audiences) if !audiences.is_empty() => {
            let audiences: Option<Vec<&str>> = audiences.iter().map(Value::as_str).collect();
            let audiences = audiences.ok_or(TokenError::MalformedClaim("aud"))?;
            Ok(audiences.into_iter().all(is_ours))
        }
        _ => Err(TokenError::MalformedClaim("aud")),
    }
}

/// What `token` claims, once its signature holds.
pub(crate) fn signed_claims(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<AnyClaims, TokenError> {
    jsonwebtoken::decode::<AnyClaims>(token, key, &signature_only(algorithm))
        .map(|decoded| decoded.claims)
        .map_err(|error| refusal(error.kind()))
}

/// The header of every token signed with `key`.
fn header_of(key: &SigningKey) -> Header {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(key.kid.clone());
    header
}

/// The library checks the signature and nothing else; what the claims say is judged here.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut rules = Validation::new(algorithm);
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules.validate_aud = false;
    rules
}

pub(crate) fn text(claim: &'static str, value: Option<&Value>) -> Result<String, TokenError> {
    match value {
        None => Err(TokenError::MissingClaim(claim)),
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(_) => Err(TokenError::MalformedClaim(claim)),
    }
}

/// The login that a token of ours names.
fn login_of(claims: &AnyClaims) -> Result<Option<LoginSession>, TokenError> {
    if claims.sid.is_none() {
        return Ok(None);
    }
    Ok(Some(LoginSession {
        id: text("sid", claims.sid.as_ref())?,
        signed_in_at_s: whole_seconds("auth_time", claims.auth_time.as_ref())?,
        epoch: whole_seconds("epoch", claims.epoch.as_ref())?,
    }))
}

fn whole_seconds(claim: &'static str, value: Option<&Value>) -> Result<u64, TokenError> {
    let value = value.ok_or(TokenError::MissingClaim(claim))?;
    value.as_u64().ok_or(TokenError::MalformedClaim(claim))
}

/// Seconds since the epoch; before it, zero.
pub(crate) fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_second()).unwrap_or(0)
}

pub(crate) fn instant(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

/// What the library's refusal means to a caller.
pub(crate) fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        _ => TokenError::Malformed,
    }
}
