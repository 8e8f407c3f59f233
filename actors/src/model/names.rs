//! Tool names on a model's wire. They may hold fewer characters than MCP names, so each tick has a table of both.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

/// The longest name every API takes.
const NAME_CHARS_MAX: usize = 64;
/// Of a name that had to be changed, what is kept in front of its hash.
const STEM_CHARS: usize = 54;
/// Hexadecimal digits of that hash.
const HASH_CHARS: usize = 9;

/// Wire name to MCP name. A wire name is read by looking it up and in no other way: undoing the spelling would make
/// `a__b` of `a.b` and of `a__b` the same tool.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_wire: BTreeMap<String, String>,
    by_mcp: BTreeMap<String, String>,
}

impl Names {
    /// A table of these MCP names. It follows from the set of names alone, not from their order.
    pub(super) fn of<'a>(tools: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sorted: Vec<&str> = tools.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut names = Self::default();
        for mcp in sorted {
            let plain = mcp.replace('.', "__");
            let wire = if is_safe(&plain) && !names.by_wire.contains_key(&plain) {
                plain
            } else {
                hashed(mcp)
            };
            names.by_wire.insert(wire.clone(), mcp.to_owned());
            names.by_mcp.insert(mcp.to_owned(), wire);
        }
        names
    }

    /// The MCP name behind `wire`; `None` for one that was never offered.
    pub(super) fn mcp(&self, wire: &str) -> Option<&str> {
        self.by_wire.get(wire).map(String::as_str)
    }

    /// What `mcp` is called on the wire.
    pub(super) fn wire(&self, mcp: &str) -> Option<&str> {
        self.by_mcp.get(mcp).map(String::as_str)
    }
}

fn is_safe(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(is_safe_char)
}

fn is_safe_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn hashed(mcp: &str) -> String {
    let stem: String = mcp
        .chars()
        .filter(|c| is_safe_char(*c))
        .take(STEM_CHARS)
        .collect();
    let hash = hex::encode(Sha256::digest(mcp));
    format!("{stem}_{}", hash.get(..HASH_CHARS).unwrap_or(&hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dots_become_two_underscores_and_come_back_by_lookup() {
        let names = Names::of(["todo.create", "todo.list"]);
        assert_eq!(names.wire("todo.create"), Some("todo__create"));
        assert_eq!(names.mcp("todo__create"), Some("todo.create"));
        assert_eq!(names.mcp("multi_tool_use.parallel"), None);
    }

    #[test]
    fn two_tools_that_would_be_spelled_alike_keep_names_of_their_own() {
        let names = Names::of(["a__b", "a.b"]);
        let (one, other) = (names.wire("a.b").unwrap(), names.wire("a__b").unwrap());
        assert_ne!(one, other);
        assert_eq!((names.mcp(one), names.mcp(other)), (Some("a.b"), Some("a__b")));
    }

    proptest! {
        #[test]
        fn every_set_of_names_has_a_table_that_every_api_takes(
            tools in proptest::collection::btree_set("[A-Za-z0-9_.äß/ -]{1,128}", 0..20),
        ) {
            let names = Names::of(tools.iter().map(String::as_str));
            for tool in &tools {
                let wire = names.wire(tool).expect("every tool has a name");
                prop_assert!(is_safe(wire), "{wire}");
                prop_assert_eq!(names.mcp(wire), Some(tool.as_str()));
            }
        }
    }
}
