//! What the program has acknowledged, written down outside of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A call an external runner reported; its id is known before it is sent, and it may be sent again.
    Action,
    /// A rating an external runner reported; likewise.
    Rating,
    /// A record made through a tool; its id is known only from the acknowledgement.
    Record,
}

/// One thing that must be there, or may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) id: String,
}

impl Entry {
    /// An entry of `kind`.
    pub(crate) fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }
}

/// See the module. Shared by all writers.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Pages>);

/// What a ledger says at one moment.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    /// Must be in the log and in the tables, once.
    pub(crate) acknowledged: BTreeSet<Entry>,
    /// Sent without an answer: may be there once, or not at all.
    pub(crate) in_doubt: BTreeSet<Entry>,
    /// Titles of records asked for, with the id where one was acknowledged. No title may be in the log twice.
    pub(crate) titles: BTreeMap<String, Option<String>>,
    /// Answers that say no, which nobody expected.
    pub(crate) refusals: Vec<String>,
    file: Option<File>,
}

impl Ledger {
    /// An empty ledger, kept in `file` as well if one is named.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(crate) fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        let pages = Pages {
            file: file.map(File::create).transpose()?,
            ..Pages::default()
        };
        Ok(Self(Mutex::new(pages)))
    }

    /// What it says now.
    pub(crate) fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down, before they are sent, what a request asks for.
    pub(crate) fn sent(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut pages = self.pages();
        for entry in entries {
            if !pages.acknowledged.contains(&entry) {
                pages.in_doubt.insert(entry);
            }
        }
    }

    /// Writes down, before it is sent, a record asked for by title.
    pub(crate) fn asked(&self, title: &str) {
        self.pages().titles.entry(title.to_owned()).or_default();
    }

    /// Writes an acknowledgement down.
    pub(crate) fn acknowledged(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut pages = self.pages();
        for entry in entries {
            pages.in_doubt.remove(&entry);
            if let Some(file) = &mut pages.file {
                // The copy is for people to look at; the trial judges by what is in memory.
                let line = serde_json::to_string(&entry).unwrap_or_default();
                let _ = writeln!(file, "{line}");
            }
            pages.acknowledged.insert(entry);
        }
    }

    /// Writes down that the record of `title` was acknowledged as `id`.
    pub(crate) fn acknowledged_record(&self, title: &str, id: &str) {
        self.acknowledged([Entry::new(Kind::Record, id)]);
        self.pages().titles.insert(title.to_owned(), Some(id.to_owned()));
    }

    /// Writes down an answer that says no.
    pub(crate) fn refused(&self, answer: String) {
        self.pages().refusals.push(answer);
    }
}
