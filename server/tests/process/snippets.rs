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

/// Where a client goes and what it says of itself there, as its snippet has it.
#[derive(Debug, PartialEq)]
struct Way {
    url: String,
    authorization: String,
}

/// The words of the one command that begins with `program`, as a shell parts them; only quotes of one kind are used.
fn words(program: &str) -> Vec<String> {
    let blocks = blocks("sh");
    let command = blocks
        .iter()
        .flat_map(|block| block.lines())
        .find(|line| line.starts_with(program));
    let parts = command.unwrap().split('"').enumerate();
    let words = parts.flat_map(|(at, part)| match at % 2 {
        1 => vec![part.to_owned()],
        _ => part.split_whitespace().map(str::to_owned).collect(),
    });
    words.collect()
}

/// What a command names: an address, and a header after its flag.
fn of_command(program: &str, token: &str) -> Way {
    let words = words(program);
    let url = words.iter().find(|word| word.starts_with("http://")).unwrap();
    let flag = words.iter().position(|word| word == "--header").unwrap();
    let (name, value) = words[flag + 1].split_once(": ").unwrap();
    assert_eq!(name, "Authorization");
    Way {
        url: url.clone(),
        authorization: value.replace("$TOKEN", token),
    }
}

/// The ways of the four clients that speak HTTP, by their names.
fn ways(token: &str) -> Vec<(&'static str, Way)> {
    let configurations = blocks("json");
    let vs_code = configurations
        .iter()
        .find(|block| block.contains("\"servers\""))
        .unwrap();
    let vs_code: Value = serde_json::from_str(vs_code).unwrap();
    let server = &vs_code["servers"]["dramatis"];
    assert_eq!(
        (&server["type"], &vs_code["inputs"][0]["id"]),
        (&json!("http"), &json!("token"))
    );
    let said = server["headers"]["Authorization"].as_str().unwrap();
    let vs_code = Way {
        url: server["url"].as_str().unwrap().to_owned(),
        authorization: said.replace("${input:token}", token),
    };
    let codex = blocks("toml")
        .into_iter()
        .find(|block| block.contains("[mcp_servers."))
        .unwrap();
    let codex: figment::value::Dict = {
        use figment::providers::{Format as _, Toml};
        figment::Figment::from(Toml::string(&codex)).extract().unwrap()
    };
    let codex = json!(codex)["mcp_servers"]["dramatis"].clone();
    // It sends what is in that variable as a bearer token.
    assert_eq!(codex["bearer_token_env_var"], "TOKEN");
    let codex = Way {
        url: codex["url"].as_str().unwrap().to_owned(),
        authorization: format!("Bearer {token}"),
    };
    vec![
        ("Claude Code", of_command("claude mcp add", token)),
        ("VS Code", vs_code),
        ("Codex", codex),
        ("Inspector", of_command("mcp-inspector", token)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_snippets_of_clients_go_and_what_they_say_there_opens_the_tools() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"));
    let told = ways(&up.admin_token());
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let http = reqwest::Client::new();
    for (client, way) in told {
        let url = way.url.replacen("http://127.0.0.1:3069", &up.api, 1);
        assert_ne!(url, way.url, "{client}: the address of a server as it comes");
        let post = |body: Value| {
            let request = http
                .post(&url)
                .header("accept", "application/json, text/event-stream");
            request.header("authorization", &way.authorization).json(&body)
        };
        let opened = post(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}));
        let opened = opened.send().await.unwrap();
        assert_eq!(opened.status(), 200, "{client}");
        let session = opened.headers()["mcp-session-id"].clone();
        let listed = post(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}));
        let listed = listed.header("mcp-session-id", session).send().await.unwrap();
        let listed: Value = listed.json().await.unwrap();
        assert_eq!(
            listed["result"]["tools"].as_array().unwrap().len(),
            11,
            "{client}: {listed}"
        );
    }
    assert_eq!(up.stop(), Some(0));
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
