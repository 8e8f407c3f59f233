//! Names with `*` in them.

/// A tool's name, or many: `*` stands for any characters, also none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Pattern {
    /// `None` for what can fit no tool's name.
    pub(super) fn try_new(text: &str) -> Option<Self> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'*');
        ((1..=128).contains(&text.len()) && text.bytes().all(is_fit)).then(|| Self(text.to_owned()))
    }

    pub(super) fn fits(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        // `split` gives at least one part.
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(pattern: &str, name: &str) -> bool {
        Pattern::try_new(pattern).unwrap().fits(name)
    }

    #[test]
    fn a_star_stands_for_anything_and_all_else_for_itself() {
        for (pattern, name, expected) in [
            ("*", "todo.list", true),
            ("*", "", true),
            ("todo.*", "todo.list", true),
            ("todo.*", "todolist", false),
            ("*.list", "todo.list", true),
            ("*.list", "todo.lists", false),
            ("t*.l*t", "todo.list", true),
            ("todo.list", "todo.list", true),
            ("todo.list", "todo.list2", false),
            ("a*a", "a", false),
            ("*a*b*", "xxbxxa", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_fits_no_name_is_no_pattern() {
        for text in ["", "todo list", "töd", &"x".repeat(129)] {
            assert_eq!(Pattern::try_new(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_fits_exactly_as_the_slow_way_does(pattern in "[ab*]{1,8}", name in "[ab]{0,8}") {
            fn slowly(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern.split_first(), name.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), _) if slowly(rest, name) => true,
                    (Some((b'*', _)), Some((_, tail))) => slowly(pattern, tail),
                    (Some((one, rest)), Some((other, tail))) if one == other => slowly(rest, tail),
                    _ => false,
                }
            }
            prop_assert_eq!(fits(&pattern, &name), slowly(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
