//! One role of the house each, on what they share; and the way there from a house of one's own.

use std::process::{Child, Command};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use testkit::{NatsServer, Postgres, free_port, wait_until_async};

use crate::common::{START_WITHIN, Up, dramatis};

/// Asked to stop when dropped.
struct Running(Child);

impl Running {
    fn stop(mut self) -> Option<i32> {
        let asked = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status();
        assert!(asked.unwrap().success());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_role_without_what_it_shares_with_others_is_told_what_to_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let nats = ("DRAMATIS_NATS", "nats://127.0.0.1:9");
    let database = ("DRAMATIS_DATABASE", "postgres://me:hush@127.0.0.1:9/tables");
    for (role, settings, named) in [
        ("gateway", vec![], vec!["--nats", "--database"]),
        (
            "gateway",
            vec![nats],
            vec!["--database", "SQLite is for one process"],
        ),
        ("gateway", vec![database], vec!["--nats"]),
        ("gateway", vec![nats, database], vec!["kek_file"]),
        ("projector", vec![], vec!["--nats", "--database"]),
        (
            "projector",
            vec![nats],
            vec!["--database", "SQLite is for one process"],
        ),
    ] {
        let output = dramatis(&data).arg(role).envs(settings).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{role}: {stderr}");
        assert!(named.iter().all(|name| stderr.contains(name)), "{role}: {stderr}");
        assert!(!stderr.contains("hush"), "{stderr}");
    }
    assert!(!data.join("identity.sqlite").exists() && !data.join("kek.key").exists());
}

async fn post(up: &Up, path: &str, token: &str, body: Value) -> (StatusCode, Value) {
    let asked = Client::new().post(format!("{}{path}", up.api)).bearer_auth(token);
    let answer = asked.json(&body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_move_to_postgres_and_a_gateway_and_a_projector_go_on_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let anna = json!({"email": "anna@example.org", "password": "a long enough password"});
    let up = Up::start(&data);
    let (status, answer) = post(&up, "/api/v1/auth/register", "", anna.clone()).await;
    assert!(status.is_success(), "{answer}");
    assert_eq!(up.stop(), Some(0));

    let (nats, postgres) = (NatsServer::start(), Postgres::start());
    let (url, monitor, database) = (nats.url(), nats.monitor_url(), postgres.url());
    let kek_file = data.join("kek.key").display().to_string();
    let settings = [
        ("DRAMATIS_NATS", url.as_str()),
        ("DRAMATIS_NATS_MONITOR", &monitor),
        ("DRAMATIS_DATABASE", &database),
        ("DRAMATIS_KEK_FILE", &kek_file),
    ];
    let command = |arguments: &[&str]| {
        let output = dramatis(&data).args(arguments).envs(settings).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    // Nobody starts without the accounts that are there, and no copy without them looks whole.
    let (code, said) = command(&["gateway", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("dramatis accounts move"), "{said}");
    let (code, said) = command(&["accounts", "move"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 accounts"), "{said}");
    assert!(!data.join("identity.sqlite").exists() && data.join("identity.sqlite.moved").exists());
    let elsewhere = dir.path().join("backup").display().to_string();
    let output = dramatis(&data)
        .args(["backup", &elsewhere, "--database", &database])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("pg_dump") && said.contains("--without-accounts"),
        "{said}"
    );

    let gateway = Up::start_as("gateway", &data, &settings);
    let (status, login) = post(&gateway, "/api/v1/auth/login", "", anna).await;
    assert_eq!(
        (status, login["user"]["email"].as_str()),
        (StatusCode::OK, Some("anna@example.org"))
    );
    let probes = format!("127.0.0.1:{}", free_port());
    let folder = dir.path().join("projector");
    let projector = dramatis(&folder)
        .args(["projector", "--probes", &probes])
        .envs(settings)
        .spawn()
        .unwrap();
    let projector = Running(projector);
    let is_ready = async || {
        let answer = reqwest::get(format!("http://{probes}/readyz")).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    };
    assert!(wait_until_async(START_WITHIN, is_ready).await);

    // What is written here is folded there.
    let admin = gateway.admin_token();
    let persona = json!({
        "email": "persona.new@mana.test", "name": "New", "password": "a password of eleven words",
        "archetype": "adhd-student", "systemPrompt": "You are.", "moduleMix": {"todo": 1}, "tickCadence": "daily",
    });
    let is_folded = async || {
        let (status, _) = post(&gateway, "/api/v1/personas/admin", &admin, persona.clone()).await;
        let list = Client::new()
            .get(format!("{}/api/v1/personas/admin", gateway.api))
            .bearer_auth(&admin);
        let text = list.send().await.unwrap().text().await.unwrap();
        status.is_success() && text.contains("persona.new@mana.test")
    };
    assert!(wait_until_async(Duration::from_mins(1), is_folded).await);
    for order in ["pause", "resume"] {
        let path = format!("/api/v1/admin/runner/{order}");
        let (status, answer) = post(&gateway, &path, &admin, json!({})).await;
        assert_eq!(
            (status, answer["code"].as_str()),
            (StatusCode::CONFLICT, Some("RUNNER_ELSEWHERE"))
        );
    }
    let metrics = reqwest::get(format!("http://{probes}/metrics")).await.unwrap();
    assert!(metrics.text().await.unwrap().contains("projection_seq"));
    assert_eq!(projector.stop(), Some(0));
    assert_eq!(gateway.stop(), Some(0));
}
