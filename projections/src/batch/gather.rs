//! Closing batches: large while there is much to fold, at once when there is not.

use std::time::Duration;

use events::{Clock, CodecError, Delivery, LogError, StreamSeq};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::weight::weight;
use crate::error::{FoldError, HaltCause};
use crate::waiting::Waiting;

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
    /// Keeps a batch open a little though nothing more is there yet.
    pub(crate) rest: Option<Rest<'a>>,
    /// How long to wait for a first commit.
    pub(crate) silence: Duration,
}

/// Batches that are not closed as soon as they could be, so that many commits that come one by one share a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rest<'a> {
    /// Until when, on the monotonic clock. A batch that begins later is not kept open.
    pub(crate) until: Duration,
    /// Nobody is kept waiting.
    pub(crate) waiting: &'a Waiting,
}

impl Rest<'_> {
    /// How long a batch may be kept open from `now` on; `None` when it is to be closed.
    fn left(&self, now: Duration) -> Option<Duration> {
        let left = self.until.saturating_sub(now);
        (!left.is_zero() && !self.waiting.is_any()).then_some(left)
    }
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
            let now = self.clock.monotonic();
            let left = close_at.saturating_sub(now);
            let is_full = batch.len() >= self.commits_max || bytes >= BATCH_BYTES_MAX;
            if is_full || left.is_zero() {
                return (batch, Ok(Then::Continue));
            }
            item = match commits.next().now_or_never() {
                Some(item) => item,
                None if at >= self.log_end => {
                    let resting = self.rest.and_then(|rest| Some((rest.left(now)?, rest.waiting)));
                    let Some((rest, waiting)) = resting else {
                        return (batch, Ok(Then::Continue));
                    };
                    tokio::select! {
                        biased;
                        () = self.cancel.cancelled() => return (batch, Ok(Then::Cancelled)),
                        item = commits.next() => item,
                        () = waiting.begun() => return (batch, Ok(Then::Continue)),
                        () = self.clock.sleep(rest) => return (batch, Ok(Then::Continue)),
                    }
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    use events::testing::{given, id, sample_time, samples};
    use events::{ManualClock, Subject};
    use tokio::sync::mpsc;

    const REST: Duration = Duration::from_millis(10);

    struct Bench {
        clock: ManualClock,
        cancel: CancellationToken,
        waiting: Waiting,
        sender: mpsc::Sender<Delivery>,
        commits: BoxStream<'static, Result<Delivery, LogError>>,
        left: Vec<Delivery>,
    }

    impl Bench {
        fn new() -> Self {
            let (sender, receiver) = mpsc::channel(8);
            let commits = futures::stream::unfold(receiver, |mut receiver| async move {
                Some((Ok(receiver.recv().await?), receiver))
            });
            let one = || (Subject::Session(id("anna")), samples());
            Self {
                clock: ManualClock::new(sample_time()),
                cancel: CancellationToken::new(),
                waiting: Waiting::default(),
                sender,
                commits: commits.boxed(),
                left: given([one(), one(), one()])
                    .into_iter()
                    .map(Delivery::Commit)
                    .collect(),
            }
        }

        /// One more commit comes.
        fn one_comes(sender: &mpsc::Sender<Delivery>, left: &mut Vec<Delivery>) {
            sender.try_send(left.remove(0)).unwrap();
        }
    }

    fn gather<'a>(
        clock: &'a ManualClock,
        cancel: &'a CancellationToken,
        until: Duration,
        waiting: &'a Waiting,
    ) -> Gather<'a> {
        Gather {
            clock,
            cancel,
            commits_max: 100,
            log_end: StreamSeq::ZERO,
            is_bounded: false,
            parks_newer: false,
            age_max: Duration::from_secs(1),
            rest: Some(Rest { until, waiting }),
            silence: Duration::from_mins(1),
        }
    }

    #[tokio::test]
    async fn commits_that_come_one_by_one_share_a_batch_while_nobody_waits() {
        let mut bench = Bench::new();
        let gather = gather(&bench.clock, &bench.cancel, REST, &bench.waiting);
        let mut next = pin!(gather.next(&mut bench.commits, StreamSeq::ZERO));
        Bench::one_comes(&bench.sender, &mut bench.left);
        assert!(futures::poll!(&mut next).is_pending());
        Bench::one_comes(&bench.sender, &mut bench.left);
        assert!(futures::poll!(&mut next).is_pending());
        bench.clock.advance(REST);
        let (batch, then) = next.await;
        assert_eq!((batch.len(), then.unwrap()), (2, Then::Continue));
    }

    #[tokio::test]
    async fn whoever_waits_is_not_kept_waiting() {
        let mut bench = Bench::new();
        let gather = gather(&bench.clock, &bench.cancel, REST, &bench.waiting);
        {
            let mut next = pin!(gather.next(&mut bench.commits, StreamSeq::ZERO));
            Bench::one_comes(&bench.sender, &mut bench.left);
            assert!(futures::poll!(&mut next).is_pending());
            let _one = bench.waiting.one();
            assert_eq!(next.await.0.len(), 1, "who begins to wait");
        }
        let _one = bench.waiting.one();
        Bench::one_comes(&bench.sender, &mut bench.left);
        let (batch, _) = gather.next(&mut bench.commits, StreamSeq(1)).await;
        assert_eq!(batch.len(), 1, "who waits already");
    }

    #[tokio::test]
    async fn what_comes_after_a_quiet_time_is_folded_at_once() {
        let mut bench = Bench::new();
        bench.clock.advance(REST);
        let gather = gather(&bench.clock, &bench.cancel, REST, &bench.waiting);
        Bench::one_comes(&bench.sender, &mut bench.left);
        let (batch, _) = gather.next(&mut bench.commits, StreamSeq::ZERO).await;
        assert_eq!(batch.len(), 1);
    }
}
