//! The `enc:1:` form of an encrypted field.
//!
//! `enc:1:` + base64(12 random bytes) + `.` + base64(AES-256-GCM ciphertext and tag) of the value's JSON. Other
//! programs read and write the same bytes, so the form never changes; a better one gets another number.

use aes_gcm::aead::{Aead as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const PREFIX: &str = "enc:1:";

/// A stored field that cannot be read. The text never holds the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// It is marked with a version of the form that this program does not read.
    #[error("it is sealed in a form this server does not read")]
    UnknownForm,
    /// It is not in the form its mark promises.
    #[error("it is not a well-formed sealed value")]
    Malformed,
    /// The key does not fit, or somebody changed it.
    #[error("it does not open with the space's key: it was changed, or sealed with another key")]
    Tampered,
}

/// Seals `value` with `key`. A nonce must never be used twice with one key.
#[expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "unreachable below 64 GiB"
)]
pub fn seal(key: &[u8; 32], value: &Value, nonce: [u8; 12]) -> String {
    // Unwrap safety: AES-GCM refuses only plaintexts beyond 64 GiB, and bodies are limited to a few MiB.
    let sealed = Aes256Gcm::new(key.into())
        .encrypt(&Nonce::from(nonce), value.to_string().as_bytes())
        .expect("plaintexts are far below the cipher's limit");
    format!("{PREFIX}{}.{}", STANDARD.encode(nonce), STANDARD.encode(sealed))
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`FieldError`] when `text` is not such a value, or not of this key.
pub fn open(key: &[u8; 32], text: &str) -> Result<Value, FieldError> {
    let body = text.strip_prefix(PREFIX).ok_or(FieldError::UnknownForm)?;
    let (nonce, sealed) = body.split_once('.').ok_or(FieldError::Malformed)?;
    let nonce: [u8; 12] = STANDARD
        .decode(nonce)
        .ok()
        .and_then(|nonce| nonce.try_into().ok())
        .ok_or(FieldError::Malformed)?;
    let sealed = STANDARD.decode(sealed).map_err(|_| FieldError::Malformed)?;
    let json = Aes256Gcm::new(key.into())
        .decrypt(&Nonce::from(nonce), sealed.as_slice())
        .map_err(|_| FieldError::Tampered)?;
    serde_json::from_slice(&json).map_err(|_| FieldError::Malformed)
}

/// Seals a field on its way to the log; null needs no secret and passes through.
pub(crate) fn seal_field(key: &[u8; 32], value: &Value, nonce: [u8; 12]) -> Value {
    if value.is_null() {
        Value::Null
    } else {
        Value::String(seal(key, value, nonce))
    }
}

/// Opens a field on its way from the tables. A value without the mark was stored as plaintext and passes through.
pub(crate) fn open_field(key: &[u8; 32], stored: &Value) -> Result<Value, FieldError> {
    match stored {
        Value::String(text) if is_marked(text) => open(key, text),
        plain => Ok(plain.clone()),
    }
}

/// Whether `text` begins like a sealed value of any version: `enc:`, digits, `:`.
fn is_marked(text: &str) -> bool {
    text.strip_prefix("enc:")
        .and_then(|rest| rest.split_once(':'))
        .is_some_and(|(version, _)| {
            !version.is_empty() && version.len() <= 4 && version.bytes().all(|byte| byte.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn null_and_plaintext_pass_through_unchanged() {
        assert_eq!(seal_field(&KEY, &Value::Null, [0; 12]), Value::Null);
        for plain in [
            json!(null),
            json!("Milch"),
            json!("enc:"),
            json!("enc:x:y"),
            json!(3),
            json!(["enc:1:"]),
        ] {
            assert_eq!(open_field(&KEY, &plain), Ok(plain));
        }
    }

    #[test]
    fn a_newer_form_is_an_error_and_never_shown_as_plaintext() {
        assert_eq!(
            open_field(&KEY, &json!("enc:2:AAAA.BBBB")),
            Err(FieldError::UnknownForm)
        );
    }

    #[test]
    fn broken_values_are_named_for_what_they_are() {
        for malformed in ["enc:1:", "enc:1:AAAA", "enc:1:AAAA.BBBB", "enc:1:!!.??"] {
            assert_eq!(open(&KEY, malformed), Err(FieldError::Malformed), "{malformed}");
        }
        let other_key = seal(&[8; 32], &json!("x"), [1; 12]);
        assert_eq!(open(&KEY, &other_key), Err(FieldError::Tampered));
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_any_changed_character_does_not(text in "\\PC{0,40}", nonce: [u8; 12], at in 0usize..64) {
            let sealed = seal(&KEY, &json!(text), nonce);
            prop_assert_eq!(open(&KEY, &sealed), Ok(json!(text)));
            let at = PREFIX.len() + at % (sealed.len() - PREFIX.len());
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            prop_assert!(open(&KEY, &String::from_utf8(changed).unwrap()).is_err());
        }
    }
}
