//! rmcp's own client against a real server, for `deploy/clients/run`: in the era its argument names, `legacy` (sessions)
//! or `auto` (newest). It lists, calls and is refused; with `MCP_TRIAL=patience` it loses its connection in the middle
//! of a call and cancels another one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a trial fails by panicking, and is told by the environment what to try"
)]

use std::env;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, PeerRequestOptions, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};

type Client = RunningService<RoleClient, ()>;

/// How long the server may take to see that a call has begun or ended.
const SEEN_WITHIN: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let told = |name: &str| env::var(name).expect("MCP_URL, MCP_TOKEN and MCP_CANARY are given");
    let config =
        StreamableHttpClientTransportConfig::with_uri(told("MCP_URL")).auth_header(told("MCP_TOKEN"));
    let transport = StreamableHttpClientTransport::from_config(config);
    let lifecycle = match env::args().nth(1).as_deref() {
        Some("legacy") => ClientLifecycleMode::Initialize,
        Some("auto") => ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        },
        other => unreachable!("legacy or auto, not {other:?}"),
    };
    let client = ().serve_with_lifecycle(transport, lifecycle).await.unwrap();
    if env::var("MCP_TRIAL").is_ok_and(|trial| trial == "patience") {
        patience(&client).await;
    } else {
        tools(&client, &told("MCP_CANARY")).await;
    }
    client.cancel().await.unwrap();
}

fn asked(tool: &str, arguments: &Value) -> CallToolRequestParams {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments)
}

async fn call(client: &Client, tool: &str, arguments: Value) -> CallToolResult {
    client.call_tool(asked(tool, &arguments)).await.unwrap()
}

fn text(result: &CallToolResult) -> &str {
    &result.content[0].as_text().expect("a text").text
}

async fn tools(client: &Client, canary: &str) {
    let listed = client.list_all_tools().await.unwrap();
    assert_eq!(listed.len(), 11);
    let created = call(client, "todo.create", json!({"title": canary})).await;
    assert_eq!(created.structured_content.unwrap()["task"]["title"], canary);
    let found = call(client, "todo.list", json!({}))
        .await
        .structured_content
        .unwrap();
    assert_eq!(found["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(found["tasks"][0]["title"], canary);
    let refused = call(client, "todo.create", json!({})).await;
    assert_eq!(refused.is_error, Some(true));
    assert!(text(&refused).contains("title"), "{refused:?}");
}

/// Cancelling and coming back, against the fixtures of deploy/conformance.
async fn patience(client: &Client) {
    let back = call(client, "test_reconnection", json!({})).await;
    assert!(text(&back).contains("another connection"), "{back:?}");
    let slow = ClientRequest::CallToolRequest(CallToolRequest::new(asked("test_slow", &json!({}))));
    let options = PeerRequestOptions::no_options();
    let slow = client.send_cancellable_request(slow, options).await.unwrap();
    until_slow_calls(client, "1").await;
    slow.cancel(Some("the user changed their mind".to_owned()))
        .await
        .unwrap();
    until_slow_calls(client, "0").await;
    // The client goes on as before.
    let counted = client.call_tool(asked("test_slow_count", &json!({}))).await;
    assert!(counted.is_ok(), "{counted:?}");
}

/// Waits until so many calls of `test_slow` are under way on the server.
async fn until_slow_calls(client: &Client, count: &str) {
    let seen = async {
        while text(&call(client, "test_slow_count", json!({})).await) != count {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SEEN_WITHIN, seen)
        .await
        .expect("it comes to that");
}
