//! Tool calls through the gateway, one session, one call at a time, beside a bare rmcp server in the same run.
//!
//! Method: the release program runs as its users run it (SQLite, child nats-server, token checked on each request,
//! policy on with its rate limit raised out of the way). Each round makes `calls` calls of each kind in turn: echo on
//! the bare server, then `spaces.list`, `todo.create` and `todo.list` on ours, each round as a fresh account so that
//! lists stay as long as the round made them. Latency is what the client waits for. A write answers when it is in the
//! log **and** folded (read your writes).

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use benches::mcp::{Session, open};
use benches::{Site, Spread};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, JsonObject,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::Outcome;

/// The kinds of call on ours, with their arguments.
const OURS: [&str; 3] = ["spaces.list", "todo.create", "todo.list"];

/// Runs the bench.
pub(crate) async fn measure(program: &Path, rounds: usize, calls: usize) -> anyhow::Result<Outcome> {
    let stop = CancellationToken::new();
    let bare = serve_bare(stop.clone()).await?;
    let dir = tempfile::tempdir()?;
    let site = Site::new(program, &dir.path().join("data"))?;
    let house = site.start_ready().await?;
    let mut limit = Spread::default();
    let mut ours = OURS.map(|_| Spread::default());
    for round in 0..rounds {
        let session = open(&bare, None).await?;
        repeat(&session, "echo", calls, &mut limit).await?;
        session.cancel().await?;
        let token = site.account(&format!("bench-{round}@example.org")).await?;
        let session = open(&format!("{}/mcp", site.api()), Some(token)).await?;
        for (tool, spread) in OURS.iter().zip(&mut ours) {
            repeat(&session, tool, calls, spread).await?;
        }
        session.cancel().await?;
    }
    stop.cancel();
    house.stop().await?;
    let by_tool = |figure: &dyn Fn(&Spread) -> Value| -> Value {
        OURS.iter()
            .zip(&ours)
            .map(|(tool, spread)| ((*tool).to_owned(), figure(spread)))
            .collect()
    };
    let rate_ratio = |spread: &Spread| json!(limit.percentile_ms(0.5) / spread.percentile_ms(0.5));
    Ok(Outcome {
        name: "gateway",
        runs: rounds,
        ours: by_tool(&Spread::to_json),
        limit: json!({ "echo": limit.to_json() }),
        ratio: by_tool(&rate_ratio),
    })
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn repeat(session: &Session, tool: &str, calls: usize, spread: &mut Spread) -> anyhow::Result<()> {
    let arguments = match tool {
        "todo.create" => json!({"title": "Buy milk", "description": "Two litres, the fresh kind"}),
        "todo.list" => json!({"limit": 50}),
        _ => json!({}),
    };
    let Value::Object(arguments) = arguments else {
        bail!("arguments are an object")
    };
    for _ in 0..calls {
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments.clone());
        let sent = std::time::Instant::now();
        let result = session.call_tool(params).await?;
        spread.add(sent.elapsed());
        if result.is_error == Some(true) {
            bail!("{tool} failed: {:?}", result.content);
        }
    }
    Ok(())
}

/// One tool that gives nothing back, no token, no policy: what rmcp itself costs.
#[derive(Debug, Clone)]
struct Bare;

impl rmcp::ServerHandler for Bare {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![Tool::new(
            "echo",
            "Answers",
            Arc::new(JsonObject::new()),
        )]))
    }

    async fn call_tool(
        &self,
        _call: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        Ok(CallToolResult::success(vec![ContentBlock::text("{}")]).into())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the bare server lives as long as the bench's process"
)]
async fn serve_bare(stop: CancellationToken) -> anyhow::Result<String> {
    let service = StreamableHttpService::new(
        || Ok(Bare),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    let router = axum::Router::new().nest_service("/mcp", service);
    tokio::spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
    });
    Ok(url)
}
