//! `dramatis mcp bridge`: the gateway for clients that only speak over standard input and output.
//!
//! It reads a message a line, posts it, and writes what comes back a message a line; it understands no more of MCP
//! than it needs to keep a session. Nothing but messages goes to standard output.

mod events;
mod session;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ::events::Clock;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::task::{AbortHandle, JoinSet};

use self::session::Session;
use crate::config::Config;
use crate::exit::CommandError;
use crate::run_file::RunFile;

/// Requests under way at once.
const UNDER_WAY_MAX: usize = 64;
/// A failure of ours, in JSON-RPC.
const INTERNAL_ERROR: i64 = -32_603;

/// MCP clients of this gateway
#[derive(Debug, clap::Subcommand)]
pub(crate) enum McpCommand {
    /// Speak MCP on standard input and output, and pass it on to the gateway
    Bridge(BridgeArgs),
}

/// Where the gateway is, and who speaks.
#[derive(Debug, clap::Args)]
pub(crate) struct BridgeArgs {
    /// The gateway's MCP endpoint [default: the server of this data folder]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// File with the token; read again when the gateway no longer accepts what it held
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The token itself, where a file cannot be had
    #[arg(long, env = "MCP_TOKEN", hide = true, hide_env_values = true)]
    token: Option<SecretString>,
    /// The space to act in [default: the personal one]
    #[arg(long, value_name = "SPACE")]
    space: Option<String>,
}

/// Whose token it is, each time one is needed.
#[derive(Debug)]
pub(crate) enum Token {
    File(PathBuf),
    Given(SecretString),
}

/// Runs the command until standard input ends.
///
/// # Errors
/// [`CommandError::Usage`] without a token, [`CommandError::Failed`] when standard input or output breaks.
pub(crate) async fn run(
    command: McpCommand,
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<(), CommandError> {
    let McpCommand::Bridge(args) = command;
    let token = match (args.token_file, args.token) {
        (Some(file), _) => Token::File(file),
        (None, Some(token)) => Token::Given(token),
        (None, None) => {
            let told =
                "give --token-file FILE or set MCP_TOKEN; `dramatis token --email EMAIL` prints a token";
            return Err(CommandError::Usage(told.to_owned()));
        }
    };
    let url = args.url.unwrap_or_else(|| {
        let api = RunFile::find(config).map_or_else(|| format!("http://{}", config.listen), |run| run.api);
        format!("{api}/mcp")
    });
    let out = Out::default();
    let session = Arc::new(Session::new(url, token, args.space, out.clone(), clock)?);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut under_way = JoinSet::new();
    let by_id: Arc<Mutex<HashMap<String, AbortHandle>>> = Arc::default();
    while let Some(line) = lines.next_line().await.map_err(|error| failed(&error))? {
        if line.trim().is_empty() {
            continue;
        }
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            out.say(&error(&Value::Null, -32_700, "not JSON")).await?;
            continue;
        };
        // Without a session a request is cancelled by hanging up.
        if session.is_stateless() && message["method"] == "notifications/cancelled" {
            let id = message["params"]["requestId"].to_string();
            let request = by_id.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            request.iter().for_each(AbortHandle::abort);
            continue;
        }
        // What begins a session comes before everything in it.
        if message["method"] == "initialize" {
            session.pass(&message).await?;
            continue;
        }
        while under_way.len() >= UNDER_WAY_MAX {
            ended(under_way.join_next().await)?;
        }
        while let Some(done) = under_way.try_join_next() {
            ended(Some(done))?;
        }
        let id = message
            .get("id")
            .filter(|_| message.get("method").is_some())
            .map(Value::to_string);
        let (passing, known, done) = (session.clone(), by_id.clone(), id.clone());
        let handle = under_way.spawn(async move {
            let passed = passing.pass(&message).await;
            if let Some(id) = done {
                known.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            }
            passed
        });
        if let Some(id) = id.filter(|_| !handle.is_finished()) {
            by_id
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(id, handle);
        }
    }
    // What was asked is answered before we go.
    while let Some(done) = under_way.join_next().await {
        ended(Some(done))?;
    }
    session.end().await;
    Ok(())
}

fn ended(done: Option<Result<Result<(), CommandError>, tokio::task::JoinError>>) -> Result<(), CommandError> {
    match done {
        Some(Ok(done)) => done,
        // Given up, which is how a request is cancelled.
        Some(Err(_)) | None => Ok(()),
    }
}

/// Standard output, a message at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Out(Arc<tokio::sync::Mutex<()>>);

impl Out {
    /// Writes one message.
    pub(crate) async fn say(&self, message: &Value) -> Result<(), CommandError> {
        let _turn = self.0.lock().await;
        let mut out = tokio::io::stdout();
        let line = format!("{message}\n");
        out.write_all(line.as_bytes())
            .await
            .map_err(|error| failed(&error))?;
        out.flush().await.map_err(|error| failed(&error))
    }
}

/// A JSON-RPC error about request `id`.
pub(crate) fn error(id: &Value, code: i64, told: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": told}})
}

fn failed(error: &std::io::Error) -> CommandError {
    CommandError::Failed(format!("standard input or output: {error}"))
}
