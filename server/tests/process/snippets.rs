//! What the README tells people to paste.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::common::{Up, dramatis, run, stdout};

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap()
}

/// The blocks of one language, in order.
fn blocks(language: &str) -> Vec<String> {
    let (readme, fence) = (readme(), format!("```{language}\n"));
    let parts = readme.split(&fence).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_configurations_of_clients_are_json_and_the_bridge_takes_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let configurations: Vec<Value> = blocks("json")
        .iter()
        .map(|block| serde_json::from_str(block).unwrap())
        .collect();
    let bridge = configurations
        .iter()
        .find_map(|one| one["mcpServers"]["dramatis"]["args"].as_array());
    let arguments: Vec<&str> = bridge.unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    let output = run(&folder.path().join("data"), &arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stdout.is_empty(), "nothing was asked");
}

#[test]
fn the_mounts_of_the_readme_are_settings() {
    let folder = tempfile::tempdir().unwrap();
    let mounts = blocks("toml")
        .into_iter()
        .find(|block| block.contains("[mounts."))
        .unwrap();
    fs::write(folder.path().join("dramatis.toml"), mounts).unwrap();
    let shown = stdout(&folder.path().join("data"), &["config", "print", "--json"]);
    assert!(shown.contains("https://shop.example.org/mcp"), "{shown}");
}

#[test]
fn the_bridge_speaks_for_its_token_and_says_nothing_but_messages() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"));
    let mut bridge = dramatis(&up.data)
        .args(["mcp", "bridge", "--url", &format!("{}/mcp", up.api)])
        .env("MCP_TOKEN", up.admin_token())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let messages = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}),
        json!({"jsonrpc": "2.0", "id": "3", "method": "no/such"}),
    ];
    let mut stdin = bridge.stdin.take().unwrap();
    for message in messages {
        writeln!(stdin, "{message}").unwrap();
    }
    writeln!(stdin, "this is not JSON").unwrap();
    drop(stdin);
    let output = bridge.wait_with_output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let said: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let about = |id: Value| {
        said.iter()
            .find(|one| one["id"] == id)
            .unwrap_or_else(|| panic!("{id}: {said:?}"))
    };
    assert_eq!(about(json!(1))["result"]["serverInfo"]["name"], "dramatis");
    assert_eq!(about(json!(2))["result"]["tools"].as_array().unwrap().len(), 11);
    assert_eq!(about(json!("3"))["error"]["code"], -32_601);
    assert_eq!(about(Value::Null)["error"]["code"], -32_700);
    assert_eq!(up.stop(), Some(0));
}
