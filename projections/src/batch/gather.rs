//! Closing batches: large while there is much to fold, at once when there is not.

use std::time::Duration;

use events::{Clock, CodecError, Delivery, LogError, StreamSeq};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::weight::weight;
use crate::error::{FoldError, HaltCause};

/// Commits in one transaction at most. Larger batches gain nothing more and hold the write lock longer.
pub(crate) const BATCH_COMMITS_MAX: usize = 2_000;
/// What a batch may take in memory, roughly; one commit may take more.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How to gather.
#[derive(Debug)]
pub(crate) struct Gather<'a> {
    pub(crate) clock: &'a dyn Clock,
    pub(crate) cancel: &'a CancellationToken,
    /// Commits in one batch at most.
    pub(crate) commits_max: usize,
    /// Where the log was last known to end. Before it, a pause of the stream is no reason to close a batch.
    pub(crate) log_end: StreamSeq,
    /// Whether the stream ends by itself where nothing more is wanted.
    pub(crate) is_bounded: bool,
    /// Whether what a newer program wrote is parked with the rest that cannot be read, instead of ending the stream.
    pub(crate) parks_newer: bool,
    /// How long a batch stays open while more is known to come.
    pub(crate) age_max: Duration,
    /// How long to wait for a first commit.
    pub(crate) silence: Duration,
}

/// What is to happen once the batch is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Gather the next.
    Continue,
    /// Nothing came within `silence`.
    Silent,
    /// Nothing more is wanted.
    Reached,
    /// Somebody asked to stop.
    Cancelled,
}

impl Gather<'_> {
    /// Takes what follows `after` off the stream. The batch is whole and in order whatever `then` says, and may be
    /// folded before an error of the stream is looked at.
    pub(crate) async fn next(
        &self,
        commits: &mut BoxStream<'_, Result<Delivery, LogError>>,
        after: StreamSeq,
    ) -> (Vec<Delivery>, Result<Then, FoldError>) {
        let mut batch = Vec::new();
        let (mut at, mut bytes) = (after, 0);
        // The losing branches hold nothing: a delivery is taken off the stream only by the branch that won.
        let mut item = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return (batch, Ok(Then::Cancelled)),
            item = commits.next() => item,
            () = self.clock.sleep(self.silence) => return (batch, Ok(Then::Silent)),
        };
        let close_at = self.clock.monotonic() + self.age_max;
        loop {
            if item.is_none() && self.is_bounded {
                return (batch, Ok(Then::Reached));
            }
            match readable(item, self.parks_newer) {
                // Sent again after a reconnect.
                Ok(delivery) if delivery.seq() <= at => {}
                Ok(delivery) => {
                    at = delivery.seq();
                    bytes += weight(&delivery);
                    batch.push(delivery);
                }
                Err(error) => return (batch, Err(error)),
            }
            let left = close_at.saturating_sub(self.clock.monotonic());
            let is_full = batch.len() >= self.commits_max || bytes >= BATCH_BYTES_MAX;
            if is_full || left.is_zero() {
                return (batch, Ok(Then::Continue));
            }
            item = match commits.next().now_or_never() {
                Some(item) => item,
                None if at >= self.log_end => return (batch, Ok(Then::Continue)),
                None => tokio::select! {
                    biased;
                    () = self.cancel.cancelled() => return (batch, Ok(Then::Cancelled)),
                    item = commits.next() => item,
                    () = self.clock.sleep(left) => return (batch, Ok(Then::Continue)),
                },
            };
        }
    }
}

/// A delivery that may be folded or parked. What a newer program wrote may be neither: it waits for an upgrade.
fn readable(item: Option<Result<Delivery, LogError>>, parks_newer: bool) -> Result<Delivery, FoldError> {
    match item {
        Some(Ok(Delivery::Undecodable(message)))
            if !parks_newer && matches!(message.error, CodecError::Newer { .. }) =>
        {
            let reason = format!("commit {}: {}", message.seq, message.error);
            Err(FoldError::halt_because(HaltCause::NewerProgram, reason))
        }
        Some(Ok(delivery)) => Ok(delivery),
        Some(Err(error)) => Err(error.into()),
        None => Err(LogError::Unavailable("the stream ended".to_owned()).into()),
    }
}
