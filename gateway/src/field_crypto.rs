//! The forms of an encrypted field.
//!
//! `enc:1:` + base64(12 random bytes) + `.` + base64(AES-256-GCM ciphertext and tag) of the value's JSON. Other
//! programs read and write the same bytes, so the form never changes. It opens wherever it is put.
//!
//! `enc:2:` is the same with associated data that names space, table, record and field, each with its length in front:
//! it opens in its own place and nowhere else. See docs/adr/0015 for when which is written.

use std::fmt;

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use zeroize::optimization_barrier;

/// Bytes of the tag behind a ciphertext, and characters of a nonce in base64.
const TAG_BYTES: usize = 16;
const NONCE_CHARS: usize = 16;

const SHARED: &str = "enc:1:";
const BOUND: &str = "enc:2:";

/// Where an encrypted field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldPlace<'a> {
    /// The space.
    pub space: &'a str,
    /// The table.
    pub table: &'a str,
    /// The record.
    pub record: &'a str,
    /// The field.
    pub field: &'a str,
}

impl FieldPlace<'_> {
    /// The place as associated data: no two places give the same bytes.
    fn associated_data(&self) -> Vec<u8> {
        let parts = [
            "dramatis field",
            BOUND,
            self.space,
            self.table,
            self.record,
            self.field,
        ];
        let mut data = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

/// Which form is written, and which are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldForm {
    /// Writes `enc:1:`, for clients that know no other; reads both.
    Shared,
    /// Writes `enc:2:`; reads both, so that what is there can be read until it is sealed anew.
    Bound,
    /// Writes `enc:2:` and reads nothing else that is sealed: what was moved is refused whatever its form.
    BoundOnly,
}

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
    /// Neither key nor place fit, or somebody changed it.
    #[error("it does not open here: it was moved from another place, changed, or sealed with another key")]
    Misplaced,
    /// It is sealed in the form that can be moved, which is not accepted any more.
    #[error("it is sealed in a form that is not bound to its place, which this server no longer accepts")]
    Unbound,
}

impl FieldError {
    /// A stable word for metrics and records.
    pub fn reason(self) -> &'static str {
        match self {
            Self::UnknownForm => "unknown-form",
            Self::Malformed => "malformed",
            Self::Tampered => "tampered",
            Self::Misplaced => "misplaced",
            Self::Unbound => "unbound",
        }
    }
}

/// A key made ready: what has to be computed of it is computed once. Wiped when dropped.
#[derive(Clone)]
pub struct FieldCipher(Aes256Gcm);

impl fmt::Debug for FieldCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FieldCipher(…)")
    }
}

impl FieldCipher {
    /// The cipher of a key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Seals `value` in the form that opens anywhere. A nonce must never be used twice with one key.
    pub fn seal(&self, value: &Value, nonce: [u8; 12]) -> String {
        self.sealed(SHARED, value, nonce, &[])
    }

    /// Seals `value` for `place`. A nonce must never be used twice with one key.
    pub fn seal_bound(&self, value: &Value, nonce: [u8; 12], place: FieldPlace<'_>) -> String {
        self.sealed(BOUND, value, nonce, &place.associated_data())
    }

    /// Opens what [`FieldCipher::seal`] made.
    ///
    /// # Errors
    /// [`FieldError`] when `text` is not such a value, or not of this key.
    pub fn open(&self, text: &str) -> Result<Value, FieldError> {
        let body = text.strip_prefix(SHARED).ok_or(FieldError::UnknownForm)?;
        self.opened(Body::of(body)?, &[])?.ok_or(FieldError::Tampered)
    }

    /// Opens what [`FieldCipher::seal_bound`] made for `place`.
    ///
    /// # Errors
    /// [`FieldError`] when `text` is not such a value, or not of this key, or not of this place.
    pub fn open_bound(&self, text: &str, place: FieldPlace<'_>) -> Result<Value, FieldError> {
        let body = text.strip_prefix(BOUND).ok_or(FieldError::UnknownForm)?;
        self.opened(Body::of(body)?, &place.associated_data())?
            .ok_or(FieldError::Misplaced)
    }

    #[expect(clippy::expect_used, reason = "unreachable below 64 GiB")]
    fn sealed(&self, mark: &str, value: &Value, nonce: [u8; 12], aad: &[u8]) -> String {
        let mut sealed = written(value);
        // Unwrap safety: AES-GCM refuses only plaintexts beyond 64 GiB, and bodies are limited to a few MiB.
        self.0
            .encrypt_in_place(&Nonce::from(nonce), aad, &mut sealed)
            .expect("plaintexts are far below the cipher's limit");
        let mut text = String::with_capacity(mark.len() + NONCE_CHARS + 1 + sealed.len().div_ceil(3) * 4);
        text.push_str(mark);
        STANDARD.encode_string(nonce, &mut text);
        text.push('.');
        STANDARD.encode_string(&sealed, &mut text);
        text
    }

    /// The value in `body`; `None` when the tag does not hold. What was decrypted is wiped.
    fn opened(&self, body: Body, aad: &[u8]) -> Result<Option<Value>, FieldError> {
        let mut json = body.sealed;
        let nonce = Nonce::from(body.nonce);
        if self.0.decrypt_in_place(&nonce, aad, &mut json).is_err() {
            return Ok(None);
        }
        let value = serde_json::from_slice(&json);
        wipe(&mut json);
        value.map(Some).map_err(|_| FieldError::Malformed)
    }
}

/// Overwrites `bytes`, all at once: `Zeroize` goes byte by byte, which costs as much as parsing them.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    optimization_barrier(bytes);
}

/// A value as JSON, with room for the tag behind it.
fn written(value: &Value) -> Vec<u8> {
    let longest = value.as_str().map_or(64, str::len);
    let mut json = Vec::with_capacity(longest + longest / 8 + 2 + TAG_BYTES);
    // Writing a value to memory cannot fail: its keys are text.
    let _ = serde_json::to_writer(&mut json, value);
    json
}

/// What stands behind the mark, taken apart.
#[derive(Clone, Default)]
struct Body {
    nonce: [u8; 12],
    sealed: Vec<u8>,
}

impl Body {
    fn of(text: &str) -> Result<Self, FieldError> {
        let (nonce, sealed) = text.split_once('.').ok_or(FieldError::Malformed)?;
        let nonce: [u8; 12] = STANDARD
            .decode(nonce)
            .ok()
            .and_then(|nonce| nonce.try_into().ok())
            .ok_or(FieldError::Malformed)?;
        let sealed = STANDARD.decode(sealed).map_err(|_| FieldError::Malformed)?;
        Ok(Self { nonce, sealed })
    }
}

/// As [`FieldCipher::seal`], with a key that is used once.
pub fn seal(key: &[u8; 32], value: &Value, nonce: [u8; 12]) -> String {
    FieldCipher::new(key).seal(value, nonce)
}

/// As [`FieldCipher::seal_bound`], with a key that is used once.
pub fn seal_bound(key: &[u8; 32], value: &Value, nonce: [u8; 12], place: FieldPlace<'_>) -> String {
    FieldCipher::new(key).seal_bound(value, nonce, place)
}

/// As [`FieldCipher::open`], with a key that is used once.
///
/// # Errors
/// See there.
pub fn open(key: &[u8; 32], text: &str) -> Result<Value, FieldError> {
    FieldCipher::new(key).open(text)
}

/// As [`FieldCipher::open_bound`], with a key that is used once.
///
/// # Errors
/// See there.
pub fn open_bound(key: &[u8; 32], text: &str, place: FieldPlace<'_>) -> Result<Value, FieldError> {
    FieldCipher::new(key).open_bound(text, place)
}

/// Seals a field on its way to the log; null needs no secret and passes through.
pub(crate) fn seal_field(
    form: FieldForm,
    cipher: &FieldCipher,
    value: &Value,
    nonce: [u8; 12],
    place: FieldPlace<'_>,
) -> Value {
    match (value, form) {
        (Value::Null, _) => Value::Null,
        (value, FieldForm::Shared) => Value::String(cipher.seal(value, nonce)),
        (value, FieldForm::Bound | FieldForm::BoundOnly) => {
            Value::String(cipher.seal_bound(value, nonce, place))
        }
    }
}

/// A field that was opened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OpenedField {
    /// What it says.
    pub(crate) value: Value,
    /// Whether it stands as it would be written now: in today's form, with today's key.
    pub(crate) is_current: bool,
}

/// Opens a field on its way from the tables with the first of `ciphers` that fits; the first one is today's. A value
/// without the mark was stored as plaintext and passes through.
pub(crate) fn open_field<'a>(
    form: FieldForm,
    ciphers: impl IntoIterator<Item = &'a FieldCipher>,
    stored: &Value,
    place: FieldPlace<'_>,
) -> Result<OpenedField, FieldError> {
    let text = match stored {
        Value::String(text) if is_marked(text) => text,
        plain => {
            return Ok(OpenedField {
                value: plain.clone(),
                is_current: plain.is_null(),
            });
        }
    };
    let (body, aad, is_form_of_today) = if let Some(body) = text.strip_prefix(BOUND) {
        (body, place.associated_data(), form != FieldForm::Shared)
    } else if let Some(body) = text.strip_prefix(SHARED) {
        if form == FieldForm::BoundOnly {
            return Err(FieldError::Unbound);
        }
        (body, Vec::new(), form == FieldForm::Shared)
    } else {
        return Err(FieldError::UnknownForm);
    };
    // Each cipher works on a copy of its own but for the last, which is the only one nearly always.
    let mut body = Body::of(body)?;
    let mut ciphers = ciphers.into_iter().enumerate().peekable();
    while let Some((at, cipher)) = ciphers.next() {
        let copy = if ciphers.peek().is_some() {
            body.clone()
        } else {
            std::mem::take(&mut body)
        };
        if let Some(value) = cipher.opened(copy, &aad)? {
            return Ok(OpenedField {
                value,
                is_current: at == 0 && is_form_of_today,
            });
        }
    }
    Err(if aad.is_empty() {
        FieldError::Tampered
    } else {
        FieldError::Misplaced
    })
}

/// Whether `value` is sealed, and not in the form that is written now.
pub(crate) fn is_other_form(form: FieldForm, value: &Value) -> bool {
    let today = match form {
        FieldForm::Shared => SHARED,
        FieldForm::Bound | FieldForm::BoundOnly => BOUND,
    };
    value
        .as_str()
        .is_some_and(|text| is_marked(text) && !text.starts_with(today))
}

/// Whether a field may be stored as it is where sealed ones belong: it is marked as sealed, or null.
pub(crate) fn is_sealed_or_null(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(is_marked)
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
    const OTHER: [u8; 32] = [8; 32];
    const HERE: FieldPlace<'static> = FieldPlace {
        space: "anna",
        table: "tasks",
        record: "r1",
        field: "title",
    };

    fn read(form: FieldForm, stored: &Value) -> Result<OpenedField, FieldError> {
        open_field(form, [&FieldCipher::new(&KEY)], stored, HERE)
    }

    #[test]
    fn null_and_plaintext_pass_through_unchanged() {
        for form in [FieldForm::Shared, FieldForm::Bound, FieldForm::BoundOnly] {
            assert_eq!(
                seal_field(form, &FieldCipher::new(&KEY), &Value::Null, [0; 12], HERE),
                Value::Null
            );
            for plain in [
                json!(null),
                json!("Milch"),
                json!("enc:"),
                json!("enc:x:y"),
                json!(3),
                json!(["enc:1:"]),
            ] {
                assert_eq!(read(form, &plain).unwrap().value, plain);
            }
        }
    }

    #[test]
    fn a_newer_form_is_an_error_and_never_shown_as_plaintext() {
        let newer = json!("enc:3:AAAA.BBBB");
        assert_eq!(read(FieldForm::Bound, &newer), Err(FieldError::UnknownForm));
    }

    #[test]
    fn broken_values_are_named_for_what_they_are() {
        for malformed in ["enc:1:", "enc:1:AAAA", "enc:1:AAAA.BBBB", "enc:1:!!.??"] {
            assert_eq!(open(&KEY, malformed), Err(FieldError::Malformed), "{malformed}");
        }
        let other_key = seal(&OTHER, &json!("x"), [1; 12]);
        assert_eq!(open(&KEY, &other_key), Err(FieldError::Tampered));
    }

    #[test]
    fn a_bound_value_opens_in_its_own_place_and_in_no_other() {
        let sealed = seal_bound(&KEY, &json!("Milch"), [1; 12], HERE);
        assert_eq!(open_bound(&KEY, &sealed, HERE), Ok(json!("Milch")));
        for elsewhere in [
            FieldPlace { space: "ben", ..HERE },
            FieldPlace {
                table: "notes",
                ..HERE
            },
            FieldPlace { record: "r2", ..HERE },
            FieldPlace {
                field: "description",
                ..HERE
            },
            // The same letters with the borders elsewhere.
            FieldPlace {
                space: "annat",
                table: "asks",
                ..HERE
            },
        ] {
            let opened = open_bound(&KEY, &sealed, elsewhere);
            assert_eq!(opened, Err(FieldError::Misplaced), "{elsewhere:?}");
        }
        // Nor as the form that is not bound, which would open anywhere.
        let relabelled = sealed.replacen("enc:2:", "enc:1:", 1);
        assert_eq!(open(&KEY, &relabelled), Err(FieldError::Tampered));
    }

    #[test]
    fn each_form_reads_what_it_should_and_knows_what_is_to_be_sealed_anew() {
        let shared = json!(seal(&KEY, &json!("x"), [1; 12]));
        let bound = json!(seal_bound(&KEY, &json!("x"), [2; 12], HERE));
        let opened = |is_current| {
            Ok(OpenedField {
                value: json!("x"),
                is_current,
            })
        };
        assert_eq!(read(FieldForm::Shared, &shared), opened(true));
        assert_eq!(read(FieldForm::Shared, &bound), opened(false));
        assert_eq!(read(FieldForm::Bound, &shared), opened(false));
        assert_eq!(read(FieldForm::Bound, &bound), opened(true));
        assert_eq!(read(FieldForm::BoundOnly, &shared), Err(FieldError::Unbound));
        assert_eq!(read(FieldForm::BoundOnly, &bound), opened(true));
        let ciphers = [FieldCipher::new(&OTHER), FieldCipher::new(&KEY)];
        let with_past_key = open_field(FieldForm::Bound, &ciphers, &bound, HERE);
        assert_eq!(with_past_key, opened(false), "sealed with a key that was rotated");
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_any_changed_character_does_not(text in "\\PC{0,40}", nonce: [u8; 12], at in 0usize..64) {
            for sealed in [seal(&KEY, &json!(text), nonce), seal_bound(&KEY, &json!(text), nonce, HERE)] {
                let opened = |sealed: String| read(FieldForm::Bound, &json!(sealed)).map(|field| field.value);
                prop_assert_eq!(opened(sealed.clone()), Ok(json!(text)));
                let at = SHARED.len() + at % (sealed.len() - SHARED.len());
                let mut changed = sealed.into_bytes();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                prop_assert!(opened(String::from_utf8(changed).unwrap()).is_err());
            }
        }
    }
}
