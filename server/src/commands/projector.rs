//! `dramatis projector`: the fold alone, of a log that others write into tables that others read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use events::{EventLog, SystemClock};
use futures::FutureExt as _;
use projections::{Projector, ProjectorHandle, ProjectorState};
use secrecy::SecretString;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::shared_place;
use crate::config::{Config, HouseFlags};
use crate::exit::CommandError;
use crate::house::{Signals, connect_for_readers, install_metrics, open_log, open_tables};
use crate::lifecycle::{Lifecycle, TaskKind};
use crate::{probes, surface};

/// How long the batch under way may take when it is asked to stop.
const STOP_WITHIN: Duration = Duration::from_secs(8);
/// Tables further behind the log than this are as good as not folded.
const LAG_EVENTS_MAX: u64 = 10_000;

/// Run a projector alone, which folds the log into Postgres; of several one folds and the others take over
#[derive(Debug, clap::Args)]
pub(crate) struct ProjectorArgs {
    #[command(flatten)]
    pub(crate) house: HouseFlags,
    /// Answer /livez, /readyz and /metrics here [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    probes: Option<SocketAddr>,
}

/// Runs the command until it is asked to stop.
///
/// # Errors
/// [`CommandError::Usage`] without NATS or Postgres, [`CommandError::Unavailable`] when either does not answer,
/// [`CommandError::Failed`] when it cannot go on. A fold that halts for a person to look at stays, and is not ready.
pub(crate) async fn run(
    args: &ProjectorArgs,
    config: &Config,
    clock: Arc<SystemClock>,
) -> Result<(), CommandError> {
    let nats = SecretString::from(shared_place("projector", config)?);
    let mut signals = Signals::listen()?;
    let (lifecycle, stop) = (Lifecycle::new(), CancellationToken::new());
    let metrics = install_metrics(&lifecycle, clock.clone(), &stop)?;
    let log: Arc<dyn EventLog> = Arc::new(open_log(config, &nats).await?);
    let tables = open_tables(config).await?;
    let (projector, projected) = Projector::new(log.clone(), tables, clock);
    let stop_projector = stop.clone();
    lifecycle.spawn(TaskKind::Projector, async move {
        projector
            .run(stop_projector)
            .await
            .map_err(|error| error.to_string())
    });
    let readers = connect_for_readers(&nats).await?;
    surface::tell(readers, log.clone(), projected.clone(), &lifecycle, &stop)
        .await
        .map_err(CommandError::Unavailable)?;
    if let Some(address) = args.probes {
        let look: probes::Look = Arc::new(move || look(log.clone(), projected.clone()).boxed());
        probes::serve(address, "projector", look, metrics, &lifecycle, &stop).await?;
    }
    tracing::info!(tables = config.tables_place(), "folding, or standing by");
    let ended = tokio::select! {
        // Whichever lost is not needed any more: the tasks are stopped in either case.
        () = signals.next() => Ok(()),
        reason = lifecycle.failure() => Err(CommandError::Failed(reason)),
    };
    lifecycle.begin_stop();
    stop.cancel();
    tokio::select! {
        ended_in_time = tokio::time::timeout(STOP_WITHIN, lifecycle.wait()) => {
            if ended_in_time.is_err() {
                tracing::warn!("some tasks did not end in time");
            }
            ended
        }
        () = signals.next() => Err(CommandError::Interrupted),
    }
}

/// How the fold is. Of a halt the cause alone: the reason may quote what could not be folded.
async fn look(
    log: Arc<dyn EventLog>,
    projected: ProjectorHandle,
) -> Result<serde_json::Value, serde_json::Value> {
    let status = projected.status();
    let end = log.state().await.map(|state| state.last_seq);
    let lag_events = end.as_ref().ok().map(|end| end.0.saturating_sub(status.seq.0));
    let facts = json!({
        "state": status.state,
        "haltedBy": status.halted_by,
        "parked": status.parked,
        "seq": status.seq,
        "lagEvents": lag_events,
    });
    let folds = matches!(status.state, ProjectorState::Running | ProjectorState::Standby);
    if folds && lag_events.is_some_and(|lag_events| lag_events <= LAG_EVENTS_MAX) {
        Ok(facts)
    } else {
        Err(facts)
    }
}
