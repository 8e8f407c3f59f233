//! A fingerprint of everything that is stored of one message: subject, headers and body, of whatever subject.
//!
//! The chain is in the log and covers what its writer meant; a seal is kept outside the log by whoever reads it first
//! and covers what was there. So a commit that is changed, moved, dropped or put in later differs from its seal at its
//! own place, even when all of the log was written anew with links that fit.
//!
//! ```text
//! seal = first 6 bytes of SHA-256("dramatis.subject.1" ‖ subject)
//!      ‖ first 12 bytes of SHA-256("dramatis.seal.1" ‖ subject ‖ headers in the order of their names ‖ body)
//! ```
//!
//! The part of the subject says whose commit it was once that is gone.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

const SUBJECT_BYTES: usize = 6;
const CONTENT_BYTES: usize = 12;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seal {
    subject: SubjectTag,
    content: [u8; CONTENT_BYTES],
}

/// The part of a seal that is the same for all messages on one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectTag([u8; SUBJECT_BYTES]);

/// Text that is not a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a seal is {} characters of unpadded URL-safe base64", Seal::CHARS)]
pub struct InvalidSeal;

impl Seal {
    /// Characters of a seal as text.
    pub const CHARS: usize = 24;

    /// The seal of a message with `parts` beside its subject: names and values of its headers in turn, then the body.
    pub(crate) fn of<'a>(subject: &'a str, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Sha256::new_with_prefix(b"dramatis.seal.1");
        for part in [subject.as_bytes()].into_iter().chain(parts) {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self {
            subject: SubjectTag::of(subject),
            content: prefix(hasher),
        }
    }

    /// What tells the subject of its message.
    pub fn subject(&self) -> SubjectTag {
        self.subject
    }
}

impl SubjectTag {
    /// That of `subject`.
    pub fn of(subject: &str) -> Self {
        let hasher = Sha256::new_with_prefix(b"dramatis.subject.1");
        Self(prefix(hasher.chain_update(subject.as_bytes())))
    }
}

fn prefix<const N: usize>(hasher: Sha256) -> [u8; N] {
    let hash: [u8; 32] = hasher.finalize().into();
    std::array::from_fn(|at| hash[at])
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; SUBJECT_BYTES + CONTENT_BYTES];
        bytes[..SUBJECT_BYTES].copy_from_slice(&self.subject.0);
        bytes[SUBJECT_BYTES..].copy_from_slice(&self.content);
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Seal {
    type Err = InvalidSeal;

    fn from_str(text: &str) -> Result<Self, InvalidSeal> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidSeal)?;
        let (subject, content) = bytes.split_at_checked(SUBJECT_BYTES).ok_or(InvalidSeal)?;
        Ok(Self {
            subject: SubjectTag(subject.try_into().map_err(|_| InvalidSeal)?),
            content: content.try_into().map_err(|_| InvalidSeal)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seal(subject: &str, parts: &[&str]) -> Seal {
        Seal::of(subject, parts.iter().map(|part| part.as_bytes()))
    }

    #[test]
    fn a_seal_tells_messages_apart_by_subject_by_part_and_by_where_parts_end() {
        let sealed = seal("a", &["b", "c"]);
        for other in [
            seal("x", &["b", "c"]),
            seal("a", &["bc"]),
            seal("a", &["b", "c", ""]),
            seal("a", &["c", "b"]),
        ] {
            assert_ne!(sealed, other);
        }
        assert_eq!(sealed.subject(), SubjectTag::of("a"));
        assert_eq!(sealed.subject(), seal("a", &[]).subject());
        assert_ne!(sealed.subject(), seal("b", &["b", "c"]).subject());
    }

    proptest! {
        #[test]
        fn a_seal_survives_the_way_to_text_and_back(subject in "\\PC{1,20}", body in "\\PC{0,20}") {
            let sealed = seal(&subject, &[&body]);
            let text = sealed.to_string();
            prop_assert_eq!(text.len(), Seal::CHARS);
            prop_assert_eq!(text.parse(), Ok(sealed));
            prop_assert_eq!(text[1..].parse::<Seal>(), Err(InvalidSeal));
        }
    }
}
