//! One session with a mounted server, over HTTP or with a child process, in whichever era both speak.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use events::Clock;
use rmcp::RoleClient;
use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, ClientServiceExt as _, Peer, RunningService,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use tokio::sync::{Mutex, Notify};

use super::address::{self, AddressError, Lookup};
use super::child::{ChildError, Children, Group};
use super::credential::{Bearer, Credential};
use super::direct::{Direct, Shown};
use super::exchange::ExchangeError;
use super::http_client::{HttpClient, Web};
use super::relay::{Heard, Lines, Relay};
use super::settings::{MountSettings, Upstream};

/// How long a handshake may take.
const OPEN_WITHIN: Duration = Duration::from_secs(20);
/// How long a goodbye may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);
/// Requests under way at once in one session.
pub(super) const REQUESTS_MAX: usize = 256;
/// Characters kept of what is wrong with a server.
const REASON_CHARS_MAX: usize = 300;

/// Why there is no session with a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// Where it is said to be is nowhere we connect to.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Its process does not run.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// Its credentials cannot be read.
    #[error("the file of its credentials cannot be used: {0}")]
    Credentials(String),
    /// It gets no credentials for its user.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// It does not accept its credentials.
    #[error("it does not accept our credentials")]
    Unauthorized,
    /// It did not shake hands.
    #[error("{0}")]
    Handshake(String),
    /// It did not shake hands in time.
    #[error("it did not answer within {} s", OPEN_WITHIN.as_secs())]
    TooSlow,
    /// As many sessions as allowed are open, and all in use.
    #[error("too many sessions with it are in use; try again in a moment")]
    TooMany,
}

/// Whom a session with a server is opened for.
#[derive(Debug, Clone)]
pub(super) struct OnBehalf {
    /// What its client can do for the server. Nothing, where there is no client that could be asked.
    pub(super) capabilities: ClientCapabilities,
    /// Whether its client speaks the revision with sessions, so that the server had better speak it too.
    pub(super) is_in_session: bool,
    /// Who is told of what changes at the server.
    pub(super) heard: Heard,
}

/// An open session with a server.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer<RoleClient>,
    pub(super) lines: Arc<Lines>,
    /// What each request of the session shows.
    pub(super) credential: Arc<Credential>,
    /// For calls to which only the answer can come; there is none to a child process.
    pub(super) direct: Option<Arc<Direct>>,
    running: Mutex<Option<Shaken>>,
}

impl Connection {
    /// Shakes hands with the server of `mount`.
    pub(super) async fn open(
        mount: &MountSettings,
        whom: &OnBehalf,
        bearer: Option<Arc<Bearer>>,
        reach: (&OnceLock<Web>, &Arc<Children>),
        tools_changed: Arc<Notify>,
        clock: &dyn Clock,
    ) -> Result<Self, OpenError> {
        let credential = Arc::new(Credential::default());
        credential.show(bearer.clone());
        let implementation = Implementation::new("dramatis", env!("CARGO_PKG_VERSION"));
        let relay = Relay {
            lines: Arc::new(Lines::new(tools_changed, whom.heard.clone())),
            info: ClientConfig::new(whom.capabilities.clone(), implementation),
        };
        let both = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        };
        if whom.is_in_session {
            let initialize = ClientLifecycleMode::Initialize;
            let shaking = shake(mount, relay.clone(), initialize, &credential, reach);
            let shaken = within(clock, shaking).await;
            match shaken {
                // A server of the later era alone says so in an answer; anything else is the end.
                Err(Refusal::Answered(_)) => {}
                other => return Self::settle(other, relay, credential, bearer.as_ref()),
            }
        }
        let shaken = within(clock, shake(mount, relay.clone(), both, &credential, reach)).await;
        Self::settle(shaken, relay, credential, bearer.as_ref())
    }

    fn settle(
        shaken: Result<Shaken, Refusal>,
        relay: Relay,
        credential: Arc<Credential>,
        bearer: Option<&Arc<Bearer>>,
    ) -> Result<Self, OpenError> {
        let shaken = shaken.map_err(|refusal| match refusal {
            _ if credential.was_refused(bearer) => OpenError::Unauthorized,
            Refusal::Answered(reason) => OpenError::Handshake(reason),
            Refusal::Failed(error) => error,
        })?;
        Ok(Self {
            peer: shaken.service.peer().clone(),
            lines: relay.lines,
            credential,
            direct: shaken.direct.clone(),
            running: Mutex::new(Some(shaken)),
        })
    }

    /// Whether nothing more can be asked of it.
    pub(super) fn is_closed(&self) -> bool {
        self.peer.is_transport_closed()
    }

    /// Whether it is of the era without sessions.
    pub(super) fn is_modern(&self) -> bool {
        let info = self.peer.peer_info();
        info.is_some_and(|info| info.protocol_version >= ProtocolVersion::V_2026_07_28)
    }

    /// Says goodbye; a child process and what it started are gone when this returns.
    pub(super) async fn close(&self) {
        let Some(Shaken {
            mut service, group, ..
        }) = self.running.lock().await.take()
        else {
            return;
        };
        if !matches!(service.close_with_timeout(CLOSE_WITHIN).await, Ok(Some(_))) {
            tracing::debug!("a session with a mounted server did not close in time");
        }
        if let Some(group) = group {
            group.end().await;
        }
    }
}

/// What a handshake leaves.
#[derive(Debug)]
struct Shaken {
    /// Our side of the session.
    service: RunningService<RoleClient, Relay>,
    /// The child process, where it is one.
    group: Option<Group>,
    /// The direct way, where there is one.
    direct: Option<Arc<Direct>>,
}

enum Refusal {
    /// The server answered, and said no.
    Answered(String),
    /// There was no answer.
    Failed(OpenError),
}

impl<E: Into<OpenError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

async fn within(
    clock: &dyn Clock,
    shaking: impl Future<Output = Result<Shaken, Refusal>>,
) -> Result<Shaken, Refusal> {
    tokio::select! {
        shaken = Box::pin(shaking) => shaken,
        // What was opened so far is dropped, a child with its group.
        () = clock.sleep(OPEN_WITHIN) => Err(Refusal::Failed(OpenError::TooSlow)),
    }
}

async fn shake(
    mount: &MountSettings,
    relay: Relay,
    lifecycle: ClientLifecycleMode,
    credential: &Arc<Credential>,
    (web, children): (&OnceLock<Web>, &Arc<Children>),
) -> Result<Shaken, Refusal> {
    match &mount.upstream {
        Upstream::Http { url } => {
            let (client, config) = http(mount, web, url, credential.clone())?;
            let direct = Direct::try_new(client.clone(), config.uri.clone(), relay.info.clone());
            let transport = StreamableHttpClientTransport::with_client(client, config);
            let shaken = relay.serve_with_lifecycle(transport, lifecycle).await;
            Ok(Shaken {
                service: shaken.map_err(|error| refusal(&error, ""))?,
                group: None,
                direct: direct.map(Arc::new),
            })
        }
        Upstream::Stdio { command, environment } => {
            let (group, stdout, stdin) = children.start(command, environment).await?;
            let transport =
                AsyncRwTransport::new(stdout, stdin).with_max_line_length(mount.response_bytes_max);
            let shaken = relay.serve_with_lifecycle(transport, lifecycle).await;
            let service = shaken.map_err(|error| refusal(&error, &group.complaint()))?;
            group.is_well();
            Ok(Shaken {
                service,
                group: Some(group),
                direct: None,
            })
        }
    }
}

fn http(
    mount: &MountSettings,
    web: &OnceLock<Web>,
    url: &str,
    credential: Arc<Credential>,
) -> Result<(HttpClient, StreamableHttpClientTransportConfig), OpenError> {
    let allow_private = mount.allow_private_addresses;
    let endpoint = address::endpoint(url, allow_private)?;
    let web = if let Some(web) = web.get() {
        web
    } else {
        let made = Web::try_new(Lookup { allow_private });
        let made = made.map_err(|error| OpenError::Handshake(error.to_string()))?;
        web.get_or_init(|| made)
    };
    let client = HttpClient {
        web: web.clone(),
        bytes_max: mount.response_bytes_max,
        credential,
        shown: Arc::new(Shown::default()),
    };
    let config = StreamableHttpClientTransportConfig::with_uri(endpoint.as_str())
        .max_concurrent_requests(REQUESTS_MAX)
        .max_sse_event_size(mount.response_bytes_max);
    Ok((client, config))
}

/// The credentials in `file`.
pub(super) fn credentials(file: &Path) -> Result<Arc<Bearer>, OpenError> {
    let text = std::fs::read_to_string(file).map_err(|error| OpenError::Credentials(error.to_string()))?;
    let bearer = Bearer::try_new(text.trim());
    bearer
        .map(Arc::new)
        .map_err(|error| OpenError::Credentials(error.to_string()))
}

fn refusal(error: &ClientInitializeError, complaint: &str) -> Refusal {
    let said = match complaint {
        "" => String::new(),
        complaint => format!("; it said: {complaint}"),
    };
    let reason = events::capped(
        &format!("it does not shake hands: {}{said}", cause(error)),
        REASON_CHARS_MAX,
    );
    match error {
        ClientInitializeError::JsonRpcError(_)
        | ClientInitializeError::NoCompatibleProtocolVersion { .. } => Refusal::Answered(reason),
        _ => Refusal::Failed(OpenError::Handshake(reason)),
    }
}

/// The innermost cause, which says what happened where the outer ones say where.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
