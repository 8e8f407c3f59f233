//! The bridge for clients that speak over standard streams, when the gateway forgets its session.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::common::dramatis;

/// A gateway that knows one session at a time, and may forget it.
#[derive(Debug, Default)]
struct Forgetful {
    opened: usize,
    /// Methods as they came, with the session they came in.
    heard: Vec<(String, String)>,
    lets_nobody_in: bool,
    has_forgotten: bool,
}

type Shared = Arc<Mutex<Forgetful>>;

async fn answer(State(shared): State<Shared>, headers: HeaderMap, Json(message): Json<Value>) -> Response {
    let mut gateway = shared.lock().unwrap();
    let method = message["method"].as_str().unwrap_or_default().to_owned();
    let session = headers.get("mcp-session-id");
    let session = session
        .map(|session| session.to_str().unwrap().to_owned())
        .unwrap_or_default();
    gateway.heard.push((method.clone(), session.clone()));
    let result = if method == "initialize" {
        if gateway.lets_nobody_in {
            return StatusCode::BAD_REQUEST.into_response();
        }
        gateway.opened += 1;
        gateway.has_forgotten = false;
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "forgetful", "version": "1"}})
    } else if gateway.has_forgotten || session != format!("session-{}", gateway.opened) {
        return StatusCode::NOT_FOUND.into_response();
    } else if message.get("id").is_none() {
        return StatusCode::ACCEPTED.into_response();
    } else {
        json!({"session": session})
    };
    let answer = Json(json!({"jsonrpc": "2.0", "id": message["id"], "result": result}));
    (
        [("mcp-session-id", format!("session-{}", gateway.opened))],
        answer,
    )
        .into_response()
}

/// The bridge as a client starts it.
struct Bridge {
    child: Child,
    says: ChildStdin,
    hears: BufReader<ChildStdout>,
}

impl Bridge {
    fn say(&mut self, message: &Value) {
        writeln!(self.says, "{message}").unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.hears.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn ask(&mut self, id: u32, method: &str) -> Value {
        let info = json!({"name": "client", "version": "1"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info});
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        let answer = self.hear();
        assert_eq!(answer["id"], id, "one answer to each, and nothing else: {answer}");
        answer
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_the_gateway_has_forgotten_is_opened_anew_unseen_by_the_client() {
    let shared = Shared::default();
    let router = Router::new()
        .route("/mcp", post(answer))
        .with_state(shared.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "a-token").unwrap();
    let mut child = dramatis(&dir.path().join("data"))
        .args(["mcp", "bridge", "--url", &url, "--token-file"])
        .arg(&token)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (says, hears) = (
        child.stdin.take().unwrap(),
        BufReader::new(child.stdout.take().unwrap()),
    );
    let mut bridge = Bridge { child, says, hears };

    assert_eq!(
        bridge.ask(1, "initialize")["result"]["serverInfo"]["name"],
        "forgetful"
    );
    bridge.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    assert_eq!(bridge.ask(2, "tools/list")["result"]["session"], "session-1");
    shared.lock().unwrap().has_forgotten = true;
    // The second, or one more where what the bridge listens on was opened anew as well.
    let anew = bridge.ask(3, "tools/list")["result"]["session"].clone();
    assert!(anew.is_string() && anew != "session-1", "{anew}");
    let came = shared.lock().unwrap().heard.clone();
    let of_second: Vec<_> = came
        .iter()
        .filter(|(_, session)| anew == session.as_str())
        .collect();
    assert_eq!(
        of_second[0].0, "notifications/initialized",
        "before anything else: {came:?}"
    );

    // Where no session is to be had the client gets an answer all the same.
    {
        let mut gateway = shared.lock().unwrap();
        (gateway.has_forgotten, gateway.lets_nobody_in) = (true, true);
    }
    assert_eq!(bridge.ask(4, "tools/list")["error"]["code"], -32_603);
    shared.lock().unwrap().lets_nobody_in = false;
    let last = bridge.ask(5, "tools/list")["result"]["session"].clone();
    assert!(last.is_string() && last != anew, "{last} after {anew}");
    let Bridge { mut child, says, .. } = bridge;
    drop(says);
    assert!(child.wait().unwrap().success(), "it ends with its client");
}
