//! Looks who is due, at a steady pace, and hands them to the cast. It never runs a tick.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use events::{DueTick, TickQueue};
use futures::FutureExt as _;
use jiff::Timestamp;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio_util::sync::DropGuard;

use crate::address::Address;
use crate::cast::CastMsg;
use crate::roster_actor::{ReadUpTo, RosterMsg};
use crate::snapshot::SchedulerSnapshot;
use crate::stage::Stage;
use crate::tick::panic_text;

/// How long the first look waits for the roster to have read the log.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// What the scheduler takes.
#[derive(Debug)]
pub(crate) enum SchedulerMsg {
    /// From its own timer: look now. A reply is owed when the look is over, so that looks never pile up.
    Poll(RpcReplyPort<()>),
    /// From the handle: hold scheduled ticks back, also those that wait. A reply is owed at once.
    Pause(RpcReplyPort<()>),
    /// From the handle: go on. A reply is owed at once; the next look is when the timer says.
    Resume(RpcReplyPort<()>),
    /// From whoever looks on. A snapshot is owed at once.
    Observe(RpcReplyPort<SchedulerSnapshot>),
}

/// What it is started with; the same over restarts.
#[derive(Debug, Clone)]
pub(crate) struct SchedulerArgs {
    pub(crate) stage: Arc<Stage>,
    pub(crate) roster: Address<RosterMsg>,
    pub(crate) read: ReadUpTo,
    pub(crate) cast: Address<CastMsg>,
    /// Outlives a restart: a pause is not forgotten.
    pub(crate) is_paused: Arc<AtomicBool>,
}

/// What it keeps.
#[derive(Debug)]
pub(crate) struct SchedulerState {
    args: SchedulerArgs,
    seen: SchedulerSnapshot,
    /// Since when it lets anybody act; `None` while it is paused.
    back_since: Option<Timestamp>,
    _timer: DropGuard,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Scheduler;

impl Scheduler {
    /// Starts it under `supervisor`.
    pub(crate) async fn spawn_under(
        supervisor: ActorCell,
        args: SchedulerArgs,
    ) -> Result<ActorRef<SchedulerMsg>, ractor::SpawnErr> {
        Self::spawn_linked(None, Self, args, supervisor)
            .await
            .map(|(actor, _)| actor)
    }
}

/// Keeps time for as long as the scheduler lives, and ends it when that cannot be done: the supervisor starts it
/// anew.
async fn run_timer(args: SchedulerArgs, scheduler: ActorRef<SchedulerMsg>) {
    if let Err(panic) = AssertUnwindSafe(keep_time(&args, &scheduler))
        .catch_unwind()
        .await
    {
        scheduler.stop(Some(format!(
            "its timer panicked: {}",
            panic_text(panic.as_ref())
        )));
    }
}

/// Asks for a look, waits until it is over, waits the interval, and again.
async fn keep_time(args: &SchedulerArgs, scheduler: &ActorRef<SchedulerMsg>) {
    let stage = &args.stage;
    if let Err(error) = args.read.the_end(stage, READ_WITHIN).await {
        tracing::warn!(%error, "the scheduler starts before the roster has read the log");
    }
    while !stage.closing.is_cancelled() {
        if scheduler.call(SchedulerMsg::Poll, None).await.is_err() {
            return;
        }
        stage.clock.sleep(stage.settings.tick_interval).await;
    }
}

impl SchedulerState {
    async fn poll(&mut self) {
        let now = self.args.stage.clock.now();
        self.seen.polls += 1;
        self.seen.last_poll = Some(now);
        let back_since = *self.back_since.get_or_insert(now);
        if self.is_paused() {
            self.back_since = None;
        }
        let due = |reply| RosterMsg::Due(now, back_since, reply);
        let list = match self.args.roster.ask(due).await {
            Ok(list) => list,
            Err(error) => {
                tracing::warn!(%error, "nobody can be scheduled now; the next look tries again");
                return;
            }
        };
        // What the cast does not get is found again by the next look.
        if !list.unfinished.is_empty() {
            self.args.cast.cast(CastMsg::Recover(list.unfinished));
        }
        if let Some(queue) = &self.args.stage.queue {
            if !self.is_paused() {
                self.seen.armed += offer(queue.as_ref(), &list.offers).await;
            }
            return;
        }
        let due = list.due.len() as u64;
        if !self.is_paused() && due > 0 && self.args.cast.cast(CastMsg::Due(list.due)) {
            self.seen.armed += due;
        }
    }

    fn pause(&self, is_paused: bool) {
        self.args.is_paused.store(is_paused, Ordering::SeqCst);
        if is_paused {
            self.args.cast.cast(CastMsg::ForgetDue);
        }
    }

    fn is_paused(&self) -> bool {
        self.args.is_paused.load(Ordering::SeqCst)
    }
}

/// Offers what is due to all runners; what does not get there is found again by the next look.
async fn offer(queue: &dyn TickQueue, due: &[DueTick]) -> u64 {
    match queue.offer(due).await {
        Ok(offered) => offered,
        Err(error) => {
            tracing::warn!(%error, "what is due cannot be offered now; the next look tries again");
            0
        }
    }
}

#[async_trait]
impl Actor for Scheduler {
    type Msg = SchedulerMsg;
    type State = SchedulerState;
    type Arguments = SchedulerArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<SchedulerMsg>,
        args: SchedulerArgs,
    ) -> Result<SchedulerState, ActorProcessingErr> {
        let end = args.stage.cut.child_token();
        let timer = end.clone().drop_guard();
        args.stage.tracker.spawn({
            let (args, closing) = (args.clone(), args.stage.closing.clone());
            async move {
                tokio::select! {
                    // Whichever comes first, the timer holds nothing that could be lost.
                    () = end.cancelled() => {}
                    () = closing.cancelled() => {}
                    () = run_timer(args, myself) => {}
                }
            }
        });
        let seen = SchedulerSnapshot {
            paused: false,
            polls: 0,
            last_poll: None,
            armed: 0,
        };
        Ok(SchedulerState {
            args,
            seen,
            back_since: None,
            _timer: timer,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<SchedulerMsg>,
        message: SchedulerMsg,
        state: &mut SchedulerState,
    ) -> Result<(), ActorProcessingErr> {
        // Whoever asked may have stopped waiting: that a reply finds nobody is no concern.
        match message {
            SchedulerMsg::Poll(reply) => {
                state.poll().await;
                let _ = reply.send(());
            }
            SchedulerMsg::Pause(reply) => {
                state.pause(true);
                let _ = reply.send(());
            }
            SchedulerMsg::Resume(reply) => {
                state.pause(false);
                let _ = reply.send(());
            }
            SchedulerMsg::Observe(reply) => {
                let _ = reply.send(SchedulerSnapshot {
                    paused: state.is_paused(),
                    ..state.seen.clone()
                });
            }
        }
        Ok(())
    }
}
