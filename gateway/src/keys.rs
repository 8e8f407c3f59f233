//! The keys of spaces, kept for a short while.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::{Clock, SpaceId, UserId};
use identity::{Identity, IdentityError, SpaceKeys};

use crate::field_crypto::FieldCipher;
use crate::tool::ToolError;

/// How long a key is kept. A vault that another process changed stops opening anything after at most this time.
const KEPT_FOR: Duration = Duration::from_mins(5);
/// Keys kept at most; the oldest makes room.
const KEPT_MAX: usize = 1_024;
/// Seals set aside at once of what a key may still seal.
const SEALS_BLOCK: u32 = 4_096;

/// The codes of a space whose key only its owner has, and of one that is not there any more.
pub(crate) const ZERO_KNOWLEDGE_CODE: &str = "ZERO_KNOWLEDGE";
pub(crate) const SPACE_GONE: &str = "SPACE_GONE";

/// What a zero-knowledge account's encrypted tools say.
const ZERO_KNOWLEDGE: &str = "this space's text is end-to-end encrypted with a key that only its owner's own app has, \
    so this server can neither read nor write it; use the app for it. Tools without encrypted fields, such as habits \
    and spaces, go on as before";

/// The keys a space's fields are sealed with.
#[derive(Clone)]
pub(crate) struct SpaceKey(Arc<Held>);

struct Held {
    keys: SpaceKeys,
    /// Of those keys, today's first.
    ciphers: Vec<FieldCipher>,
    /// Seals set aside and not used yet.
    seals: AtomicU32,
}

impl SpaceKey {
    fn new(keys: SpaceKeys) -> Self {
        let all = std::iter::once(&keys.current).chain(&keys.past);
        Self(Arc::new(Held {
            ciphers: all.map(|key| FieldCipher::new(&key.key)).collect(),
            keys,
            seals: AtomicU32::new(0),
        }))
    }

    /// The bytes of the key that seals what is new.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0.keys.current.key
    }

    /// Seals what is new, made ready.
    pub(crate) fn cipher(&self) -> &FieldCipher {
        &self.0.ciphers[0]
    }

    /// Open what is there: today's key, then those before it.
    pub(crate) fn all(&self) -> &[FieldCipher] {
        &self.0.ciphers
    }

    /// Whose keys they are.
    pub(crate) fn owner(&self) -> &UserId {
        &self.0.keys.owner
    }

    /// Takes `seals` of those set aside; says false where there are fewer.
    fn take(&self, seals: u32) -> bool {
        self.0
            .seals
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(seals))
            .is_ok()
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
    /// How often keys had changed when these were read.
    changes: u64,
}

impl KeyCache {
    pub(crate) fn new(identity: Identity, clock: Arc<dyn Clock>) -> Self {
        Self {
            identity,
            clock,
            kept: Mutex::default(),
        }
    }

    /// The keys of `space`, from memory or from the vault.
    ///
    /// # Errors
    /// [`ToolError::Refused`] with `ZERO_KNOWLEDGE` where only the owner has them.
    pub(crate) async fn get(&self, space: &SpaceId) -> Result<SpaceKey, ToolError> {
        let now = self.clock.monotonic();
        let changes = self.identity.key_changes();
        if let Some(key) = self.kept().fresh(space, now, changes) {
            return Ok(key);
        }
        let keys = self.identity.space_keys(space).await.map_err(refusal)?;
        let key = SpaceKey::new(keys);
        // What was read before a change is not kept after it.
        if self.identity.key_changes() == changes {
            self.kept().keep(space, &key, now);
        }
        Ok(key)
    }

    /// Sets aside `seals` of what `key` may still seal: to be called before sealing as many fields with it.
    ///
    /// # Errors
    /// [`ToolError::Refused`] with `KEY_EXHAUSTED` where the key has sealed as much as one key safely can.
    pub(crate) async fn reserve(&self, key: &SpaceKey, seals: u32) -> Result<(), ToolError> {
        if key.take(seals) {
            return Ok(());
        }
        let block = SEALS_BLOCK.max(seals);
        self.identity
            .reserve_seals(key.owner(), block)
            .await
            .map_err(refusal)?;
        key.0.seals.fetch_add(block - seals, Ordering::SeqCst);
        Ok(())
    }

    /// Lets go of what was kept long enough or has changed, whether or not anybody asks for it.
    pub(crate) fn sweep(&self) {
        let changes = self.identity.key_changes();
        let mut kept = self.kept();
        if kept.changes != changes {
            kept.keys.clear();
            kept.changes = changes;
        }
        kept.let_old_ones_go(self.clock.monotonic());
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The key, unless keys have changed since: then all of them are let go.
    fn fresh(&mut self, space: &SpaceId, now: Duration, changes: u64) -> Option<SpaceKey> {
        if self.changes != changes {
            self.keys.clear();
            self.changes = changes;
        }
        let (key, since) = self.keys.get(space)?;
        if now.saturating_sub(*since) < KEPT_FOR {
            return Some(key.clone());
        }
        self.let_old_ones_go(now);
        None
    }

    fn let_old_ones_go(&mut self, now: Duration) {
        self.keys
            .retain(|_, (_, since)| now.saturating_sub(*since) < KEPT_FOR);
    }

    fn keep(&mut self, space: &SpaceId, key: &SpaceKey, now: Duration) {
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

/// What a caller is told who cannot have a key.
fn refusal(error: IdentityError) -> ToolError {
    match error {
        IdentityError::VaultNotInitialised => ToolError::Rejected(
            "this space has no encryption vault yet; its owner makes one with POST /api/v1/me/encryption-vault/init"
                .to_owned(),
        ),
        IdentityError::ZeroKnowledge => ToolError::Refused {
            code: ZERO_KNOWLEDGE_CODE,
            reason: ZERO_KNOWLEDGE.to_owned(),
        },
        IdentityError::NotFound => ToolError::Refused {
            code: SPACE_GONE,
            reason: "this space was deleted; spaces.list shows yours".to_owned(),
        },
        IdentityError::OwnerAway => ToolError::Refused {
            code: "OWNER_AWAY",
            reason: IdentityError::OwnerAway.to_string(),
        },
        IdentityError::KeyExhausted => ToolError::Refused {
            code: "KEY_EXHAUSTED",
            reason: IdentityError::KeyExhausted.to_string(),
        },
        error => ToolError::failed("the space's key cannot be had right now; try again", error),
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
            database: dir.path().join("identity.sqlite").into(),
            keks: KeyEncryptionKey::new("test", [3; 32]).into(),
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

    async fn vault(name: &str) -> (Identity, KeyCache, identity::Account, SpaceId, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(sample_time()));
        let identity = identity(&dir, clock.clone()).await;
        let account = register(&identity, name).await;
        let space = identity.personal_space(&account.id).await.unwrap();
        let keys = KeyCache::new(identity.clone(), clock);
        (identity, keys, account, space, dir)
    }

    async fn times_read(identity: &Identity, owner: &UserId) -> usize {
        let acts = identity.acts(Some(owner), None, 100).await.unwrap();
        acts.iter()
            .filter(|act| act.act == identity::Act::VaultRead)
            .count()
    }

    #[tokio::test]
    async fn a_space_that_changed_its_owner_is_sealed_with_the_new_ones_key_at_once() {
        let (identity, keys, anna, _, _dir) = vault("anna").await;
        let ben = register(&identity, "ben").await;
        let team = NewSpace {
            name: "Team".to_owned(),
            space_type: SpaceType::Team,
        };
        let space = identity.create_space(&anna.id, team).await.unwrap().space_id;
        identity
            .add_member(&space, &ben.id, SpaceRole::Member)
            .await
            .unwrap();
        keys.get(&space).await.unwrap();
        identity.delete_account(&anna.id).await.unwrap();
        let bens = *identity.vault_key(&ben.id).await.unwrap().key;
        assert_eq!(*keys.get(&space).await.unwrap().bytes(), bens);
    }

    #[tokio::test]
    async fn a_key_is_read_once_in_five_minutes_and_every_reading_is_on_record() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(sample_time()));
        let identity = identity(&dir, clock.clone()).await;
        let anna = register(&identity, "anna").await;
        let space = identity.personal_space(&anna.id).await.unwrap();
        let keys = KeyCache::new(identity.clone(), clock.clone());
        keys.get(&space).await.unwrap();
        clock.advance(KEPT_FOR.saturating_sub(Duration::from_millis(1)));
        keys.get(&space).await.unwrap();
        assert_eq!(times_read(&identity, &anna.id).await, 1);
        clock.advance(Duration::from_millis(1));
        keys.get(&space).await.unwrap();
        assert_eq!(times_read(&identity, &anna.id).await, 2);
    }

    #[tokio::test]
    async fn a_rotated_key_is_not_used_again_and_still_opens_what_it_sealed() {
        let (identity, keys, anna, space, _dir) = vault("anna").await;
        let before = *keys.get(&space).await.unwrap().bytes();
        identity.vault_rotate(&anna.id).await.unwrap();
        let after = keys.get(&space).await.unwrap();
        assert_ne!(*after.bytes(), before);
        let (value, nonce) = (serde_json::json!("x"), [1; 12]);
        let sealed_before = crate::field_crypto::seal(&before, &value, nonce);
        assert_eq!(after.all()[1].open(&sealed_before).unwrap(), value);
        identity.destroy_past_keys(&anna.id).await.unwrap();
        assert_eq!(keys.get(&space).await.unwrap().all().len(), 1);
    }

    #[tokio::test]
    async fn zero_knowledge_takes_the_key_away_at_once_and_says_so_in_a_word_for_programs() {
        let (identity, keys, anna, space, _dir) = vault("anna").await;
        let key = keys.get(&space).await.unwrap();
        let wrap = identity::RecoveryWrap {
            wrapped_key: "AAAA".to_owned(),
            iv: "AAAA".to_owned(),
        };
        identity.set_recovery_wrap(&anna.id, &wrap).await.unwrap();
        identity.zero_knowledge_on(&anna.id).await.unwrap();
        let refused = keys.get(&space).await.unwrap_err();
        assert!(
            matches!(
                refused,
                ToolError::Refused {
                    code: "ZERO_KNOWLEDGE",
                    ..
                }
            ),
            "{refused}"
        );
        identity
            .zero_knowledge_off(&anna.id, (*key.bytes()).into())
            .await
            .unwrap();
        assert_eq!(keys.get(&space).await.unwrap().bytes(), key.bytes());
    }

    #[tokio::test]
    async fn a_key_that_sealed_all_it_may_seals_nothing_more_until_it_is_rotated() {
        let (identity, keys, anna, space, _dir) = vault("anna").await;
        let key = keys.get(&space).await.unwrap();
        keys.reserve(&key, 3).await.unwrap();
        // All but a part of a block.
        identity
            .reserve_seals(&anna.id, (1 << 30) - SEALS_BLOCK - 100)
            .await
            .unwrap();
        keys.reserve(&key, SEALS_BLOCK - 3).await.unwrap();
        let refused = keys.reserve(&key, 1).await.unwrap_err();
        assert!(
            matches!(
                refused,
                ToolError::Refused {
                    code: "KEY_EXHAUSTED",
                    ..
                }
            ),
            "{refused}"
        );
        identity.vault_rotate(&anna.id).await.unwrap();
        let key = keys.get(&space).await.unwrap();
        keys.reserve(&key, 1).await.unwrap();
    }
}
