//! Virtual days: time jumps from one persona's slot to the next, and each tick runs as it would on that day.
//!
//! One persona acts at a time, in the order they are due. So what one does in a shared space is there when the next
//! comes, and two runs of one seed on two fresh folders do the same: `dramatis audit behaviour` compares them.

use actors::{TickReport, Who};
use events::{Clock as _, Delivery};
use jiff::{SignedDuration, Timestamp};

use crate::exit::CommandError;
use crate::http::App;

/// When days begin that follow nothing: Monday, 5 January 2026.
const FIRST_DAY: Timestamp = Timestamp::constant(1_767_571_200, 0);

/// Sets the clock to where the log ends, and to the first Monday of 2026 for an empty one.
///
/// # Errors
/// What the log says.
pub(crate) async fn begin(app: &App) -> Result<(), CommandError> {
    let end = app.log.state().await?.last_seq;
    let at = match app.log.at(end).await? {
        Some(Delivery::Commit(recorded)) => recorded.commit.time.max(FIRST_DAY),
        _ => FIRST_DAY,
    };
    app.clock.set(at);
    Ok(())
}

/// Lives `time` from now on, and tells `moved` after every jump of the clock.
///
/// # Errors
/// What the cast or `moved` says.
pub(crate) async fn live(
    app: &App,
    time: SignedDuration,
    moved: impl Fn() -> Result<(), CommandError>,
) -> Result<Vec<TickReport>, CommandError> {
    app.cast.rate_slowness(false);
    let end = app.clock.now().saturating_add(time).unwrap_or(Timestamp::MAX);
    let lived = live_to(app, end, moved).await;
    app.cast.rate_slowness(true);
    lived
}

async fn live_to(
    app: &App,
    end: Timestamp,
    moved: impl Fn() -> Result<(), CommandError>,
) -> Result<Vec<TickReport>, CommandError> {
    let failed = |error: actors::CastError| CommandError::Failed(error.to_string());
    let mut ticks = Vec::new();
    while let Some(due) = app.cast.next_due().await.map_err(failed)?
        && due < end
    {
        app.clock.advance_to(due);
        moved()?;
        let lived = app.cast.tick(Who::FirstDue).await.map_err(failed)?;
        // Whoever is due and does not begin would be due for ever.
        if let Some(stuck) = lived.iter().find(|tick| tick.tick_id.is_none()) {
            let reason = stuck.reason.as_deref().unwrap_or(&stuck.outcome);
            return Err(CommandError::Failed(format!(
                "{} does not act: {reason}",
                stuck.name
            )));
        }
        ticks.extend(lived);
    }
    app.clock.advance_to(end);
    moved()?;
    Ok(ticks)
}
