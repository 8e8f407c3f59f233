//! The way in for the rest of the house.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use events::{Clock, EventLog, Ids, TickQueue};
use futures::future::join_all;
use jiff::Timestamp;
use ractor::{Actor as _, ActorRef};
use tokio::sync::{broadcast, watch};

use crate::address::Address;
use crate::brains::Brains;
use crate::cast::CastMsg;
use crate::error::CastError;
use crate::persona::PersonaMsg;
use crate::report::{TickProgress, TickReport, Who};
use crate::roster_actor::RosterMsg;
use crate::scheduler::{SchedulerArgs, SchedulerMsg};
use crate::settings::CastSettings;
use crate::snapshot::CastSnapshot;
use crate::stage::Stage;
use crate::supervisor::{Supervisor, SupervisorArgs, SupervisorMsg};
use crate::taker;

/// How long a request waits for the roster to have read the log.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// How long what was cut may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// How long one actor may take to describe itself.
const OBSERVE_WITHIN: Duration = Duration::from_secs(2);

/// Starts the cast; see [`Cast::start`].
#[derive(Debug)]
pub struct Cast;

impl Cast {
    /// Builds the tree of actors and lets the scheduler look at once.
    ///
    /// # Errors
    /// [`CastError::Start`] when the HTTP client or an actor cannot be started.
    pub async fn start(
        settings: CastSettings,
        log: Arc<dyn EventLog>,
        brains: Brains,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<CastHandle, CastError> {
        Self::start_sharing(settings, log, None, brains, clock, ids).await
    }

    /// As [`Cast::start`], with a work queue that all runners of the log share: what is due is offered there, and
    /// what is taken from there is lived.
    ///
    /// # Errors
    /// [`CastError::Start`] when the HTTP client or an actor cannot be started.
    pub async fn start_sharing(
        settings: CastSettings,
        log: Arc<dyn EventLog>,
        queue: Option<Arc<dyn TickQueue>>,
        brains: Brains,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<CastHandle, CastError> {
        describe_metrics();
        let is_paused = Arc::new(AtomicBool::new(settings.paused));
        let stage = Stage::new(settings, log, queue, brains, clock, ids.as_ref());
        let stage = Arc::new(stage.map_err(|error| CastError::Start(error.to_string()))?);
        let tree = SchedulerArgs {
            stage: stage.clone(),
            roster: Address::new("roster"),
            read: stage.read.clone(),
            cast: Address::new("cast"),
            is_paused,
        };
        let scheduler = Address::new("scheduler");
        let spent = Arc::new(watch::Sender::new(None));
        let args = SupervisorArgs {
            tree: tree.clone(),
            scheduler: scheduler.clone(),
            spent: spent.clone(),
        };
        let (supervisor, end) = Supervisor::spawn(None, Supervisor, args)
            .await
            .map_err(|error| CastError::Start(error.to_string()))?;
        if let Some(queue) = stage.queue.clone() {
            let (taker, closing) = (tree.clone(), stage.closing.clone());
            stage.tracker.spawn(async move {
                // What is taken and not yet lived is handed to another in time.
                closing.run_until_cancelled(taker::run(queue, taker)).await
            });
        }
        let watched = (stage.clone(), spent.clone());
        stage.tracker.spawn(async move {
            let (stage, spent) = watched;
            tokio::select! {
                // Either way nothing is lost: the one is a stop, the other an end nobody asked for.
                () = stage.cut.cancelled() => {}
                _ = end => {
                    spent.send_if_modified(|spent| {
                        spent.is_none() && spent.replace("the supervisor ended".to_owned()).is_none()
                    });
                }
            }
        });
        Ok(CastHandle {
            stage,
            supervisor,
            tree,
            scheduler,
            spent,
        })
    }
}

/// Talks to a running cast. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CastHandle {
    stage: Arc<Stage>,
    supervisor: ActorRef<SupervisorMsg>,
    tree: SchedulerArgs,
    scheduler: Address<SchedulerMsg>,
    spent: Arc<watch::Sender<Option<String>>>,
}

impl CastHandle {
    /// Lets them act now, as many at once as the settings say, and returns when all are done. Whoever is enrolled
    /// in the log by now is known. A pause holds back the schedule, not this.
    ///
    /// # Errors
    /// [`CastError::UnknownPersona`], [`CastError::Stopped`], and when the log or an actor does not answer.
    pub async fn tick(&self, who: Who) -> Result<Vec<TickReport>, CastError> {
        if self.stage.closing.is_cancelled() {
            return Err(CastError::Stopped);
        }
        self.tree.read.the_end(&self.stage, READ_WITHIN).await?;
        let now = self.stage.clock.now();
        let orders = self
            .tree
            .roster
            .ask(|reply| RosterMsg::Select(who.clone(), now, reply))
            .await?;
        let Some(orders) = orders else {
            let Who::Persona(persona_id) = who else {
                return Ok(Vec::new());
            };
            return Err(CastError::UnknownPersona(persona_id));
        };
        let cast = &self.tree.cast;
        let reports = orders.into_iter().map(|order| async move {
            let wanted = order.clone();
            let report = cast.ask_patiently(|reply| CastMsg::Tick(wanted, reply)).await;
            report.unwrap_or_else(|error| order.report("failed", error.to_string()))
        });
        Ok(join_all(reports).await)
    }

    /// When somebody is due next, now or in the past if somebody is due already; `None` when nobody ever is. Whoever
    /// is enrolled in the log by now is known.
    ///
    /// # Errors
    /// When the log or an actor does not answer.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, CastError> {
        self.tree.read.the_end(&self.stage, READ_WITHIN).await?;
        self.tree.roster.ask(RosterMsg::NextDue).await
    }

    /// Whether a slow answer counts against a module, as it does from the start. Not while virtual days are lived: how
    /// fast this machine answers then says nothing of the app, and two runs of one seed ought to rate alike.
    pub fn rate_slowness(&self, counts: bool) {
        self.stage.rates_slowness.store(counts, Ordering::SeqCst);
    }

    /// Holds scheduled ticks back, also those that wait to be admitted; running ones go on.
    pub async fn pause(&self) {
        self.tell_scheduler(SchedulerMsg::Pause).await;
    }

    /// Ends a pause.
    pub async fn resume(&self) {
        self.tell_scheduler(SchedulerMsg::Resume).await;
    }

    async fn tell_scheduler(&self, message: impl FnOnce(ractor::RpcReplyPort<()>) -> SchedulerMsg) {
        if let Err(error) = self.scheduler.ask(message).await {
            tracing::error!(%error, "the scheduler could not be told to pause or go on");
        }
    }

    /// What every actor says of itself.
    pub async fn observe(&self) -> CastSnapshot {
        let (roster, scheduler, cast, supervisor) = tokio::join!(
            self.tree.roster.ask(RosterMsg::Observe),
            self.scheduler.ask(SchedulerMsg::Observe),
            self.tree.cast.ask(CastMsg::Observe),
            self.supervisor.call(SupervisorMsg::Observe, Some(OBSERVE_WITHIN)),
        );
        let (acting, waiting) = cast.map_or_else(|_| Default::default(), |cast| (cast.acting, cast.waiting));
        let acting = acting
            .iter()
            .map(|persona| persona.call(PersonaMsg::Observe, Some(OBSERVE_WITHIN)));
        // One that has gone in the meantime is not acting any more.
        let acting = join_all(acting).await.into_iter().filter_map(success).collect();
        CastSnapshot {
            paused: self.tree.is_paused.load(Ordering::SeqCst),
            concurrency: self.stage.settings.concurrency.max(1),
            acting,
            waiting,
            stopping: self.stage.closing.is_cancelled(),
            scheduler: scheduler.ok(),
            roster: roster.ok(),
            supervisor: success(supervisor),
        }
    }

    /// The steps of all ticks from now on. A reader that falls more than a thousand lines behind misses some.
    pub fn progress(&self) -> broadcast::Receiver<TickProgress> {
        self.stage.progress.subscribe()
    }

    /// Takes no new ticks and waits up to `within` for those that run; what runs then is cut, and is found
    /// unfinished at the next start. When this returns, nothing of the cast is left running.
    pub async fn stop(&self, within: Duration) {
        self.stage.closing.cancel();
        let closed = self
            .stage
            .within(within, self.tree.cast.ask_patiently(CastMsg::Close))
            .await;
        if closed.is_none() {
            tracing::warn!(waited_ms = within.as_millis(), "ticks still run and are cut");
        }
        self.stage.cut.cancel();
        self.stage.tracker.close();
        if tokio::time::timeout(GONE_WITHIN, self.stage.tracker.wait())
            .await
            .is_err()
        {
            tracing::error!(tasks = self.stage.tracker.len(), "tasks of the cast do not end");
        }
        // An error says that it has ended already.
        let _ = self.supervisor.stop_and_wait(None, Some(GONE_WITHIN)).await;
    }

    /// Resolves when the roster, the scheduler or the cast has failed more often than its budget allows, with the
    /// reason. The process should end with a failure then.
    pub async fn spent(&self) -> String {
        let mut spent = self.spent.subscribe();
        // The sender lives as long as `self`, so the wait cannot fail.
        let reason = spent.wait_for(Option::is_some).await;
        reason.ok().and_then(|reason| reason.clone()).unwrap_or_default()
    }
}

fn success<T, M>(answer: Result<ractor::rpc::CallResult<T>, ractor::MessagingErr<M>>) -> Option<T> {
    match answer {
        Ok(ractor::rpc::CallResult::Success(answer)) => Some(answer),
        _ => None,
    }
}

/// Names, units and a zero for each, so that a dashboard shows nothing-yet as nothing-yet.
fn describe_metrics() {
    metrics::describe_counter!("cast_ticks_total", "Ticks that were ordered, by how they ended");
    metrics::describe_counter!("cast_tool_calls_total", "Tool calls of personas, by result");
    metrics::describe_counter!(
        "cast_expectations_total",
        "Things that were looked for in shared spaces, by whether they were there"
    );
    metrics::describe_counter!(
        "cast_edges_total",
        "Edge input brought on purpose, by how the tool stood it"
    );
    metrics::describe_counter!("cast_restarts_total", "Restarts of roster, scheduler and cast");
    metrics::describe_histogram!(
        "cast_tick_duration_seconds",
        metrics::Unit::Seconds,
        "From admission to the end of a tick"
    );
    metrics::describe_gauge!("cast_acting", "Personas that act now");
    metrics::describe_counter!(
        "cast_model_requests_total",
        "Requests to models, each attempt of its own, by outcome"
    );
    metrics::describe_counter!(
        "cast_model_cost_micro_usd_total",
        "Millionths of a dollar that models cost, or may have cost where nobody said"
    );
    metrics::describe_counter!(
        "cast_model_budget_refusals_total",
        "Requests that a budget did not cover"
    );
    metrics::describe_counter!(
        "cast_cassette_differences_total",
        "Turns that differed from the cassette and were played all the same"
    );
    metrics::counter!("cast_cassette_differences_total").increment(0);
    metrics::counter!("cast_model_cost_micro_usd_total").increment(0);
    metrics::counter!("cast_model_budget_refusals_total").increment(0);
    for outcome in [
        "completed",
        "abandoned",
        "limit",
        "failed",
        "deferred",
        "refused",
        "stood-down",
        "cut",
    ] {
        metrics::counter!("cast_ticks_total", "outcome" => outcome).increment(0);
    }
    for outcome in ["ok", "error"] {
        metrics::counter!("cast_model_requests_total", "outcome" => outcome).increment(0);
        metrics::counter!("cast_tool_calls_total", "outcome" => outcome).increment(0);
    }
    for verdict in ["accepted", "refused", "altered", "broke", "unanswered"] {
        metrics::counter!("cast_edges_total", "verdict" => verdict).increment(0);
    }
    for outcome in ["kept", "broken", "void"] {
        metrics::counter!("cast_expectations_total", "outcome" => outcome).increment(0);
    }
    for actor in ["roster", "scheduler", "cast"] {
        metrics::counter!("cast_restarts_total", "actor" => actor).increment(0);
    }
    metrics::gauge!("cast_acting").set(0.0);
}
