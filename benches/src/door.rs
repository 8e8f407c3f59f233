//! A server to be measured, and what clients of it say.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use benches::Spread;
use benches::wire::{Answer, Wire, post};
use serde_json::{Value, json};

const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");
const JSON: (&str, &str) = ("content-type", "application/json");
const STATELESS: &str = "2026-07-28";
/// How long a tool may take to be there.
const THERE_WITHIN: Duration = Duration::from_secs(30);

/// Which revision of the protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// 2025-11-25, in a session.
    Sessions,
    /// 2026-07-28, without one.
    Stateless,
}

impl Era {
    pub(crate) const BOTH: [Self; 2] = [Self::Sessions, Self::Stateless];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Stateless => "stateless",
        }
    }
}

/// A server, and the tool of it that is called.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) address: String,
    pub(crate) tool: &'static str,
    pub(crate) arguments: Value,
    /// One token for each client, in turn; none for a server that asks for none.
    pub(crate) tokens: Vec<String>,
}

impl Door {
    fn request(&self, client: usize, more: &[(&str, &str)], body: &Value) -> Vec<u8> {
        let token = match self.tokens.get(client % self.tokens.len().max(1)) {
            Some(token) => format!("Bearer {token}"),
            None => "none".to_owned(),
        };
        let mut headers = vec![ACCEPT, JSON, ("authorization", token.as_str())];
        headers.extend(more);
        post(&self.address, "/mcp", &headers, &body.to_string())
    }

    /// Opens a session on `wire`; gives its handle.
    pub(crate) async fn open_session(&self, wire: &mut Wire, client: usize) -> anyhow::Result<String> {
        let info = json!({"name": "bench", "version": "1"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info});
        let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let answer = wire.ask(&self.request(client, &[], &initialize)).await?;
        ensure!(answer.status == 200, "initialize: {}", answer.status);
        let handle = answer.header("mcp-session-id").context("a session")?.to_owned();
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let told = self.request(client, &[("mcp-session-id", &handle)], &initialized);
        let answer = wire.ask(&told).await?;
        ensure!(answer.status == 202, "initialized: {}", answer.status);
        Ok(handle)
    }

    /// The bytes of one call, on a connection that is ready for it.
    async fn call(&self, wire: &mut Wire, era: Era, client: usize) -> anyhow::Result<Vec<u8>> {
        let mut params = json!({"name": self.tool, "arguments": self.arguments});
        let session;
        let headers: Vec<(&str, &str)> = match era {
            Era::Sessions => {
                session = self.open_session(wire, client).await?;
                vec![
                    ("mcp-session-id", &session),
                    ("mcp-protocol-version", "2025-11-25"),
                ]
            }
            Era::Stateless => {
                params["_meta"] = json!({
                    "io.modelcontextprotocol/protocolVersion": STATELESS,
                    "io.modelcontextprotocol/clientCapabilities": {},
                    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
                });
                vec![
                    ("mcp-protocol-version", STATELESS),
                    ("mcp-method", "tools/call"),
                    ("mcp-name", self.tool),
                ]
            }
        };
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        Ok(self.request(client, &headers, &call))
    }

    /// Waits until its tool is there: what is mounted is asked for its tools once the server is up.
    pub(crate) async fn until_it_answers(&self) -> anyhow::Result<()> {
        let answers = async || -> anyhow::Result<()> {
            let mut wire = Wire::connect(&self.address).await?;
            let call = self.call(&mut wire, Era::Stateless, 0).await?;
            is_result(&wire.ask(&call).await?)
        };
        testkit::wait_until_async(THERE_WITHIN, || async { answers().await.is_ok() }).await;
        answers().await
    }

    /// Calls for `turn` over `clients` connections at once, each one call at a time; gives the calls a second.
    pub(crate) async fn load(
        &self,
        era: Era,
        clients: usize,
        turn: Duration,
        latencies: &mut Spread,
    ) -> anyhow::Result<f64> {
        let mut ready = Vec::with_capacity(clients);
        for client in 0..clients {
            let mut wire = Wire::connect(&self.address).await?;
            let call = self.call(&mut wire, era, client).await?;
            is_result(&wire.ask(&call).await?)?;
            ready.push((wire, call));
        }
        let (began, mut tasks) = (now(), tokio::task::JoinSet::new());
        for (mut wire, call) in ready {
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                loop {
                    let sent = now();
                    if sent.duration_since(began) >= turn {
                        return Ok::<_, anyhow::Error>(latencies);
                    }
                    let answer = wire.ask(&call).await?;
                    ensure!(answer.status == 200, "{}", answer.status);
                    latencies.push(sent.elapsed());
                }
            });
        }
        let mut calls = 0;
        while let Some(client) = tasks.join_next().await {
            for latency in client?? {
                latencies.add(latency);
                calls += 1;
            }
        }
        Ok(f64::from(calls) / began.elapsed().as_secs_f64())
    }
}

fn is_result(answer: &Answer<'_>) -> anyhow::Result<()> {
    let is_result =
        answer.status == 200 && answer.contains("\"result\"") && !answer.contains("\"isError\":true");
    ensure!(
        is_result,
        "{}: {}",
        answer.status,
        String::from_utf8_lossy(answer.body)
    );
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}
