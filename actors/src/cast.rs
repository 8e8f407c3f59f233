//! Admission: who may act now, who waits, and what becomes of a persona whose actor fails.
//!
//! ractor's mailboxes have no bound, so the bound is here: at most one waiting tick per persona, and no more
//! persona actors at once than there are permits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use events::{ERROR_CHARS_MAX, PersonaHalted, PersonaId, TickTrigger, capped};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::budget::{Budget, Verdict};
use crate::persona::{Job, PersonaActor, PersonaArgs, PersonaMsg};
use crate::report::TickReport;
use crate::stage::Stage;
use crate::tick::{TickOrder, recover};

/// What the cast takes.
#[derive(Debug)]
pub(crate) enum CastMsg {
    /// From the handle: let this persona act now. A report is owed when its tick is over, or at once when it is
    /// acting already.
    Tick(TickOrder, RpcReplyPort<TickReport>),
    /// From the scheduler: these are due. No reply; who acts or waits already is left out.
    Due(Vec<TickOrder>),
    /// From the scheduler: these have a tick that never ended. No reply; who acts or waits already is left out.
    Recover(Vec<TickOrder>),
    /// From the scheduler when it is paused: forget who waits only because it is due. No reply.
    ForgetDue,
    /// From a persona actor, once: its job is over. No reply; it is sent home.
    Ended {
        /// The persona.
        persona_id: PersonaId,
        /// How it went.
        report: Box<TickReport>,
    },
    /// From the handle when it stops: take nothing more, send away who waits. A reply is owed once nobody acts.
    Close(RpcReplyPort<()>),
    /// From whoever looks on. An answer is owed at once.
    Observe(RpcReplyPort<CastView>),
}

/// What the cast answers to `Observe`; the personas in it answer for themselves.
#[derive(Debug)]
pub(crate) struct CastView {
    pub(crate) acting: Vec<ActorRef<PersonaMsg>>,
    pub(crate) waiting: Vec<PersonaId>,
}

/// What it keeps.
#[derive(Debug)]
pub(crate) struct CastState {
    // Dependencies.
    stage: Arc<Stage>,
    permits: Arc<Semaphore>,
    // State.
    line: VecDeque<PersonaId>,
    waiting: BTreeMap<PersonaId, Waiting>,
    acting: BTreeMap<PersonaId, Acting>,
    budgets: BTreeMap<PersonaId, Budget>,
    closers: Vec<RpcReplyPort<()>>,
}

#[derive(Debug)]
struct Waiting {
    order: TickOrder,
    job: Job,
    replies: Vec<RpcReplyPort<TickReport>>,
}

#[derive(Debug)]
struct Acting {
    actor: ActorRef<PersonaMsg>,
    wanted: Waiting,
    /// Given back when the persona goes.
    _permit: OwnedSemaphorePermit,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct CastActor;

impl CastActor {
    /// Starts it under `supervisor`.
    pub(crate) async fn spawn_under(
        supervisor: ActorCell,
        stage: Arc<Stage>,
    ) -> Result<ActorRef<CastMsg>, ractor::SpawnErr> {
        Self::spawn_linked(None, Self, stage, supervisor)
            .await
            .map(|(actor, _)| actor)
    }
}

impl CastState {
    /// A tick by hand: it joins one that waits, and is told so when the persona acts already.
    fn want(&mut self, order: TickOrder, reply: RpcReplyPort<TickReport>) {
        if self.stage.closing.is_cancelled() {
            answer([reply], &order.report("stood-down", "the runner is stopping"));
        } else if self
            .acting
            .get(&order.persona_id)
            .is_some_and(|acting| acting.wanted.job == Job::Tick)
        {
            answer([reply], &order.report("busy", "the persona is acting already"));
        } else if let Some(waiting) = self.waiting.get_mut(&order.persona_id) {
            waiting.job = Job::Tick;
            if order.trigger == TickTrigger::Manual {
                waiting.order = order;
            }
            waiting.replies.push(reply);
        } else {
            self.line_up(Waiting {
                order,
                job: Job::Tick,
                replies: vec![reply],
            });
        }
    }

    /// Work nobody waits for: left out for those who act or wait.
    fn coalesce(&mut self, orders: Vec<TickOrder>, job: Job) {
        if self.stage.closing.is_cancelled() {
            return;
        }
        for order in orders {
            if !self.acting.contains_key(&order.persona_id) && !self.waiting.contains_key(&order.persona_id) {
                self.line_up(Waiting {
                    order,
                    job,
                    replies: Vec::new(),
                });
            }
        }
    }

    fn line_up(&mut self, waiting: Waiting) {
        let persona_id = waiting.order.persona_id.clone();
        self.line.push_back(persona_id.clone());
        self.waiting.insert(persona_id, waiting);
    }

    /// Brings in from the front of the line while there are permits. One whose earlier job still runs keeps its
    /// place.
    async fn admit(&mut self, myself: &ActorRef<CastMsg>) -> Result<(), ActorProcessingErr> {
        let mut kept = VecDeque::new();
        while let Some(persona_id) = self.line.pop_front() {
            if self.acting.contains_key(&persona_id) {
                kept.push_back(persona_id);
                continue;
            }
            let Ok(permit) = self.permits.clone().try_acquire_owned() else {
                kept.push_back(persona_id);
                break;
            };
            let Some(wanted) = self.waiting.remove(&persona_id) else {
                continue;
            };
            let (stage, order) = (self.stage.clone(), wanted.order.clone());
            let args = PersonaArgs {
                stage,
                cast: myself.clone(),
                order,
                job: wanted.job,
            };
            let actor = PersonaActor::spawn_for(args).await?;
            self.acting.insert(
                persona_id,
                Acting {
                    actor,
                    wanted,
                    _permit: permit,
                },
            );
        }
        kept.append(&mut self.line);
        self.line = kept;
        metrics::gauge!("cast_acting").set(self.acting.len() as f64);
        Ok(())
    }

    fn ended(&mut self, persona_id: &PersonaId, report: &TickReport) {
        let Some(acting) = self.acting.remove(persona_id) else {
            return;
        };
        acting.actor.stop(None);
        answer(acting.wanted.replies, report);
    }

    /// Within its budget a failed persona comes back to close what it left open; beyond it, it stays down.
    fn failed(&mut self, actor: ActorId, error: &str) {
        let Some(persona_id) = self.acting_as(actor) else {
            return;
        };
        let Some(acting) = self.acting.remove(&persona_id) else {
            return;
        };
        let order = acting.wanted.order.clone();
        tracing::error!(actor.id = %persona_id, error, "a persona's actor failed");
        answer(
            acting.wanted.replies,
            &order.report("failed", format!("its actor failed: {error}")),
        );
        let settings = &self.stage.settings;
        let budget = self
            .budgets
            .entry(persona_id.clone())
            .or_insert_with(|| Budget::new(settings.restarts_max, settings.restart_window));
        match budget.failed(self.stage.clock.monotonic()) {
            Verdict::Restart if !self.waiting.contains_key(&persona_id) => {
                self.line_up(Waiting {
                    order,
                    job: Job::Recover,
                    replies: Vec::new(),
                });
            }
            Verdict::Restart => {}
            Verdict::Spent { restarts } => {
                self.budgets.remove(&persona_id);
                if let Some(waiting) = self.waiting.remove(&persona_id) {
                    answer(
                        waiting.replies,
                        &order.report("stood-down", "the persona is halted"),
                    );
                }
                let reason = capped(error, ERROR_CHARS_MAX);
                self.halt(PersonaHalted {
                    persona_id,
                    restarts,
                    reason,
                });
            }
        }
    }

    fn halt(&self, halted: PersonaHalted) {
        let stage = self.stage.clone();
        self.stage.tracker.spawn(async move {
            let persona_id = halted.persona_id.clone();
            if let Err(error) = recover::halt(&stage, halted).await {
                tracing::error!(actor.id = %persona_id, %error, "a persona's halt could not be recorded; it stays due");
            }
        });
    }

    fn acting_as(&self, actor: ActorId) -> Option<PersonaId> {
        self.acting
            .iter()
            .find(|(_, acting)| acting.actor.get_id() == actor)
            .map(|(persona_id, _)| persona_id.clone())
    }

    fn forget_due(&mut self) {
        self.waiting
            .retain(|_, waiting| !waiting.replies.is_empty() || waiting.job == Job::Recover);
        self.line
            .retain(|persona_id| self.waiting.contains_key(persona_id));
    }

    fn close(&mut self, reply: RpcReplyPort<()>) {
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            answer(
                waiting.replies,
                &waiting.order.report("stood-down", "the runner is stopping"),
            );
        }
        self.line.clear();
        self.closers.push(reply);
    }

    fn tell_closers(&mut self) {
        if self.acting.is_empty() {
            for reply in self.closers.drain(..) {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(());
            }
        }
    }
}

/// Tells everyone who waits; who stopped waiting is no concern.
fn answer(replies: impl IntoIterator<Item = RpcReplyPort<TickReport>>, report: &TickReport) {
    for reply in replies {
        let _ = reply.send(report.clone());
    }
}

#[async_trait]
impl Actor for CastActor {
    type Msg = CastMsg;
    type State = CastState;
    type Arguments = Arc<Stage>;

    async fn pre_start(
        &self,
        _: ActorRef<CastMsg>,
        stage: Arc<Stage>,
    ) -> Result<CastState, ActorProcessingErr> {
        Ok(CastState {
            permits: Arc::new(Semaphore::new(stage.settings.concurrency.max(1))),
            stage,
            line: VecDeque::new(),
            waiting: BTreeMap::new(),
            acting: BTreeMap::new(),
            budgets: BTreeMap::new(),
            closers: Vec::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<CastMsg>,
        message: CastMsg,
        state: &mut CastState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            CastMsg::Tick(order, reply) => state.want(order, reply),
            CastMsg::Due(orders) => state.coalesce(orders, Job::Tick),
            CastMsg::Recover(orders) => state.coalesce(orders, Job::Recover),
            CastMsg::ForgetDue => state.forget_due(),
            CastMsg::Ended { persona_id, report } => state.ended(&persona_id, &report),
            CastMsg::Close(reply) => state.close(reply),
            CastMsg::Observe(reply) => {
                let acting = state.acting.values().map(|acting| acting.actor.clone()).collect();
                let waiting = state.line.iter().cloned().collect();
                // Whoever asked may have stopped waiting.
                let _ = reply.send(CastView { acting, waiting });
            }
        }
        state.admit(&myself).await?;
        state.tell_closers();
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<CastMsg>,
        event: SupervisionEvent,
        state: &mut CastState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(actor, error) => state.failed(actor.get_id(), &error.to_string()),
            // Those that are sent home are off the list by then; one that is not was killed.
            SupervisionEvent::ActorTerminated(actor, _, _) => state.failed(actor.get_id(), "it was killed"),
            _ => {}
        }
        state.admit(&myself).await?;
        state.tell_closers();
        Ok(())
    }
}
