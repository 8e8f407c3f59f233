//! The root: starts roster, scheduler and cast, restarts what fails, and says so when it has failed too often.
//!
//! A spent budget is never silent: [`crate::CastHandle::spent`] resolves, and the process ends with a failure. The
//! personas' own budgets are the cast's business.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr, SupervisionEvent,
};
use tokio::sync::watch;

use crate::address::Address;
use crate::budget::{Budget, Verdict};
use crate::cast::CastActor;
use crate::roster_actor::RosterActor;
use crate::scheduler::SchedulerMsg;
use crate::scheduler::{Scheduler, SchedulerArgs};
use crate::snapshot::SupervisorSnapshot;

/// What the supervisor takes.
#[derive(Debug)]
pub(crate) enum SupervisorMsg {
    /// From whoever looks on. A snapshot is owed at once.
    Observe(RpcReplyPort<SupervisorSnapshot>),
}

/// What it is started with.
#[derive(Debug, Clone)]
pub(crate) struct SupervisorArgs {
    /// What the scheduler needs, which is all there is: the stage and the others' addresses.
    pub(crate) tree: SchedulerArgs,
    pub(crate) scheduler: Address<SchedulerMsg>,
    /// Set once, when a budget is spent.
    pub(crate) spent: Arc<watch::Sender<Option<String>>>,
}

/// Those who are always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Child {
    Roster,
    Cast,
    Scheduler,
}

/// What it keeps.
#[derive(Debug)]
pub(crate) struct SupervisorState {
    args: SupervisorArgs,
    children: BTreeMap<ActorId, Child>,
    budgets: BTreeMap<Child, Budget>,
    restarts: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Supervisor;

impl SupervisorArgs {
    async fn spawn(&self, myself: ActorCell, child: Child) -> Result<ActorId, SpawnErr> {
        let tree = &self.tree;
        match child {
            Child::Roster => {
                let roster = RosterActor::spawn_under(myself, tree.stage.clone(), tree.read.clone()).await?;
                let id = roster.get_id();
                tree.roster.set(roster);
                Ok(id)
            }
            Child::Cast => {
                let cast = CastActor::spawn_under(myself, tree.stage.clone()).await?;
                let id = cast.get_id();
                tree.cast.set(cast);
                Ok(id)
            }
            Child::Scheduler => {
                let scheduler = Scheduler::spawn_under(myself, tree.clone()).await?;
                let id = scheduler.get_id();
                self.scheduler.set(scheduler);
                Ok(id)
            }
        }
    }

    fn name(&self, child: Child) -> &'static str {
        match child {
            Child::Roster => self.tree.roster.name(),
            Child::Cast => self.tree.cast.name(),
            Child::Scheduler => self.scheduler.name(),
        }
    }
}

impl SupervisorState {
    /// Restarts `child` while its budget lasts; a start that fails counts as another failure.
    async fn failed(&mut self, myself: &ActorRef<SupervisorMsg>, child: Child, error: String) {
        let (name, stage) = (self.args.name(child), self.args.tree.stage.clone());
        let mut error = error;
        loop {
            let settings = &stage.settings;
            let budget = self
                .budgets
                .entry(child)
                .or_insert_with(|| Budget::new(settings.restarts_max, settings.restart_window));
            if let Verdict::Spent { restarts } = budget.failed(stage.clock.monotonic()) {
                let reason = format!("the {name} failed again after {restarts} restarts: {error}");
                tracing::error!(actor.name = name, restarts, error, "the restart budget is spent");
                self.args
                    .spent
                    .send_if_modified(|spent| spent.is_none() && spent.replace(reason).is_none());
                return;
            }
            tracing::error!(actor.name = name, error, "an actor failed and is restarted");
            metrics::counter!("cast_restarts_total", "actor" => name).increment(1);
            self.restarts += 1;
            match self.args.spawn(myself.get_cell(), child).await {
                Ok(id) => {
                    self.children.insert(id, child);
                    return;
                }
                Err(failure) => error = failure.to_string(),
            }
        }
    }
}

#[async_trait]
impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = SupervisorState;
    type Arguments = SupervisorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMsg>,
        args: SupervisorArgs,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let mut children = BTreeMap::new();
        for child in [Child::Roster, Child::Cast, Child::Scheduler] {
            children.insert(args.spawn(myself.get_cell(), child).await?, child);
        }
        Ok(SupervisorState {
            args,
            children,
            budgets: BTreeMap::new(),
            restarts: 0,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let SupervisorMsg::Observe(reply) = message;
        let spent = state.args.spent.borrow().clone();
        // Whoever asked may have stopped waiting.
        let _ = reply.send(SupervisorSnapshot {
            restarts: state.restarts,
            spent,
        });
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let (actor, error) = match event {
            SupervisionEvent::ActorFailed(actor, error) => (actor, error.to_string()),
            SupervisionEvent::ActorTerminated(actor, _, reason) => (
                actor,
                reason.unwrap_or_else(|| "it ended without a reason".to_owned()),
            ),
            _ => return Ok(()),
        };
        if let Some(child) = state.children.remove(&actor.get_id())
            && !state.args.tree.stage.cut.is_cancelled()
        {
            state.failed(&myself, child, error).await;
        }
        Ok(())
    }
}
