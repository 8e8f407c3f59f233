//! What can be wrong with a catalog, all of it at once.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// One thing wrong with a catalog, with where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, as it was named to the loader.
    pub file: String,
    /// Where in the file: `personas[3].moduleMix.todo`; for text that is not JSON, line and column.
    pub key: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.file, self.key, self.reason)
    }
}

/// Why there is no catalog.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The file cannot be read at all.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file was read and has faults: every one of them, one a line, in the personas' order.
    #[error("{}", lines(.0))]
    Faults(Vec<Fault>),
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// Collects the faults of one file.
#[derive(Debug)]
pub(crate) struct Faults<'a> {
    file: &'a str,
    /// With the index of the persona each belongs to, for the order of the report.
    found: Vec<(Option<usize>, Fault)>,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(file: &'a str) -> Self {
        Self {
            file,
            found: Vec::new(),
        }
    }

    /// Notes a fault of the file as a whole.
    pub(crate) fn file(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.push(None, key.into(), reason.into());
    }

    /// Notes a fault of the persona at `index`; `path` is what follows `personas[index]`, such as `.email`.
    pub(crate) fn persona(&mut self, index: usize, path: &str, reason: impl Into<String>) {
        self.push(Some(index), format!("personas[{index}]{path}"), reason.into());
    }

    /// `Ok` when nothing was found.
    pub(crate) fn into_result(mut self) -> Result<(), CatalogError> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by_key(|(index, _)| *index);
        Err(CatalogError::Faults(
            self.found.into_iter().map(|(_, fault)| fault).collect(),
        ))
    }

    fn push(&mut self, index: Option<usize>, key: String, reason: String) {
        self.found.push((
            index,
            Fault {
                file: self.file.to_owned(),
                key,
                reason,
            },
        ));
    }
}
