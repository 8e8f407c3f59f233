//! The public key of the runner that data keys are wrapped to.

use std::fmt;

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{CryptoError, IdentityError};
use crate::seal::KEY_BYTES;

/// Bits a key has, at least.
const BITS_MIN: usize = 2_048;

/// An RSA public key. What is wrapped with it (RSA-OAEP with SHA-256) only its private half opens.
pub struct RunnerKey(OaepPublicEncryptingKey);

impl fmt::Debug for RunnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunnerKey({} bits)", self.0.key_size_bits())
    }
}

impl RunnerKey {
    /// The key in `pem`: `-----BEGIN PUBLIC KEY-----` and its `SubjectPublicKeyInfo` in base64.
    ///
    /// # Errors
    /// [`IdentityError::InvalidField`] when it is none, or shorter than 2,048 bits.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        let refused = |reason: &str| IdentityError::InvalidField {
            field: "runner key",
            reason: reason.to_owned(),
        };
        let body: String = pem
            .lines()
            .map(str::trim)
            .skip_while(|line| *line != "-----BEGIN PUBLIC KEY-----")
            .skip(1)
            .take_while(|line| *line != "-----END PUBLIC KEY-----")
            .collect();
        let der = STANDARD
            .decode(body)
            .ok()
            .filter(|der| !der.is_empty())
            .ok_or_else(|| refused("must be a public key in PEM (`openssl rsa -pubout` writes it)"))?;
        let key = PublicEncryptingKey::from_der(&der)
            .ok()
            .and_then(|key| OaepPublicEncryptingKey::new(key).ok())
            .ok_or_else(|| refused("must be an RSA public key"))?;
        if key.key_size_bits() < BITS_MIN {
            return Err(refused("must have 2048 bits or more"));
        }
        Ok(Self(key))
    }

    /// `key` wrapped, in base64.
    pub(super) fn wrap(&self, key: &[u8; KEY_BYTES]) -> Result<String, IdentityError> {
        let mut wrapped = vec![0; self.0.ciphertext_size()];
        let wrapped = self
            .0
            .encrypt(&OAEP_SHA256_MGF1SHA256, key, &mut wrapped, None)
            .map_err(|_| CryptoError::NotSealed { what: "a data key" })?;
        Ok(STANDARD.encode(wrapped))
    }
}
