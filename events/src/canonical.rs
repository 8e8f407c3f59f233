//! One spelling of JSON, so that equal arguments have equal hashes wherever they are hashed.

use std::io::{self, Write};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// SHA-256 of `arguments` written without spaces and with the members of every object sorted by name, in lower-case
/// hexadecimal. Whoever calls a tool and whoever carries it out come to the same hash.
pub fn input_hash(arguments: &Value) -> String {
    let mut hasher = Hasher(Sha256::new());
    // Hashing takes every byte, and a value always has a spelling.
    let _ = write_sorted(arguments, &mut hasher);
    hex::encode(hasher.0.finalize())
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_sorted(value: &Value, to: &mut impl Write) -> io::Result<()> {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            to.write_all(b"{")?;
            for (place, (name, value)) in members.into_iter().enumerate() {
                if place > 0 {
                    to.write_all(b",")?;
                }
                serde_json::to_writer(&mut *to, name)?;
                to.write_all(b":")?;
                write_sorted(value, to)?;
            }
            to.write_all(b"}")
        }
        Value::Array(items) => {
            to.write_all(b"[")?;
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    to.write_all(b",")?;
                }
                write_sorted(item, to)?;
            }
            to.write_all(b"]")
        }
        other => serde_json::to_writer(to, other).map_err(io::Error::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_members_does_not_matter_at_any_depth() {
        let one: Value = serde_json::from_str(r#"{"b":[{"y":1,"x":2}],"a":null}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"a":null,"b":[{"x":2,"y":1}]}"#).unwrap();
        assert_eq!(input_hash(&one), input_hash(&other));
    }

    #[test]
    fn the_order_of_items_does() {
        assert_ne!(input_hash(&json!([1, 2])), input_hash(&json!([2, 1])));
    }

    #[test]
    fn the_spelling_is_that_of_sorted_members_without_spaces() {
        let value: Value = serde_json::from_str(r#"{"b":[1.5,"ü\n",{"d":true,"c":null}],"a":{}}"#).unwrap();
        let spelled = r#"{"a":{},"b":[1.5,"ü\n",{"c":null,"d":true}]}"#;
        assert_eq!(input_hash(&value), hex::encode(Sha256::digest(spelled)));
    }

    #[test]
    fn nothing_has_the_hash_that_the_golden_events_show() {
        assert_eq!(
            input_hash(&json!({})),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
    }
}
