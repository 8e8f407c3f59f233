//! The live feed: what happens, as server-sent events, gathered into a few frames a second.
//!
//! Every viewer follows the log by itself and asks for more only when its connection takes more: one that stalls holds
//! a few hundred commits, and neither a writer nor another viewer waits for it. What a frame has no room for is
//! counted in it. `id:` is the sequence of the last commit, so a browser that comes back goes on where it was.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Sse;
use axum::response::sse::{Event as Frame, KeepAlive};
use events::{Clock as _, CommitStream, Delivery, StreamSeq, TickId};
use futures::{FutureExt as _, Stream, StreamExt as _};
use http::HeaderMap;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;

use super::App;
use super::endpoint::{Access, Endpoint};
use super::operators::Operator;
use super::problem::Problem;
use super::queries::{EventShown, shown};

/// How long commits are gathered before they are sent: twenty frames a second at most.
const GATHER: Duration = Duration::from_millis(50);
/// Events shown in one frame; what is beyond is counted.
const SHOWN_MAX: usize = 100;
/// Commits looked at for one frame.
const LOOKED_AT_MAX: usize = 2_000;
/// Commits of the past that a new viewer sees.
const PAST: u64 = 60;
/// How far back a viewer that comes back is taken; what lies before is a gap.
const CATCH_UP_MAX: u64 = 5_000;
/// How long one connection lasts; the browser comes back and proves itself again.
const LIFE: Duration = Duration::from_mins(15);
/// Characters shown of a text in an event.
const TEXT_CHARS: usize = 300;

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(&["/api/v1/feed"], open)
            .about(
                Access::Admin,
                "What happens, as server-sent events: frames of what a twentieth of a second brought",
            )
            .gives::<FeedFrame>()
            .reads(&["after"])
            .refuses(&[400, 503])
            .answers_with("text/event-stream"),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    after: Option<u64>,
}

async fn open(
    Operator(caller): Operator,
    State(app): State<App>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Frame, Infallible>>>, Problem> {
    let place = app.operators.viewers.clone().try_acquire_owned().map_err(|_| {
        Problem::unavailable(
            "FEED_FULL",
            "as many feeds are open as there may be; close one, or try again",
        )
    })?;
    app.operators
        .audit
        .read(&caller, "feed", "", app.clock.now(), app.clock.monotonic());
    let came_back = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let end = app.log.state().await?.last_seq.0;
    let after = came_back
        .or(asked.after)
        .map_or(end.saturating_sub(PAST), |after| {
            after.clamp(end.saturating_sub(CATCH_UP_MAX), end)
        });
    let viewer = Viewer {
        deliveries: app.log.follow(StreamSeq(after)).await?,
        at: StreamSeq(after),
        began: app.clock.monotonic(),
        app,
        _place: place,
    };
    let frames = futures::stream::unfold(viewer, |mut viewer| async move {
        let frame = viewer.next().await?;
        Some((Ok(frame), viewer))
    });
    Ok(Sse::new(frames).keep_alive(KeepAlive::default()))
}

/// One who looks on.
struct Viewer {
    deliveries: CommitStream,
    /// The last commit that was shown or counted.
    at: StreamSeq,
    began: Duration,
    app: App,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    /// The next frame; `None` when the connection has lasted long enough, the house closes, or the log fails.
    async fn next(&mut self) -> Option<Frame> {
        let lived = self.app.clock.monotonic().saturating_sub(self.began);
        let left = LIFE.checked_sub(lived)?;
        let first = tokio::select! {
            () = self.app.operators.stop.cancelled() => None,
            // What had not come by then comes to the next connection.
            first = tokio::time::timeout(left, self.deliveries.next()) => first.ok().flatten(),
        };
        let mut gathered = Gathered::new(self.at);
        gathered.take(&first?.ok()?);
        self.app.clock.sleep(GATHER).await;
        while gathered.commits < LOOKED_AT_MAX
            && let Some(Some(delivery)) = self.deliveries.next().now_or_never()
        {
            match delivery {
                Ok(delivery) => gathered.take(&delivery),
                // The browser comes back for what is after.
                Err(_) => break,
            }
        }
        self.at = gathered.seq;
        let frame = Frame::default().id(gathered.seq.to_string());
        frame.json_data(gathered.into_frame()).ok()
    }
}

/// One frame of the feed.
#[derive(Debug, Serialize, JsonSchema)]
struct FeedFrame {
    /// The last commit before it; not the last frame's `seq`: then there is a gap.
    after: StreamSeq,
    /// The last commit in it.
    seq: StreamSeq,
    commits: usize,
    events: usize,
    /// Events that it has no room for.
    elided: usize,
    items: Vec<FeedItem>,
}

/// One event on the feed; texts are cut.
#[derive(Debug, Serialize, JsonSchema)]
struct FeedItem {
    #[serde(flatten)]
    event: EventShown,
    /// Place of its commit in the log.
    seq: StreamSeq,
    subject: String,
    /// Its writer's time; absent when it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<events::Moment>")]
    time: Option<Timestamp>,
    tick: Option<TickId>,
}

/// What goes into one frame.
struct Gathered {
    after: StreamSeq,
    seq: StreamSeq,
    commits: usize,
    events: usize,
    items: Vec<FeedItem>,
}

impl Gathered {
    fn new(after: StreamSeq) -> Self {
        Self {
            after,
            seq: after,
            commits: 0,
            events: 0,
            items: Vec::new(),
        }
    }

    fn take(&mut self, delivery: &Delivery) {
        self.seq = delivery.seq();
        self.commits += 1;
        match delivery {
            Delivery::Commit(recorded) => {
                for (ordinal, event) in recorded.events() {
                    self.events += 1;
                    if self.items.len() >= SHOWN_MAX {
                        continue;
                    }
                    let mut event = shown(ordinal, event);
                    event.data.values_mut().for_each(cap_texts);
                    self.items.push(FeedItem {
                        event,
                        seq: recorded.seq,
                        subject: events::capped(&recorded.commit.subject.to_string(), TEXT_CHARS),
                        time: Some(recorded.commit.time),
                        tick: recorded.commit.tick.clone(),
                    });
                }
            }
            Delivery::Undecodable(message) => {
                self.events += 1;
                self.items.push(FeedItem {
                    event: EventShown {
                        ordinal: 0,
                        event_type: "(unreadable)".to_owned(),
                        v: None,
                        data: Map::new(),
                        hidden: None,
                    },
                    seq: message.seq,
                    subject: events::capped(&message.subject, TEXT_CHARS),
                    time: None,
                    tick: None,
                });
            }
        }
    }

    fn into_frame(self) -> FeedFrame {
        FeedFrame {
            after: self.after,
            seq: self.seq,
            commits: self.commits,
            events: self.events,
            elided: self.events.saturating_sub(self.items.len()),
            items: self.items,
        }
    }
}

/// Cuts every text in `value`: a feed is to be glanced at, and the event itself has the rest.
fn cap_texts(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > TEXT_CHARS => *text = events::capped(text, TEXT_CHARS),
        Value::Array(values) => values.iter_mut().for_each(cap_texts),
        Value::Object(members) => members.values_mut().for_each(cap_texts),
        _ => {}
    }
}
