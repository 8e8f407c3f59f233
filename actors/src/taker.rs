//! Takes due ticks from the work queue, no more at once than may act, and says what came of each.
//!
//! A tick that ended, or that somebody else has begun, is done. One that could not begin now is given back. One whose
//! runner stops or dies in the middle is neither: the queue hands it to another runner, which finds it begun in the
//! log and closes it; nothing of it is sent again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use events::{Claim, TakenTick, TickQueue, TickTrigger};
use futures::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cast::CastMsg;
use crate::report::TickReport;
use crate::scheduler::SchedulerArgs;
use crate::tick::{Taken, TickOrder, panic_text};

/// How long one look into an empty queue lasts.
const WAIT: Duration = Duration::from_secs(5);
/// Before the queue is asked again after it did not answer, and while the runner is paused.
const PAUSE: Duration = Duration::from_millis(500);
/// Before a tick that could not begin is tried again.
const LATER: Duration = Duration::from_secs(10);

/// Takes and lives ticks for as long as it is let.
pub(crate) async fn run(queue: Arc<dyn TickQueue>, tree: SchedulerArgs) {
    let room = Arc::new(Semaphore::new(tree.stage.settings.concurrency.max(1)));
    loop {
        let taking = AssertUnwindSafe(take(&queue, &tree, &room)).catch_unwind().await;
        match taking {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the work queue does not answer and is asked again"),
            Err(panic) => {
                tracing::error!(
                    error = panic_text(panic.as_ref()),
                    "taking ticks failed and goes on"
                );
            }
        }
        tree.stage.clock.sleep(PAUSE).await;
    }
}

/// Takes until the queue does not answer or the runner is paused.
async fn take(
    queue: &Arc<dyn TickQueue>,
    tree: &SchedulerArgs,
    room: &Arc<Semaphore>,
) -> Result<(), events::LogError> {
    while !tree.is_paused.load(Ordering::SeqCst) {
        let Ok(first) = room.clone().acquire_owned().await else {
            return Ok(());
        };
        let mut permits = vec![first];
        while let Ok(more) = room.clone().try_acquire_owned() {
            permits.push(more);
        }
        for taken in queue.take(permits.len(), WAIT).await? {
            let Some(permit) = permits.pop() else {
                break;
            };
            let (every, tree) = (queue.keep_every(), tree.clone());
            let tracker = tree.stage.tracker.clone();
            tracker.spawn(live(taken, permit, every, tree));
        }
    }
    Ok(())
}

/// Lets the cast live a tick, and keeps hold of it meanwhile.
async fn live(taken: TakenTick, _permit: OwnedSemaphorePermit, every: Duration, tree: SchedulerArgs) {
    let TakenTick {
        tick,
        was_taken_before,
        claim,
    } = taken;
    let order = TickOrder {
        persona_id: tick.persona_id,
        email: tick.email,
        name: tick.name,
        trigger: TickTrigger::Schedule,
        due_at: tick.due_at,
        taken: Some(Taken {
            number: tick.number,
            was_taken_before,
        }),
    };
    let lived = tree.cast.ask_patiently(|reply| CastMsg::Tick(order, reply));
    let mut lived = std::pin::pin!(lived);
    let report = loop {
        tokio::select! {
            report = &mut lived => break report,
            // The tick goes on; only the queue is told so.
            () = tree.stage.clock.sleep(every) => claim.keep().await,
        }
    };
    if let Ok(report) = report {
        tell(claim.as_ref(), &report, tree.stage.closing.is_cancelled()).await;
    }
}

/// Tells the queue what came of a tick; nothing of one that was cut, which is another's to close.
async fn tell(claim: &dyn Claim, report: &TickReport, is_stopping: bool) {
    match report.outcome.as_str() {
        "cut" => {}
        // Where the log did not answer or an actor failed, whoever comes next sees in the log what became of it.
        "busy" | "failed" => claim.give_back(LATER).await,
        "stood-down" if is_stopping => claim.give_back(Duration::ZERO).await,
        _ => claim.done().await,
    }
}
