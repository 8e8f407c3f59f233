//! Standing by while another projector folds. There is no lease: whoever moves the checkpoint folds, and the checkpoint
//! moves only from the value its folder read. Standing by merely keeps the others from doing the same work in vain.

use std::time::Duration;

use events::StreamSeq;
use tokio_util::sync::CancellationToken;

use super::{Ended, Projector, handle};
use crate::checkpoint::Checkpoint;
use crate::error::FoldError;

/// How long the checkpoint may stand still while the log has more, before one that stands by takes over.
const TAKE_OVER_AFTER: Duration = Duration::from_secs(2);
/// How often the checkpoint is looked at while nobody waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often while somebody does: at first, and at most after waiting longer.
const LOOK_EVERY_WAITING: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(20));

impl Projector {
    /// Follows the checkpoint that another moves, until that one stops and the log has more, if `takes_over`.
    pub(super) async fn stand_by(
        &mut self,
        cancel: &CancellationToken,
        takes_over: bool,
    ) -> Result<Ended, FoldError> {
        tracing::info!("another projector folds; standing by");
        let waiting = self.waiting.clone();
        let mut last = None;
        let mut moved_at = self.clock.monotonic();
        let mut pause = LOOK_EVERY_WAITING.0;
        loop {
            let checkpoint = self.tables.checkpoint().await?;
            let now = self.clock.monotonic();
            if last.as_ref() != Some(&checkpoint) {
                self.saw(checkpoint.as_ref()).await?;
                last = Some(checkpoint.clone());
                (moved_at, pause) = (now, LOOK_EVERY_WAITING.0);
            } else if takes_over && now.saturating_sub(moved_at) >= TAKE_OVER_AFTER {
                let log_end = self.log.state().await?.last_seq;
                if log_end > Checkpoint::seq_of(checkpoint.as_ref()) {
                    tracing::info!(
                        log_end = log_end.0,
                        "the projector that folded has stopped; taking over"
                    );
                    return Ok(Ended::Anew);
                }
                moved_at = now;
            }
            let look_again = if waiting.is_any() {
                let look_again = pause;
                pause = (pause * 2).min(LOOK_EVERY_WAITING.1);
                look_again
            } else {
                pause = LOOK_EVERY_WAITING.0;
                LOOK_EVERY
            };
            // Whichever wins, the next look sees what the others would have told.
            tokio::select! {
                () = cancel.cancelled() => return Ok(Ended::Cancelled),
                () = waiting.begun() => {}
                () = self.clock.sleep(look_again) => {}
            }
        }
    }

    /// Tells whoever waits how far the other is.
    async fn saw(&mut self, checkpoint: Option<&Checkpoint>) -> Result<(), FoldError> {
        let seq: StreamSeq = Checkpoint::seq_of(checkpoint);
        let parked = self.tables.parked_count().await?;
        self.status.send_modify(|status| status.stand_by_at(seq, parked));
        handle::show(seq, seq, parked);
        Ok(())
    }
}
