//! One persona while it acts: brought in by the cast with one job, gone when that is done.
//!
//! The job runs beside the mailbox, so that a tick of ten minutes still answers `Observe`. A panic in it becomes
//! this actor's failure, and the cast's business.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use events::PersonaId;
use futures::FutureExt as _;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cast::CastMsg;
use crate::report::TickReport;
use crate::snapshot::PersonaSnapshot;
use crate::stage::Stage;
use crate::tick::record::RecordError;
use crate::tick::{self, TickOrder, panic_text, recover};

/// What a persona actor takes.
#[derive(Debug)]
pub(crate) enum PersonaMsg {
    /// From its own job, once, when it is over: the report, or the panic's text. No reply is owed; the cast is told.
    Ended(Result<TickReport, String>),
    /// From whoever looks on. A snapshot is owed at once.
    Observe(RpcReplyPort<PersonaSnapshot>),
}

/// What it is brought in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// To live one tick.
    Tick,
    /// To close a tick that was left unfinished.
    Recover,
}

/// What it is started with.
#[derive(Debug)]
pub(crate) struct PersonaArgs {
    pub(crate) stage: Arc<Stage>,
    pub(crate) cast: ActorRef<CastMsg>,
    pub(crate) order: TickOrder,
    pub(crate) job: Job,
}

/// What it keeps.
#[derive(Debug)]
pub(crate) struct PersonaState {
    persona_id: PersonaId,
    cast: ActorRef<CastMsg>,
    status: watch::Receiver<PersonaSnapshot>,
    /// When this actor is gone, by whatever way, its job is cut.
    _job: DropGuard,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PersonaActor;

impl PersonaActor {
    /// Brings the persona in, linked to the cast.
    pub(crate) async fn spawn_for(args: PersonaArgs) -> Result<ActorRef<PersonaMsg>, SpawnErr> {
        let supervisor = args.cast.get_cell();
        Self::spawn_linked(None, Self, args, supervisor)
            .await
            .map(|(actor, _)| actor)
    }

    fn start_job(
        myself: ActorRef<PersonaMsg>,
        args: PersonaArgs,
        status: watch::Sender<PersonaSnapshot>,
        cut: CancellationToken,
    ) {
        let PersonaArgs {
            stage, order, job, ..
        } = args;
        let tracker = stage.tracker.clone();
        tracker.spawn(async move {
            let work = async {
                match job {
                    Job::Tick => {
                        let report = Box::pin(tick::run(&stage, &order, &status, &cut)).await;
                        close_if_open(&stage, &report);
                        report
                    }
                    Job::Recover => recover(&stage, &order).await,
                }
            };
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            let ended = ended.map_err(|panic| panic_text(panic.as_ref()).to_owned());
            // The actor may be gone already, when it was killed; then nobody waits for this.
            let _ = myself.cast(PersonaMsg::Ended(ended));
        });
    }
}

/// A tick that began and failed may have lost its log on the way: then its end is not written yet. The persona need not
/// wait for that; should it act again before, that closes it too.
fn close_if_open(stage: &Arc<Stage>, report: &TickReport) {
    let ("failed", Some(tick_id)) = (report.outcome.as_str(), report.tick_id.clone()) else {
        return;
    };
    let (stage, persona_id) = (stage.clone(), report.persona_id.clone());
    let cut = stage.cut.clone();
    stage.tracker.clone().spawn(async move {
        // What a stop leaves open the next start closes.
        cut.run_until_cancelled(recover::close_soon(&stage, &persona_id, &tick_id))
            .await
    });
}

async fn recover(stage: &Stage, order: &TickOrder) -> TickReport {
    match recover::close_unfinished(stage, &order.persona_id, order.taken).await {
        Ok(_) => order.report("recovered", "nothing is left unfinished"),
        // Another runner lives it, or somebody wrote meanwhile: there is nothing to close here.
        Err(error @ (RecordError::Elsewhere | RecordError::Overtaken(_))) => {
            order.report("stood-down", error.to_string())
        }
        Err(error) => {
            tracing::warn!(actor.id = %order.persona_id, %error, "an unfinished tick could not be closed; the next look tries again");
            order.report("failed", error.to_string())
        }
    }
}

#[async_trait]
impl Actor for PersonaActor {
    type Msg = PersonaMsg;
    type State = PersonaState;
    type Arguments = PersonaArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<PersonaMsg>,
        args: PersonaArgs,
    ) -> Result<PersonaState, ActorProcessingErr> {
        let cut = args.stage.cut.child_token();
        let order = &args.order;
        let status = watch::Sender::new(PersonaSnapshot {
            persona_id: Some(order.persona_id.clone()),
            name: order.name.clone(),
            doing: "folding",
            ..PersonaSnapshot::default()
        });
        let state = PersonaState {
            persona_id: order.persona_id.clone(),
            cast: args.cast.clone(),
            status: status.subscribe(),
            _job: cut.clone().drop_guard(),
        };
        Self::start_job(myself, args, status, cut);
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<PersonaMsg>,
        message: PersonaMsg,
        state: &mut PersonaState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PersonaMsg::Ended(Ok(report)) => {
                let persona_id = state.persona_id.clone();
                // A cast that is gone has taken this actor with it.
                let _ = state.cast.cast(CastMsg::Ended {
                    persona_id,
                    report: Box::new(report),
                });
                Ok(())
            }
            PersonaMsg::Ended(Err(panic)) => Err(panic.into()),
            PersonaMsg::Observe(reply) => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(state.status.borrow().clone());
                Ok(())
            }
        }
    }
}
