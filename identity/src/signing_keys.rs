//! The Ed25519 keys that sign tokens: made once, kept sealed, published as a key set.

mod rotation;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::Ids;
use jiff::Timestamp;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::database::{Db, Source, Tx, query, query_as};
use crate::error::{CryptoError, IdentityError};
use crate::key_ring::KeyRing;
use crate::seal::{self, KEY_BYTES, Label};
use crate::store;

pub use rotation::RotatedSigningKey;

/// The format of sealed seeds.
const SEAL_FORMAT: u32 = 1;

/// What stands before the 32-byte seed in the PKCS#8 form of an Ed25519 key (RFC 8410, section 7): the signing
/// library takes no bare seed.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The keys as they were read last. Another process on the same file may have made more; see `rotation`.
#[derive(Debug)]
pub(crate) struct SigningKeys {
    read: RwLock<Arc<Keys>>,
    /// When they were read, as time since the start.
    read_at: Mutex<Duration>,
}

/// Keys read at one time, the one whose turn comes last first; never empty.
#[derive(Debug)]
struct Keys(Vec<Arc<SigningKey>>);

/// One key. It signs and verifies EdDSA and nothing else, whatever a token says about itself.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pub(crate) private: EncodingKey,
    pub(crate) public: DecodingKey,
    public_bytes: Vec<u8>,
    /// From when on it signs.
    signs_from: Timestamp,
    /// When the last token it signed has ended.
    retires_at: Option<Timestamp>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

#[derive(sqlx::FromRow)]
struct SigningKeyRow {
    kid: String,
    public_key: Vec<u8>,
    sealed_seed: Vec<u8>,
    kek_id: String,
    signs_from: i64,
    retires_at: Option<i64>,
}

impl SigningKeys {
    /// Reads the stored keys; makes the first where there is none.
    pub(crate) async fn load_or_make(
        db: &Db,
        keks: &KeyRing,
        now: Timestamp,
        ids: &dyn Ids,
    ) -> Result<Self, IdentityError> {
        // One transaction that writes, so that two processes opening a new file make one key between them.
        let mut tx = db.begin().await?;
        let mut rows = stored(&mut tx).await?;
        if rows.is_empty() {
            let row = SigningKeyRow::make(&ids.uuid().to_string(), keks, now)?;
            row.insert(&mut tx, now).await?;
            rows.push(row);
        }
        tx.commit().await?;
        Ok(Self {
            read: RwLock::new(Arc::new(Keys::open(rows, keks)?)),
            read_at: Mutex::new(Duration::ZERO),
        })
    }

    /// The key that signs at `now`: of those whose turn has come the last one.
    pub(crate) fn signing(&self, now: Timestamp) -> Arc<SigningKey> {
        let keys = self.in_hand();
        let due = keys.0.iter().find(|key| key.signs_from <= now);
        // A clock that stands before every key's turn signs with the oldest. Unwrap safety: there is one at least.
        #[expect(clippy::expect_used, reason = "there is at least one key")]
        due.or(keys.0.last())
            .expect("there is at least one signing key")
            .clone()
    }

    /// The key called `kid`, which is compared and never interpreted; `None` for one whose last token has ended.
    pub(crate) fn find(&self, kid: &str, now: Timestamp) -> Option<Arc<SigningKey>> {
        let keys = self.in_hand();
        keys.0
            .iter()
            .find(|key| key.kid == kid && key.is_in_force(now))
            .cloned()
    }

    /// The public halves as a JSON Web Key Set (RFC 7517, RFC 8037), those that do not sign yet among them.
    pub(crate) fn jwks(&self, now: Timestamp) -> Value {
        let keys: Vec<Value> = self
            .in_hand()
            .0
            .iter()
            .filter(|key| key.is_in_force(now))
            .map(|key| {
                json!({
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "alg": "EdDSA",
                    "use": "sig",
                    "kid": key.kid,
                    "x": URL_SAFE_NO_PAD.encode(&key.public_bytes),
                })
            })
            .collect();
        json!({ "keys": keys })
    }

    fn in_hand(&self) -> Arc<Keys> {
        Arc::clone(&self.read.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Keys {
    fn open(rows: Vec<SigningKeyRow>, keks: &KeyRing) -> Result<Self, IdentityError> {
        let opened: Result<Vec<_>, _> = rows
            .into_iter()
            .map(|row| SigningKey::open(row, keks).map(Arc::new))
            .collect();
        Ok(Self(opened?))
    }
}

impl SigningKey {
    fn is_in_force(&self, now: Timestamp) -> bool {
        self.retires_at.is_none_or(|retires_at| now < retires_at)
    }

    fn open(row: SigningKeyRow, keks: &KeyRing) -> Result<Self, IdentityError> {
        let seed = seal::open(keks, label(&row.kid), &row.kek_id, &row.sealed_seed)?;
        let bad_key = || CryptoError::BadSigningKey { kid: row.kid.clone() };
        // Refuses a public key that is not this seed's: we would publish what we do not sign with.
        Ed25519KeyPair::from_seed_and_public_key(seed.as_slice(), &row.public_key).map_err(|_| bad_key())?;
        let mut pkcs8 = Zeroizing::new([0; PKCS8_PREFIX.len() + KEY_BYTES]);
        pkcs8[..PKCS8_PREFIX.len()].copy_from_slice(&PKCS8_PREFIX);
        pkcs8[PKCS8_PREFIX.len()..].copy_from_slice(seed.as_slice());
        Ok(Self {
            private: EncodingKey::from_ed_der(pkcs8.as_slice()),
            public: DecodingKey::from_ed_der(&row.public_key),
            signs_from: store::instant(row.signs_from, "signing_keys.signs_from")?,
            retires_at: row
                .retires_at
                .map(|at| store::instant(at, "signing_keys.retires_at"))
                .transpose()?,
            kid: row.kid,
            public_bytes: row.public_key,
        })
    }
}

impl SigningKeyRow {
    fn make(kid: &str, keks: &KeyRing, signs_from: Timestamp) -> Result<Self, IdentityError> {
        let seed = seal::random_key()?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
            .map_err(|_| CryptoError::BadSigningKey { kid: kid.to_owned() })?;
        Ok(Self {
            kid: kid.to_owned(),
            public_key: pair.public_key().as_ref().to_vec(),
            sealed_seed: seal::seal(keks.active(), label(kid), &seed)?,
            kek_id: keks.active().id().to_owned(),
            signs_from: signs_from.as_microsecond(),
            retires_at: None,
        })
    }

    async fn insert(&self, tx: &mut Tx, now: Timestamp) -> Result<(), IdentityError> {
        query(
            "-- insert_signing_key
             INSERT INTO signing_keys (
                 kid,
                 algorithm,
                 public_key,
                 sealed_seed,
                 kek_id,
                 created_at,
                 signs_from
             )
             VALUES ($1, 'EdDSA', $2, $3, $4, $5, $6)",
        )
        .bind(&self.kid)
        .bind(&self.public_key)
        .bind(&self.sealed_seed)
        .bind(&self.kek_id)
        .bind(now.as_microsecond())
        .bind(self.signs_from)
        .execute(tx)
        .await?;
        Ok(())
    }
}

async fn stored(db: impl Source) -> Result<Vec<SigningKeyRow>, IdentityError> {
    let rows = query_as(
        "-- signing_keys_newest_first
         SELECT
             kid,
             public_key,
             sealed_seed,
             kek_id,
             signs_from,
             retires_at
         FROM signing_keys
         ORDER BY
             signs_from DESC,
             created_at DESC,
             kid",
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

pub(crate) fn label(kid: &str) -> Label<'_> {
    Label {
        what: "a token signing key",
        owner: kid,
        format_version: SEAL_FORMAT,
        key_version: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::KeyEncryptionKey;
    use events::SystemIds;

    #[tokio::test]
    async fn the_newest_key_signs_and_every_key_is_found_and_published() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("identity.db").into()).await.unwrap();
        let kek = KeyRing::new(KeyEncryptionKey::new("k", [7; 32]));
        let mut tx = db.begin().await.unwrap();
        for (kid, made_at) in [("b", 1), ("c", 3), ("a", 2)] {
            let made_at = Timestamp::from_second(made_at).unwrap();
            let row = SigningKeyRow::make(kid, &kek, made_at).unwrap();
            row.insert(&mut tx, made_at).await.unwrap();
        }
        tx.commit().await.unwrap();
        let keys = SigningKeys::load_or_make(&db, &kek, Timestamp::UNIX_EPOCH, &SystemIds)
            .await
            .unwrap();
        let now = Timestamp::from_second(3).unwrap();
        assert_eq!(keys.signing(now).kid, "c");
        assert_eq!(keys.signing(Timestamp::from_second(2).unwrap()).kid, "a");
        assert!(["a", "b", "c"].iter().all(|kid| keys.find(kid, now).is_some()));
        assert!(keys.find("d", now).is_none());
        assert_eq!(keys.jwks(now)["keys"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_public_key_that_is_not_the_seeds_is_refused_by_the_keys_name() {
        let kek = KeyRing::new(KeyEncryptionKey::new("k", [7; 32]));
        let other = SigningKeyRow::make("theirs", &kek, Timestamp::UNIX_EPOCH).unwrap();
        let row = SigningKeyRow {
            public_key: other.public_key,
            ..SigningKeyRow::make("ours", &kek, Timestamp::UNIX_EPOCH).unwrap()
        };
        let error = SigningKey::open(row, &kek).unwrap_err();
        assert!(error.to_string().contains("\"ours\""), "{error}");
    }
}
