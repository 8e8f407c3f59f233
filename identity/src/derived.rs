//! Keys that everybody who has the key-encryption key can make, and nobody else.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use crate::Identity;
use crate::seal::KEY_BYTES;

/// What all derivations of this program have in common and no other program's have.
const SALT: &[u8] = b"dramatis derived key 1";

struct Bytes;

impl KeyType for Bytes {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

impl Identity {
    /// The key for `purpose`, the same in every process with the same active key-encryption key, and of no use for
    /// finding out that one or the key for anything else (HKDF-SHA256). It changes when that one is replaced.
    pub fn derived_key(&self, purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        self.inner.keks.active().derived(purpose)
    }
}

/// The key for `purpose` from `secret`.
#[expect(clippy::expect_used, reason = "unreachable below 255 times the hash's length")]
pub(crate) fn derive(secret: &[u8; KEY_BYTES], purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
    let pseudorandom = Salt::new(HKDF_SHA256, SALT).extract(secret);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    // Unwrap safety: HKDF refuses only lengths beyond 255 times the hash's, and this is once.
    pseudorandom
        .expand(&[purpose.as_bytes()], Bytes)
        .and_then(|output| output.fill(key.as_mut_slice()))
        .expect("one key is not too long");
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::room;

    #[tokio::test]
    async fn a_key_is_the_same_wherever_its_secret_is_and_another_for_every_purpose() {
        let ((one, _dir), (other, _other_dir)) = (room().await, room().await);
        assert_eq!(one.derived_key("seal"), other.derived_key("seal"));
        assert_ne!(one.derived_key("seal"), one.derived_key("sea"));
        assert_ne!(derive(&[1; 32], "seal"), derive(&[2; 32], "seal"));
        assert_ne!(*derive(&[1; 32], "seal"), [0; 32]);
        assert_ne!(*derive(&[1; 32], "seal"), [1; 32]);
    }
}
