//! Tokens of other issuers: whom we trust, with which keys, and which account a subject of theirs is here.
//!
//! An issuer is trusted by configuration alone, never by anything a token says: a token's `iss` only chooses which of
//! the configured ones it is judged by. Its keys are those of its key set at a configured address; the algorithm is
//! that of the key entry, and the token must name the same. What the token must say is as for our own tokens, except
//! that `nbf` may be absent. A subject is served as the local account it is mapped to, and as nobody without one.

mod key_set;
mod keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Header;
use serde::Deserialize;

use crate::Identity;
use crate::authenticate::TokenError;
use crate::error::IdentityError;
use crate::registration::refuse_unless;
use crate::tokens::{self, AnyClaims, Verified};

use key_set::IssuerKey;
pub use key_set::TokenAlgorithm;
use keys::IssuerKeys;

/// Somebody whose tokens are accepted beside our own.
#[derive(Debug, Clone)]
pub struct TrustedIssuer {
    /// The `iss` of its tokens, exactly.
    pub issuer: String,
    /// Where its key set is: `https`, or `http` on the loopback interface.
    pub jwks_url: String,
    /// The `aud` we are to it; a token must name one of these and nobody else.
    pub audiences: Vec<String>,
    /// Which algorithms its keys may be for; keys of others are passed over.
    pub algorithms: Vec<TokenAlgorithm>,
    /// A scope every token must have.
    pub scope: Option<String>,
    /// Its subjects, each with the email of the account it is here.
    pub accounts: BTreeMap<String, String>,
    /// Whether its accounts are ours: then its subjects are accounts' ids, and nothing is mapped.
    pub is_whose_accounts_are_ours: bool,
}

/// What a [`KeySetSource`] answers: the body, or why there is none.
pub type KeySetFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + 'a>>;

/// Fetches key sets. It must follow no redirect, give up within seconds, and read no more than a key set may have.
pub trait KeySetSource: fmt::Debug + Send + Sync + 'static {
    /// The body at `url`.
    fn fetch<'a>(&'a self, url: &'a str) -> KeySetFuture<'a>;
}

/// All issuers that are trusted beside ourselves.
#[derive(Debug, Default)]
pub(crate) struct Issuers(Vec<Issuer>);

#[derive(Debug)]
struct Issuer {
    settings: TrustedIssuer,
    keys: IssuerKeys,
}

/// A token of a trusted issuer that holds; whose account it is for is yet to be looked up.
#[derive(Debug)]
pub(crate) struct Vouched {
    /// What tells its key from all others.
    pub(crate) key: String,
    pub(crate) subject: String,
    /// Of the account it is mapped to; of an account that is its own, what it says itself, if it says so.
    pub(crate) email: Option<String>,
    pub(crate) issuer: String,
    pub(crate) claims: AnyClaims,
}

impl Identity {
    /// Trusts `issuers` beside ourselves from now on. Called once, before the first token is checked.
    ///
    /// # Errors
    /// [`IdentityError::InvalidField`] for an issuer that cannot be meant, or when some are trusted already.
    pub fn trust(
        &self,
        issuers: Vec<TrustedIssuer>,
        source: &Arc<dyn KeySetSource>,
    ) -> Result<(), IdentityError> {
        let own = self.inner.tokens.issuer();
        for (place, issuer) in issuers.iter().enumerate() {
            issuer.check()?;
            let is_new =
                issuer.issuer != own && issuers[..place].iter().all(|other| other.issuer != issuer.issuer);
            refuse_unless(
                is_new,
                "issuers",
                format!("{} is named twice, or is ourselves", issuer.issuer),
            )?;
        }
        let issuers = issuers.into_iter().map(|settings| Issuer {
            keys: IssuerKeys::new(
                settings.jwks_url.clone(),
                settings.algorithms.clone(),
                source.clone(),
                self.inner.clock.clone(),
            ),
            settings,
        });
        let is_first = self.inner.issuers.set(Issuers(issuers.collect())).is_ok();
        refuse_unless(is_first, "issuers", "are set already".to_owned())
    }

    /// Who is trusted beside ourselves.
    pub fn trusted_issuers(&self) -> Vec<String> {
        let issuers = self
            .inner
            .issuers
            .get()
            .into_iter()
            .flat_map(|issuers| &issuers.0);
        issuers.map(|issuer| issuer.settings.issuer.clone()).collect()
    }
}

impl TrustedIssuer {
    fn check(&self) -> Result<(), IdentityError> {
        refuse_unless(
            !self.issuer.is_empty(),
            "issuers",
            "issuer must not be empty".to_owned(),
        )?;
        let rest = self.jwks_url.split_once("://");
        let is_safe = rest.is_some_and(|(scheme, rest)| match scheme {
            "https" => !rest.is_empty(),
            "http" => ["127.0.0.1", "localhost", "[::1]"].iter().any(|host| {
                rest.strip_prefix(host)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
            }),
            _ => false,
        });
        refuse_unless(
            is_safe,
            "issuers",
            format!(
                "jwks_url of {} must be https, or http on the loopback interface",
                self.issuer
            ),
        )?;
        let named = !self.audiences.is_empty() && self.audiences.iter().all(|audience| !audience.is_empty());
        refuse_unless(
            named,
            "issuers",
            format!("{} needs audiences, none empty", self.issuer),
        )?;
        refuse_unless(
            !self.algorithms.is_empty(),
            "issuers",
            format!("{} needs algorithms", self.issuer),
        )
    }
}

impl Issuers {
    /// The issuer `token` says it is of, if it is one of these. Nothing of the token is believed for it.
    fn of(&self, token: &str) -> Option<&Issuer> {
        #[derive(Deserialize)]
        struct Named {
            iss: String,
        }
        if self.0.is_empty() {
            return None;
        }
        let payload = token.split('.').nth(1)?;
        let named: Named = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        self.named(&named.iss)
    }

    fn named(&self, issuer: &str) -> Option<&Issuer> {
        self.0.iter().find(|known| known.settings.issuer == issuer)
    }

    /// Checks everything about `token` but the time; `None` when it is not of one of these.
    pub(crate) async fn verify(&self, token: &str) -> Option<Result<Vouched, TokenError>> {
        Some(self.of(token)?.verify(token).await)
    }

    /// Whether the key with which a token of `issuer` was verified is still one of its keys.
    pub(crate) async fn still_has(&self, issuer: &str, key: &str) -> Result<bool, TokenError> {
        match self.named(issuer) {
            Some(issuer) => issuer.keys.still_has(key).await,
            None => Ok(false),
        }
    }
}

impl Issuer {
    async fn verify(&self, token: &str) -> Result<Vouched, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| tokens::refusal(error.kind()))?;
        let kid = header.kid.clone().ok_or(TokenError::UnknownKey)?;
        let key = self.keys.find(&kid).await?.ok_or(TokenError::UnknownKey)?;
        if header.alg != key.algorithm() {
            return Err(TokenError::WrongAlgorithm);
        }
        if !is_plain(&header, &key) {
            return Err(TokenError::Malformed);
        }
        let claims = tokens::signed_claims(token, key.public(), key.algorithm())?;
        if tokens::text("iss", claims.iss.as_ref())? != self.settings.issuer {
            return Err(TokenError::WrongIssuer);
        }
        let audience = claims.aud.as_ref().ok_or(TokenError::MissingClaim("aud"))?;
        if !tokens::is_for(audience, &self.settings.audiences)? {
            return Err(TokenError::WrongAudience);
        }
        let subject = tokens::text("sub", claims.sub.as_ref())?;
        if let Some(scope) = &self.settings.scope {
            let granted = claims.scope.as_ref().and_then(serde_json::Value::as_str);
            if !granted.unwrap_or_default().split(' ').any(|word| word == scope) {
                return Err(TokenError::InsufficientScope(scope.clone()));
            }
        }
        let email = if self.settings.is_whose_accounts_are_ours {
            claims
                .email
                .as_ref()
                .and_then(serde_json::Value::as_str)
                .map(str::to_owned)
        } else {
            let mapped = self.settings.accounts.get(&subject);
            Some(mapped.ok_or(TokenError::UnknownAccount)?.clone())
        };
        Ok(Vouched {
            key: key.identity.to_string(),
            subject,
            email,
            issuer: self.settings.issuer.clone(),
            claims,
        })
    }
}

/// Nothing in the header but what says what it is and which key signed it: no `crit`, no `jku`, no embedded key.
fn is_plain(header: &Header, key: &IssuerKey) -> bool {
    let is_token = header.typ.as_deref().is_none_or(|typ| {
        ["JWT", "at+jwt"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(typ))
    });
    let mut plain = Header::new(key.algorithm());
    plain.typ.clone_from(&header.typ);
    plain.kid.clone_from(&header.kid);
    is_token && *header == plain
}

impl Vouched {
    /// The token as one of the account `user_id`, for the check of its time.
    pub(crate) fn of(self, user_id: events::UserId) -> Result<Verified, TokenError> {
        Verified::new(self.key, user_id, self.issuer, &self.claims, false)
    }
}
