//! Mounted servers as operators meet them: health, commands, and catalogs that name their modules.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{NatsServer, wait_until_async};

use crate::common::{START_WITHIN, Up, dramatis, json as run_json, run, stdout};

const CHILD: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../gateway/tests/door/mounts/child.py"
);

/// One that answers and one that is nowhere.
fn mount_two(folder: &Path) {
    let settings = format!(
        "[mounts.child]\ncommand = [\"python3\", {CHILD:?}]\nenvironment = {{ CHILDS_OWN = \"1\" }}\n\
         [mounts.nowhere]\nurl = \"http://127.0.0.1:9/mcp\"\nallow_private_addresses = true\n"
    );
    fs::write(folder.join("dramatis.toml"), settings).unwrap();
}

async fn get(api: &str, path: &str) -> (u16, Value) {
    let answer = reqwest::get(format!("{api}{path}")).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Calls a tool in the revision without sessions.
async fn call(up: &Up, tool: &str) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "by-hand", "version": "1"},
    });
    let params = json!({"name": tool, "arguments": {}, "_meta": meta});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let answer = reqwest::Client::new()
        .post(format!("{}/mcp", up.api))
        .bearer_auth(up.admin_token())
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", tool)
        .json(&body)
        .timeout(Duration::from_mins(1))
        .send()
        .await
        .unwrap();
    let text = answer.text().await.unwrap();
    let mut data = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(str::trim);
    serde_json::from_str(data.rfind(|data| !data.is_empty()).unwrap_or(&text)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mounted_servers_are_named_in_health_and_known_to_commands_and_catalogs() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    mount_two(dir.path());
    let up = Up::start(&data);
    let mounts = async || get(&up.api, "/health").await.1["mounts"].clone();
    let is_settled = async || mounts().await[0]["up"] == true;
    assert!(
        wait_until_async(START_WITHIN, is_settled).await,
        "{}",
        mounts().await
    );
    let told = mounts().await;
    assert_eq!(
        (&told[0]["name"], &told[1]["name"]),
        (&json!("child"), &json!("nowhere"))
    );
    assert_eq!((&told[1]["up"], &told[1]["tools"]), (&json!(false), &json!(0)));
    let (status, ready) = get(&up.api, "/readyz?verbose").await;
    assert_eq!(status, 200, "one that is away makes nobody unready: {ready}");
    let checks = ready["checks"].as_array().unwrap();
    assert_eq!(
        checks.last().unwrap()["facts"]["mounts"][1]["up"],
        false,
        "{ready}"
    );
    assert!(
        !ready.to_string().contains("127.0.0.1:9"),
        "no address is told to everybody"
    );

    let listed = run_json(&data, &["mounts", "list", "--json"]);
    let tools = listed.as_array().unwrap();
    assert!(
        !tools.is_empty() && tools.iter().all(|tool| tool["up"] == true),
        "{listed}"
    );
    let listed = stdout(&data, &["mounts", "list"]);
    assert!(
        listed.contains("child: up; ") && listed.contains("nowhere: away; "),
        "{listed}"
    );

    let answer = call(&up, "child.pid").await;
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");

    // A catalog whose only persona lives with the child alone.
    let catalog: Value = serde_json::from_str(catalog::Catalog::embedded_text()).unwrap();
    for (module, code) in [("child", 0), ("chill", 2)] {
        let mut catalog = catalog.clone();
        let personas = catalog["personas"].as_array_mut().unwrap();
        for persona in personas.iter_mut() {
            persona["moduleMix"] = json!({ module: 1.0 });
        }
        let file = dir.path().join("personas.json");
        fs::write(&file, catalog.to_string()).unwrap();
        let seeded = up
            .command(&["seed", "--dry-run"])
            .arg("--catalog")
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&seeded.stderr).into_owned();
        assert_eq!(seeded.status.code(), Some(code), "{said}");
        assert!(code == 0 || said.contains("child, habits"), "{said}");
    }
    assert_eq!(up.stop(), Some(0));

    // Without a server all that is known is what was seen last.
    let whom = [
        "policy",
        "explain",
        "--user",
        "admin@dramatis.local",
        "--json",
        "--tool",
    ];
    let explain = |tool| run(&data, &[&whom[..], &[tool]].concat());
    let explained: Value = serde_json::from_slice(&explain("child.pid").stdout).unwrap();
    assert_eq!(explained["is_listed"], true, "{explained}");
    assert_eq!(explain("child.none").status.code(), Some(3));
    let built_in = run(&data, &["policy", "default"]).stdout;
    let file = dir.path().join("policy.toml");
    fs::write(&file, built_in).unwrap();
    let tried = run_json(&data, &["policy", "test", file.to_str().unwrap(), "--json"]);
    assert_eq!(
        (&tried["unknown"], &tried["same"]),
        (&json!(0), &json!(1)),
        "{tried}"
    );
    let without = dramatis(&data)
        .args(["policy", "test", "--json", "--config"])
        .arg(empty(dir.path()))
        .arg(&file)
        .output()
        .unwrap();
    let tried: Value = serde_json::from_slice(&without.stdout).unwrap();
    assert_eq!(tried["unknown"], 1, "no longer mounted, no longer known: {tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_approved_beside_one_house_counts_for_all_houses_on_its_nats_server() {
    let dir = tempfile::tempdir().unwrap();
    let settings = format!(
        "[mounts.child]\ncommand = [\"python3\", {CHILD:?}]\nenvironment = {{ CHILDS_OWN = \"1\" }}\ntrust = \"approve\"\n"
    );
    fs::write(dir.path().join("dramatis.toml"), settings).unwrap();
    let nats = NatsServer::start();
    let (url, monitor) = (nats.url(), nats.monitor_url());
    let settings = [
        ("DRAMATIS_NATS", url.as_str()),
        ("DRAMATIS_NATS_MONITOR", &monitor),
    ];
    let houses = ["one", "two"].map(|name| Up::start_with(&dir.path().join(name), &settings));
    let offered = async |up: &Up| get(&up.api, "/health").await.1["mounts"][0]["tools"].as_u64();
    let is_settled = async |up: &Up, wanted: fn(u64) -> bool| {
        wait_until_async(START_WITHIN, async || offered(up).await.is_some_and(wanted)).await
    };
    for up in &houses {
        let waits = async || {
            let mount = get(&up.api, "/health").await.1["mounts"][0].clone();
            mount["up"] == true && mount["quarantined"].as_u64() > Some(0)
        };
        assert!(wait_until_async(START_WITHIN, waits).await, "every tool waits");
        assert_eq!(offered(up).await, Some(0));
    }
    // From a folder that is neither house's.
    let elsewhere = dir.path().join("three");
    let approve = |url: &str| {
        let mut command = dramatis(&elsewhere);
        let command = command
            .args(["mounts", "approve", "child"])
            .env("DRAMATIS_NATS", url);
        command.output().unwrap()
    };
    let away = approve("nats://127.0.0.1:9");
    assert_eq!(
        away.status.code(),
        Some(5),
        "{}",
        String::from_utf8_lossy(&away.stderr)
    );
    let approved = approve(&url);
    assert_eq!(
        approved.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&approved.stderr)
    );
    for up in houses {
        assert!(
            is_settled(&up, |tools| tools > 0).await,
            "{:?}",
            offered(&up).await
        );
        assert!(
            !up.data.join("mounts/child.json").exists(),
            "no house keeps its own"
        );
        assert_eq!(up.stop(), Some(0));
    }
}

/// A configuration without mounts.
fn empty(folder: &Path) -> std::path::PathBuf {
    let file = folder.join("empty.toml");
    fs::write(&file, "").unwrap();
    file
}
