//! `dramatis audit behaviour`: what the cast did, as one number.

use std::sync::Arc;

use actors::Behaviour;
use events::{Delivery, LogError, StreamSeq, SystemClock, read_to_end};

use crate::config::Config;
use crate::exit::CommandError;
use crate::log_access::LogAccess;
use crate::output::{Format, Out, count_of, printable, table};

/// Reads the whole log, beside a running server or without one.
///
/// # Errors
/// What is in the way of reading it.
pub(crate) async fn run(config: &Config, clock: Arc<SystemClock>, out: &mut Out) -> Result<(), CommandError> {
    let access = LogAccess::open(config, clock).await?;
    let mut behaviour = Behaviour::default();
    let read = read_to_end(
        access.log(),
        StreamSeq::ZERO,
        |delivery| -> Result<(), LogError> {
            if let Delivery::Commit(recorded) = delivery {
                behaviour.fold(&recorded);
            }
            Ok(())
        },
    );
    let read = read.await;
    access.close().await;
    read?;
    let behaviour = behaviour.digest();
    if out.format() == Format::Json {
        return out.json(&behaviour);
    }
    let mut rows = table(&["persona", "behaviour"], &[], out.width(), out.paint());
    for (email, digest) in &behaviour.personas {
        rows.add_row([printable(email), digest.clone()]);
    }
    out.text(rows)?;
    let (ticks, calls) = (
        count_of(behaviour.ticks, "tick"),
        count_of(behaviour.calls, "call"),
    );
    out.text(format!("{} over {ticks}, {calls}", behaviour.digest))
}
