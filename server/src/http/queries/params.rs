//! What a question is asked with. A name it does not know is refused, not passed over.

use events::{PersonaId, RatingSource, StreamSeq};
use jiff::{SignedDuration, Timestamp};
use projections::{CallResult, PAGE_MAX, PageRequest};
use serde_json::json;

use crate::http::personas::unknown_persona;
use crate::http::problem::Problem;

/// Days back a question may look.
const DAYS_MAX: u32 = 3_660;
/// Bytes a value may have.
const VALUE_BYTES_MAX: usize = 1_024;
/// The longest window a series of days has.
const SERIES_DAYS_MAX: u32 = 90;

/// What was said, by name.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads what follows the question mark.
    pub(super) fn new(pairs: Vec<(String, String)>, known: &[&str]) -> Result<Self, Problem> {
        for (index, (name, value)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let takes = if known.is_empty() {
                    "nothing".to_owned()
                } else {
                    known.join(", ")
                };
                return Err(refused(name, format!("is not taken here; {takes} can be said")));
            }
            if value.len() > VALUE_BYTES_MAX {
                return Err(refused(name, format!("may have {VALUE_BYTES_MAX} bytes")));
            }
            if pairs[..index].iter().any(|(before, _)| before == name) {
                return Err(refused(name, "may be said once"));
            }
        }
        Ok(Self(
            pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        ))
    }

    /// What it is about, in a word for the record of who read what.
    pub(super) fn about(&self) -> String {
        let about = self
            .0
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "cursor" | "limit" | "days"));
        about
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(index).1)
    }

    pub(super) fn required(&mut self, name: &str) -> Result<String, Problem> {
        self.take(name).ok_or_else(|| refused(name, "must be said"))
    }

    pub(super) fn page(&mut self, rows: u32) -> Result<PageRequest, Problem> {
        let cursor = self.take("cursor").map(|cursor| cursor.parse()).transpose();
        Ok(PageRequest {
            cursor: cursor
                .map_err(|error: projections::InvalidCursor| refused("cursor", error.to_string()))?,
            limit: self.number("limit", rows, PAGE_MAX)?,
        })
    }

    /// Days of a series.
    pub(super) fn days(&mut self, usual: u32) -> Result<u32, Problem> {
        self.number("days", usual, SERIES_DAYS_MAX)
    }

    /// The instant that is `days` before `now`.
    pub(super) fn since(&mut self, now: Timestamp, usual: u32) -> Result<Timestamp, Problem> {
        let days = self.number("days", usual, DAYS_MAX)?;
        let back = SignedDuration::from_hours(i64::from(days) * 24);
        Ok(now.saturating_sub(back).unwrap_or(Timestamp::MIN))
    }

    pub(super) fn persona(&mut self) -> Result<PersonaId, Problem> {
        let id = self.required("persona")?;
        // One that cannot be an id names nobody.
        PersonaId::try_new(id).map_err(|_| unknown_persona())
    }

    pub(super) fn optional_persona(&mut self) -> Result<Option<PersonaId>, Problem> {
        let id = self.take("persona").map(PersonaId::try_new).transpose();
        id.map_err(|_| unknown_persona())
    }

    pub(super) fn seq(&mut self) -> Result<StreamSeq, Problem> {
        let seq = self.required("seq")?.parse();
        seq.map(StreamSeq)
            .map_err(|_| refused("seq", "must be a sequence of the log"))
    }

    pub(super) fn source(&mut self) -> Result<Option<RatingSource>, Problem> {
        let all = [
            RatingSource::Model,
            RatingSource::Simulated,
            RatingSource::External,
        ];
        self.word("source", &all.map(|source| (source.as_str(), source)))
    }

    pub(super) fn result(&mut self) -> Result<Option<CallResult>, Problem> {
        let all = [
            CallResult::Pending,
            CallResult::Ok,
            CallResult::Error,
            CallResult::Unknown,
        ];
        self.word("result", &all.map(|result| (result.as_str(), result)))
    }

    fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let Some(said) = self.take(name) else {
            return Ok(None);
        };
        let found = words.iter().find(|(word, _)| *word == said);
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        found
            .map(|(_, value)| Some(*value))
            .ok_or_else(|| refused(name, format!("must be one of {}", known.join(", "))))
    }

    fn number(&mut self, name: &str, usual: u32, max: u32) -> Result<u32, Problem> {
        let Some(said) = self.take(name) else {
            return Ok(usual);
        };
        let number = said.parse().ok().filter(|number| (1..=max).contains(number));
        number.ok_or_else(|| refused(name, format!("must be 1 to {max}")))
    }
}

fn refused(name: &str, reason: impl Into<String>) -> Problem {
    let (name, reason) = (events::capped(name, 80), reason.into());
    Problem::bad_request("INVALID_FIELDS", format!("{name}: {reason}"))
        .with("faults", json!([{ "field": name, "reason": reason }]))
}
