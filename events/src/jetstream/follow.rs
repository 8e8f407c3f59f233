//! Following. The client's ordered consumer makes itself anew when its server forgot it, but only after two missed
//! heartbeats, half a minute, and from the log's very beginning when nothing had arrived yet. So a follower keeps its
//! place itself, and opens a new consumer there as soon as the connection is another one, or when it is silent while the
//! log has more.

use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connection::pause;
use super::headers::delivery_of_message;
use super::{JetStreamLog, unavailable};
use crate::commit::StreamSeq;
use crate::log::{CommitStream, Delivery, LogError};

/// Messages asked for at a time.
const BATCH: i64 = 500;
/// Messages decoded together at most, and their bytes; one message may have more.
const CHUNK_MESSAGES: usize = 128;
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks that wait for whoever takes them.
const CHUNKS_AHEAD: usize = 4;
/// How often a silent follower looks at its connection.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks after which it asks whether the log has more.
const LOOKS_PER_QUESTION: u32 = 20;
/// Connections lost without a message between them, after which the next message is looked at.
const OPENED_IN_VAIN_MAX: u32 = 2;
/// Pause after a consumer could not be opened.
const BACKOFF: Duration = Duration::from_millis(250);

struct Follower {
    log: JetStreamLog,
    /// The subjects it is about; `>` for all.
    filter: String,
    /// The last message that was handed out.
    at: StreamSeq,
    /// The connection its consumer was opened on.
    connects: u64,
    /// Consumers opened since the last message.
    opened_in_vain: u32,
    messages: BoxStream<'static, Result<Delivery, LogError>>,
}

impl JetStreamLog {
    /// Follows what fits the pattern `filter` after `after`; it does not end.
    pub(super) async fn follow_after(
        &self,
        filter: &str,
        after: StreamSeq,
    ) -> Result<CommitStream, LogError> {
        let follower = Follower {
            log: self.clone(),
            filter: filter.to_owned(),
            at: after,
            connects: self.connects(),
            opened_in_vain: 0,
            messages: self.consume(filter, after).await?,
        };
        let deliveries = stream::unfold(follower, |mut follower| async move {
            let next = follower.next().await;
            Some((next, follower))
        });
        Ok(deliveries.boxed())
    }

    async fn consume(
        &self,
        filter: &str,
        after: StreamSeq,
    ) -> Result<BoxStream<'static, Result<Delivery, LogError>>, LogError> {
        let config = pull::OrderedConfig {
            // Even a filter that everything fits makes the server slow.
            filter_subject: if filter == ">" {
                String::new()
            } else {
                filter.to_owned()
            },
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: after.next().0,
            },
            max_batch: BATCH,
            ..Default::default()
        };
        let consumer = self
            .stream
            .create_consumer(config)
            .await
            .map_err(|error| unavailable(&error))?;
        let messages = consumer.messages().await.map_err(|error| unavailable(&error))?;
        Ok(ahead(messages))
    }
}

/// Reads messages in a task of its own, some chunks ahead of whoever takes them: decoding is half of what folding costs
/// this program, and goes on while rows are made and written.
fn ahead(mut messages: pull::Ordered) -> BoxStream<'static, Result<Delivery, LogError>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        while let Some(first) = messages.next().await {
            let mut chunk = Vec::with_capacity(CHUNK_MESSAGES);
            let (mut bytes, mut next) = (0, Some(first));
            while let Some(message) = next {
                bytes += message.as_ref().map_or(0, |message| message.payload.len());
                chunk.push(
                    message
                        .map_err(|error| unavailable(&error))
                        .and_then(|message| delivery_of_message(&message)),
                );
                if chunk.len() >= CHUNK_MESSAGES || bytes >= CHUNK_BYTES {
                    break;
                }
                next = messages.next().now_or_never().flatten();
            }
            if sender.send(chunk).await.is_err() {
                return;
            }
        }
    });
    let chunks = stream::unfold((receiver, reading), |(mut receiver, reading)| async move {
        let chunk = receiver.recv().await?;
        Some((stream::iter(chunk), (receiver, reading)))
    });
    chunks.flatten().boxed()
}

impl Follower {
    async fn next(&mut self) -> Result<Delivery, LogError> {
        let mut looks = 0;
        loop {
            match tokio::time::timeout(LOOK_EVERY, self.messages.next()).await {
                Ok(Some(Ok(delivery))) if delivery.seq() > self.at => {
                    (self.at, self.opened_in_vain) = (delivery.seq(), 0);
                    return Ok(delivery);
                }
                Ok(Some(Err(error))) => return Err(error),
                // It began anew from where it had begun once, or ended.
                Ok(Some(Ok(_)) | None) => self.open().await?,
                Err(_) if self.log.connects() != self.connects => {
                    if let Some(damaged) = self.damaged_next().await {
                        return Ok(damaged);
                    }
                    self.open().await?;
                }
                Err(_) => {
                    looks += 1;
                    if looks % LOOKS_PER_QUESTION == 0 && self.has_more().await {
                        tracing::warn!(
                            stream.seq = self.at.0,
                            "a follower of the log fell silent while the log has more; it is opened anew"
                        );
                        self.open().await?;
                    }
                }
            }
        }
    }

    /// Opens a new consumer where the follower is, once there is a connection.
    async fn open(&mut self) -> Result<(), LogError> {
        while !self.log.is_connected() {
            pause(BACKOFF).await;
        }
        let connects = self.log.connects();
        match self.log.consume(&self.filter, self.at).await {
            Ok(messages) => {
                self.messages = messages;
                self.connects = connects;
                Ok(())
            }
            Err(error) => {
                // What follows an error is another try.
                self.messages = stream::empty().boxed();
                pause(BACKOFF).await;
                Err(error)
            }
        }
    }

    /// The message that the client drops its connection over each time it arrives, if that is what happens. It is
    /// passed over then; nobody could read on otherwise.
    async fn damaged_next(&mut self) -> Option<Delivery> {
        self.opened_in_vain += 1;
        if self.opened_in_vain < OPENED_IN_VAIN_MAX {
            return None;
        }
        let damaged = self.log.damaged_after(&self.filter, self.at).await?;
        (self.at, self.opened_in_vain) = (damaged.seq(), 0);
        self.open().await.ok();
        Some(damaged)
    }

    async fn has_more(&mut self) -> bool {
        let next = self.log.next_message(&self.filter, self.at).await;
        next.is_ok_and(|next| next.is_some())
    }
}
