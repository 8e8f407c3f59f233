//! A pull that does not end: whenever the tables move on, what is new.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use events::UserId;
use futures::future::BoxFuture;
use futures::stream::{self, Stream};
use projections::ProjectorState;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::cursor::Cursor;
use super::page;
use super::{SyncClient, SyncError, SyncPage};
use crate::gateway::{Gateway, Inner};

/// After so long without anything new a sign of life is sent. It is also how long a stream may outlive what let it in.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Streams one account may have open.
const PER_USER_MAX: usize = 16;
/// Streams open in all.
const TOTAL_MAX: usize = 2_000;

/// Whether the caller may still be served, as its token says.
pub type StillMay = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// What a stream says.
#[derive(Debug, Clone, PartialEq)]
pub enum SyncTold {
    /// There is something new.
    Changes(SyncPage),
    /// There is nothing new, and the stream lives.
    Heartbeat,
}

struct Streaming {
    inner: Arc<Inner>,
    client: SyncClient,
    tables: Vec<String>,
    cursor: Cursor,
    still_may: StillMay,
    _place: Place,
    _counted: TaskTrackerToken,
}

/// A place among the open streams; given back on drop.
struct Place {
    inner: Arc<Inner>,
    user_id: UserId,
}

impl Place {
    fn take(inner: &Arc<Inner>, user_id: &UserId) -> Result<Self, SyncError> {
        let mut open = inner.sync.open.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = open.values().sum();
        let own = open.entry(user_id.clone()).or_default();
        if *own >= PER_USER_MAX || total >= TOTAL_MAX {
            return Err(SyncError::TooManyStreams);
        }
        *own += 1;
        drop(open);
        Ok(Self {
            inner: inner.clone(),
            user_id: user_id.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let open = &self.inner.sync.open;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.user_id) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.user_id);
            }
        }
    }
}

impl Gateway {
    /// What is new to a client since its cursor, and from then on whenever there is something. It ends when the
    /// caller may be served no more, when the server stops, and when something cannot be asked: the client comes back
    /// with its cursor.
    ///
    /// # Errors
    /// [`SyncError::BadCursor`]; [`SyncError::TooManyStreams`].
    pub fn sync_stream(
        &self,
        client: SyncClient,
        since: &str,
        tables: Vec<String>,
        still_may: StillMay,
    ) -> Result<impl Stream<Item = SyncTold> + Send + use<>, SyncError> {
        let streaming = Streaming {
            cursor: Cursor::parse(since)?,
            _place: Place::take(&self.inner, &client.user_id)?,
            _counted: self.inner.listening.token(),
            inner: self.inner.clone(),
            client,
            tables,
            still_may,
        };
        Ok(stream::unfold(streaming, Streaming::next))
    }
}

impl Streaming {
    async fn next(mut self) -> Option<(SyncTold, Self)> {
        loop {
            // Before the look, so that what comes after it is waited for.
            let seen = self.inner.records.projector.seq();
            let page = self.look().await?;
            if !page.changes.is_empty() {
                return Some((SyncTold::Changes(page), self));
            }
            if page.has_more {
                continue;
            }
            let inner = self.inner.clone();
            let projector = &inner.records.projector;
            // Whichever is first; nothing is lost with a wait that is given up.
            tokio::select! {
                () = inner.sync.stop.cancelled() => return None,
                moved = projector.wait_for(seen.next(), HEARTBEAT) => if moved.is_ok() { continue },
            }
            if projector.status().state == ProjectorState::Halted {
                // It says so at once, and would again. Whichever is first; neither loses anything.
                tokio::select! {
                    () = inner.sync.stop.cancelled() => return None,
                    () = inner.clock.sleep(HEARTBEAT) => {}
                }
            }
            return Some((SyncTold::Heartbeat, self));
        }
    }

    /// The next page, if the caller may still have it.
    async fn look(&mut self) -> Option<SyncPage> {
        if self.inner.is_draining() || !(self.still_may)().await {
            return None;
        }
        let _present = self.inner.guests.enter(&self.client.user_id)?;
        let found = page::next(&self.inner, &self.client, self.cursor.clone(), &self.tables).await;
        let (changes, cursor, has_more) = found
            .inspect_err(
                |error| tracing::warn!(error = %error, "a sync stream ends: what is new cannot be read"),
            )
            .ok()?;
        self.cursor = cursor.clone();
        Some(SyncPage {
            changes,
            synced_until: cursor.text(),
            has_more,
        })
    }
}
