//! The app as a server: each module at a path of its own, as an MCP server that the gateway mounts.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::serve::ListenerExt as _;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::task::JoinHandle;

use super::app::{App, MODULES, Module, Planted, TOOLS};

/// The running server. Ends when dropped.
#[derive(Debug)]
pub(super) struct Server {
    /// Where it listens, `host:port`.
    address: String,
    app: Arc<Mutex<App>>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Starts the app on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn start(seed: u64) -> anyhow::Result<Self> {
        let app = Arc::new(Mutex::new(App::new(seed)));
        let mut router = Router::new();
        for module in &MODULES {
            let part = Part {
                app: app.clone(),
                module,
            };
            let config = StreamableHttpServerConfig::default().with_json_response(true);
            let service = StreamableHttpService::new(
                move || Ok(part.clone()),
                Arc::new(LocalSessionManager::default()),
                config,
            );
            router = router.nest_service(&format!("/{}/mcp", module.name), service);
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let listener = listener.tap_io(|connection| {
            // A connection that is gone already is found to be gone soon enough.
            let _ = connection.set_nodelay(true);
        });
        #[expect(clippy::disallowed_methods, reason = "ended as the server is dropped")]
        let serving = tokio::spawn(async move {
            // It ends when the trial does.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            app,
            serving,
        })
    }

    /// The part of the program's configuration that mounts it.
    pub(super) fn mounts(&self) -> String {
        let mount = |module: &Module| {
            format!(
                "[mounts.{0}]\nurl = \"http://{1}/{0}/mcp\"\nallow_private_addresses = true\nstateless = true\n",
                module.name, self.address
            )
        };
        MODULES.iter().map(mount).collect()
    }

    /// From now on that is wrong with it.
    pub(super) fn plant(&self, planted: Planted) {
        self.app.lock().unwrap_or_else(PoisonError::into_inner).planted = planted;
    }

    /// Calls it has answered.
    pub(super) fn calls(&self) -> u64 {
        self.app.lock().unwrap_or_else(PoisonError::into_inner).calls
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One module for one session.
#[derive(Debug, Clone)]
struct Part {
    app: Arc<Mutex<App>>,
    module: &'static Module,
}

impl rmcp::ServerHandler for Part {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |(verb, only_reads): &(&'static str, bool)| {
            let annotations = ToolAnnotations::new()
                .read_only(*only_reads)
                .destructive(false)
                .open_world(false);
            Tool::new(
                *verb,
                format!("{verb} in {}", self.module.name),
                Arc::new(self.module.schema(verb)),
            )
            .with_annotations(annotations)
        };
        Ok(ListToolsResult::with_all_items(TOOLS.iter().map(tool).collect()))
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = call.arguments.unwrap_or_default();
        let mut app = self.app.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match app.call(self.module, &call.name, &arguments) {
            Ok(result) => CallToolResult::structured(result),
            Err(told) => CallToolResult::error(vec![ContentBlock::text(told)]),
        };
        Ok(answer.into())
    }
}
