//! Small documents that several processes share, each replaced by compare and set: whoever decides on what another has
//! changed meanwhile is told so, and decides again.
//!
//! What happened belongs into the log. This is for what holds now and has no history worth keeping, such as which
//! tools of a mounted server are approved.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::log::LogError;

/// A document as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Which of its states this is; each replacement has a higher one.
    pub revision: u64,
    /// What it says.
    pub body: Vec<u8>,
}

/// Keeps documents by name. A name has letters, digits, `-`, `_` and `/`, and dots between them.
#[async_trait]
pub trait Documents: fmt::Debug + Send + Sync + 'static {
    /// The document of that name, if there is one.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    async fn get(&self, name: &str) -> Result<Option<Document>, LogError>;

    /// Puts `body` in the place of the document at revision `over`, or where there was none yet. Answers with the new
    /// revision, or with `None` when the document is another by now; nothing is changed then.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]; it may have been replaced all the same, which reading it again shows.
    /// [`LogError::Unfit`] for a body that is larger than the server takes, or a name that is none.
    async fn put(&self, name: &str, body: Vec<u8>, over: Option<u64>) -> Result<Option<u64>, LogError>;
}

/// Documents of one process, for tests.
#[derive(Debug, Default)]
pub struct MemoryDocuments(Mutex<(u64, BTreeMap<String, Document>)>);

#[async_trait]
impl Documents for MemoryDocuments {
    async fn get(&self, name: &str) -> Result<Option<Document>, LogError> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kept.1.get(name).cloned())
    }

    async fn put(&self, name: &str, body: Vec<u8>, over: Option<u64>) -> Result<Option<u64>, LogError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, documents) = &mut *kept;
        if documents.get(name).map(|document| document.revision) != over {
            return Ok(None);
        }
        *last += 1;
        let revision = *last;
        documents.insert(name.to_owned(), Document { revision, body });
        Ok(Some(revision))
    }
}
