//! Tool calls through the gateway, one session, one call at a time, beside a bare rmcp server in the same run.
//!
//! Method: the release program runs as its users run it (SQLite, child nats-server, token checked on each request,
//! policy on with its rate limit raised out of the way). Each round makes `calls` calls of each kind in turn: echo on
//! the bare server, then `spaces.list`, `todo.create` and `todo.list` on ours, each round as a fresh account so that
//! lists stay as long as the round made them. Latency is what the client waits for. A write answers when it is in the
//! log **and** folded (read your writes).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig, ContentBlock,
    ErrorData, Implementation, JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities,
    ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleClient, RoleServer, RunningService, ServiceExt as _};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpClientTransport, StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::Outcome;
use crate::spread::Spread;

type Session = RunningService<RoleClient, ClientConfig>;

/// The kinds of call on ours, with their arguments.
const OURS: [&str; 3] = ["spaces.list", "todo.create", "todo.list"];

/// Runs the bench.
pub(crate) async fn measure(program: &Path, rounds: usize, calls: usize) -> anyhow::Result<Outcome> {
    let stop = CancellationToken::new();
    let bare = serve_bare(stop.clone()).await?;
    let house = House::start(program)?;
    let mut limit = Spread::default();
    let mut ours = OURS.map(|_| Spread::default());
    for round in 0..rounds {
        let session = open(&bare, None).await?;
        repeat(&session, "echo", calls, &mut limit).await?;
        session.cancel().await?;
        let token = house.account(&format!("bench-{round}@example.org")).await?;
        let session = open(&format!("{}/mcp", house.api), Some(token)).await?;
        for (tool, spread) in OURS.iter().zip(&mut ours) {
            repeat(&session, tool, calls, spread).await?;
        }
        session.cancel().await?;
    }
    stop.cancel();
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

async fn open(url: &str, token: Option<String>) -> anyhow::Result<Session> {
    let mut config = StreamableHttpClientTransportConfig::with_uri(url.to_owned());
    if let Some(token) = token {
        config = config.auth_header(token);
    }
    let transport = StreamableHttpClientTransport::with_client(reqwest::Client::new(), config);
    let client = Implementation::new("bench", env!("CARGO_PKG_VERSION"));
    Ok(ClientConfig::new(ClientCapabilities::default(), client)
        .serve(transport)
        .await?)
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

/// The measured program, running. Ended when dropped.
#[derive(Debug)]
struct House {
    child: Child,
    api: String,
    _dir: tempfile::TempDir,
}

impl House {
    fn start(program: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("data");
        let child = Command::new(program)
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .env(
                "DRAMATIS_NATS_SERVER",
                std::fs::canonicalize(testkit::nats_server_binary())?,
            )
            .env("DRAMATIS_CALLS_PER_MINUTE_MAX", "1000000")
            .env("RUNNER_PAUSED", "1")
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let mut house = Self {
            child,
            api: String::new(),
            _dir: dir,
        };
        let is_up = testkit::wait_until(Duration::from_secs(20), || {
            let run = std::fs::read_to_string(data.join("run.json")).unwrap_or_default();
            let run: Value = serde_json::from_str(&run).unwrap_or_default();
            run["api"].as_str().unwrap_or_default().clone_into(&mut house.api);
            !house.api.is_empty()
        });
        if is_up {
            Ok(house)
        } else {
            bail!("the program did not come up")
        }
    }

    /// Registers an account and logs it in.
    async fn account(&self, email: &str) -> anyhow::Result<String> {
        let client = reqwest::Client::new();
        let body = json!({"email": email, "password": "a long enough password"});
        client
            .post(format!("{}/api/v1/auth/register", self.api))
            .json(&body)
            .send()
            .await?
            .error_for_status()?;
        let login = client
            .post(format!("{}/api/v1/auth/login", self.api))
            .json(&body)
            .send()
            .await?;
        let login: Value = login.error_for_status()?.json().await?;
        Ok(login["token"].as_str().context("login gives a token")?.to_owned())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // The child ends its own nats-server when asked to; there is nobody left to tell if asking fails.
        let _ = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        let _ = self.child.wait();
    }
}
