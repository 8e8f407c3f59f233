//! Texts that only we can read and only their owner can use: cursors and ids of stream events.

use std::sync::Arc;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::Ids;

const NONCE_BYTES: usize = 12;

/// Seals small facts into opaque texts. A text opens only where it is told for whom and for what it was made.
pub(crate) struct Seal {
    cipher: Aes256Gcm,
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
        let mut key = [0; 32];
        ids.fill(&mut key);
        Self {
            cipher: Aes256Gcm::new(&key.into()),
            ids,
        }
    }

    /// `fact` for `owner`, good for `purpose` alone.
    #[expect(clippy::expect_used, reason = "unreachable below 64 GiB")]
    pub(crate) fn seal(&self, purpose: &str, owner: &str, fact: &[u8]) -> String {
        let mut nonce = [0; NONCE_BYTES];
        self.ids.fill(&mut nonce);
        let aad = bound(purpose, owner);
        let payload = Payload { msg: fact, aad: &aad };
        // Unwrap safety: AES-GCM refuses only plaintexts beyond 64 GiB, and facts have a few bytes.
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), payload)
            .expect("facts are far below the cipher's limit");
        URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())
    }

    /// The fact in `text`, if it was sealed here for this purpose and owner.
    pub(crate) fn open(&self, purpose: &str, owner: &str, text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let aad = bound(purpose, owner);
        let payload = Payload {
            msg: sealed,
            aad: &aad,
        };
        self.cipher.decrypt(&Nonce::from(nonce), payload).ok()
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
