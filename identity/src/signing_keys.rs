//! The Ed25519 keys that sign tokens: made once, kept sealed, published as a key set.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::Ids;
use jiff::Timestamp;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::{Value, json};
use sqlx::{SqliteConnection, SqlitePool};
use zeroize::Zeroizing;

use crate::error::{CryptoError, IdentityError};
use crate::key_ring::KeyRing;
use crate::seal::{self, KEY_BYTES, Label};
use crate::store;

/// The format of sealed seeds.
const SEAL_FORMAT: u32 = 1;

/// What stands before the 32-byte seed in the PKCS#8 form of an Ed25519 key (RFC 8410, section 7): the signing
/// library takes no bare seed.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// All keys, newest first; never empty.
#[derive(Debug)]
pub(crate) struct SigningKeys {
    newest: SigningKey,
    older: Vec<SigningKey>,
}

/// One key. It signs and verifies EdDSA and nothing else, whatever a token says about itself.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pub(crate) private: EncodingKey,
    pub(crate) public: DecodingKey,
    public_bytes: Vec<u8>,
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
}

impl SigningKeys {
    /// Reads the stored keys; makes the first where there is none.
    pub(crate) async fn load_or_make(
        db: &SqlitePool,
        keks: &KeyRing,
        now: Timestamp,
        ids: &dyn Ids,
    ) -> Result<Self, IdentityError> {
        // One transaction that writes, so that two processes opening a new file make one key between them.
        let mut tx = store::begin(db).await?;
        let mut rows = stored(&mut tx).await?;
        if rows.is_empty() {
            let row = SigningKeyRow::make(&ids.uuid().to_string(), keks)?;
            row.insert(&mut tx, now).await?;
            rows.push(row);
        }
        tx.commit().await?;
        let mut opened = rows.into_iter().map(|row| SigningKey::open(row, keks));
        // Unwrap safety: a row was pushed where there was none.
        #[expect(clippy::expect_used, reason = "there is at least one row")]
        let newest = opened.next().expect("there is at least one signing key")?;
        Ok(Self {
            newest,
            older: opened.collect::<Result<_, _>>()?,
        })
    }

    /// The key that signs.
    pub(crate) fn newest(&self) -> &SigningKey {
        &self.newest
    }

    /// The key called `kid`, which is compared and never interpreted.
    pub(crate) fn find(&self, kid: &str) -> Option<&SigningKey> {
        self.all().find(|key| key.kid == kid)
    }

    /// The public halves as a JSON Web Key Set (RFC 7517, RFC 8037).
    pub(crate) fn jwks(&self) -> Value {
        let keys: Vec<Value> = self
            .all()
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

    fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.newest).chain(&self.older)
    }
}

impl SigningKey {
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
            kid: row.kid,
            public_bytes: row.public_key,
        })
    }
}

impl SigningKeyRow {
    fn make(kid: &str, keks: &KeyRing) -> Result<Self, IdentityError> {
        let seed = seal::random_key()?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
            .map_err(|_| CryptoError::BadSigningKey { kid: kid.to_owned() })?;
        Ok(Self {
            kid: kid.to_owned(),
            public_key: pair.public_key().as_ref().to_vec(),
            sealed_seed: seal::seal(keks.active(), label(kid), &seed)?,
            kek_id: keks.active().id().to_owned(),
        })
    }

    async fn insert(&self, tx: &mut SqliteConnection, now: Timestamp) -> Result<(), IdentityError> {
        sqlx::query(
            "-- insert_signing_key
             INSERT INTO signing_keys (
                 kid,
                 algorithm,
                 public_key,
                 sealed_seed,
                 kek_id,
                 created_at
             )
             VALUES ($1, 'EdDSA', $2, $3, $4, $5)",
        )
        .bind(&self.kid)
        .bind(&self.public_key)
        .bind(&self.sealed_seed)
        .bind(&self.kek_id)
        .bind(now.as_microsecond())
        .execute(tx)
        .await?;
        Ok(())
    }
}

async fn stored(tx: &mut SqliteConnection) -> Result<Vec<SigningKeyRow>, IdentityError> {
    let rows = sqlx::query_as(
        "-- signing_keys_newest_first
         SELECT
             kid,
             public_key,
             sealed_seed,
             kek_id
         FROM signing_keys
         ORDER BY
             created_at DESC,
             kid",
    )
    .fetch_all(tx)
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
        let db = store::open(&dir.path().join("identity.db")).await.unwrap();
        let kek = KeyRing::new(KeyEncryptionKey::new("k", [7; 32]));
        let mut tx = store::begin(&db).await.unwrap();
        for (kid, made_at) in [("b", 1), ("c", 3), ("a", 2)] {
            let row = SigningKeyRow::make(kid, &kek).unwrap();
            row.insert(&mut tx, Timestamp::from_second(made_at).unwrap())
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        let keys = SigningKeys::load_or_make(&db, &kek, Timestamp::UNIX_EPOCH, &SystemIds)
            .await
            .unwrap();
        assert_eq!(keys.newest().kid, "c");
        assert!(["a", "b", "c"].iter().all(|kid| keys.find(kid).is_some()));
        assert!(keys.find("d").is_none());
        assert_eq!(keys.jwks()["keys"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_public_key_that_is_not_the_seeds_is_refused_by_the_keys_name() {
        let kek = KeyRing::new(KeyEncryptionKey::new("k", [7; 32]));
        let other = SigningKeyRow::make("theirs", &kek).unwrap();
        let row = SigningKeyRow {
            public_key: other.public_key,
            ..SigningKeyRow::make("ours", &kek).unwrap()
        };
        let error = SigningKey::open(row, &kek).unwrap_err();
        assert!(error.to_string().contains("\"ours\""), "{error}");
    }
}
