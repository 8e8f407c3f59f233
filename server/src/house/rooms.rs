//! Opening the rooms, one function each: settings in, a handle out, and what is in the way as one clear line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actors::{Cast, CastHandle, CastSettings};
use axum::serve::{ListenerExt as _, TapIo};
use events::spans::Spans;
use events::{
    Clock, Durability, EventLog, Ids, JetStreamLog, JetStreamSettings, ServerReport, SystemClock, TickQueue,
};
use gateway::field_crypto::FieldForm;
use gateway::{GatewaySettings, MountsSettings, PolicyMode, PolicyRules, PolicySettings, RecordCalls};
use identity::{
    AccountKind, Database, ExternalIdentity as _, Identity, IdentityError, IdentitySettings, KeySetSource,
    PasswordCost, Registration, Role, Tier, TokenAlgorithm, TrustedIssuer,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use projections::Tables;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::brains;
use super::{ADMIN_EMAIL, HouseRole, READ_YOUR_WRITES, failed};
use crate::config::{Config, FieldEncryptionKey, PolicyModeKey, RecordCallsKey};
use crate::exit::CommandError;
use crate::external_identity::HttpExternalIdentity;
use crate::http::HttpSettings;
use crate::key_sets::HttpKeySets;
use crate::keys::{key_ring, runner_key};
use crate::lifecycle::{Lifecycle, TaskKind};

/// Bytes of an MCP request: the longest note, JSON-escaped, with room to spare.
/// How long the bad one of the calibration twins keeps its callers waiting.
const BAD_TWIN_WAITS: Duration = Duration::from_secs(3);
const MCP_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a tick stays with a runner that says nothing of it.
const TICK_KEPT_FOR: Duration = Duration::from_secs(30);
/// How long nats-server's monitoring page may take.
const MONITOR_WITHIN: Duration = Duration::from_secs(5);

/// Takes the address before anything else is opened, so that a taken one costs nothing. `option` is where it was named.
///
/// # Errors
/// [`CommandError::Unavailable`] when it cannot be had.
pub(crate) async fn listen(address: SocketAddr, option: &str) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address).await.map_err(|error| {
        CommandError::Unavailable(match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("{address} is in use; stop the program that listens there, or choose another with {option}")
            }
            _ => format!("cannot listen on {address}: {error}; choose another address with {option}"),
        })
    })
}

/// The same listener, whose connections send what is said in pieces piece by piece: a stream would stutter if each had
/// to wait until the one before it is acknowledged.
pub(crate) fn at_once(listener: TcpListener) -> TapIo<TcpListener, impl FnMut(&mut TcpStream) + Send> {
    listener.tap_io(|connection| {
        // A connection that is gone already is found to be gone soon enough.
        let _ = connection.set_nodelay(true);
    })
}

/// Messages that may wait for one reader of ours; what comes on top is dropped, and counted by the server.
const WAITING_MAX: usize = 2_048;

pub(super) async fn connect(
    nats: &SecretString,
    options: async_nats::ConnectOptions,
) -> Result<async_nats::Client, CommandError> {
    // Of a cluster any server will do, so that a start does not depend on one of them.
    let addresses: Result<Vec<async_nats::ServerAddr>, _> = nats
        .expose_secret()
        .split(',')
        .map(|address| address.trim().parse())
        .collect();
    let addresses = addresses.map_err(|_| {
        CommandError::Usage(
            "--nats is not an address like nats://127.0.0.1:4222, or several with commas between them"
                .to_owned(),
        )
    })?;
    let mut options = options;
    // The client does not take credentials from the address by itself.
    let credentials = |address: &async_nats::ServerAddr| {
        Some((address.username()?.to_owned(), address.password()?.to_owned()))
    };
    if let Some((user, password)) = addresses.iter().find_map(credentials) {
        options = options.user_and_password(user, password);
    }
    options.connect(addresses).await.map_err(|error| {
        CommandError::Unavailable(format!(
            "cannot connect to NATS: {error}; is the server there, and --nats right?"
        ))
    })
}

/// A connection beside the log's, for what others read and ask: whatever they do, appends do not wait for it.
///
/// # Errors
/// As [`open_log`].
pub(crate) async fn connect_for_readers(nats: &SecretString) -> Result<async_nats::Client, CommandError> {
    let options = async_nats::ConnectOptions::new()
        .name("dramatis-surface")
        .subscription_capacity(WAITING_MAX);
    connect(nats, options).await
}

/// Connects to the log and checks that it is fit.
///
/// # Errors
/// [`CommandError::Unavailable`] with how to mend it.
pub(crate) async fn open_log(config: &Config, nats: &SecretString) -> Result<JetStreamLog, CommandError> {
    let client = connect(nats, async_nats::ConnectOptions::new().name("dramatis")).await?;
    let settings = JetStreamSettings {
        replicas: config.nats_replicas,
        durability: durability(config).await?,
        ..JetStreamSettings::default()
    };
    let opened = JetStreamLog::open(client, settings).await;
    opened.map_err(|error| CommandError::Unavailable(error.to_string()))
}

/// What is known about when the server writes to disk. Our own child's configuration is ours.
async fn durability(config: &Config) -> Result<Durability, CommandError> {
    if config.nats.is_none() {
        return Ok(Durability::Ours);
    }
    if config.unsafe_nats_durability_unchecked {
        return Ok(Durability::UnsafeUnchecked);
    }
    let Some(monitors) = &config.nats_monitor else {
        return Ok(Durability::Unknown);
    };
    let report = ServerReport::from_varz(&monitoring_page(monitors).await?);
    let report = report.map_err(|error| CommandError::Unavailable(error.to_string()))?;
    Ok(Durability::Reported(report))
}

/// The first of the monitoring pages that answers: servers of a cluster are set up alike, and one of them may be away.
async fn monitoring_page(monitors: &str) -> Result<String, CommandError> {
    let client = reqwest::Client::builder().timeout(MONITOR_WITHIN).build();
    let client = client.map_err(failed)?;
    let mut unreadable = Vec::new();
    for monitor in monitors.split(',').map(str::trim) {
        let asked = client
            .get(format!("{}/varz", monitor.trim_end_matches('/')))
            .send();
        let page = match asked.await {
            Ok(answer) => answer.text().await,
            Err(error) => Err(error),
        };
        match page {
            Ok(page) => return Ok(page),
            Err(error) => unreadable.push(format!(
                "nats_monitor {monitor} does not answer: {}",
                error.without_url()
            )),
        }
    }
    Err(CommandError::Unavailable(unreadable.join("; ")))
}

/// Opens the tables where the settings say they are.
///
/// # Errors
/// [`CommandError::Unavailable`] when Postgres does not answer, [`CommandError::Failed`] for an unusable file.
pub(crate) async fn open_tables(config: &Config) -> Result<Tables, CommandError> {
    match &config.database {
        Some(url) => Tables::connect(url.expose_secret()).await.map_err(|error| {
            CommandError::Unavailable(format!("tables at {}: {error}", config.tables_place()))
        }),
        None => Ok(Tables::open(&config.tables_file()).await?),
    }
}

/// Where the accounts are: beside the tables when these are in Postgres.
///
/// # Errors
/// [`CommandError::Usage`] while there are accounts in the data folder that nobody moved: a database without them would
/// look as if they were gone.
pub(crate) fn accounts_place(config: &Config) -> Result<Database, CommandError> {
    let file = config.identity_file();
    let Some(url) = &config.database else {
        return Ok(file.into());
    };
    if file.exists() {
        return Err(CommandError::Usage(format!(
            "there are accounts in {}, but `database` says that accounts are in {}: move them with `dramatis accounts \
             move`, or move the file away",
            file.display(),
            config.tables_place()
        )));
    }
    Ok(Database::Postgres(url.clone()))
}

/// Opens the accounts and makes sure that the built-in administrator is there.
///
/// # Errors
/// [`CommandError::Usage`] for an unusable key file and for accounts that are in two places,
/// [`CommandError::Unavailable`] when Postgres does not answer, [`CommandError::Failed`] for an unusable database.
pub(crate) async fn open_identity(
    config: &Config,
    public_url: &str,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
) -> Result<Identity, CommandError> {
    let settings = IdentitySettings {
        database: accounts_place(config)?,
        keks: key_ring(config, &*ids)?,
        issuer: config.issuer.clone(),
        audiences: vec!["mana".to_owned(), format!("{public_url}/mcp")],
        token_ttl: Duration::from_mins(config.token_ttl_minutes),
        password_cost: PasswordCost::Production,
    };
    let identity = Identity::open(settings, clock, ids.clone())
        .await
        .map_err(|error| unopened(config, &error))?;
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
        match identity.register(administrator).await {
            // Another process on the same accounts was quicker.
            Ok(_) | Err(IdentityError::EmailTaken) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(identity)
}

/// What keeps the accounts closed, with its cause: a database that is not there is another matter than a wrong key.
fn unopened(config: &Config, error: &IdentityError) -> CommandError {
    match (error, &config.database) {
        (IdentityError::Database(cause), Some(_)) => {
            CommandError::Unavailable(format!("accounts at {}: {cause}", config.tables_place()))
        }
        (IdentityError::Database(cause), None) => CommandError::Failed(format!("{error}: {cause}")),
        _ => failed(error),
    }
}

/// Trusts the issuers that are configured beside ourselves, and stands in front of the system whose accounts are used
/// instead of ours, if there is one.
///
/// # Errors
/// [`CommandError::Usage`] for one that cannot be meant.
pub(super) fn trust_issuers(
    config: &Config,
    public_url: &str,
    identity: &Identity,
    clock: Arc<SystemClock>,
) -> Result<Option<Arc<HttpExternalIdentity>>, CommandError> {
    let own = || vec!["mana".to_owned(), format!("{public_url}/mcp")];
    let issuers = config.issuers.iter().cloned().map(|issuer| TrustedIssuer {
        issuer: issuer.issuer,
        jwks_url: issuer.jwks_url,
        audiences: if issuer.audiences.is_empty() {
            own()
        } else {
            issuer.audiences
        },
        algorithms: issuer.algorithms,
        scope: issuer.scope,
        accounts: issuer.accounts,
        is_whose_accounts_are_ours: false,
    });
    let mut issuers: Vec<TrustedIssuer> = issuers.collect();
    let unusable = |error: String| CommandError::Usage(format!("external_identity: {error}"));
    let external = config.external_identity.as_deref();
    let external = external
        .map(|origin| HttpExternalIdentity::new(origin, clock))
        .transpose();
    let external = external.map_err(unusable)?.map(Arc::new);
    if let Some(external) = &external {
        issuers.push(whose_accounts_are_ours(config, external));
    }
    let trusted = issuers.last().map(|issuer| issuer.issuer.clone());
    let source: Arc<dyn KeySetSource> = Arc::new(HttpKeySets::new().map_err(failed)?);
    identity
        .trust(issuers, &source)
        .map_err(|error| CommandError::Usage(error.to_string()))?;
    if let (Some(external), Some(issuer)) = (&external, trusted) {
        identity
            .stand_in_front_of(external.clone(), issuer)
            .map_err(|error| unusable(error.to_string()))?;
    }
    Ok(external)
}

/// The system whose accounts are used instead of ours, as an issuer: its tokens are for it, and for us.
fn whose_accounts_are_ours(config: &Config, external: &HttpExternalIdentity) -> TrustedIssuer {
    let origin = external.origin().to_owned();
    TrustedIssuer {
        issuer: config.external_issuer.clone().unwrap_or_else(|| origin.clone()),
        jwks_url: external.jwks_url(),
        audiences: vec!["mana".to_owned(), format!("{origin}/mcp")],
        algorithms: vec![TokenAlgorithm::EdDSA],
        scope: None,
        accounts: BTreeMap::new(),
        is_whose_accounts_are_ours: true,
    }
}

/// The log, and the work queue where the settings share ticks.
///
/// # Errors
/// [`CommandError::Unavailable`] with how to mend it.
pub(crate) async fn open_log_and_queue(
    config: &Config,
    nats: &SecretString,
) -> Result<(Arc<dyn EventLog>, Option<Arc<dyn TickQueue>>), CommandError> {
    let log = open_log(config, nats).await?;
    if !config.share_ticks.unwrap_or(config.nats.is_some()) {
        return Ok((Arc::new(log), None));
    }
    let queue = log.ticks(TICK_KEPT_FOR).await;
    let queue = queue.map_err(|error| CommandError::Unavailable(format!("the work queue: {error}")))?;
    Ok((Arc::new(log), Some(Arc::new(queue))))
}

/// Starts the cast, whose personas come in at `base_url`.
///
/// # Errors
/// [`CommandError::Usage`] for brains that cannot be meant, [`CommandError::Failed`] when it cannot be started.
pub(crate) async fn start_cast(
    config: &Config,
    base_url: String,
    spans: Spans,
    log: Arc<dyn EventLog>,
    queue: Option<Arc<dyn TickQueue>>,
    clock: Arc<SystemClock>,
    ids: Arc<dyn Ids>,
) -> Result<CastHandle, CommandError> {
    let brains = brains::of(config)?;
    let settings = CastSettings {
        base_url,
        seed_secret: config.seed_secret.clone(),
        concurrency: config.concurrency,
        tick_interval: Duration::from_millis(config.tick_interval_ms),
        tick_deadline: Duration::from_millis(config.tick_deadline_ms),
        calls_per_tick_max: config.calls_per_tick_max,
        model: brains::limits(config)?,
        seed: config.seed,
        calibrates: config.calibration,
        paused: config.paused,
        restarts_max: 3,
        restart_window: Duration::from_mins(1),
        spans,
    };
    Cast::start_sharing(settings, log, queue, brains, clock, ids)
        .await
        .map_err(failed)
}

/// The rules in the file that is configured, or the built-in ones.
///
/// # Errors
/// [`CommandError::Usage`] for a file that cannot be read or meant.
pub(crate) fn policy_rules(config: &Config) -> Result<PolicyRules, CommandError> {
    let Some(file) = &config.policy else {
        return Ok(PolicyRules::built_in().with_calls_per_window(config.calls_per_minute_max));
    };
    read_policy(file)
}

/// The rules in `file`.
///
/// # Errors
/// [`CommandError::Usage`] when it cannot be read or meant.
pub(crate) fn read_policy(file: &Path) -> Result<PolicyRules, CommandError> {
    let unusable = |reason: String| CommandError::Usage(format!("policy {}: {reason}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    PolicyRules::parse(&text).map_err(|fault| unusable(fault.to_string()))
}

/// What the policy gate does with refusals.
pub(crate) fn policy_mode(config: &Config) -> PolicyMode {
    match config.policy_mode {
        PolicyModeKey::Off => PolicyMode::Off,
        PolicyModeKey::LogOnly => PolicyMode::LogOnly,
        PolicyModeKey::Enforce => PolicyMode::Enforce,
    }
}

/// In which form encrypted fields are written and read.
pub(crate) fn field_form(config: &Config) -> FieldForm {
    match config.field_encryption {
        FieldEncryptionKey::Shared => FieldForm::Shared,
        FieldEncryptionKey::Bound => FieldForm::Bound,
        FieldEncryptionKey::BoundOnly => FieldForm::BoundOnly,
    }
}

pub(super) fn gateway_settings(
    config: &Config,
    public_url: &str,
    address: SocketAddr,
    mounts: MountsSettings,
    spans: Spans,
) -> Result<GatewaySettings, CommandError> {
    Ok(GatewaySettings {
        public_url: public_url.to_owned(),
        allowed_hosts: hosts(config, address),
        allowed_origins: config
            .allowed_origins
            .iter()
            .cloned()
            .chain([public_url.to_owned()])
            .collect(),
        policy: PolicySettings {
            mode: policy_mode(config),
            rules: policy_rules(config)?,
            file: config.policy.clone(),
        },
        record_calls: match config.record_calls {
            RecordCallsKey::Off => RecordCalls::Off,
            RecordCallsKey::Hashes => RecordCalls::Hashes,
            RecordCallsKey::Arguments => RecordCalls::WithArguments,
        },
        // Beside a child of ours the log is on this machine too, and no safer than a file there.
        call_journal: config
            .call_journal
            .unwrap_or(config.nats.is_none())
            .then(|| config.data.join("calls")),
        field_form: field_form(config),
        body_bytes_max: MCP_BODY_BYTES_MAX,
        read_your_writes: READ_YOUR_WRITES,
        session_idle: Duration::from_millis(config.session_idle_ms),
        mounts,
        calibration: config.calibration.then_some(BAD_TWIN_WAITS),
        sessions_per_user_max: config.sessions_per_user_max,
        sessions_max: config.sessions_max,
        spans,
        ..GatewaySettings::default()
    })
}

/// How the HTTP surfaces are set up.
pub(super) fn http_settings(
    role: HouseRole,
    config: &Config,
    public_url: &str,
    address: SocketAddr,
) -> Result<HttpSettings, CommandError> {
    Ok(HttpSettings {
        production: config.is_production(),
        role,
        service_key: config.service_key.clone(),
        runner_key: runner_key(config)?,
        public_url: public_url.to_owned(),
        allowed_hosts: hosts(config, address),
        seed_secret: config.seed_secret.clone(),
        admin_read_your_writes: READ_YOUR_WRITES,
    })
}

/// The `Host` values that are this server: its address, the loopback names at its port, and what is configured.
pub(super) fn hosts(config: &Config, address: SocketAddr) -> Vec<String> {
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

/// Begins to count what `/metrics` shows, until `stop`.
///
/// # Errors
/// [`CommandError::Failed`] when somebody counts already.
pub(crate) fn install_metrics(
    lifecycle: &Lifecycle,
    clock: Arc<SystemClock>,
    stop: &CancellationToken,
) -> Result<PrometheusHandle, CommandError> {
    const SECONDS: [f64; 12] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
    ];
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .map_err(failed)?;
    let handle = builder.install_recorder().map_err(failed)?;
    let (upkeep, stop) = (handle.clone(), stop.clone());
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
