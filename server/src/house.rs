//! The house: every room opened, wired and served, and closed in the order that loses nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actors::{Cast, CastHandle, CastSettings, SimulatedBrain};
use events::{Clock, EventLog, Ids, JetStreamLog, JetStreamSettings, SystemClock, SystemIds};
use gateway::{Gateway, GatewaySettings, PolicyMode, PolicySettings};
use identity::{AccountKind, Identity, IdentitySettings, PasswordCost, Registration, Role, Tier};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use projections::{Projector, Tables};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{BrainKind, Config, PolicyModeKey};
use crate::exit::CommandError;
use crate::http::{App, Health, HttpSettings};
use crate::keys::key_encryption_key;
use crate::lifecycle::{Lifecycle, TaskKind};
use crate::nats_child::NatsChild;
use crate::run_file::{FolderLock, RunFile};

/// The account that `dramatis token` speaks for unless told otherwise. It has no password anybody knows.
pub(crate) const ADMIN_EMAIL: &str = "admin@dramatis.local";
/// Bytes of an MCP request: the longest note, JSON-escaped, with room to spare.
const MCP_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a write may wait to be readable before the caller is told that it is only stored.
const READ_YOUR_WRITES: Duration = Duration::from_secs(5);
/// How long each part of a stop may take; all of them stay within ten seconds.
const CAST_STOP: Duration = Duration::from_secs(4);
const GATEWAY_DRAIN: Duration = Duration::from_secs(2);
const TASKS_STOP: Duration = Duration::from_secs(4);

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
    stops: Stops,
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
        let lock = FolderLock::take(&config.data)?;
        let listener = listen(config.listen).await?;
        let address = listener
            .local_addr()
            .map_err(|error| CommandError::Failed(error.to_string()))?;
        let public_url = config
            .public_url
            .clone()
            .unwrap_or_else(|| format!("http://{address}"));
        let ids: Arc<dyn Ids> = Arc::new(SystemIds);
        let (lifecycle, stops) = (Lifecycle::new(), Stops::default());
        let metrics = install_metrics(&lifecycle, clock.clone(), &stops)?;

        let nats = if let Some(url) = &config.nats {
            SecretString::from(url.as_str())
        } else {
            let child = NatsChild::start(config, clock.clone(), &*ids).await?;
            let url = child.url().clone();
            lifecycle.spawn(TaskKind::NatsChild, child.supervise(stops.nats.clone()));
            url
        };
        let log: Arc<dyn EventLog> = Arc::new(open_log(&nats).await?);
        let identity = open_identity(config, &public_url, clock.clone(), ids.clone()).await?;
        let tables = Tables::open(&config.tables_file()).await.map_err(failed)?;
        let (projector, projected) = Projector::new(log.clone(), tables.clone(), clock.clone());
        let stop_projector = stops.projector.clone();
        lifecycle.spawn(TaskKind::Projector, async move {
            projector
                .run(stop_projector)
                .await
                .map_err(|error| error.to_string())
        });
        let gateway = Gateway::new(
            gateway_settings(config, &public_url, address),
            identity.clone(),
            log.clone(),
            tables.clone(),
            projected.clone(),
            clock.clone(),
            ids.clone(),
        )
        .map_err(failed)?;
        let cast = start_cast(config, address, log.clone(), clock.clone(), ids.clone()).await?;
        let spent = cast.clone();
        let stop_http = stops.http.clone();
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
            settings: HttpSettings {
                production: config.is_production(),
                service_key: config.service_key.clone(),
                public_url: public_url.clone(),
                allowed_hosts: hosts(config, address),
                seed_secret: config.seed_secret.clone(),
                admin_read_your_writes: READ_YOUR_WRITES,
            },
            metrics,
        };
        let router = crate::http::router(app.clone());
        let stop_http = stops.http.clone();
        lifecycle.spawn(TaskKind::Http, async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stop_http.cancelled_owned());
            served.await.map_err(|error| error.to_string())
        });
        let house = Self {
            app,
            address,
            clock,
            nats,
            config: config.clone(),
            lifecycle,
            stops,
            _lock: lock,
        };
        house.write_run_file(0)?;
        health.set_ready();
        Ok(house)
    }

    /// Tells commands on the same machine where this house is and how far its clock is ahead.
    ///
    /// # Errors
    /// [`CommandError::Failed`] when the data folder cannot be written to.
    pub(crate) fn write_run_file(&self, ahead_ms: u64) -> Result<(), CommandError> {
        let run = RunFile {
            pid: std::process::id(),
            api: format!("http://{}", self.address),
            nats: self.nats.expose_secret().to_owned(),
            started_at: self.clock.now(),
            ahead_ms,
        };
        run.write(&self.config.data)
    }

    /// Where the log is, without its password.
    pub(crate) fn nats_address(&self) -> String {
        let url = self.nats.expose_secret();
        let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{host}")
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
        let mut signals = Signals::listen()?;
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
        let mut signals = Signals::listen()?;
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
        RunFile::remove(&self.config.data);
    }
}

/// Requests to end: Ctrl-C, or `SIGTERM` from whoever manages the process.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on such signals no longer end the process by themselves.
    ///
    /// # Errors
    /// [`CommandError::Failed`] when the system does not let us listen.
    pub(crate) fn listen() -> Result<Self, CommandError> {
        let listen = |kind| signal(kind).map_err(failed);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address).await.map_err(|error| {
        CommandError::Unavailable(match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("{address} is in use; stop the program that listens there, or choose another with --listen")
            }
            _ => format!("cannot listen on {address}: {error}; choose another address with --listen"),
        })
    })
}

/// Connects to the log and checks that it is fit.
///
/// # Errors
/// [`CommandError::Unavailable`] with how to mend it.
pub(crate) async fn open_log(nats: &SecretString) -> Result<JetStreamLog, CommandError> {
    let address: async_nats::ServerAddr = nats
        .expose_secret()
        .parse()
        .map_err(|_| CommandError::Usage("--nats is not an address like nats://127.0.0.1:4222".to_owned()))?;
    let mut options = async_nats::ConnectOptions::new().name("dramatis");
    // The client does not take credentials from the address by itself.
    if let (Some(user), Some(password)) = (address.username(), address.password()) {
        options = options.user_and_password(user.to_owned(), password.to_owned());
    }
    let client = options.connect(address).await.map_err(|error| {
        CommandError::Unavailable(format!(
            "cannot connect to NATS: {error}; is the server there, and --nats right?"
        ))
    })?;
    let opened = JetStreamLog::open(client, JetStreamSettings::default()).await;
    opened.map_err(|error| CommandError::Unavailable(error.to_string()))
}

/// Opens the accounts and makes sure that the built-in administrator is there.
///
/// # Errors
/// [`CommandError::Usage`] for an unusable key file, [`CommandError::Failed`] for an unusable database.
pub(crate) async fn open_identity(
    config: &Config,
    public_url: &str,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
) -> Result<Identity, CommandError> {
    let settings = IdentitySettings {
        database: config.identity_file(),
        kek: key_encryption_key(config, &*ids)?,
        issuer: config.issuer.clone(),
        audiences: vec!["mana".to_owned(), format!("{public_url}/mcp")],
        token_ttl: Duration::from_mins(config.token_ttl_minutes),
        password_cost: PasswordCost::Production,
    };
    let identity = Identity::open(settings, clock, ids.clone())
        .await
        .map_err(failed)?;
    if identity
        .account_by_email(ADMIN_EMAIL)
        .await
        .map_err(failed)?
        .is_none()
    {
        let mut password = [0; 32];
        ids.fill(&mut password);
        let administrator = Registration {
            email: ADMIN_EMAIL.to_owned(),
            password: SecretString::from(hex::encode(password)),
            name: Some("Administrator".to_owned()),
            kind: AccountKind::System,
            role: Role::Admin,
            tier: Tier::Free,
            time_zone: None,
        };
        identity.register(administrator).await.map_err(failed)?;
    }
    Ok(identity)
}

async fn start_cast(
    config: &Config,
    address: SocketAddr,
    log: Arc<dyn EventLog>,
    clock: Arc<SystemClock>,
    ids: Arc<dyn Ids>,
) -> Result<CastHandle, CommandError> {
    let brain = match config.brain {
        BrainKind::Simulated => Arc::new(SimulatedBrain::new()),
    };
    let settings = CastSettings {
        base_url: format!("http://{address}"),
        seed_secret: config.seed_secret.clone(),
        concurrency: config.concurrency,
        tick_interval: Duration::from_millis(config.tick_interval_ms),
        tick_deadline: Duration::from_millis(config.tick_deadline_ms),
        calls_per_tick_max: config.calls_per_tick_max,
        seed: config.seed,
        paused: config.paused,
        restarts_max: 3,
        restart_window: Duration::from_mins(1),
    };
    Cast::start(settings, log, brain, clock, ids)
        .await
        .map_err(failed)
}

fn gateway_settings(config: &Config, public_url: &str, address: SocketAddr) -> GatewaySettings {
    GatewaySettings {
        public_url: public_url.to_owned(),
        allowed_hosts: hosts(config, address),
        allowed_origins: config
            .allowed_origins
            .iter()
            .cloned()
            .chain([public_url.to_owned()])
            .collect(),
        policy: PolicySettings {
            mode: match config.policy_mode {
                PolicyModeKey::Off => PolicyMode::Off,
                PolicyModeKey::LogOnly => PolicyMode::LogOnly,
                PolicyModeKey::Enforce => PolicyMode::Enforce,
            },
            calls_per_window_max: config.calls_per_minute_max,
            ..PolicySettings::default()
        },
        body_bytes_max: MCP_BODY_BYTES_MAX,
        read_your_writes: READ_YOUR_WRITES,
        session_idle: Duration::from_millis(config.session_idle_ms),
        sessions_per_user_max: config.sessions_per_user_max,
    }
}

/// The `Host` values that are this server: its address, the loopback names at its port, and what is configured.
fn hosts(config: &Config, address: SocketAddr) -> Vec<String> {
    let port = address.port();
    let own = [
        address.to_string(),
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
    ];
    let public = config
        .public_url
        .as_deref()
        .and_then(|url| url.split_once("://"))
        .map(|(_, rest)| rest.split('/').next().unwrap_or_default().to_owned());
    let mut hosts: Vec<String> = own
        .into_iter()
        .chain(public)
        .chain(config.allowed_hosts.iter().cloned())
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

fn install_metrics(
    lifecycle: &Lifecycle,
    clock: Arc<SystemClock>,
    stops: &Stops,
) -> Result<PrometheusHandle, CommandError> {
    const SECONDS: [f64; 12] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
    ];
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .map_err(failed)?;
    let handle = builder.install_recorder().map_err(failed)?;
    let (upkeep, stop) = (handle.clone(), stops.http.clone());
    lifecycle.spawn(TaskKind::MetricsUpkeep, async move {
        while !stop.is_cancelled() {
            upkeep.run_upkeep();
            tokio::select! {
                () = clock.sleep(Duration::from_secs(5)) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    });
    Ok(handle)
}

fn failed(error: impl std::fmt::Display) -> CommandError {
    CommandError::Failed(error.to_string())
}
