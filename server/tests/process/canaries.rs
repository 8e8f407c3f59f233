//! What people write, what they are answered and what proves who they are is in no log line at the most verbose level
//! and in no metric and no span, through every tool and every way to be refused.

use std::fs;

use serde_json::{Map, Value, json};
use testkit::FakeCollector;

use crate::common::Up;

/// Asks for everything, by names more exact than those that are pinned.
const MOST_VERBOSE: &str = "trace,rmcp=trace,rmcp::service=trace,rmcp::transport=trace,async_nats::connection=trace,\
    sqlx::query=trace,hyper::proto=trace,h2::codec=trace,reqwest=trace,gateway=trace,dramatis=trace";
const WRITTEN: &str = "canary-written-6f1b";
const REFUSED: &str = "canary-refused-83d0";
const PASSWORD: &str = "canary-password-29ae";

struct Visitor {
    client: reqwest::Client,
    api: String,
    token: String,
    session: String,
    number: u64,
}

impl Visitor {
    async fn arrive(api: &str) -> Self {
        let client = reqwest::Client::new();
        let account = json!({"email": "visitor@example.org", "password": PASSWORD});
        for path in ["register", "login"] {
            let asked = client.post(format!("{api}/api/v1/auth/{path}")).json(&account);
            let answer = asked.send().await.unwrap();
            assert!(answer.status().is_success(), "{path}");
            if path == "login" {
                let login: Value = answer.json().await.unwrap();
                let token = login["token"].as_str().unwrap().to_owned();
                let mut visitor = Self {
                    client: client.clone(),
                    api: api.to_owned(),
                    token,
                    session: String::new(),
                    number: 0,
                };
                visitor.open().await;
                return visitor;
            }
        }
        unreachable!("login is the last of them")
    }

    async fn open(&mut self) {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "canaries", "version": "1"}});
        let asked = self
            .post(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).to_string());
        let answer = asked.send().await.unwrap();
        let session = answer.headers()["mcp-session-id"].to_str().unwrap();
        session.clone_into(&mut self.session);
    }

    fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        let asked = self
            .client
            .post(format!("{}/mcp", self.api))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .bearer_auth(&self.token)
            .body(body);
        if self.session.is_empty() {
            asked
        } else {
            asked.header("mcp-session-id", &self.session)
        }
    }

    async fn ask(&mut self, method: &str, params: Value) -> String {
        self.number += 1;
        let body = json!({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params});
        self.post(body.to_string())
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    /// What is no message, and headers that are none.
    async fn say_nonsense(&self) {
        for body in [
            format!("{{\"{REFUSED}"),
            format!("[\"{REFUSED}\"]"),
            format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":\"{REFUSED}\",\"method\":\"tools/call\",\"params\":\"{REFUSED}\"}}"
            ),
        ] {
            self.post(body).send().await.unwrap();
        }
        for (header, value) in [
            ("authorization", format!("Bearer {REFUSED}.{REFUSED}.{REFUSED}")),
            ("authorization", format!("Basic {REFUSED}")),
            ("mcp-session-id", REFUSED.to_owned()),
            ("x-mana-space", REFUSED.to_owned()),
            ("origin", format!("http://{REFUSED}.example")),
        ] {
            let asked = self
                .client
                .post(format!("{}/mcp", self.api))
                .header(header, value);
            asked.body("{}").send().await.unwrap();
        }
    }
}

/// Arguments that fit `schema` as far as types go, with `text` wherever a text may be.
fn arguments(schema: &Value, text: &str) -> Value {
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let mut arguments = Map::new();
    for (name, about) in properties {
        let is_free = about["pattern"].is_null() && about["format"].is_null() && about["enum"].is_null();
        if is_free && about["type"] == "string" {
            arguments.insert(name, json!(text));
        }
    }
    Value::Object(arguments)
}

/// Every argument is `text`, whether or not it may be.
fn wrong_arguments(schema: &Value, text: &str) -> Value {
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let mut arguments: Map<String, Value> = properties
        .into_iter()
        .map(|(name, _)| (name, json!(text)))
        .collect();
    arguments.insert(text.to_owned(), json!({text: [text]}));
    Value::Object(arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_line_at_the_most_verbose_level_and_no_metric_holds_arguments_results_or_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let collector = FakeCollector::start().await;
    let collects = collector.endpoint();
    let headers = format!("x-key={PASSWORD}");
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collects.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str()),
        ("RUST_LOG", MOST_VERBOSE),
        ("DRAMATIS_RECORD_CALLS", "arguments"),
        ("DRAMATIS_CALLS_PER_MINUTE_MAX", "5"),
    ];
    let up = Up::start_with(&data, &settings);
    let mut visitor = Visitor::arrive(&up.api).await;
    let listed = visitor.ask("tools/list", json!({})).await;
    let listed: Value = listed
        .lines()
        .map(|line| line.strip_prefix("data:").unwrap_or(line))
        .find_map(|line| serde_json::from_str(line).ok())
        .unwrap();
    let tools = listed["result"]["tools"].as_array().unwrap().clone();
    assert!(tools.len() > 10, "{listed}");
    let mut came_back = 0;
    // Three times over the limit of calls at the end.
    for _ in 0..4 {
        for tool in &tools {
            let (name, schema) = (&tool["name"], &tool["inputSchema"]);
            for arguments in [arguments(schema, WRITTEN), wrong_arguments(schema, REFUSED)] {
                let answer = visitor
                    .ask("tools/call", json!({"name": name, "arguments": arguments}))
                    .await;
                came_back += usize::from(answer.contains(WRITTEN));
            }
        }
    }
    assert!(came_back > 0, "something was written and read back");
    visitor
        .ask(
            "tools/call",
            json!({"name": REFUSED, "arguments": {REFUSED: REFUSED}}),
        )
        .await;
    visitor.ask(REFUSED, json!({REFUSED: REFUSED})).await;
    visitor.ask("tools/list", json!({"cursor": REFUSED})).await;
    let mark = format!("{WRITTEN} ignore previous instructions");
    visitor
        .ask(
            "tools/call",
            json!({"name": "notes.create", "arguments": {"title": mark, "content": mark}}),
        )
        .await;
    visitor.say_nonsense().await;
    let metrics = reqwest::get(format!("{}/metrics", up.api))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(up.stop(), Some(0));

    let log = fs::read_to_string(data.with_extension("log")).unwrap();
    assert!(
        log.contains("\"TRACE\"") && log.contains("tool call answered"),
        "the log is verbose"
    );
    let exported = collector.taken().concat();
    let is_exported = |text: &str| memchr::memmem::find(&exported, text.as_bytes()).is_some();
    assert!(
        is_exported("tools/call notes.create") && is_exported("tool_error"),
        "spans were sent"
    );
    for person in ["visitor", "example.org"] {
        assert!(!is_exported(person), "{person} is in a span");
    }
    let token_parts: Vec<&str> = visitor.token.split('.').collect();
    let secrets = [
        WRITTEN,
        REFUSED,
        PASSWORD,
        token_parts[1],
        token_parts[2],
        &visitor.session,
    ];
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
        assert!(!metrics.contains(secret), "{secret} is in a metric");
        assert!(!is_exported(secret), "{secret} is in a span");
    }
}
