//! Reading that ends.
//!
//! A follower of a log cannot know that what it waits for was purged: nothing arrives, as on any quiet day. So a
//! silence is asked about. The same question finds a stream that fell silent although the log has more, which
//! ordered consumers were seen to do for half a minute.

use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use super::{CommitStream, Delivery, EventLog, LogError};
use crate::commit::StreamSeq;

/// How long nothing may arrive before the log is asked whether anything is left.
const SILENCE: Duration = Duration::from_millis(100);
/// Silences in which the log had more to give, after which its stream is given up and opened anew.
const STALLED_AFTER: u32 = 20;

/// A part of a log.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    /// Follows it.
    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError>;

    /// Where its first message after `after` is.
    async fn next_seq(&self, after: StreamSeq) -> Result<Option<StreamSeq>, LogError>;
}

/// All of a log.
pub(crate) struct WholeLog<'a, L: ?Sized>(pub(crate) &'a L);

#[async_trait]
impl<L: EventLog + ?Sized> Source for WholeLog<'_, L> {
    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        self.0.follow(after).await
    }

    async fn next_seq(&self, after: StreamSeq) -> Result<Option<StreamSeq>, LogError> {
        Ok(self.0.next_after(after).await?.map(|delivery| delivery.seq()))
    }
}

struct Reader<S> {
    source: S,
    commits: CommitStream,
    at: StreamSeq,
    until: StreamSeq,
}

/// What `source` holds after `after` up to `until`; then the stream ends.
pub(crate) async fn read<'a, S: Source + 'a>(
    source: S,
    after: StreamSeq,
    until: StreamSeq,
) -> Result<BoxStream<'a, Result<Delivery, LogError>>, LogError> {
    if until <= after {
        return Ok(stream::empty().boxed());
    }
    let reader = Reader {
        commits: source.follow(after).await?,
        source,
        at: after,
        until,
    };
    let deliveries = stream::unfold(reader, |mut reader| async move {
        let next = reader.next().await.transpose()?;
        Some((next, reader))
    });
    Ok(deliveries.boxed())
}

impl<S: Source> Reader<S> {
    async fn next(&mut self) -> Result<Option<Delivery>, LogError> {
        let mut silences = 0;
        while self.at < self.until {
            match tokio::time::timeout(SILENCE, self.commits.next()).await {
                Ok(Some(delivery)) => {
                    let delivery = delivery?;
                    // Sent again after a reconnect.
                    if delivery.seq() <= self.at {
                        continue;
                    }
                    self.at = delivery.seq();
                    return Ok((self.at <= self.until).then_some(delivery));
                }
                Ok(None) => self.commits = self.source.follow(self.at).await?,
                Err(_) => match self.source.next_seq(self.at).await? {
                    Some(next) if next <= self.until => silences += 1,
                    _ => self.at = self.until,
                },
            }
            if silences >= STALLED_AFTER {
                tracing::warn!(
                    stream.seq = self.at.0,
                    "a reader of the log fell silent while the log has more; it is opened anew"
                );
                self.commits = self.source.follow(self.at).await?;
                silences = 0;
            }
        }
        Ok(None)
    }
}
