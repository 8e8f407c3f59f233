//! Who waits for the tables: a projector that folds closes its batches at once while somebody does, and one that stands
//! by looks more often.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    count: AtomicUsize,
    begun: Notify,
}

impl Waiting {
    /// Whether anybody does now.
    pub(crate) fn is_any(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Returns when somebody begins to wait.
    pub(crate) async fn begun(&self) {
        self.begun.notified().await;
    }

    /// Counts one who waits, until the result is dropped.
    pub(crate) fn one(&self) -> One<'_> {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.begun.notify_one();
        One(self)
    }
}

/// One who waits.
#[derive(Debug)]
pub(crate) struct One<'a>(&'a Waiting);

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::SeqCst);
    }
}
