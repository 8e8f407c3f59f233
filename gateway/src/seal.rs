//! Texts that only we can read and only their owner can use: cursors and ids of stream events.

use std::sync::Arc;

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::Ids;
use hmac::{Hmac, KeyInit as _, Mac as _};
use identity::Identity;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Half of a text's random beginning makes its key, the other half is the nonce under that key.
const NONCE_BYTES: usize = 12;
const RANDOM_BYTES: usize = 2 * NONCE_BYTES;
/// What the key is for, among those that can be made of the house's secret.
const PURPOSE: &str = "gateway seal";

/// Seals small facts into opaque texts. A text opens only where it is told for whom and for what it was made.
///
/// The key outlives processes and is the same in all that share their secret, so that a cursor given out by one is good
/// at another. Each text has a key of its own, made of that and of random bytes: so there is no end to how many may be
/// sealed, which there is with random nonces under one key (2³², NIST SP 800-38D).
pub(crate) struct Seal {
    key: Zeroizing<[u8; 32]>,
    ids: Arc<dyn Ids>,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// With a key that lives as long as this process.
    pub(crate) fn new(ids: Arc<dyn Ids>) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        ids.fill(key.as_mut_slice());
        Self { key, ids }
    }

    /// With the key of all processes that share `identity`'s secret.
    pub(crate) fn shared(identity: &Identity, ids: Arc<dyn Ids>) -> Self {
        Self {
            key: identity.derived_key(PURPOSE),
            ids,
        }
    }

    /// The cipher for the text that begins with `random`, and its nonce.
    #[expect(clippy::expect_used, reason = "any key will do")]
    fn cipher(&self, random: &[u8; RANDOM_BYTES]) -> (Aes256Gcm, [u8; NONCE_BYTES]) {
        let (of_key, of_nonce) = random.split_at(NONCE_BYTES);
        // Unwrap safety: HMAC takes keys of every length.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_slice()).expect("HMAC takes any key");
        mac.update(of_key);
        let key = mac.finalize().into_bytes();
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(of_nonce);
        (Aes256Gcm::new(&key), nonce)
    }

    /// `fact` for `owner`, good for `purpose` alone.
    #[expect(clippy::expect_used, reason = "unreachable below 64 GiB")]
    pub(crate) fn seal(&self, purpose: &str, owner: &str, fact: &[u8]) -> String {
        let mut random = [0; RANDOM_BYTES];
        self.ids.fill(&mut random);
        let (cipher, nonce) = self.cipher(&random);
        let aad = bound(purpose, owner);
        let payload = Payload { msg: fact, aad: &aad };
        // Unwrap safety: AES-GCM refuses only plaintexts beyond 64 GiB, and facts have a few bytes.
        let sealed = cipher
            .encrypt(&Nonce::from(nonce), payload)
            .expect("facts are far below the cipher's limit");
        URL_SAFE_NO_PAD.encode([&random[..], &sealed].concat())
    }

    /// The fact in `text`, if it was sealed here for this purpose and owner.
    pub(crate) fn open(&self, purpose: &str, owner: &str, text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (random, sealed) = bytes.split_first_chunk::<RANDOM_BYTES>()?;
        let (cipher, nonce) = self.cipher(random);
        let aad = bound(purpose, owner);
        let payload = Payload {
            msg: sealed,
            aad: &aad,
        };
        cipher.decrypt(&Nonce::from(nonce), payload).ok()
    }
}

/// Purposes are words of ours without a zero byte, so no two pairs give the same bytes.
fn bound(purpose: &str, owner: &str) -> Vec<u8> {
    [purpose.as_bytes(), &[0], owner.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::SystemIds;

    #[test]
    fn a_sealed_text_opens_for_its_owner_and_purpose_alone() {
        let seal = Seal::new(Arc::new(SystemIds));
        let text = seal.seal("cursor", "anna", b"7");
        assert_eq!(seal.open("cursor", "anna", &text).as_deref(), Some(&b"7"[..]));
        assert_eq!(seal.open("cursor", "ben", &text), None);
        assert_eq!(seal.open("event", "anna", &text), None);
        assert_ne!(text, seal.seal("cursor", "anna", b"7"), "nothing can be compared");
        let elsewhere = Seal::new(Arc::new(SystemIds));
        assert_eq!(elsewhere.open("cursor", "anna", &text), None);
    }

    #[test]
    fn a_text_of_somebody_elses_making_opens_nothing() {
        let seal = Seal::new(Arc::new(SystemIds));
        for text in ["", "0", "7", "not base64!", &"A".repeat(16), &"A".repeat(400)] {
            assert_eq!(seal.open("cursor", "anna", text), None, "{text}");
        }
    }
}
