//! Keys at rest: AES-256-GCM under the key-encryption key, bound to what they are and whom they belong to.
//!
//! A sealed key is `nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes)`. The associated data names its purpose, the
//! key-encryption key, its owner and its format, each with its length in front; a row moved to another owner or
//! another column therefore does not open. Random 96-bit nonces are good for 2³² seals under one key (NIST
//! SP 800-38D), far above the number of accounts.

use std::fmt;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::{CryptoError, IdentityError};
use crate::key_ring::KeyRing;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;

const NONCE_BYTES: usize = 12;

/// The key that seals all other keys. It comes from configuration and is never stored beside what it seals.
pub struct KeyEncryptionKey {
    id: String,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl KeyEncryptionKey {
    /// The key `bytes` under the name `id`, which is stored beside everything sealed with it.
    pub fn new(id: impl Into<String>, mut bytes: [u8; 32]) -> Self {
        let key = Self {
            id: id.into(),
            bytes: Zeroizing::new(bytes),
        };
        bytes.zeroize();
        key
    }

    /// A key for `purpose` made of this one.
    pub(crate) fn derived(&self, purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        crate::derived::derive(&self.bytes, purpose)
    }

    /// The name of the key.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyEncryptionKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What a sealed key is, whose, and in which format: the associated data of its seal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label<'a> {
    /// In words, for errors; also tells apart the keys of one owner.
    pub(crate) what: &'static str,
    /// The id of the account or key it belongs to.
    pub(crate) owner: &'a str,
    /// The format of the sealed key.
    pub(crate) format_version: u32,
    /// Which of its owner's keys of this purpose it is, from 1: an earlier one put in a later one's place does not
    /// open. The first one's seal does not say so, because first keys were sealed before there were others.
    pub(crate) key_version: u32,
}

impl Label<'_> {
    fn associated_data(&self, kek_id: &str) -> Vec<u8> {
        let version = self.format_version.to_string();
        let key_version = self.key_version.to_string();
        let mut parts = vec!["dramatis identity", self.what, kek_id, self.owner, &version];
        if self.key_version > 1 {
            parts.push(&key_version);
        }
        let mut data = Vec::new();
        for part in parts {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

/// A fresh random key.
///
/// Keys come straight from the operating system and never from `events::Ids`, which may be seeded.
pub(crate) fn random_key() -> Result<Zeroizing<[u8; KEY_BYTES]>, IdentityError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(key.as_mut_slice()).map_err(|_| CryptoError::NoRandomness)?;
    Ok(key)
}

/// `key` sealed under `kek`.
pub(crate) fn seal(
    kek: &KeyEncryptionKey,
    label: Label<'_>,
    key: &[u8; KEY_BYTES],
) -> Result<Vec<u8>, IdentityError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| CryptoError::NoRandomness)?;
    let aad = label.associated_data(&kek.id);
    let ciphertext = Aes256Gcm::new((&*kek.bytes).into())
        .encrypt(&Nonce::from(nonce), Payload { msg: key, aad: &aad })
        .map_err(|_| CryptoError::NotSealed { what: label.what })?;
    Ok([nonce.as_slice(), &ciphertext].concat())
}

/// The key that [`seal`] sealed with the key-encryption key called `sealed_with`.
///
/// # Errors
/// [`IdentityError::WrongKeyEncryptionKey`] when that is none of the configured ones, and
/// [`CryptoError::DoesNotOpen`] when it is, by name, but the seal does not hold.
pub(crate) fn open(
    keks: &KeyRing,
    label: Label<'_>,
    sealed_with: &str,
    sealed: &[u8],
) -> Result<Zeroizing<[u8; KEY_BYTES]>, IdentityError> {
    let kek = keks
        .find(sealed_with)
        .ok_or_else(|| IdentityError::WrongKeyEncryptionKey {
            what: label.what,
            sealed_with: sealed_with.to_owned(),
            configured: keks.ids().join("\", \""),
        })?;
    open_here(kek, label, sealed).ok_or_else(|| {
        CryptoError::DoesNotOpen {
            what: label.what,
            kek_id: kek.id.clone(),
        }
        .into()
    })
}

fn open_here(kek: &KeyEncryptionKey, label: Label<'_>, sealed: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let aad = label.associated_data(&kek.id);
    let plaintext = Aes256Gcm::new((&*kek.bytes).into())
        .decrypt(
            &Nonce::from(*nonce),
            Payload {
                msg: ciphertext,
                aad: &aad,
            },
        )
        .ok()?;
    let plaintext = Zeroizing::new(plaintext);
    Some(Zeroizing::new(plaintext.as_slice().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LABEL: Label<'static> = Label {
        what: "a master key",
        owner: "anna",
        format_version: 1,
        key_version: 1,
    };

    fn ring() -> KeyRing {
        KeyRing::new(kek())
    }

    fn kek() -> KeyEncryptionKey {
        KeyEncryptionKey::new("k1", [7; 32])
    }

    proptest! {
        #[test]
        fn a_sealed_key_opens_again_and_with_any_bit_flipped_does_not(
            key in any::<[u8; 32]>(),
            bit in 0usize..60 * 8,
        ) {
            let mut sealed = seal(&kek(), LABEL, &key).unwrap();
            prop_assert_eq!(*open(&ring(), LABEL, "k1", &sealed).unwrap(), key);
            prop_assert!(!sealed.windows(8).any(|window| window == &key[..8]));
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(open(&ring(), LABEL, "k1", &sealed).is_err());
        }
    }

    #[test]
    fn a_sealed_key_does_not_open_for_another_owner_purpose_format_or_version() {
        let sealed = seal(&kek(), LABEL, &[1; 32]).unwrap();
        for moved in [
            Label {
                owner: "ben",
                ..LABEL
            },
            Label {
                what: "a signing key",
                ..LABEL
            },
            Label {
                format_version: 2,
                ..LABEL
            },
            Label {
                key_version: 2,
                ..LABEL
            },
        ] {
            let error = open(&ring(), moved, "k1", &sealed).unwrap_err();
            assert!(
                matches!(error, IdentityError::Crypto(CryptoError::DoesNotOpen { .. })),
                "{moved:?}: {error}"
            );
        }
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        assert_ne!(
            seal(&kek(), LABEL, &[1; 32]).unwrap(),
            seal(&kek(), LABEL, &[1; 32]).unwrap()
        );
    }

    #[test]
    fn truncated_seals_are_refused() {
        let sealed = seal(&kek(), LABEL, &[1; 32]).unwrap();
        for length in 0..sealed.len() {
            assert!(open(&ring(), LABEL, "k1", &sealed[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn debug_shows_the_name_of_the_key_only() {
        assert_eq!(format!("{:?}", kek()), "KeyEncryptionKey { id: \"k1\", .. }");
    }
}
