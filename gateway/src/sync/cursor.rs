//! Where a client is: text it gets, keeps and sends back.
//!
//! It begins like a time, `1970-01-01T00:00:00.123Z` for sequence 123, because clients of the system before this one
//! compare their cursors as text and begin with that of 1970; what follows is ours. A cursor that is a time alone is
//! one of that system: the client begins anew, which loses nothing.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::{SpaceId, StreamSeq};
use jiff::Timestamp;
use projections::ChangePlace;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::SyncError;

/// Between the part that looks like a time and ours.
const MARK: char = '~';
/// Characters a cursor may have: one of an account with a thousand spaces.
const CHARS_MAX: usize = 32 * 1024;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Of the spaces in `known` everything up to here was seen.
    pub(super) base: u64,
    pub(super) known: Vec<Tag>,
    /// Where it is within what is newer.
    pub(super) walk: Option<Walk>,
}

/// One way through what is newer than a cursor's base, page by page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Walk {
    /// How far the tables were when it began: the base of the cursor it ends in.
    #[serde(rename = "h")]
    pub(super) head: u64,
    /// The tables it goes through; a position means nothing in others.
    #[serde(rename = "f")]
    pub(super) filter: Tag,
    /// Spaces that are gone through from their beginning.
    #[serde(rename = "n")]
    pub(super) fresh: Vec<Tag>,
    /// The space it is in, and the place there; those before are done.
    #[serde(rename = "s")]
    pub(super) space: Tag,
    #[serde(rename = "q")]
    seq: u64,
    #[serde(rename = "t")]
    table: String,
    #[serde(rename = "r")]
    record: String,
}

impl Walk {
    pub(super) fn new(head: u64, filter: Tag, fresh: Vec<Tag>) -> Self {
        Self {
            head,
            filter,
            fresh,
            space: Tag::default(),
            seq: 0,
            table: String::new(),
            record: String::new(),
        }
    }

    /// The place it is at in its space.
    pub(super) fn place(&self) -> ChangePlace {
        ChangePlace {
            seq: StreamSeq(self.seq),
            table: self.table.clone(),
            record: self.record.clone(),
        }
    }

    /// Moves it on.
    pub(super) fn move_to(&mut self, space: &Tag, place: ChangePlace) {
        self.space = space.clone();
        self.seq = place.seq.0;
        self.table = place.table;
        self.record = place.record;
    }
}

/// A short stand-in for a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Tag(String);

impl Tag {
    pub(super) fn of_space(space: &SpaceId) -> Self {
        Self::of(space.as_str())
    }

    /// Of a set of tables; the same for all tables, whoever asks for them.
    pub(super) fn of_tables(tables: &[String]) -> Self {
        let mut tables: Vec<&str> = tables.iter().map(String::as_str).collect();
        tables.sort_unstable();
        Self::of(&tables.join("\n"))
    }

    fn of(text: &str) -> Self {
        Self(URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..6]))
    }
}

/// The part of a cursor that is ours.
#[derive(Debug, Serialize, Deserialize)]
struct Rest {
    #[serde(rename = "k")]
    known: Vec<Tag>,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    walk: Option<Walk>,
}

impl Cursor {
    /// Reads a cursor; nothing, and a time alone, are the beginning.
    pub(super) fn parse(text: &str) -> Result<Self, SyncError> {
        if text.is_empty() || text == "0" {
            return Ok(Self::default());
        }
        if text.len() > CHARS_MAX {
            return Err(SyncError::BadCursor);
        }
        let (time, rest) = text
            .split_once(MARK)
            .map_or((text, None), |(time, rest)| (time, Some(rest)));
        let time: Timestamp = time.parse().map_err(|_| SyncError::BadCursor)?;
        let Some(rest) = rest else {
            return Ok(Self::default());
        };
        let base = u64::try_from(time.as_millisecond()).map_err(|_| SyncError::BadCursor)?;
        let rest = URL_SAFE_NO_PAD.decode(rest).map_err(|_| SyncError::BadCursor)?;
        let Rest { known, walk } = serde_json::from_slice(&rest).map_err(|_| SyncError::BadCursor)?;
        Ok(Self { base, known, walk })
    }

    /// The text a client keeps.
    pub(super) fn text(self) -> String {
        let Self { base, known, walk } = self;
        let time = i64::try_from(base)
            .ok()
            .and_then(|base| Timestamp::from_millisecond(base).ok())
            .unwrap_or(Timestamp::MAX);
        let rest = serde_json::to_vec(&Rest { known, walk }).unwrap_or_default();
        let mut text = time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        // Writing to a text cannot fail.
        let _ = write!(text, "{MARK}{}", URL_SAFE_NO_PAD.encode(rest));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cursor(base: u64) -> Cursor {
        Cursor {
            base,
            known: vec![Tag::of("a"), Tag::of("b")],
            walk: None,
        }
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_was_given(base in 0u64..1_000_000_000_000, seq: u64, record in "\\PC{1,20}") {
            let mut walk = Walk::new(base + 1, Tag::of_tables(&["tasks".to_owned()]), vec![Tag::of("c")]);
            let place = ChangePlace { seq: StreamSeq(seq), table: "tasks".to_owned(), record };
            walk.move_to(&Tag::of("b"), place.clone());
            prop_assert_eq!(walk.place(), place);
            let given = Cursor { walk: Some(walk), ..cursor(base) };
            prop_assert_eq!(Cursor::parse(&given.clone().text()).unwrap(), given);
        }

        #[test]
        fn as_text_the_cursor_that_is_further_on_is_the_greater_one(a in 0u64..10_000_000, b in 0u64..10_000_000) {
            prop_assert_eq!(a < b, cursor(a).text() < cursor(b).text() && a != b);
            prop_assert!(cursor(a).text().as_str() > "1970-01-01T00:00:00.000Z");
        }

        #[test]
        fn anything_else_is_refused_and_nothing_panics(text in "\\PC{1,60}") {
            if let Ok(read) = Cursor::parse(&text) {
                prop_assert_eq!(read, Cursor::default());
            }
        }
    }

    #[test]
    fn a_time_of_another_server_is_the_beginning() {
        for text in [
            "",
            "0",
            "1970-01-01T00:00:00.000Z",
            "2026-11-20T18:00:00.123456789Z",
        ] {
            assert_eq!(Cursor::parse(text).unwrap(), Cursor::default(), "{text}");
        }
        for text in [
            "x",
            "2026",
            "1970-01-01T00:00:00.001Z~",
            "1970-01-01T00:00:00.001Z~!!",
        ] {
            assert!(matches!(Cursor::parse(text), Err(SyncError::BadCursor)), "{text}");
        }
    }
}
