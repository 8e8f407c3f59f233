//! `dramatis runner`: the cast alone, on a log that others keep, coming in at a gateway that others serve.

use std::sync::Arc;
use std::time::Duration;

use events::{Ids, SystemClock, SystemIds};
use secrecy::SecretString;

use crate::config::{Config, HouseFlags};
use crate::exit::CommandError;
use crate::house::{Signals, open_log_and_queue, start_cast};
use crate::otlp::Otlp;

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
    let (log, queue) = open_log_and_queue(config, &SecretString::from(nats)).await?;
    let gateway = args.gateway.trim_end_matches('/').to_owned();
    let ids: Arc<dyn Ids> = Arc::new(SystemIds);
    let otlp = Otlp::open(config)?;
    let cast = start_cast(config, gateway.clone(), otlp.spans(), log, queue, clock, ids).await?;
    tracing::info!(gateway, "living what is due");
    let ended = tokio::select! {
        // Whichever lost is not needed any more: the cast is stopped in either case.
        () = signals.next() => Ok(()),
        reason = cast.spent() => Err(CommandError::Failed(reason)),
    };
    let stop = async {
        cast.stop(STOP_WITHIN).await;
        otlp.stop().await;
    };
    tokio::select! {
        () = stop => ended,
        () = signals.next() => Err(CommandError::Interrupted),
    }
}
