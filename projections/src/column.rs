//! Columns to our types and back. One place knows that times are microseconds, JSON is text and counts are signed.

use std::error::Error;
use std::str::FromStr;

use events::StreamSeq;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::database::DbRow;

/// Reads text that has a form, such as an id.
pub(crate) fn parsed<T>(row: &DbRow, column: &'static str) -> Result<T, sqlx::Error>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|error| unreadable(column, error))
}

/// As [`parsed`], for a column that may be NULL.
pub(crate) fn parsed_option<T>(row: &DbRow, column: &'static str) -> Result<Option<T>, sqlx::Error>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|error| unreadable(column, error)))
        .transpose()
}

/// Reads one of an enum's words.
pub(crate) fn word<T: DeserializeOwned>(row: &DbRow, column: &'static str) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(column)?;
    serde_json::from_value(Value::String(text)).map_err(|error| unreadable(column, error))
}

/// As [`word`], for a column that may be NULL.
pub(crate) fn word_option<T: DeserializeOwned>(
    row: &DbRow,
    column: &'static str,
) -> Result<Option<T>, sqlx::Error> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| serde_json::from_value(Value::String(text)).map_err(|error| unreadable(column, error)))
        .transpose()
}

/// Reads JSON text.
pub(crate) fn json<T: DeserializeOwned>(row: &DbRow, column: &'static str) -> Result<T, sqlx::Error> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text).map_err(|error| unreadable(column, error))
}

/// Reads microseconds UTC.
pub(crate) fn time(row: &DbRow, column: &'static str) -> Result<Timestamp, sqlx::Error> {
    Timestamp::from_microsecond(row.try_get(column)?).map_err(|error| unreadable(column, error))
}

/// As [`time`], for a column that may be NULL.
pub(crate) fn time_option(row: &DbRow, column: &'static str) -> Result<Option<Timestamp>, sqlx::Error> {
    let micros: Option<i64> = row.try_get(column)?;
    micros
        .map(|micros| Timestamp::from_microsecond(micros).map_err(|error| unreadable(column, error)))
        .transpose()
}

/// Reads a number that is never negative.
pub(crate) fn count(row: &DbRow, column: &'static str) -> Result<u64, sqlx::Error> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|error| unreadable(column, error))
}

/// As [`count`], for a column that may be NULL.
pub(crate) fn count_option(row: &DbRow, column: &'static str) -> Result<Option<u64>, sqlx::Error> {
    let number: Option<i64> = row.try_get(column)?;
    number
        .map(|number| u64::try_from(number).map_err(|error| unreadable(column, error)))
        .transpose()
}

/// Reads a place in the stream.
pub(crate) fn seq(row: &DbRow, column: &'static str) -> Result<StreamSeq, sqlx::Error> {
    count(row, column).map(StreamSeq)
}

fn unreadable(column: &'static str, source: impl Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(source),
    }
}

/// A number as BIGINT holds it. Nothing we count or measure comes near the limit it is cut at.
pub(crate) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// JSON text of `value`; what it is made of comes from JSON, so it can be written as such.
pub(crate) fn json_text(value: &impl Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}
