//! The sealed form is shared with other programs: every vector reads and writes byte for byte.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use gateway::field_crypto::{FieldError, open, seal};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Vectors {
    master_key_hex: String,
    fields: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    value: Value,
    iv_hex: String,
    wire: String,
}

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

#[test]
fn every_vector_is_written_byte_for_byte_and_read_back() {
    let vectors = vectors();
    assert!(vectors.fields.len() >= 7, "the vectors are all there");
    let key = bytes(&vectors.master_key_hex);
    for vector in vectors.fields {
        assert_eq!(seal(&key, &vector.value, bytes(&vector.iv_hex)), vector.wire);
        assert_eq!(open(&key, &vector.wire), Ok(vector.value));
    }
}

#[test]
fn a_vector_with_a_changed_tag_is_tampered() {
    let vectors = vectors();
    let mut wire = vectors.fields[0].wire.clone();
    wire.pop();
    wire.push(if vectors.fields[0].wire.ends_with('5') {
        '4'
    } else {
        '5'
    });
    assert!(matches!(
        open(&bytes(&vectors.master_key_hex), &wire),
        Err(FieldError::Tampered | FieldError::Malformed)
    ));
}
