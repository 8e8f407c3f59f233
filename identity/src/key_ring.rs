//! The key-encryption keys that are live at once: one seals, all of them open.

use std::fmt;

use crate::error::IdentityError;
use crate::seal::KeyEncryptionKey;

/// Key-encryption keys by name. A key is taken out of use in three steps, none of which interrupts anybody: put the new
/// one first and keep the old one beside it, rewrap what the old one seals ([`crate::Identity::rewrap`]), then leave the
/// old one out.
pub struct KeyRing {
    active: KeyEncryptionKey,
    older: Vec<KeyEncryptionKey>,
}

impl KeyRing {
    /// A ring whose only key seals and opens.
    pub fn new(active: KeyEncryptionKey) -> Self {
        Self {
            active,
            older: Vec::new(),
        }
    }

    /// The same ring with `older`, which opens what it sealed before and seals nothing new.
    ///
    /// # Errors
    /// [`IdentityError::InvalidField`] when a key of that name is in the ring: two keys of one name could not be told
    /// apart by what they sealed.
    pub fn try_with(mut self, older: KeyEncryptionKey) -> Result<Self, IdentityError> {
        if self.find(older.id()).is_some() {
            return Err(IdentityError::InvalidField {
                field: "key-encryption key",
                reason: format!("\"{}\" is named twice", older.id()),
            });
        }
        self.older.push(older);
        Ok(self)
    }

    /// The key that seals.
    pub(crate) fn active(&self) -> &KeyEncryptionKey {
        &self.active
    }

    /// The key of that name.
    pub(crate) fn find(&self, id: &str) -> Option<&KeyEncryptionKey> {
        std::iter::once(&self.active)
            .chain(&self.older)
            .find(|key| key.id() == id)
    }

    /// The names of all keys, the sealing one first.
    pub fn ids(&self) -> Vec<&str> {
        std::iter::once(&self.active)
            .chain(&self.older)
            .map(KeyEncryptionKey::id)
            .collect()
    }
}

impl From<KeyEncryptionKey> for KeyRing {
    fn from(active: KeyEncryptionKey) -> Self {
        Self::new(active)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&self.ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_finds_each_key_by_its_name_and_takes_no_name_twice() {
        let ring = KeyRing::new(KeyEncryptionKey::new("new", [1; 32]))
            .try_with(KeyEncryptionKey::new("old", [2; 32]))
            .unwrap();
        assert_eq!(ring.ids(), ["new", "old"]);
        assert_eq!(ring.active().id(), "new");
        assert!(ring.find("old").is_some() && ring.find("other").is_none());
        let twice = ring.try_with(KeyEncryptionKey::new("old", [3; 32])).unwrap_err();
        assert!(twice.to_string().contains("\"old\""), "{twice}");
    }
}
