//! One issuer's keys, kept and fetched again: once however many ask, never more often because of what a token says,
//! and gone within a minute of being withdrawn.
//!
//! | the set in hand is | a key in it | a key not in it |
//! |---|---|---|
//! | younger than 30 s | used | asked for anew, once in 30 s at most |
//! | younger than 60 s | used; the first who asks fetches, the others do not wait | likewise |
//! | older | waited for | likewise |
//!
//! When the issuer does not answer, the keys in hand go on for an hour, and it is asked again after five seconds.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use events::Clock;
use tokio::sync::Mutex;

use super::KeySetSource;
use super::key_set::{self, IssuerKey, TokenAlgorithm};
use crate::authenticate::TokenError;
use crate::telemetry;

/// From when on a set is fetched anew by whoever comes first.
const FRESH_FOR: Duration = Duration::from_secs(30);
/// How long a set is used without asking the issuer.
const USED_FOR: Duration = Duration::from_mins(1);
/// How long it is used when the issuer does not answer.
const STALE_FOR: Duration = Duration::from_hours(1);
/// How often a key that is not in the set makes us fetch, at most.
const UNKNOWN_EVERY: Duration = Duration::from_secs(30);
/// Pause after a fetch that failed.
const FAILED_PAUSE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct IssuerKeys {
    // dependencies
    source: Arc<dyn KeySetSource>,
    clock: Arc<dyn Clock>,
    // configuration
    url: String,
    algorithms: Vec<TokenAlgorithm>,
    // state
    set: RwLock<Option<Set>>,
    /// Held while somebody fetches.
    fetching: Mutex<Fetches>,
}

#[derive(Debug, Clone)]
struct Set {
    keys: Arc<HashMap<String, IssuerKey>>,
    fetched: Duration,
}

#[derive(Debug, Default)]
struct Fetches {
    failed: Option<Duration>,
    for_unknown: Option<Duration>,
}

impl IssuerKeys {
    pub(super) fn new(
        url: String,
        algorithms: Vec<TokenAlgorithm>,
        source: Arc<dyn KeySetSource>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            source,
            clock,
            url,
            algorithms,
            set: RwLock::default(),
            fetching: Mutex::default(),
        }
    }

    /// The key called `kid`, asking the issuer for one that is not known where that is not too often.
    pub(super) async fn find(&self, kid: &str) -> Result<Option<IssuerKey>, TokenError> {
        let set = self.current().await?;
        if let Some(key) = set.keys.get(kid) {
            return Ok(Some(key.clone()));
        }
        let mut fetches = self.fetching.lock().await;
        let asked = self.clock.monotonic();
        // Whoever had the lock before may have fetched it.
        let is_newer = self
            .in_hand()
            .is_some_and(|now| !Arc::ptr_eq(&now.keys, &set.keys));
        let is_too_soon = fetches
            .for_unknown
            .is_some_and(|at| asked.saturating_sub(at) < UNKNOWN_EVERY);
        if !is_newer && !is_too_soon {
            fetches.for_unknown = Some(asked);
            self.fetch(&mut fetches).await;
        }
        Ok(self.in_hand().and_then(|set| set.keys.get(kid).cloned()))
    }

    /// Whether the key that `identity` tells from all others is in force now.
    pub(super) async fn still_has(&self, identity: &str) -> Result<bool, TokenError> {
        let set = self.current().await?;
        Ok(set.keys.values().any(|key| *key.identity == *identity))
    }

    fn in_hand(&self) -> Option<Set> {
        self.set.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn age(&self, set: &Set) -> Duration {
        self.clock.monotonic().saturating_sub(set.fetched)
    }

    /// A set that is young enough.
    async fn current(&self) -> Result<Set, TokenError> {
        match self.in_hand() {
            Some(set) if self.age(&set) < FRESH_FOR => return Ok(set),
            Some(set) if self.age(&set) < USED_FOR => {
                let Ok(mut fetches) = self.fetching.try_lock() else {
                    return Ok(set);
                };
                self.fetch(&mut fetches).await;
            }
            _ => {
                let mut fetches = self.fetching.lock().await;
                // Whoever had the lock before may have fetched it.
                if self.in_hand().is_none_or(|set| self.age(&set) >= FRESH_FOR) {
                    self.fetch(&mut fetches).await;
                }
            }
        }
        self.in_hand()
            .filter(|set| self.age(set) < STALE_FOR)
            .ok_or(TokenError::KeysUnavailable)
    }

    /// Asks the issuer, unless it just failed to answer. The keys in hand stay when it does not.
    async fn fetch(&self, fetches: &mut Fetches) {
        let asked = self.clock.monotonic();
        if fetches
            .failed
            .is_some_and(|at| asked.saturating_sub(at) < FAILED_PAUSE)
        {
            return;
        }
        let body = self.source.fetch(&self.url).await;
        match body.and_then(|body| key_set::parse(&body, &self.algorithms)) {
            Ok(keys) => {
                telemetry::keys_fetched(true);
                fetches.failed = None;
                // Counted from when it was asked: what was withdrawn since may be in it.
                let set = Set {
                    keys: Arc::new(keys),
                    fetched: asked,
                };
                *self.set.write().unwrap_or_else(PoisonError::into_inner) = Some(set);
            }
            Err(reason) => {
                telemetry::keys_fetched(false);
                fetches.failed = Some(self.clock.monotonic());
                tracing::warn!(url = self.url, reason, "an issuer's keys could not be fetched");
            }
        }
    }
}
