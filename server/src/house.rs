//! The house: every room opened, wired and served, and closed in the order that loses nothing.

mod apart;
mod brains;
mod mounted;
mod rooms;
mod signals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use events::{Clock as _, Ids, SystemClock, SystemIds};
use gateway::Gateway;
use projections::Projector;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;
use tower::make::Shared;

use crate::config::Config;
use crate::exit::CommandError;
use crate::http::{App, Budgets, Health, Operators};
use crate::lifecycle::{Lifecycle, TaskKind};
use crate::nats_child::NatsChild;
use crate::otlp::Otlp;
use crate::run_file::{FolderLock, RunFile};
use crate::surface::Surface;

pub(crate) use mounted::{module_names, mounted_tools, pin_stores};
pub(crate) use rooms::{
    accounts_place, at_once, connect_for_readers, install_metrics, listen, open_identity, open_log,
    open_log_and_queue, open_tables, policy_mode, policy_rules, read_policy, start_cast,
};
pub(crate) use signals::Signals;

/// The account that `dramatis token` speaks for unless told otherwise. It has no password anybody knows.
pub(crate) const ADMIN_EMAIL: &str = "admin@dramatis.local";
/// How long a write may wait to be readable before the caller is told that it is only stored.
const READ_YOUR_WRITES: Duration = Duration::from_secs(5);
/// How long the start waits for mounted servers, so that the first ticks see their tools.
const MOUNTS_SETTLE: Duration = Duration::from_secs(10);
/// How long each part of a stop may take; all of them stay within ten seconds.
const CAST_STOP: Duration = Duration::from_secs(4);
const GATEWAY_DRAIN: Duration = Duration::from_secs(2);
const TASKS_STOP: Duration = Duration::from_secs(4);

/// What of a house runs in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HouseRole {
    /// Everything.
    Whole,
    /// The door alone. Others fold, and others live what is due; a tick that somebody asks for is lived here.
    Gateway,
}

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct House {
    /// What the HTTP handlers share; the rooms' handles.
    pub(crate) app: App,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The clock all rooms share.
    pub(crate) clock: Arc<SystemClock>,
    nats: SecretString,
    config: Config,
    lifecycle: Lifecycle,
    otlp: Otlp,
    stops: Stops,
    signals: Signals,
    _lock: FolderLock,
}

/// What is told to stop, one after the other.
#[derive(Debug, Default)]
struct Stops {
    http: CancellationToken,
    projector: CancellationToken,
    nats: CancellationToken,
}

impl House {
    /// Opens every room. When this returns, requests are being answered.
    ///
    /// # Errors
    /// What is in the way and how to mend it, with the matching exit code.
    pub(crate) async fn start(config: &Config, clock: Arc<SystemClock>) -> Result<Self, CommandError> {
        Self::start_as(HouseRole::Whole, config, clock).await
    }

    /// As [`House::start`], of what `role` needs.
    ///
    /// # Errors
    /// As [`House::start`], and [`CommandError::Interrupted`] when it is told to stop before it is open.
    pub(crate) async fn start_as(
        role: HouseRole,
        config: &Config,
        clock: Arc<SystemClock>,
    ) -> Result<Self, CommandError> {
        // Before anybody can know that it is there: who is told to stop the moment it answers has to close as well.
        let signals = Signals::listen()?;
        let mut stop = signals.clone();
        tokio::select! {
            // Rooms that are half open are dropped; what they had begun stands in the log.
            house = Box::pin(Self::open(role, config, clock, signals)) => house,
            () = stop.next() => Err(CommandError::Interrupted),
        }
    }

    async fn open(
        role: HouseRole,
        config: &Config,
        clock: Arc<SystemClock>,
        signals: Signals,
    ) -> Result<Self, CommandError> {
        let lock = FolderLock::take(&config.data)?;
        let listener = rooms::listen(config.listen, "--listen").await?;
        let address = listener.local_addr().map_err(failed)?;
        let public_url = config
            .public_url
            .clone()
            .unwrap_or_else(|| format!("http://{address}"));
        let ids: Arc<dyn Ids> = Arc::new(SystemIds);
        let (lifecycle, stops) = (Lifecycle::new(), Stops::default());
        let metrics = rooms::install_metrics(&lifecycle, clock.clone(), &stops.http)?;
        let otlp = Otlp::open(config)?;
        let spans = otlp.spans();

        let nats = if let Some(url) = &config.nats {
            SecretString::from(url.as_str())
        } else {
            let child = NatsChild::start(config, clock.clone(), &*ids).await?;
            let url = child.url().clone();
            lifecycle.spawn(TaskKind::NatsChild, child.supervise(stops.nats.clone()));
            url
        };
        let (log, queue) = rooms::open_log_and_queue(config, &nats).await?;
        let identity = open_identity(config, &public_url, clock.clone(), ids.clone()).await?;
        let external = rooms::trust_issuers(config, &public_url, &identity, clock.clone())?;
        let tables = rooms::open_tables(config).await?;
        let (projector, projected) = Projector::new(log.clone(), tables.clone(), clock.clone());
        fold(role, projector, &lifecycle, &stops);
        let mounts = mounted::mounts_settings(config).await?;
        let gateway = Gateway::new(
            rooms::gateway_settings(config, &public_url, address, mounts, spans.clone())?,
            identity.clone(),
            log.clone(),
            tables.clone(),
            projected.clone(),
            clock.clone(),
            ids.clone(),
        )
        .map_err(failed)?;
        gateway.mounts_settled(MOUNTS_SETTLE).await;
        let own = format!("http://{address}");
        let of_cast = Config {
            paused: config.paused || role == HouseRole::Gateway,
            ..config.clone()
        };
        let (watch, named) = (clock.clone(), ids.clone());
        let cast = rooms::start_cast(&of_cast, own, spans, log.clone(), queue, watch, named).await?;
        let (spent, stop_http) = (cast.clone(), stops.http.clone());
        lifecycle.spawn(TaskKind::CastWatch, async move {
            tokio::select! {
                reason = spent.spent() => Err(reason),
                // The cast is stopped by now; there is nothing left to watch.
                () = stop_http.cancelled() => Ok(()),
            }
        });

        let health = Health::new();
        let app = App {
            identity,
            tables,
            log,
            projector: projected,
            gateway,
            cast,
            clock: clock.clone(),
            ids,
            health: health.clone(),
            external,
            settings: rooms::http_settings(role, config, &public_url, address)?,
            metrics,
            operators: Operators::new(config.shown.clone(), budgets(config)),
        };
        let front = Shared::new(crate::http::front(app.clone()));
        let stop_http = stops.http.clone();
        lifecycle.spawn(TaskKind::Http, async move {
            let served = axum::serve(rooms::at_once(listener), front)
                .with_graceful_shutdown(stop_http.cancelled_owned());
            served.await.map_err(|error| error.to_string())
        });
        let (erasing, stop_http) = (app.clone(), stops.http.clone());
        lifecycle.spawn(TaskKind::Erasures, async move {
            crate::http::finish_begun(erasing, stop_http).await;
            Ok(())
        });
        open_surface(role, &nats, &app, &lifecycle, &stops).await?;
        let house = Self {
            app,
            address,
            clock,
            nats,
            config: config.clone(),
            lifecycle,
            otlp,
            stops,
            signals,
            _lock: lock,
        };
        house.write_run_file()?;
        health.set_ready();
        Ok(house)
    }

    /// Tells commands on the same machine where this house is and how far its clock is ahead.
    ///
    /// # Errors
    /// [`CommandError::Failed`] when the data folder cannot be written to.
    pub(crate) fn write_run_file(&self) -> Result<(), CommandError> {
        let run = RunFile {
            pid: std::process::id(),
            api: format!("http://{}", self.address),
            nats: self.nats.expose_secret().to_owned(),
            started_at: self.clock.now(),
            ahead_ms: i64::try_from(self.clock.ahead().as_millis()).unwrap_or(i64::MAX),
        };
        run.write(&self.config.data)
    }

    /// Where the log is, without its password.
    pub(crate) fn nats_address(&self) -> String {
        let without_password = |url: &str| {
            let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("{scheme}://{host}")
        };
        let urls: Vec<String> = self
            .nats
            .expose_secret()
            .split(',')
            .map(without_password)
            .collect();
        urls.join(",")
    }

    /// A token for the built-in administrator.
    ///
    /// # Errors
    /// [`CommandError::Failed`] when the accounts cannot be read.
    pub(crate) async fn admin_token(&self) -> Result<SecretString, CommandError> {
        let admin = self
            .app
            .identity
            .account_by_email(ADMIN_EMAIL)
            .await
            .map_err(failed)?;
        let admin = admin.ok_or_else(|| CommandError::Failed(format!("{ADMIN_EMAIL} is gone")))?;
        Ok(self.app.identity.mint(&admin.id).await.map_err(failed)?.token)
    }

    /// Waits for a signal to stop or for a failure, then closes. A second signal ends the process at once.
    ///
    /// # Errors
    /// [`CommandError::Failed`] with the reason when it was not asked to stop.
    pub(crate) async fn run(self) -> Result<(), CommandError> {
        let mut signals = self.signals.clone();
        let ended = tokio::select! {
            // Whichever lost is not needed any more: the house closes in either case.
            () = signals.next() => Ok(()),
            reason = self.lifecycle.failure() => Err(CommandError::Failed(reason)),
        };
        self.stop_unless_asked_again(signals).await.and(ended)
    }

    /// Does `work` in the open house, then closes. A signal or a failure cuts the work short.
    ///
    /// # Errors
    /// What the work says, [`CommandError::Interrupted`], or the reason of a failure.
    pub(crate) async fn run_while<T>(
        self,
        work: impl AsyncFnOnce(&Self) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let mut signals = self.signals.clone();
        let done = tokio::select! {
            // Work that lost is dropped where it stands; what it had begun in the rooms is closed by the stop.
            done = work(&self) => done,
            () = signals.next() => Err(CommandError::Interrupted),
            reason = self.lifecycle.failure() => Err(CommandError::Failed(reason)),
        };
        self.stop_unless_asked_again(signals).await?;
        done
    }

    async fn stop_unless_asked_again(self, mut signals: Signals) -> Result<(), CommandError> {
        tokio::select! {
            () = self.stop() => Ok(()),
            () = signals.next() => Err(CommandError::Interrupted),
        }
    }

    /// Closes the rooms: no new ticks, calls drained, everything folded, the log last.
    pub(crate) async fn stop(self) {
        tracing::info!("stopping");
        self.lifecycle.begin_stop();
        self.app.health.set_stopping();
        self.app.operators.stop().await;
        self.app.cast.stop(CAST_STOP).await;
        self.app.gateway.drain(GATEWAY_DRAIN).await;
        self.stops.http.cancel();
        if let Ok(state) = self.app.log.state().await
            && self
                .app
                .projector
                .wait_for(state.last_seq, GATEWAY_DRAIN)
                .await
                .is_err()
        {
            tracing::info!("the tables are behind the log; they catch up at the next start");
        }
        self.stops.projector.cancel();
        self.stops.nats.cancel();
        if tokio::time::timeout(TASKS_STOP, self.lifecycle.wait())
            .await
            .is_err()
        {
            tracing::warn!("some tasks did not end in time");
        }
        self.otlp.stop().await;
        RunFile::remove(&self.config.data);
    }
}

fn budgets(config: &Config) -> Budgets {
    Budgets {
        day_usd: config.budget_day_usd,
        month_usd: config.budget_month_usd,
        persona_day_usd: config.budget_persona_day_usd,
        tick_usd: config.budget_tick_usd,
    }
}

/// Folds the log, or watches who does.
fn fold(role: HouseRole, projector: Projector, lifecycle: &Lifecycle, stops: &Stops) {
    let stop = stops.projector.clone();
    match role {
        HouseRole::Whole => {
            let folding = async move { projector.run(stop).await.map_err(|error| error.to_string()) };
            lifecycle.spawn(TaskKind::Projector, apart::run("projector", folding));
        }
        HouseRole::Gateway => lifecycle.spawn(TaskKind::Projector, async move {
            projector.watch(stop).await;
            Ok(())
        }),
    }
}

/// Lets others look over NATS.
async fn open_surface(
    role: HouseRole,
    nats: &SecretString,
    app: &App,
    lifecycle: &Lifecycle,
    stops: &Stops,
) -> Result<(), CommandError> {
    let surface = Surface::new(connect_for_readers(nats).await?, app.clone());
    // Whoever folds tells what happens.
    if role == HouseRole::Whole {
        let told = surface.tell(lifecycle, &stops.http).await;
        told.map_err(CommandError::Unavailable)?;
    }
    let started = surface.start(lifecycle, &stops.http).await;
    started.map_err(CommandError::Unavailable)
}

fn failed(error: impl std::fmt::Display) -> CommandError {
    CommandError::Failed(error.to_string())
}
