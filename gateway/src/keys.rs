//! The keys of spaces, kept for a short while.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::{Clock, SpaceId};
use identity::{Identity, IdentityError, MasterKey};

use crate::tool::ToolError;

/// How long a key is kept. A vault that another process erased stops opening anything after at most this time.
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
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    keys: HashMap<SpaceId, (SpaceKey, Duration)>,
    /// How often all were forgotten: a key that was read before is not kept after.
    forgotten: u64,
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
        let forgotten = {
            let kept = self.kept();
            if let Some(key) = kept.fresh(space, now) {
                return Ok(key);
            }
            kept.forgotten
        };
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
        let mut kept = self.kept();
        if kept.forgotten == forgotten {
            kept.keep(space, &key, now);
        }
        Ok(key)
    }

    /// Forgets every key.
    pub(crate) fn forget_all(&self) {
        let mut kept = self.kept();
        kept.keys.clear();
        kept.forgotten += 1;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn fresh(&self, space: &SpaceId, now: Duration) -> Option<SpaceKey> {
        self.keys
            .get(space)
            .filter(|(_, since)| now.saturating_sub(*since) < KEPT_FOR)
            .map(|(key, _)| key.clone())
    }

    fn keep(&mut self, space: &SpaceId, key: &SpaceKey, now: Duration) {
        self.keys
            .retain(|_, (_, since)| now.saturating_sub(*since) < KEPT_FOR);
        if self.keys.len() >= KEPT_MAX
            && let Some(oldest) = self
                .keys
                .iter()
                .min_by_key(|(_, (_, since))| *since)
                .map(|(space, _)| space.clone())
        {
            self.keys.remove(&oldest);
        }
        self.keys.insert(space.clone(), (key.clone(), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::testing::sample_time;
    use events::{ManualClock, SystemIds};
    use identity::{
        AccountKind, IdentitySettings, KeyEncryptionKey, NewSpace, PasswordCost, Registration, Role,
        SpaceRole, SpaceType, Tier,
    };

    async fn identity(dir: &tempfile::TempDir, clock: Arc<ManualClock>) -> Identity {
        let settings = IdentitySettings {
            database: dir.path().join("identity.sqlite"),
            kek: KeyEncryptionKey::new("test", [3; 32]),
            issuer: "http://127.0.0.1:3069".to_owned(),
            audiences: vec!["mana".to_owned()],
            token_ttl: Duration::from_mins(10),
            password_cost: PasswordCost::Fast,
        };
        Identity::open(settings, clock, Arc::new(SystemIds))
            .await
            .unwrap()
    }

    async fn register(identity: &Identity, name: &str) -> identity::Account {
        let registration = Registration {
            email: format!("{name}@mana.test"),
            password: "correct horse battery".into(),
            name: None,
            kind: AccountKind::Human,
            role: Role::User,
            tier: Tier::Free,
            time_zone: None,
        };
        identity.register(registration).await.unwrap()
    }

    #[tokio::test]
    async fn a_space_that_changed_its_owner_is_sealed_with_the_new_ones_key_once_keys_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(sample_time()));
        let identity = identity(&dir, clock.clone()).await;
        let (anna, ben) = (
            register(&identity, "anna").await,
            register(&identity, "ben").await,
        );
        let team = NewSpace {
            name: "Team".to_owned(),
            space_type: SpaceType::Team,
        };
        let space = identity.create_space(&anna.id, team).await.unwrap().space_id;
        identity
            .add_member(&space, &ben.id, SpaceRole::Member)
            .await
            .unwrap();
        let keys = KeyCache::new(identity.clone(), clock);
        let annas = *keys.get(&space).await.unwrap().bytes();
        identity.delete_account(&anna.id).await.unwrap();
        assert_eq!(*keys.get(&space).await.unwrap().bytes(), annas, "it is kept");
        keys.forget_all();
        let bens = *identity.vault_key(&ben.id).await.unwrap().key;
        assert_eq!(*keys.get(&space).await.unwrap().bytes(), bens);
    }
}
