//! Tokens for a mounted server in the name of each user: RFC 8693, at the token endpoint the operator names.
//!
//! ```text
//!   principal ─▶ kept token, good for a while yet? ─────────────────────────────▶ Authorization at the server
//!                    │ no: one request, however many wait for it                        ▲
//!                    ▼                                                                  │
//!   subject token: our own statement to the endpoint, or the caller's token ─▶ token endpoint
//! ```
//!
//! What holds:
//! * A caller's token goes to the token endpoint alone, and there only where the operator says so. An endpoint that
//!   hands it back as what it has issued is refused.
//! * What one token was exchanged for is never used for another: a weaker token does not inherit a stronger one's.
//! * No token, no secret and no word of the endpoint's own is in an error, a log line or a metric.

mod request;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::{Clock, UserId};
use identity::Identity;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

pub(super) use self::request::ExchangeError;
use self::request::{Asked, Endpoint, Issued};
use super::credential::Bearer;
use super::settings::{SubjectToken, TokenExchange};
use crate::call::Principal;
use crate::telemetry;

/// Tokens kept at once, one a user where statements are exchanged.
const KEPT_MAX: usize = 4_096;
/// Requests to a token endpoint at once.
const REQUESTS_MAX: usize = 16;
/// How long a token is kept that does not say how long it is good for.
const UNSAID: Duration = Duration::from_mins(1);
/// How long any token is kept: what is withdrawn at the issuer must come to an end here.
const KEPT_FOR_MAX: Duration = Duration::from_hours(1);
/// How long before its end a token is no longer used; a tenth of its life where that is less.
const MARGIN_MAX: Duration = Duration::from_secs(30);
/// How long a refusal stands before the endpoint is asked again.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Exchange {
    mount: String,
    settings: TokenExchange,
    endpoint: Endpoint,
    identity: Identity,
    clock: Arc<dyn Clock>,
    requests: Semaphore,
    kept: Mutex<HashMap<Whom, Arc<Cell>>>,
}

/// Whom a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whom {
    /// Us, for asking what tools there are.
    Ourselves,
    /// A user; where its own token is exchanged, with the digest of that.
    User(UserId, Option<[u8; 32]>),
}

/// Held by whoever asks the endpoint for one token, so that it is asked once.
#[derive(Debug, Default)]
struct Cell(tokio::sync::Mutex<Kept>);

#[derive(Debug, Default)]
enum Kept {
    #[default]
    Nothing,
    /// Good until then, on the monotonic clock.
    Token(Arc<Bearer>, Duration),
    /// The endpoint said no, then.
    Refused(ExchangeError, Duration),
}

impl Exchange {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// The reason, for settings that cannot be meant.
    pub(super) fn try_new(
        mount: &str,
        settings: TokenExchange,
        identity: Identity,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        Ok(Self {
            mount: mount.to_owned(),
            endpoint: Endpoint::try_new(&settings)?,
            settings,
            identity,
            clock,
            requests: Semaphore::new(REQUESTS_MAX),
            kept: Mutex::default(),
        })
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Whom, Arc<Cell>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The credentials of `principal` at the server, or ours.
    ///
    /// # Errors
    /// [`ExchangeError`]: nothing may be sent in their name.
    pub(super) async fn bearer(&self, principal: Option<&Principal>) -> Result<Arc<Bearer>, ExchangeError> {
        let whom = self.whom(principal)?;
        let asked_at = self.clock.monotonic();
        let cell = self.cell(&whom)?;
        let mut kept = cell.0.lock().await;
        let now = self.clock.monotonic();
        match &*kept {
            Kept::Token(bearer, until) if now < *until => return Ok(bearer.clone()),
            // Whoever waited for this answer has it, and whoever asks right after it gets no other.
            Kept::Refused(error, at) if *at >= asked_at || now.saturating_sub(*at) < REFUSED_FOR => {
                return Err(error.clone());
            }
            _ => {}
        }
        let issued = self.ask(&whom, principal).await;
        let now = self.clock.monotonic();
        telemetry::token_exchange(
            &self.mount,
            issued.as_ref().map_or_else(ExchangeError::outcome, |_| "issued"),
        );
        match issued {
            Ok(Issued { bearer, expires_in }) => {
                let bearer = Arc::new(bearer);
                *kept = Kept::Token(bearer.clone(), now + kept_for(expires_in));
                Ok(bearer)
            }
            Err(error) => {
                *kept = Kept::Refused(error.clone(), now);
                Err(error)
            }
        }
    }

    /// Keeps `bearer` no longer: the server does not take it.
    pub(super) async fn forget(&self, principal: Option<&Principal>, bearer: &Arc<Bearer>) {
        let Ok(whom) = self.whom(principal) else { return };
        let cell = self.kept().get(&whom).cloned();
        if let Some(cell) = cell {
            let mut kept = cell.0.lock().await;
            if matches!(&*kept, Kept::Token(now, _) if Arc::ptr_eq(now, bearer)) {
                *kept = Kept::Nothing;
            }
        }
    }

    /// Keeps nothing of `user`.
    pub(super) fn forget_user(&self, user: &UserId) {
        self.kept()
            .retain(|whom, _| !matches!(whom, Whom::User(of, _) if of == user));
    }

    fn whom(&self, principal: Option<&Principal>) -> Result<Whom, ExchangeError> {
        let Some(principal) = principal else {
            return Ok(Whom::Ourselves);
        };
        let digest = match self.settings.subject {
            SubjectToken::Statement { .. } => None,
            SubjectToken::Callers => {
                let token = principal.token.as_ref().ok_or(ExchangeError::NoSubject)?;
                Some(Sha256::digest(token.expose_secret()).into())
            }
        };
        Ok(Whom::User(principal.user_id.clone(), digest))
    }

    fn cell(&self, whom: &Whom) -> Result<Arc<Cell>, ExchangeError> {
        let mut kept = self.kept();
        if kept.len() >= KEPT_MAX && !kept.contains_key(whom) {
            make_room(&mut kept, self.clock.monotonic());
            if kept.len() >= KEPT_MAX {
                return Err(ExchangeError::TooMany);
            }
        }
        Ok(kept.entry(whom.clone()).or_default().clone())
    }

    async fn ask(&self, whom: &Whom, principal: Option<&Principal>) -> Result<Issued, ExchangeError> {
        let asked = async {
            let _place = self.requests.acquire().await;
            let subject = self.subject(whom, principal).await?;
            let asked = subject
                .as_ref()
                .map_or(Asked::Ourselves, |(token, kind)| Asked::For { token, kind });
            self.endpoint.ask(&self.settings, asked).await
        };
        tokio::select! {
            issued = asked => issued,
            // A request given up is dropped; the endpoint may have issued what nobody uses.
            () = self.clock.sleep(request::WITHIN) => Err(ExchangeError::Unreachable),
        }
    }

    /// Whom the token is asked for, and what kind of token says so.
    async fn subject(
        &self,
        whom: &Whom,
        principal: Option<&Principal>,
    ) -> Result<Option<(SecretString, &'static str)>, ExchangeError> {
        let Whom::User(user, _) = whom else {
            return Ok(None);
        };
        match &self.settings.subject {
            SubjectToken::Callers => {
                let token = principal.and_then(|principal| principal.token.clone());
                let token = token.ok_or(ExchangeError::NoSubject)?;
                Ok(Some((token, request::ACCESS_TOKEN)))
            }
            SubjectToken::Statement { audience } => {
                let stated = self.identity.vouch(user, audience).await;
                let stated = stated.map_err(|error| {
                    tracing::error!(mount = %self.mount, %error, "no statement about an account could be made");
                    ExchangeError::NotVouched
                })?;
                Ok(Some((stated, request::JWT)))
            }
        }
    }
}

/// How long a token is used that is said to be good for `expires_in`.
fn kept_for(expires_in: Option<Duration>) -> Duration {
    let good_for = expires_in.unwrap_or(UNSAID).min(KEPT_FOR_MAX);
    good_for.saturating_sub(MARGIN_MAX.min(good_for / 10))
}

/// Takes out what is good for nothing any more, or else what will be first. What is being asked for stays.
fn make_room(kept: &mut HashMap<Whom, Arc<Cell>>, now: Duration) {
    let until = |cell: &Cell| match cell.0.try_lock().as_deref() {
        Ok(Kept::Token(_, until)) => Some(*until),
        Ok(Kept::Nothing | Kept::Refused(..)) => Some(Duration::ZERO),
        Err(_) => None,
    };
    kept.retain(|_, cell| Arc::strong_count(cell) > 1 || until(cell).is_none_or(|until| until > now));
    if kept.len() < KEPT_MAX {
        return;
    }
    let idle = kept.iter().filter(|(_, cell)| Arc::strong_count(cell) == 1);
    let first = idle.filter_map(|(whom, cell)| Some((until(cell)?, whom.clone())));
    if let Some((_, whom)) = first.min_by_key(|(until, _)| *until) {
        kept.remove(&whom);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_given_up_shortly_before_its_end() {
        let seconds = Duration::from_secs;
        for (said, kept) in [
            (Some(seconds(300)), seconds(270)),
            (Some(seconds(20)), seconds(18)),
            (Some(seconds(0)), seconds(0)),
            (None, seconds(54)),
            (Some(seconds(1_000_000)), seconds(3_570)),
        ] {
            assert_eq!(kept_for(said), kept, "{said:?}");
        }
    }

    #[test]
    fn a_full_table_loses_what_ends_first_and_nothing_that_is_being_asked_for() {
        let user = |n: usize| Whom::User(UserId::try_new(format!("user-{n}")).unwrap(), None);
        let cell = |until| {
            let bearer = Arc::new(Bearer::try_new("Bearer x").unwrap());
            Arc::new(Cell(tokio::sync::Mutex::new(Kept::Token(bearer, until))))
        };
        let mut kept: HashMap<_, _> = (0..KEPT_MAX)
            .map(|n| (user(n), cell(Duration::from_secs(100 + n as u64))))
            .collect();
        let asked_for = kept[&user(0)].clone();
        make_room(&mut kept, Duration::from_secs(1));
        assert_eq!(kept.len(), KEPT_MAX - 1);
        assert!(kept.contains_key(&user(0)) && !kept.contains_key(&user(1)));
        drop(asked_for);
        make_room(&mut kept, Duration::from_hours(24));
        assert!(kept.is_empty());
    }
}
