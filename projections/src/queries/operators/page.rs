//! Pages of a list, and the place where the next one begins.

use std::fmt;
use std::str::FromStr;

use events::StreamSeq;
use schemars::JsonSchema;
use serde::Serialize;

use crate::checkpoint::{self, Checkpoint};
use crate::column;
use crate::database::Db;

/// Rows a page may have.
pub const PAGE_MAX: u32 = 500;
/// Characters of a cursor; an id and a number are far shorter.
const CURSOR_CHARS_MAX: usize = 512;

/// Part of a list, as of one commit.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    pub next_cursor: Option<String>,
    /// The last commit folded.
    pub as_of_seq: StreamSeq,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Where it begins; the beginning without one.
    pub cursor: Option<Cursor>,
    /// Rows at most; held between 1 and [`PAGE_MAX`].
    pub limit: u32,
}

impl PageRequest {
    /// The first `limit` rows.
    pub fn first(limit: u32) -> Self {
        Self { cursor: None, limit }
    }

    /// One row more than asked for: whether it is there says whether there is another page.
    pub(super) fn fetched(&self) -> i64 {
        i64::from(self.rows()) + 1
    }

    fn rows(&self) -> u32 {
        self.limit.clamp(1, PAGE_MAX)
    }

    /// The place before which a list that begins with the newest goes on.
    pub(super) fn before(&self) -> (i64, String) {
        let end = || (i64::MAX, String::new());
        self.cursor
            .as_ref()
            .map_or_else(end, |cursor| (column::bigint(cursor.seq.0), cursor.id.clone()))
    }

    /// The place after which a list that begins with the oldest goes on.
    pub(super) fn after(&self) -> (i64, String) {
        let start = || (0, String::new());
        self.cursor
            .as_ref()
            .map_or_else(start, |cursor| (column::bigint(cursor.seq.0), cursor.id.clone()))
    }

    /// The page that `fetched` rows make, given each row's own place.
    pub(super) async fn page<T>(
        &self,
        mut fetched: Vec<T>,
        place: impl Fn(&T) -> Cursor,
        db: &mut Db<'_>,
    ) -> Result<Page<T>, sqlx::Error> {
        let rows = self.rows() as usize;
        let has_more = fetched.len() > rows;
        fetched.truncate(rows);
        Ok(Page {
            next_cursor: fetched
                .last()
                .filter(|_| has_more)
                .map(|last| place(last).to_string()),
            items: fetched,
            as_of_seq: as_of(db).await?,
        })
    }
}

/// The last commit folded, as the snapshot has it.
pub(super) async fn as_of(db: &mut Db<'_>) -> Result<StreamSeq, sqlx::Error> {
    Ok(Checkpoint::seq_of(checkpoint::read(db).await?.as_ref()))
}

/// A row's place in a list: `{sequence}.{id}`. To clients it is opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Sequence of the commit the row began in.
    pub seq: StreamSeq,
    /// The row's id.
    pub id: String,
}

/// What was sent is no cursor of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is what an earlier page gave as `next_cursor`")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.seq, self.id)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (seq, id) = text.split_once('.').ok_or(InvalidCursor)?;
        if id.is_empty() || text.len() > CURSOR_CHARS_MAX {
            return Err(InvalidCursor);
        }
        let seq = seq.parse().map_err(|_| InvalidCursor)?;
        Ok(Self {
            seq: StreamSeq(seq),
            id: id.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is_one() {
        let cursor = Cursor {
            seq: StreamSeq(42),
            id: "tick-0-todo.create".to_owned(),
        };
        assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        let long = format!("1.{}", "x".repeat(600));
        for wrong in ["", "42", "42.", ".x", "-1.x", "x.y", "1e3.x", long.as_str()] {
            assert_eq!(wrong.parse::<Cursor>(), Err(InvalidCursor), "{wrong:?}");
        }
    }
}
