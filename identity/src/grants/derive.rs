//! The data key of a grant: HKDF-SHA256 (RFC 5869) of the master key, bound to what is granted.
//!
//! The salt is `dramatis key grant v1`. The info is, each with its length in eight bytes in front: the version, the
//! mission, the number of tables, each table, the number of records, each record; numbers in decimal. The names are
//! sorted, so that the same grant gives the same key.

use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

use crate::error::{CryptoError, IdentityError};
use crate::seal::KEY_BYTES;

/// How data keys are derived.
pub const DERIVATION_VERSION: u32 = 1;
const SALT: &[u8] = b"dramatis key grant v1";

/// The data key for a mission, tables and records, the names sorted.
pub(super) fn data_key(
    master: &[u8; KEY_BYTES],
    (mission, tables, records): (&str, &[String], &[String]),
) -> Result<Zeroizing<[u8; KEY_BYTES]>, IdentityError> {
    let mut info = Vec::new();
    let mut put = |text: &str| {
        info.extend_from_slice(&(text.len() as u64).to_be_bytes());
        info.extend_from_slice(text.as_bytes());
    };
    put(&DERIVATION_VERSION.to_string());
    put(mission);
    for names in [tables, records] {
        put(&names.len().to_string());
        for name in names {
            put(name);
        }
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, SALT)
        .extract(master)
        .expand(&[&info], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut_slice()))
        .map_err(|_| CryptoError::NotSealed { what: "a data key" })?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(master: u8, mission: &str, tables: &[&str], records: &[&str]) -> [u8; KEY_BYTES] {
        let owned = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        *data_key(&[master; KEY_BYTES], (mission, &owned(tables), &owned(records))).unwrap()
    }

    #[test]
    fn the_key_follows_from_everything_that_is_granted_and_from_nothing_else() {
        let granted = key(7, "m1", &["notes", "tasks"], &["r1"]);
        assert_eq!(granted, key(7, "m1", &["notes", "tasks"], &["r1"]));
        for other in [
            key(7, "m1", &["notes"], &["tasks", "r1"]),
            key(7, "m1", &["notes", "tasks"], &["r2"]),
            key(7, "m1", &["notes", "tasks", "r1"], &[]),
            key(7, "m2", &["notes", "tasks"], &["r1"]),
            key(8, "m1", &["notes", "tasks"], &["r1"]),
        ] {
            assert_ne!(granted, other);
        }
    }
}
