//! `dramatis runner`: the cast alone, on a log that others keep, coming in at a gateway that others serve.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actors::CastHandle;
use events::{EventLog, Ids, SystemClock, SystemIds};
use futures::FutureExt as _;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, HouseFlags};
use crate::exit::CommandError;
use crate::house::{Signals, install_metrics, open_log_and_queue, start_cast};
use crate::lifecycle::Lifecycle;
use crate::otlp::Otlp;
use crate::probes;

/// How long running ticks may take to end when it is asked to stop.
const STOP_WITHIN: Duration = Duration::from_secs(8);

/// Run a runner alone, which lives due ticks together with the others of its log
#[derive(Debug, clap::Args)]
pub(crate) struct RunnerArgs {
    #[command(flatten)]
    pub(crate) house: HouseFlags,
    /// Where the personas log in and use the app
    #[arg(long, value_name = "URL")]
    gateway: String,
    /// Answer /livez, /readyz and /metrics here [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    probes: Option<SocketAddr>,
}

/// Runs the command until it is asked to stop.
///
/// # Errors
/// [`CommandError::Usage`] without `nats`, [`CommandError::Unavailable`] when the log does not answer,
/// [`CommandError::Failed`] when the cast cannot go on.
pub(crate) async fn run(
    args: &RunnerArgs,
    config: &Config,
    clock: Arc<SystemClock>,
) -> Result<(), CommandError> {
    let nats = config.nats.as_deref().ok_or_else(|| {
        CommandError::Usage(
            "a runner lives on a log that others keep: name its server with --nats".to_owned(),
        )
    })?;
    let mut signals = Signals::listen()?;
    let (lifecycle, stop) = (Lifecycle::new(), CancellationToken::new());
    let metrics = install_metrics(&lifecycle, clock.clone(), &stop)?;
    let (log, queue) = open_log_and_queue(config, &SecretString::from(nats)).await?;
    let gateway = args.gateway.trim_end_matches('/').to_owned();
    let ids: Arc<dyn Ids> = Arc::new(SystemIds);
    let otlp = Otlp::open(config)?;
    let spans = otlp.spans();
    let cast = start_cast(config, gateway.clone(), spans, log.clone(), queue, clock, ids).await?;
    if let Some(address) = args.probes {
        let seen = cast.clone();
        let look: probes::Look = Arc::new(move || look(log.clone(), seen.clone()).boxed());
        probes::serve(address, "runner", look, metrics, &lifecycle, &stop).await?;
    }
    tracing::info!(gateway, "living what is due");
    let ended = tokio::select! {
        // Whichever lost is not needed any more: the cast is stopped in either case.
        () = signals.next() => Ok(()),
        reason = cast.spent() => Err(CommandError::Failed(reason)),
        reason = lifecycle.failure() => Err(CommandError::Failed(reason)),
    };
    lifecycle.begin_stop();
    let closing = async {
        cast.stop(STOP_WITHIN).await;
        otlp.stop().await;
        stop.cancel();
        lifecycle.wait().await;
    };
    tokio::select! {
        () = closing => ended,
        () = signals.next() => Err(CommandError::Interrupted),
    }
}

/// How the cast is, and whether the log answers.
async fn look(log: Arc<dyn EventLog>, cast: CastHandle) -> Result<Value, Value> {
    let (seen, state) = (cast.observe().await, log.state().await);
    let supervisor = seen.supervisor.as_ref();
    let is_spent = supervisor.is_some_and(|supervisor| supervisor.spent.is_some());
    let facts = json!({
        "paused": seen.paused,
        "acting": seen.acting.len(),
        "waiting": seen.waiting.len(),
        "log": state.is_ok(),
    });
    if is_spent || state.is_err() {
        Err(facts)
    } else {
        Ok(facts)
    }
}
