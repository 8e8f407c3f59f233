//! `dramatis top`: the stage in a terminal, live: who acts, what happens, lag, spend, alarms.

mod feed;
mod screen;

use std::sync::Arc;
use std::time::Duration;

use events::{Clock as _, SystemClock};

use crate::api_client::{ApiArgs, ApiClient};
use crate::exit::CommandError;
use crate::house::Signals;
use crate::output::{Format, Out};
use feed::Feed;

/// How often the overview is asked for.
const EVERY: Duration = Duration::from_secs(1);
/// How long a feed that broke off waits before it is opened again.
const FEED_AGAIN: Duration = Duration::from_secs(2);

/// Watch the stage in the terminal: who acts, what happens, lag, spend and alarms
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// Show it once instead of on and on; what a pipe gets in any case
    #[arg(long)]
    once: bool,
}

/// Shows the stage until Ctrl-C, or once.
///
/// # Errors
/// As the server says, and [`CommandError::Unavailable`] when it goes away.
pub(crate) async fn run(
    args: &TopArgs,
    api: &ApiClient,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    let overview = api.query("overview").await?;
    if out.format() == Format::Json {
        return out.json(&overview);
    }
    if args.once || !out.is_terminal() {
        return out.text(screen::draw(&overview, &[], None, out.width(), out.paint()));
    }
    let mut signals = Signals::listen()?;
    out.text(screen::ENTER)?;
    let ended = tokio::select! {
        ended = watch(api, &clock, out) => ended,
        // What was on the screen is not needed any more.
        () = signals.next() => Ok(()),
    };
    out.text(screen::LEAVE)?;
    ended
}

async fn watch(api: &ApiClient, clock: &SystemClock, out: &mut Out) -> Result<(), CommandError> {
    let mut feed: Option<Feed> = None;
    let mut retry_at = clock.monotonic();
    let mut lines = feed::Lines::default();
    let mut overview = api.query("overview").await?;
    let mut asked_at = clock.monotonic();
    while !out.is_closed() {
        if feed.is_none() && clock.monotonic() >= retry_at {
            feed = Feed::open(api).await.ok();
            retry_at = clock.monotonic() + FEED_AGAIN;
        }
        let rate = lines.per_second(clock.monotonic());
        let frame = screen::draw(&overview, lines.newest(), rate, out.width(), out.paint());
        out.text(format!("{}{}{}\n", screen::HOME, frame.trim_end(), screen::REST))?;
        let left = EVERY.saturating_sub(clock.monotonic().saturating_sub(asked_at));
        let next = async {
            match &mut feed {
                Some(feed) => feed.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            frame = next => match frame {
                Some(frame) => lines.take(&frame, clock.monotonic()),
                None => feed = None,
            },
            // A frame that was on its way is read on at the next turn: the feed keeps what it has.
            () = clock.sleep(left) => {
                overview = api.query("overview").await?;
                asked_at = clock.monotonic();
            }
        }
    }
    Ok(())
}
