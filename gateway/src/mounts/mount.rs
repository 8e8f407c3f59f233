//! One mounted server: what it offers, the sessions with it, and one request put to it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use events::{Clock, UserId};
use rmcp::RoleServer;
use rmcp::model::{
    ClientRequest, GetExtensions as _, ListToolsRequest, PaginatedRequestParams, ServerCapabilities,
    ServerResult, Tool,
};
use rmcp::service::RequestContext;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{Notify, mpsc};

use super::breaker::Breaker;
use super::child::Children;
use super::connection::{self, Connection, OnBehalf, OpenError};
use super::credential::Bearer;
use super::exchange::Exchange;
use super::forward::{Answer, Unanswered};
use super::http_client::Web;
use super::offer;
use super::pins::{Known, PinStore, Pins, PinsError};
use super::relay::Heard;
use super::sessions::{InUse, Sessions, Whose};
use super::settings::MountSettings;
use crate::call::Principal;
use crate::notices::Change;
use crate::registry::Registered;
use crate::telemetry;

/// Pages of a list of tools.
const PAGES_MAX: usize = 64;
/// Tools of one server.
const TOOLS_MAX: usize = 512;
/// Changes at a server that wait to be told.
const CHANGES_MAX: usize = 256;
/// How long the whole list may take.
const LIST_WITHIN: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(super) settings: MountSettings,
    pins: PinStore,
    pub(super) sessions: Sessions,
    /// Where credentials in each user's name come from.
    pub(super) exchange: Option<Exchange>,
    /// The server said, or somebody found out, that its tools are others now.
    pub(super) tools_changed: Arc<Notify>,
    /// What else changes at the server, for whoever tells our clients.
    pub(super) changes: tokio::sync::Mutex<mpsc::Receiver<(Change, Option<UserId>)>>,
    heard: mpsc::Sender<(Change, Option<UserId>)>,
    /// Made with the first session over HTTP.
    web: OnceLock<Web>,
    children: Arc<Children>,
    clock: Arc<dyn Clock>,
    breaker: Mutex<Breaker>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the server said last; kept while it is away.
    listed: Option<Vec<Tool>>,
    capabilities: ServerCapabilities,
    /// What is approved, as it was known last; it goes on counting while nobody can be asked.
    known: Known,
    /// What the server lists is not written down yet, and why.
    unsettled: Option<String>,
    offered: Vec<Arc<Registered>>,
    quarantined: Vec<String>,
    unusable: Vec<String>,
    problem: Option<String>,
    was_tried: bool,
}

/// A session in use, and what is shown there in its user's name alone.
#[derive(Debug)]
struct Session {
    in_use: InUse,
    exchanged: Option<Arc<Bearer>>,
}

impl Session {
    /// `request`, to be sent with exactly the credentials it is made with.
    fn shown_with(&self, mut request: ClientRequest) -> ClientRequest {
        if let Some(bearer) = &self.exchanged {
            request.extensions_mut().insert(bearer.clone());
        }
        request
    }

    /// Whether the server has answered what was shown here with 401.
    fn was_refused(&self) -> bool {
        let credential = &self.in_use.connection.credential;
        match &self.exchanged {
            Some(bearer) => credential.was_refused(Some(bearer)),
            None => credential.was_refused(credential.now().as_ref()),
        }
    }
}

/// The request of a client that is put to the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) context: &'a RequestContext<RoleServer>,
    /// Whether it is a call of which its client can be told nothing but the answer.
    pub(super) is_plain: bool,
}

/// How a mounted server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MountSnapshot {
    /// Its name.
    pub name: String,
    /// Whether it answered when it was last asked.
    pub is_up: bool,
    /// What is wrong with it, if something is.
    pub problem: Option<String>,
    /// Its tools that are on offer.
    pub tools: usize,
    /// Its tools that wait for approval, by its own names.
    pub quarantined: Vec<String>,
    /// Its tools that cannot be offered, and why.
    pub unusable: Vec<String>,
    /// Open sessions with it.
    pub sessions: usize,
    /// Whether calls are turned away until it answers again.
    pub is_resting: bool,
}

/// Why a request has no answer of the server's.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// It did not answer lately and is left alone for a while.
    #[error("it did not answer lately; it is asked again in {} s", .0.as_secs() + 1)]
    Resting(Duration),
    /// There is no session with it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It was asked, and no answer came.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

impl Mount {
    pub(super) fn new(
        settings: MountSettings,
        pins: PinStore,
        exchange: Option<Exchange>,
        children: Arc<Children>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (heard, changes) = mpsc::channel(CHANGES_MAX);
        Self {
            changes: tokio::sync::Mutex::new(changes),
            heard,
            settings,
            pins,
            exchange,
            sessions: Sessions::new(clock.clone()),
            tools_changed: Arc::default(),
            web: OnceLock::new(),
            children,
            clock,
            breaker: Mutex::default(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tools on offer.
    pub(super) fn offered(&self) -> Vec<Arc<Registered>> {
        self.state().offered.clone()
    }

    /// Whether it answered when it was last asked.
    pub(super) fn is_up(&self) -> bool {
        let state = self.state();
        state.problem.is_none() && state.was_tried
    }

    /// Whether it was asked at all.
    pub(super) fn was_tried(&self) -> bool {
        self.state().was_tried
    }

    pub(super) fn observe(&self) -> MountSnapshot {
        let is_resting = self.breaker().is_open();
        let state = self.state();
        MountSnapshot {
            name: self.settings.name.clone(),
            is_up: state.problem.is_none() && state.was_tried,
            problem: state.problem.clone().or_else(|| state.unsettled.clone()),
            tools: state.offered.len(),
            quarantined: state.quarantined.clone(),
            unusable: state.unusable.clone(),
            sessions: self.sessions.len(),
            is_resting,
        }
    }

    /// Asks for the tools and offers what may be. Answers whether the offer is another now.
    pub(super) async fn refresh(self: &Arc<Self>) -> bool {
        let listed = tokio::select! {
            listed = self.list() => listed,
            () = self.clock.sleep(LIST_WITHIN) => Err(format!("its tools took longer than {} s", LIST_WITHIN.as_secs())),
        };
        let name = &self.settings.name;
        match listed {
            Ok(listed) => {
                self.breaker().succeeded();
                telemetry::mount_up(name, true);
                let is_new = {
                    let mut state = self.state();
                    if state.problem.take().is_some() {
                        tracing::info!(mount = %name, "a mounted server is back");
                    }
                    let is_new = !state.was_tried || state.listed.as_ref() != Some(&listed);
                    state.listed = Some(listed);
                    state.was_tried = true;
                    is_new
                };
                is_new && self.offer_listed().await
            }
            Err(problem) => {
                telemetry::mount_up(name, false);
                let mut state = self.state();
                if state.problem.as_ref() != Some(&problem) {
                    tracing::warn!(mount = %name, problem, "a mounted server cannot be asked for its tools");
                }
                state.problem = Some(problem);
                state.was_tried = true;
                false
            }
        }
    }

    /// Writes down what the server listed last, and offers what may be offered of it. Answers whether that may be another
    /// offer now.
    async fn offer_listed(self: &Arc<Self>) -> bool {
        let Some(listed) = self.state().listed.clone() else {
            return false;
        };
        let known = self.pins.see(&listed, self.settings.trust).await;
        self.offer(&listed, known)
    }

    /// Takes up what was approved beside us, and writes down what could not be written down before. Answers whether that
    /// may be another offer now.
    pub(super) async fn follow_pins(self: &Arc<Self>) -> bool {
        let Ok(mark) = self.pins.mark().await else {
            // It is told where something depends on it.
            return false;
        };
        let (listed, is_settled, is_same) = {
            let state = self.state();
            (
                state.listed.clone(),
                state.unsettled.is_none(),
                state.known.mark == mark,
            )
        };
        match listed {
            Some(_) if !is_settled => self.offer_listed().await,
            // What another house has seen is none of ours, so nothing is written down.
            Some(listed) if !is_same => {
                let known = self.pins.known().await;
                self.offer(&listed, known)
            }
            _ => false,
        }
    }

    /// Offers of `listed` what is approved as it stands there. Where it is not known what is approved, that is what was
    /// before: nothing new, and nothing that has changed.
    fn offer(self: &Arc<Self>, listed: &[Tool], known: Result<Known, PinsError>) -> bool {
        let name = &self.settings.name;
        let pins = {
            let mut state = self.state();
            match known {
                Ok(known) => {
                    if state.unsettled.take().is_some() {
                        tracing::info!(mount = %name, "what is approved of a mount can be read and changed again");
                    }
                    state.known = known;
                }
                Err(error) => {
                    let problem = format!("what is approved cannot be read or changed: {error}");
                    if state.unsettled.replace(problem).is_none() {
                        tracing::error!(mount = %name, %error, "what is approved of a mount cannot be read or changed; nothing new is offered");
                    }
                }
            }
            state.known.pins.clone()
        };
        self.offer_approved(listed, &pins);
        true
    }

    fn offer_approved(self: &Arc<Self>, listed: &[Tool], pins: &Pins) {
        let offer = offer::of(self, listed, pins);
        for name in &offer.quarantined {
            tracing::warn!(mount = %self.settings.name, tool = %name, "a tool waits for approval: `dramatis mounts approve`");
        }
        let counts = [offer.tools.len(), offer.quarantined.len(), offer.unusable.len()];
        telemetry::mount_tools(&self.settings.name, counts);
        let mut state = self.state();
        state.offered = offer.tools;
        state.quarantined = offer.quarantined;
        state.unusable = offer.unusable;
    }

    async fn list(&self) -> Result<Vec<Tool>, String> {
        let (mut tools, mut cursor) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let (page, next) = self.list_page(cursor).await?;
            tools.extend(page);
            cursor = next;
            if cursor.is_none() || tools.len() > TOOLS_MAX {
                break;
            }
        }
        if tools.len() > TOOLS_MAX {
            return Err(format!("it has more than {TOOLS_MAX} tools"));
        }
        tools.sort_by(|one, other| one.name.cmp(&other.name));
        tools.dedup_by(|one, other| one.name == other.name);
        Ok(tools)
    }

    async fn list_page(&self, cursor: Option<String>) -> Result<(Vec<Tool>, Option<String>), String> {
        let session = self.session(None).await.map_err(|error| error.to_string())?;
        let connection = &session.in_use.connection;
        if let Some(info) = connection.peer.peer_info() {
            self.state().capabilities = info.capabilities.clone();
        }
        let mut page = PaginatedRequestParams::default();
        page.cursor = cursor;
        let request = ListToolsRequest::with_param(page);
        let request = session.shown_with(ClientRequest::ListToolsRequest(request));
        let page = connection.peer.send_request(request).await;
        if session.was_refused() {
            self.forget(None, &session).await;
            return Err(OpenError::Unauthorized.to_string());
        }
        match page {
            Ok(ServerResult::ListToolsResult(page)) => Ok((page.tools, page.next_cursor)),
            Ok(_) => Err(Unanswered::Nonsense.to_string()),
            Err(error) => Err(events::capped(&error.to_string(), 300)),
        }
    }

    /// The session of `principal` with the server, or ours, and what is shown there.
    async fn session(&self, principal: Option<&Principal>) -> Result<Session, OpenError> {
        let exchanged = match &self.exchange {
            // Asking what tools there are is not in anybody's name.
            Some(_) if principal.is_none() && self.settings.auth_file.is_some() => None,
            Some(exchange) => Some(Box::pin(exchange.bearer(principal)).await?),
            None => None,
        };
        let whose = principal.map_or(Whose::Everybodys, |principal| self.whose(principal));
        let open = async || {
            let whom = principal.map_or_else(|| self.for_everybody(), |principal| self.on_behalf(principal));
            self.open(whom, exchanged.clone()).await
        };
        let in_use = self.sessions.get(&whose, open).await;
        if let (Err(OpenError::Unauthorized), Some(exchange), Some(bearer)) =
            (&in_use, &self.exchange, &exchanged)
        {
            exchange.forget(principal, bearer).await;
        }
        let in_use = in_use?;
        if exchanged.is_some() {
            in_use.connection.credential.show(exchanged.clone());
        }
        Ok(Session { in_use, exchanged })
    }

    async fn forget(&self, principal: Option<&Principal>, session: &Session) {
        if let (Some(exchange), Some(bearer)) = (&self.exchange, &session.exchanged) {
            exchange.forget(principal, bearer).await;
        }
    }

    async fn open(&self, whom: OnBehalf, exchanged: Option<Arc<Bearer>>) -> Result<Connection, OpenError> {
        let bearer = match (exchanged, &self.settings.auth_file) {
            (None, Some(file)) => Some(connection::credentials(file)?),
            (exchanged, _) => exchanged,
        };
        let (changed, clock) = (self.tools_changed.clone(), self.clock.as_ref());
        Box::pin(Connection::open(
            &self.settings,
            &whom,
            bearer,
            (&self.web, &self.children),
            changed,
            clock,
        ))
        .await
    }

    fn whose(&self, principal: &Principal) -> Whose {
        if self.settings.is_stateless {
            return match self.exchange {
                None => Whose::Everybodys,
                // It may keep no state, but it is told each user's own credentials.
                Some(_) => Whose::Users(principal.user_id.clone(), None),
            };
        }
        let session = principal.session.as_ref().map(|session| session.id.clone());
        Whose::Users(principal.user_id.clone(), session)
    }

    /// What the server said that it can do, when it was last asked.
    pub(super) fn capabilities(&self) -> ServerCapabilities {
        self.state().capabilities.clone()
    }

    /// Whether it said that it writes no log messages: then nothing comes on the way to an answer but the progress that
    /// was asked for and questions to a client that can be asked.
    pub(super) fn only_answers(&self) -> bool {
        let state = self.state();
        state.listed.is_some() && state.capabilities.logging.is_none()
    }

    /// Nobody of all who share a session could be asked anything.
    fn for_everybody(&self) -> OnBehalf {
        let heard = Heard {
            changes: self.heard.clone(),
            user: None,
        };
        OnBehalf {
            capabilities: rmcp::model::ClientCapabilities::default(),
            is_in_session: false,
            heard,
        }
    }

    /// The client of a session said once what it can do; one without a session says it with every request.
    fn on_behalf(&self, principal: &Principal) -> OnBehalf {
        let everybody = self.for_everybody();
        if self.settings.is_stateless {
            return everybody;
        }
        let session = principal.session.as_ref();
        OnBehalf {
            capabilities: session
                .map(|session| session.hello.capabilities.clone())
                .unwrap_or_default(),
            is_in_session: session.is_some(),
            heard: Heard {
                user: Some(principal.user_id.clone()),
                ..everybody.heard
            },
        }
    }

    /// Puts a request to the server that no client waits for as such, in the session of `principal`.
    pub(super) async fn ask_aside(
        &self,
        request: ClientRequest,
        principal: &Principal,
    ) -> Result<Answer, AskError> {
        self.admit()?;
        self.ask_once(&request, principal, None).await
    }

    /// Puts `request` to the server in the name of `principal`. One that `may_repeat` is sent once more when its
    /// answer was lost on the way.
    pub(super) async fn ask(
        &self,
        request: ClientRequest,
        principal: &Principal,
        asked: Asked<'_>,
        may_repeat: bool,
    ) -> Result<Answer, AskError> {
        self.admit()?;
        let answered = self.ask_once(&request, principal, Some(asked)).await;
        match answered {
            Err(AskError::Unanswered(Unanswered::Lost(_))) if may_repeat => {
                self.ask_once(&request, principal, Some(asked)).await
            }
            answered => answered,
        }
    }

    fn admit(&self) -> Result<(), AskError> {
        let now = self.clock.monotonic();
        self.breaker().admit(now).map_err(AskError::Resting)
    }

    /// A server that does not take a token that was exchanged for it has read nothing of the request, so that is sent
    /// again with another token, once.
    async fn ask_once(
        &self,
        request: &ClientRequest,
        principal: &Principal,
        asked: Option<Asked<'_>>,
    ) -> Result<Answer, AskError> {
        let is_refused = |answered: &_| matches!(answered, Err(AskError::Open(OpenError::Unauthorized)));
        let mut answered = self.put(request, principal, asked).await;
        if is_refused(&answered) && self.exchange.is_some() {
            answered = self.put(request, principal, asked).await;
        }
        self.count(&answered);
        answered
    }

    async fn put(
        &self,
        request: &ClientRequest,
        principal: &Principal,
        asked: Option<Asked<'_>>,
    ) -> Result<Answer, AskError> {
        let session = self.session(Some(principal)).await?;
        let (connection, deadline, clock) = (
            &session.in_use.connection,
            self.settings.deadline,
            self.clock.as_ref(),
        );
        let directly = match (request, asked) {
            (ClientRequest::CallToolRequest(call), Some(asked)) if asked.is_plain => {
                let shown = session.exchanged.clone();
                connection
                    .call_directly(call, asked.context, shown, deadline, clock)
                    .await
            }
            _ => None,
        };
        let answered = match (directly, asked) {
            (Some(answered), _) => answered,
            (None, Some(asked)) => {
                let request = session.shown_with(request.clone());
                Box::pin(connection.forward(request, asked.context, deadline, clock)).await
            }
            (None, None) => {
                let request = session.shown_with(request.clone());
                Box::pin(connection.ask(request, deadline, clock)).await
            }
        };
        if answered.is_err() && session.was_refused() {
            self.forget(Some(principal), &session).await;
            return Err(OpenError::Unauthorized.into());
        }
        Ok(answered?)
    }

    /// Whatever the server answered, it is alive. What is our doing or the client's says nothing about it.
    fn count(&self, answered: &Result<Answer, AskError>) {
        let now = self.clock.monotonic();
        let name = &self.settings.name;
        match answered {
            Ok(_) | Err(AskError::Unanswered(Unanswered::Nonsense)) => self.breaker().succeeded(),
            Err(AskError::Unanswered(Unanswered::TooSlow { was_alive: true, .. })) => {
                telemetry::mount_failure(name, "slow");
            }
            Err(AskError::Unanswered(Unanswered::TooSlow { .. })) => {
                telemetry::mount_failure(name, "silent");
                self.breaker().failed(now);
            }
            Err(AskError::Unanswered(Unanswered::Lost(_))) => {
                telemetry::mount_failure(name, "lost");
                self.breaker().failed(now);
            }
            Err(AskError::Open(OpenError::Unauthorized)) => {
                telemetry::mount_failure(name, "unauthorized");
                self.breaker().succeeded();
            }
            Err(AskError::Open(OpenError::Exchange(_))) => telemetry::mount_failure(name, "no-token"),
            Err(AskError::Open(OpenError::Handshake(_) | OpenError::TooSlow | OpenError::Child(_))) => {
                telemetry::mount_failure(name, "unreachable");
                self.breaker().failed(now);
            }
            Err(_) => {}
        }
    }
}
