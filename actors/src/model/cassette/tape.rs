//! The file: a header, then one line of JSON for each request with its answer.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The first line: what the file is, and the version of its form.
pub(super) const HEADER: &str = r#"{"dramatis_cassette":1}"#;
/// A tape longer than that is not played: all of it is held in memory.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// What keys and tokens begin with, as they are handed out.
const SECRET_PREFIXES: [&str; 4] = ["sk-", "eyJ", "ghp_", "xoxb-"];
/// Letters that follow in one that could be used.
const SECRET_CHARS_MIN: usize = 20;

/// A tape that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CassetteError {
    /// It cannot be opened, or there is one already where one is to be recorded.
    #[error("the cassette {path} cannot be opened: {source}")]
    Io {
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not one of ours.
    #[error("{path}, line {line}: {reason}")]
    Unreadable {
        /// Where.
        path: String,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// One request with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Hash of the request.
    pub(super) key: String,
    /// Which turn it was.
    pub(super) place: Place,
    /// The request, without what differs from run to run.
    pub(super) request: Value,
    /// The ids that stood in it.
    pub(super) ids: Vec<String>,
    /// The answer's body, as it came.
    pub(super) response: Value,
}

/// Which turn of which conversation of whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Hash of what the model is told to be.
    pub(super) who: String,
    /// From 0, by beginning.
    pub(super) conversation: u64,
    /// From 0.
    pub(super) turn: u64,
}

/// All entries of the tape at `path`.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, CassetteError> {
    let failed = |source| CassetteError::Io {
        path: path.display().to_string(),
        source,
    };
    let unreadable = |line, reason: String| CassetteError::Unreadable {
        path: path.display().to_string(),
        line,
        reason,
    };
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > BYTES_MAX {
        return Err(unreadable(
            1,
            format!("{bytes} bytes are more than the {BYTES_MAX} that are played"),
        ));
    }
    let mut entries = Vec::new();
    for (at, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(failed)?;
        if at == 0 {
            if line != HEADER {
                return Err(unreadable(
                    1,
                    "this is no cassette of a form that is known here".to_owned(),
                ));
            }
            continue;
        }
        entries.push(serde_json::from_str(&line).map_err(|error| unreadable(at + 1, error.to_string()))?);
    }
    Ok(entries)
}

/// Whether `line` holds `key`, or what looks like one.
pub(super) fn holds_secret(line: &str, key: Option<&str>) -> bool {
    if key.is_some_and(|key| !key.is_empty() && line.contains(key)) {
        return true;
    }
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    SECRET_PREFIXES.iter().any(|prefix| {
        line.match_indices(prefix).any(|(at, _)| {
            let starts_word = !line[..at].chars().next_back().is_some_and(is_of_key);
            let length = line[at + prefix.len()..]
                .chars()
                .take_while(|c| is_of_key(*c))
                .count();
            starts_word && length >= SECRET_CHARS_MIN
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tokens_are_known_by_their_looks_and_words_are_not_taken_for_them() {
        assert!(holds_secret("a my-own-key b", Some("my-own-key")));
        assert!(holds_secret(
            r#"{"text":"sk-of-nobody-0123456789-0123456789"}"#,
            None
        ));
        assert!(holds_secret(
            "Bearer eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.sig",
            None
        ));
        for innocent in [
            "task-list-of-a-very-long-name-indeed",
            "sk-short",
            "risk-averse and so on",
            "",
        ] {
            assert!(!holds_secret(innocent, Some("")), "{innocent}");
        }
    }

    #[test]
    fn a_file_that_is_no_cassette_is_refused_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tape");
        assert!(matches!(read(&path), Err(CassetteError::Io { .. })));
        for (text, line) in [("hello", ":"), ("{\"dramatis_cassette\":1}\n{}\n", "line 2")] {
            std::fs::write(&path, text).unwrap();
            let refused = read(&path).unwrap_err().to_string();
            assert!(refused.contains(line), "{refused}");
        }
        std::fs::write(&path, format!("{HEADER}\n")).unwrap();
        assert_eq!(read(&path).unwrap(), []);
    }
}
