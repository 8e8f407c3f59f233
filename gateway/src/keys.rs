//! The keys of spaces, kept for a short while.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::{Clock, SpaceId};
use identity::{Identity, IdentityError, MasterKey};

use crate::tool::ToolError;

/// How long a key is kept. An erased vault stops opening anything after at most this time.
const KEPT_FOR: Duration = Duration::from_mins(5);
/// Keys kept at most; the oldest makes room.
const KEPT_MAX: usize = 1_024;

/// The key a space's fields are sealed with.
#[derive(Clone)]
pub(crate) struct SpaceKey(Arc<MasterKey>);

impl SpaceKey {
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0.key
    }
}

impl fmt::Debug for SpaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpaceKey(…)")
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct KeyCache {
    identity: Identity,
    clock: Arc<dyn Clock>,
    kept: Mutex<HashMap<SpaceId, (SpaceKey, Duration)>>,
}

impl KeyCache {
    pub(crate) fn new(identity: Identity, clock: Arc<dyn Clock>) -> Self {
        Self {
            identity,
            clock,
            kept: Mutex::default(),
        }
    }

    /// The key of `space`, from memory or from the vault.
    pub(crate) async fn get(&self, space: &SpaceId) -> Result<SpaceKey, ToolError> {
        let now = self.clock.monotonic();
        if let Some(key) = self.fresh(space, now) {
            return Ok(key);
        }
        let key = match self.identity.space_key(space).await {
            Ok(key) => SpaceKey(Arc::new(key)),
            Err(IdentityError::VaultNotInitialised) => {
                return Err(ToolError::Rejected(
                    "this space has no encryption vault yet; its owner makes one with POST /api/v1/me/encryption-vault/init"
                        .to_owned(),
                ));
            }
            Err(error) => {
                return Err(ToolError::failed(
                    "the space's key cannot be had right now; try again",
                    error,
                ));
            }
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (_, since)| now.saturating_sub(*since) < KEPT_FOR);
        if kept.len() >= KEPT_MAX
            && let Some(oldest) = kept
                .iter()
                .min_by_key(|(_, (_, since))| *since)
                .map(|(space, _)| space.clone())
        {
            kept.remove(&oldest);
        }
        kept.insert(space.clone(), (key.clone(), now));
        Ok(key)
    }

    fn fresh(&self, space: &SpaceId, now: Duration) -> Option<SpaceKey> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(space)
            .filter(|(_, since)| now.saturating_sub(*since) < KEPT_FOR)
            .map(|(key, _)| key.clone())
    }
}
