//! An MCP server of somebody else's, for tests to mount: it can be told what to say, and tells what it heard.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What all sessions of the shop share, and the test.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// How `echo` is described.
    pub(super) description: Mutex<String>,
    /// What came in the `Authorization` header of each request.
    pub(super) credentials: Mutex<Vec<String>>,
    /// Beginnings of `Authorization` headers that are answered with 401.
    pub(super) refused: Mutex<Vec<String>>,
    /// The headers of each call.
    pub(super) headers: Mutex<Vec<HeaderMap>>,
    /// The `_meta` of each call.
    pub(super) meta: Mutex<Vec<Value>>,
    /// Calls that have begun.
    pub(super) calls: AtomicUsize,
    /// Calls that were cancelled.
    pub(super) cancelled: AtomicUsize,
    /// Sessions that were opened.
    pub(super) sessions: AtomicUsize,
    /// Lets `wait` go.
    pub(super) go: Notify,
    /// What every request is answered with instead.
    pub(super) broken: Mutex<Option<StatusCode>>,
}

/// One session's part.
#[derive(Debug)]
struct Shop {
    shared: Arc<Shared>,
    count: AtomicU32,
}

/// The shop on a port of its own.
pub(super) struct Running {
    pub(super) url: String,
    pub(super) shared: Arc<Shared>,
    port: u16,
    stop: CancellationToken,
    serving: Option<tokio::task::JoinHandle<()>>,
}

impl Running {
    pub(super) async fn start() -> Self {
        let mut shop = Self {
            url: String::new(),
            shared: Arc::default(),
            port: 0,
            stop: CancellationToken::new(),
            serving: None,
        };
        "Echoes.".clone_into(&mut shop.shared.description.lock().unwrap());
        shop.open().await;
        shop
    }

    /// Opens, at the port it had if it had one.
    pub(super) async fn open(&mut self) {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", self.port))
            .await
            .unwrap();
        self.port = listener.local_addr().unwrap().port();
        self.url = format!("http://127.0.0.1:{}/mcp", self.port);
        self.stop = CancellationToken::new();
        let shared = self.shared.clone();
        let shop = move || {
            Ok(Shop {
                shared: shared.clone(),
                count: AtomicU32::new(0),
            })
        };
        let config = StreamableHttpServerConfig::default().with_cancellation_token(self.stop.clone());
        let service = StreamableHttpService::new(shop, Arc::new(LocalSessionManager::default()), config);
        let router = Router::new()
            .route_service("/mcp", service)
            .route_layer(from_fn_with_state(self.shared.clone(), overhear));
        let stopped = self.stop.clone().cancelled_owned();
        self.serving = Some(TaskTracker::new().spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(stopped)
                .await
                .unwrap();
        }));
    }

    /// Closes, for now.
    pub(super) async fn close(&mut self) {
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ended = serving.await;
        }
    }
}

async fn overhear(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let said = request.headers().get("authorization");
    let said = said.map(|value| value.to_str().unwrap().to_owned());
    let said = said.unwrap_or_default();
    let is_refused = |refused: &String| said.starts_with(refused.as_str());
    if shared.refused.lock().unwrap().iter().any(is_refused) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    shared.credentials.lock().unwrap().push(said);
    let broken = *shared.broken.lock().unwrap();
    match broken {
        Some(status) if status.is_redirection() => {
            (status, [("location", "http://127.0.0.1:9/elsewhere")]).into_response()
        }
        Some(status) => status.into_response(),
        None => next.run(request).await,
    }
}

fn tool(name: &str, description: &str, input: &Value) -> Tool {
    let definition = json!({"name": name, "description": description, "inputSchema": input});
    serde_json::from_value(definition).unwrap()
}

impl ServerHandler for Shop {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn on_initialized(&self, _: rmcp::service::NotificationContext<RoleServer>) {
        self.shared.sessions.fetch_add(1, Ordering::SeqCst);
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let nothing = json!({"type": "object", "properties": {}});
        let text =
            json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
        let description = self.shared.description.lock().unwrap().clone();
        Ok(ListToolsResult::with_all_items(vec![
            tool("wait", "Waits.", &nothing),
            tool("echo", &description, &text),
            tool("count", "Counts in its session.", &nothing),
            tool("fail", "Says that it cannot.", &nothing),
            tool("refuse", "Answers with an error of its own.", &nothing),
            tool("big", "Answers at length.", &nothing),
            tool("progress", "Tells how far it is.", &nothing),
        ]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        let meta = serde_json::to_value(&context.meta).unwrap();
        self.shared.meta.lock().unwrap().push(meta);
        let parts = context.extensions.get::<Parts>().unwrap();
        self.shared.headers.lock().unwrap().push(parts.headers.clone());
        let text = |text: String| CallToolResult::success(vec![ContentBlock::text(text)]);
        let result = match request.name.as_ref() {
            "echo" => match request.arguments.unwrap()["text"].as_str() {
                Some(said) => text(said.to_owned()),
                None => return Err(ErrorData::invalid_params("text: expected a string", None)),
            },
            "count" => text(self.count.fetch_add(1, Ordering::SeqCst).to_string()),
            "fail" => CallToolResult::error(vec![ContentBlock::text("the shelf is empty")]),
            "refuse" => {
                return Err(ErrorData::new(
                    rmcp::model::ErrorCode(-32_042),
                    "not today",
                    Some(json!({"a": 1})),
                ));
            }
            "big" => text("x".repeat(200_000)),
            "wait" => {
                tokio::select! {
                    () = self.shared.go.notified() => text("done".to_owned()),
                    () = context.ct.cancelled() => {
                        self.shared.cancelled.fetch_add(1, Ordering::SeqCst);
                        return Err(ErrorData::internal_error("cancelled", None));
                    }
                }
            }
            "progress" => {
                let token = context.meta.get_progress_token().unwrap();
                for step in [1.0, 2.0] {
                    let progress = ProgressNotificationParam::new(token.clone(), step);
                    context.peer.notify_progress(progress).await.unwrap();
                }
                text("done".to_owned())
            }
            other => panic!("{other} is not a tool of the shop"),
        };
        Ok(result.into())
    }
}
