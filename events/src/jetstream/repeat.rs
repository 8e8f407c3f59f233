//! Session commits repeated for live dashboards, as the server itself does for personas: a stream can republish one
//! subject pattern only. At most once, like all live subjects; never an error of the append.
//!
//! They go out some together, a moment after they were stored: one by one they would cost an append half as much again,
//! in this program and at the server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::header;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::STREAM_NAME;
use super::connection::pause;
use super::headers::Outgoing;
use crate::commit::StreamSeq;
use crate::subject::LIVE_PREFIX;

/// What begins the subjects that are repeated here.
const REPEATED_PREFIX: &str = "dramatis.session.";
/// How long the first waits for others.
const WITHIN: Duration = Duration::from_millis(5);
/// Commits that wait at most; nobody hears of one more.
const WAITING_MAX: usize = 4_096;

/// See the module.
#[derive(Debug)]
pub(super) struct Repeats {
    queue: Arc<Queue>,
    /// Ends with us.
    _sending: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Vec<(Outgoing, StreamSeq)>>,
    is_wanted: Notify,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Vec<(Outgoing, StreamSeq)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repeats {
    pub(super) fn through(client: async_nats::Client) -> Self {
        let queue = Arc::new(Queue::default());
        let mut sending = JoinSet::new();
        sending.spawn(send(client, queue.clone()));
        Self {
            queue,
            _sending: sending,
        }
    }

    /// Repeats a commit that is stored at `seq`, if it is of a session.
    pub(super) fn put(&self, outgoing: &Outgoing, seq: StreamSeq) {
        if !outgoing.subject.starts_with(REPEATED_PREFIX) {
            return;
        }
        let mut waiting = self.queue.waiting();
        if waiting.len() >= WAITING_MAX {
            tracing::debug!(
                stream.name = STREAM_NAME,
                stream.seq = seq.0,
                "a session commit was not repeated for live dashboards"
            );
            return;
        }
        waiting.push((outgoing.clone(), seq));
        if waiting.len() == 1 {
            self.queue.is_wanted.notify_one();
        }
    }
}

async fn send(client: async_nats::Client, queue: Arc<Queue>) {
    loop {
        queue.is_wanted.notified().await;
        pause(WITHIN).await;
        let together = std::mem::take(&mut *queue.waiting());
        for (outgoing, seq) in together {
            let mut headers = outgoing.guarded_headers(None, None);
            headers.insert(header::NATS_SEQUENCE, seq.to_string());
            let subject = outgoing.subject.replacen("dramatis", LIVE_PREFIX, 1);
            let repeated = client.publish_with_headers(subject, headers, outgoing.body);
            if let Err(error) = repeated.await {
                tracing::debug!(%error, stream.name = STREAM_NAME, stream.seq = seq.0, "a session commit was not repeated for live dashboards");
            }
        }
    }
}
