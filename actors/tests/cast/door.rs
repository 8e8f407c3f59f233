//! A small app behind the public door: login, and an MCP server whose calls wait for the test's word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData as McpError, ServerHandler};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The secret the personas of these tests are derived from.
pub(crate) const SEED_SECRET: &str = "a secret of this test alone";

/// A call as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) call_id: String,
    pub(crate) tool: String,
    pub(crate) caller: String,
}

/// What all parts of the app share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) seen: Mutex<Vec<Seen>>,
    pub(crate) logins: AtomicUsize,
    /// What a token says of itself, as the second part of a JSON Web Token.
    pub(crate) claims: Mutex<String>,
    /// Tokens of that many logins are not accepted any more.
    pub(crate) revoked: AtomicUsize,
    pub(crate) in_flight: Mutex<BTreeMap<String, usize>>,
    /// The most that were ever in flight together: of all callers, and of any one.
    pub(crate) most: AtomicUsize,
    pub(crate) most_of_one: AtomicUsize,
    /// MCP answers 503 to everything.
    pub(crate) is_down: AtomicBool,
    open: watch::Sender<BTreeSet<String>>,
    sessions: Arc<LocalSessionManager>,
}

/// A running app.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) base_url: String,
    pub(crate) app: Arc<App>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Debug, Clone)]
struct Caller(String);

impl Door {
    #[expect(clippy::disallowed_methods, reason = "the test ends its own server")]
    pub(crate) async fn start() -> Self {
        let app = Arc::new(App {
            seen: Mutex::default(),
            logins: AtomicUsize::new(0),
            claims: Mutex::default(),
            revoked: AtomicUsize::new(0),
            in_flight: Mutex::default(),
            most: AtomicUsize::new(0),
            most_of_one: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
            open: watch::Sender::default(),
            sessions: Arc::default(),
        });
        let handler = Handler(app.clone());
        let mcp = StreamableHttpService::new(
            move || Ok(handler.clone()),
            app.sessions.clone(),
            StreamableHttpServerConfig::default(),
        );
        let mcp = axum::Router::new()
            .nest_service("/mcp", mcp)
            .layer(axum::middleware::from_fn_with_state(app.clone(), check_token));
        let router = axum::Router::new()
            .route("/api/v1/auth/login", post(log_in))
            .with_state(app.clone())
            .merge(mcp);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            base_url,
            app,
            server,
        }
    }

    /// Lets calls with this gate through, now and later.
    pub(crate) fn open(&self, gate: &str) {
        self.app.open.send_modify(|open| {
            open.insert(gate.to_owned());
        });
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.app.seen.lock().unwrap().clone()
    }

    pub(crate) async fn sessions(&self) -> usize {
        self.app.sessions.sessions.read().await.len()
    }
}

/// As the contract says; a persona's id is its email's first part.
async fn log_in(State(app): State<Arc<App>>, Json(body): Json<Value>) -> Response {
    let login = app.logins.fetch_add(1, Ordering::SeqCst) + 1;
    let email = body["email"].as_str().unwrap_or_default();
    let expected = catalog::derive_password(&SecretString::from(SEED_SECRET), email);
    if body["password"].as_str() != Some(expected.expose_secret()) {
        return (
            StatusCode::UNAUTHORIZED,
            Json(json!({"error": "wrong email or password"})),
        )
            .into_response();
    }
    let id = email.split('@').next().unwrap_or_default();
    let claims = app.claims.lock().unwrap().clone();
    let token = format!("token-of-{id}.{claims}.{login}");
    Json(json!({"token": token, "user": {"id": id, "email": email}})).into_response()
}

async fn check_token(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    if app.is_down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let header = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let parts: Vec<&str> = header
        .strip_prefix("Bearer token-of-")
        .unwrap_or_default()
        .split('.')
        .collect();
    let login = parts.last().and_then(|login| login.parse().ok());
    if login.is_none_or(|login: usize| login <= app.revoked.load(Ordering::SeqCst)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let caller = Caller(parts[0].to_owned());
    request.extensions_mut().insert(caller);
    next.run(request).await
}

#[derive(Debug, Clone)]
struct Handler(Arc<App>);

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, McpError> {
        let schema = json!({"type": "object"}).as_object().unwrap().clone();
        let tools = ["notes.create", "todo.create", "todo.list"]
            .map(|name| Tool::new(name, "a tool", schema.clone()));
        Ok(ListToolsResult::with_all_items(tools.into()))
    }

    /// Waits for `gate` if there is one, then answers as `answer` says: absent for success, `refuse` for a result
    /// marked as an error, `protocol` and `internal` for JSON-RPC errors.
    async fn call_tool(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, McpError> {
        let app = &self.0;
        let parts = context.extensions.get::<axum::http::request::Parts>().unwrap();
        let Caller(caller) = parts.extensions.get::<Caller>().unwrap().clone();
        let meta = serde_json::to_value(&context.meta).unwrap();
        let call_id = meta["dramatis/callId"].as_str().unwrap_or_default().to_owned();
        app.seen.lock().unwrap().push(Seen {
            call_id,
            tool: params.name.to_string(),
            caller: caller.clone(),
        });
        let _counted = InFlight::count(app.clone(), caller);
        let arguments = params.arguments.unwrap_or_default();
        if let Some(gate) = arguments.get("gate").and_then(Value::as_str) {
            app.open
                .subscribe()
                .wait_for(|open| open.contains(gate))
                .await
                .unwrap();
        }
        match arguments.get("answer").and_then(Value::as_str) {
            Some("refuse") => Ok(CallToolResult::error(vec![ContentBlock::text("title: required")]).into()),
            Some("protocol") => Err(ErrorData::invalid_params("unknown tool", None)),
            Some("internal") => Err(ErrorData::internal_error("the app broke", None)),
            _ => Ok(CallToolResult::structured(json!({"echo": arguments})).into()),
        }
    }
}

/// Counts a call for as long as it runs, however it ends.
struct InFlight(Arc<App>, String);

impl InFlight {
    fn count(app: Arc<App>, caller: String) -> Self {
        {
            let mut in_flight = app.in_flight.lock().unwrap();
            let of_one = in_flight.entry(caller.clone()).or_default();
            *of_one += 1;
            app.most_of_one.fetch_max(*of_one, Ordering::SeqCst);
            app.most.fetch_max(in_flight.values().sum(), Ordering::SeqCst);
        }
        Self(app, caller)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(count) = self.0.in_flight.lock().unwrap().get_mut(&self.1) {
            *count -= 1;
        }
    }
}
