//! A gateway on a free port of the loopback interface with everything it needs.

use std::sync::Arc;
use std::time::Duration;

use events::{Event, EventLog, MemoryLog, SpaceId, SystemClock, SystemIds, UserId};
use gateway::{
    About, Annex, CallContext, Gateway, GatewaySettings, Hint, Scope, ToolError, ToolRegistry, ToolSpec,
};
use identity::{
    Account, AccountKind, Identity, IdentitySettings, KeyEncryptionKey, NewSpace, PasswordCost, Registration,
    Role, SpaceRole, SpaceType, Tier,
};
use projections::{Projector, ProjectorHandle, Tables};
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long anything may take that is only waited for.
pub(crate) const SOON: Duration = Duration::from_mins(1);

pub(crate) struct House {
    pub(crate) url: String,
    pub(crate) gateway: Gateway,
    pub(crate) identity: Identity,
    pub(crate) tables: Tables,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) http: reqwest::Client,
    pub(crate) dir: tempfile::TempDir,
    projected: ProjectorHandle,
    stop: CancellationToken,
    tasks: TaskTracker,
}

pub(crate) struct Plan {
    pub(crate) settings: GatewaySettings,
    pub(crate) tools: Vec<ToolSpec>,
    pub(crate) annex: Option<Arc<dyn Annex>>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) is_projecting: bool,
    /// A user's name and the destructive tool it may use.
    pub(crate) destructive_allowed: Option<(&'static str, &'static str)>,
}

impl Default for Plan {
    fn default() -> Self {
        let settings = GatewaySettings::default();
        Self {
            settings,
            tools: Vec::new(),
            annex: None,
            log: Arc::new(MemoryLog::new()),
            is_projecting: true,
            destructive_allowed: None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) token: String,
    pub(crate) space: SpaceId,
}

pub(crate) type Client = RunningService<RoleClient, ()>;

impl House {
    pub(crate) async fn start() -> Self {
        Self::build(Plan::default()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut GatewaySettings)) -> Self {
        let mut plan = Plan::default();
        change(&mut plan.settings);
        Self::build(plan).await
    }

    pub(crate) async fn build(mut plan: Plan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::new());
        let identity = IdentitySettings {
            database: dir.path().join("identity.sqlite").into(),
            keks: KeyEncryptionKey::new("test", [3; 32]).into(),
            issuer: "http://127.0.0.1:3069".to_owned(),
            audiences: vec!["mana".to_owned()],
            token_ttl: Duration::from_mins(10),
            password_cost: PasswordCost::Fast,
        };
        let identity = Identity::open(identity, clock.clone(), Arc::new(SystemIds))
            .await
            .unwrap();
        if let Some((name, tool)) = plan.destructive_allowed {
            let account = account(&identity, name).await;
            let policy = &mut plan.settings.policy;
            policy.rules = policy.rules.clone().with_destructive(&account.id, tool);
        }
        let tables = Tables::open(&dir.path().join("tables.sqlite")).await.unwrap();
        let (projector, handle) = Projector::new(plan.log.clone(), tables.clone(), clock.clone());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        if plan.is_projecting {
            let stop = stop.clone();
            tasks.spawn(async move { projector.run(stop).await.unwrap() });
        }
        let gateway = Gateway::with_registry(
            ToolRegistry::built_in_and(plan.tools).unwrap(),
            plan.settings,
            identity.clone(),
            plan.log.clone(),
            tables.clone(),
            handle.clone(),
            clock,
            Arc::new(SystemIds),
            plan.annex,
        )
        .unwrap();
        let url = serve(&gateway, &stop, &tasks).await;
        let http = reqwest::Client::builder().timeout(SOON).build().unwrap();
        Self {
            url,
            gateway,
            identity,
            tables,
            log: plan.log,
            http,
            dir,
            projected: handle,
            stop,
            tasks,
        }
    }

    /// Another door of the same house, as another process would open one: the same accounts, log, tables and secret.
    pub(crate) async fn another_door(&self, settings: GatewaySettings) -> Self {
        let clock = Arc::new(SystemClock::new());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let gateway = Gateway::new(
            settings,
            self.identity.clone(),
            self.log.clone(),
            self.tables.clone(),
            self.projected.clone(),
            clock,
            Arc::new(SystemIds),
        )
        .unwrap();
        Self {
            url: serve(&gateway, &stop, &tasks).await,
            gateway,
            identity: self.identity.clone(),
            tables: self.tables.clone(),
            log: self.log.clone(),
            http: self.http.clone(),
            dir: tempfile::tempdir().unwrap(),
            projected: self.projected.clone(),
            stop,
            tasks,
        }
    }

    /// Stops everything, and fails when something does not stop.
    pub(crate) async fn stop(self) {
        self.gateway.drain(Duration::from_secs(1)).await;
        self.stop.cancel();
        self.tasks.close();
        drop(self.http);
        tokio::time::timeout(SOON, self.tasks.wait())
            .await
            .expect("everything stops");
    }

    pub(crate) async fn user(&self, name: &str) -> User {
        let account = account(&self.identity, name).await;
        let token = self.token(&account.id).await;
        let space = self.identity.personal_space(&account.id).await.unwrap();
        User {
            id: account.id,
            token,
            space,
        }
    }

    /// A space of `owner` that `member` is in too.
    pub(crate) async fn team(&self, owner: &User, member: &User) -> SpaceId {
        let team = NewSpace {
            name: "Team".to_owned(),
            space_type: SpaceType::Team,
        };
        let team = self
            .identity
            .create_space(&owner.id, team)
            .await
            .unwrap()
            .space_id;
        self.identity
            .add_member(&team, &member.id, SpaceRole::Member)
            .await
            .unwrap();
        team
    }

    pub(crate) async fn token(&self, user: &UserId) -> String {
        self.identity
            .mint(user)
            .await
            .unwrap()
            .token
            .expose_secret()
            .to_owned()
    }

    /// An MCP client as people use them.
    pub(crate) async fn connect(&self, user: &User) -> Client {
        let config = StreamableHttpClientTransportConfig::with_uri(format!("{}/mcp", self.url))
            .auth_header(&user.token);
        ().serve(StreamableHttpClientTransport::from_config(config))
            .await
            .unwrap()
    }

    /// A POST of raw bytes to the endpoint, with everything in order but what the test changes.
    pub(crate) fn post(&self, token: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.http
            .post(format!("{}/mcp", self.url))
            .bearer_auth(token)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(body)
    }

    /// Opens a session by hand and answers with its handle.
    pub(crate) async fn open_session(&self, user: &User) -> String {
        let response = self.post(&user.token, initialize()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.headers()["mcp-session-id"].to_str().unwrap().to_owned()
    }

    /// Calls `spaces.list` in a session and answers with the status.
    pub(crate) async fn call_in(&self, token: &str, session: &str) -> reqwest::Response {
        let call = rpc("tools/call", json!({"name": "spaces.list", "arguments": {}}));
        self.post(token, call)
            .header("mcp-session-id", session)
            .send()
            .await
            .unwrap()
    }

    /// All events so far, oldest first.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        events::read_to_end(self.log.as_ref(), events::StreamSeq::ZERO, |delivery| {
            events.extend(delivery.into_commit()?.commit.events);
            Ok::<_, events::LogError>(())
        })
        .await
        .unwrap();
        events
    }

    /// All events so far of one type.
    pub(crate) async fn events_of(&self, type_name: &str) -> Vec<Event> {
        self.events()
            .await
            .into_iter()
            .filter(|event| event.type_name() == type_name)
            .collect()
    }
}

/// Serves `gateway` on a free port, and answers with its address.
async fn serve(gateway: &Gateway, stop: &CancellationToken, tasks: &TaskTracker) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (router, stopped) = (gateway.router(gateway.door()), stop.clone().cancelled_owned());
    tasks.spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(stopped)
            .await
            .unwrap();
    });
    url
}

/// The account of that name, made when there is none.
async fn account(identity: &Identity, name: &str) -> Account {
    let email = format!("{name}@mana.test");
    if let Some(account) = identity.account_by_email(&email).await.unwrap() {
        return account;
    }
    let registration = Registration {
        email,
        password: "correct horse battery".into(),
        name: Some(name.to_owned()),
        kind: AccountKind::Human,
        role: Role::User,
        tier: Tier::Free,
        time_zone: Some("Pacific/Auckland".to_owned()),
    };
    identity.register(registration).await.unwrap()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the parameters in place"
)]
pub(crate) fn rpc(method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

pub(crate) fn initialize() -> String {
    let info = json!({"name": "by-hand", "version": "1"});
    rpc(
        "initialize",
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}),
    )
}

/// The JSON-RPC message of an answer, be it JSON or an event stream.
pub(crate) async fn message(response: reqwest::Response) -> Value {
    let text = response.text().await.unwrap();
    let json = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(str::trim)
        .rfind(|data| !data.is_empty());
    serde_json::from_str(json.unwrap_or(&text)).unwrap()
}

/// The outcome of a call as a client sees it.
pub(crate) async fn try_call(
    client: &Client,
    tool: &str,
    arguments: Value,
) -> Result<CallToolResult, ServiceError> {
    let params =
        CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments.as_object().unwrap().clone());
    tokio::time::timeout(SOON, client.call_tool(params))
        .await
        .expect("the call is answered")
}

/// The structured answer of a call that must succeed.
pub(crate) async fn call(client: &Client, tool: &str, arguments: Value) -> Value {
    let result = try_call(client, tool, arguments).await.unwrap();
    assert_ne!(result.is_error, Some(true), "{tool}: {result:?}");
    let structured = result.structured_content.clone().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&text(&result)).unwrap(),
        structured,
        "text and data say the same"
    );
    structured
}

/// The text of a call that must succeed.
pub(crate) async fn call_text(client: &Client, tool: &str, arguments: Value) -> String {
    let result = try_call(client, tool, arguments).await.unwrap();
    assert_ne!(result.is_error, Some(true), "{tool}: {result:?}");
    text(&result)
}

/// The error text of a call that must be refused as a tool result.
pub(crate) async fn refused(client: &Client, tool: &str, arguments: Value) -> String {
    let result = try_call(client, tool, arguments).await.unwrap();
    assert_eq!(result.is_error, Some(true), "{tool}: {result:?}");
    text(&result)
}

fn text(result: &CallToolResult) -> String {
    result.content[0].as_text().unwrap().text.clone()
}

/// The code of a call that must end in a JSON-RPC error.
pub(crate) async fn error_code(client: &Client, tool: &str, arguments: Value) -> i32 {
    match try_call(client, tool, arguments).await {
        Err(ServiceError::McpError(error)) => error.code.0,
        other => panic!("{tool} must end in a JSON-RPC error: {other:?}"),
    }
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub(crate) struct Whatever {
    #[schemars(range(max = 10))]
    pub(crate) number: u32,
}

/// A tool of a test's own.
pub(crate) fn tool<Answer>(
    name: &'static str,
    scope: Scope,
    hint: Hint,
    run: impl Fn(CallContext, Nothing) -> Answer + Clone + Send + Sync + 'static,
) -> ToolSpec
where
    Answer: Future<Output = Result<Whatever, ToolError>> + Send + 'static,
{
    let about = About {
        name,
        title: name,
        description: name,
        scope,
        hint,
        idempotent: false,
        encrypted: None,
    };
    ToolSpec::new(about, run)
}
