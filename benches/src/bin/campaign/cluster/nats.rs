//! The three configurations of the cluster's nats-servers: the very file that operators are given, with other ports.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;

/// Servers of the cluster.
pub(super) const SERVERS: usize = 3;
/// What the program and the servers prove themselves with; loopback only, for as long as the trial lasts.
const PASSWORD: &str = "trial";
/// How long they may take to become one cluster, on a machine that has other things to do.
const WHOLE_WITHIN: Duration = Duration::from_mins(2);
/// How long a monitoring page may take.
const PAGE_WITHIN: Duration = Duration::from_secs(2);

/// One server of the cluster.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Its configuration.
    pub(super) file: PathBuf,
    /// What its configuration takes from the environment.
    pub(super) environment: Vec<(String, String)>,
    /// Where clients connect.
    pub(super) url: String,
    /// Where its monitoring pages are.
    pub(super) monitor: String,
}

/// Writes a configuration for each server into `dir`, from `template`.
///
/// # Errors
/// When the template does not say what is to be replaced, or a file cannot be written.
pub(super) fn configure(template: &Path, dir: &Path) -> anyhow::Result<Vec<Server>> {
    let text = fs::read_to_string(template)?;
    let ports: Vec<[u16; 3]> = (0..SERVERS)
        .map(|_| [testkit::free_port(), testkit::free_port(), testkit::free_port()])
        .collect();
    let mut servers = Vec::new();
    for (number, [client, monitor, route]) in ports.iter().enumerate() {
        let data = dir.join(format!("nats-{}", number + 1));
        fs::create_dir_all(&data)?;
        let text = filled(
            &text,
            [
                ("\"0.0.0.0:4222\"", format!("\"127.0.0.1:{client}\"")),
                ("\"0.0.0.0:8222\"", format!("\"127.0.0.1:{monitor}\"")),
                ("\"0.0.0.0:6222\"", format!("\"127.0.0.1:{route}\"")),
                ("\"/data\"", format!("\"{}\"", data.display())),
            ],
        )?;
        let file = data.with_extension("conf");
        fs::write(&file, text)?;
        let routes = (1..).zip(&ports).map(|(place, [_, _, route])| {
            (
                format!("DRAMATIS_ROUTE_{place}"),
                format!("nats://route:{PASSWORD}@127.0.0.1:{route}"),
            )
        });
        let named = [
            ("DRAMATIS_SERVER_NAME", format!("dramatis-{}", number + 1)),
            ("DRAMATIS_NATS_PASSWORD", PASSWORD.to_owned()),
            ("DRAMATIS_ROUTE_PASSWORD", PASSWORD.to_owned()),
        ];
        let named = named.map(|(name, value)| (name.to_owned(), value));
        servers.push(Server {
            file,
            environment: named.into_iter().chain(routes).collect(),
            url: format!("nats://dramatis:{PASSWORD}@127.0.0.1:{client}"),
            monitor: format!("http://127.0.0.1:{monitor}"),
        });
    }
    Ok(servers)
}

/// Waits until the servers have a leader that hears the others. A server calls itself healthy before.
///
/// # Errors
/// When that does not come to be.
pub(super) async fn wait_until_whole(servers: &[Server]) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(PAGE_WITHIN).build()?;
    let is_whole = testkit::wait_until_async(WHOLE_WITHIN, async || {
        for server in servers {
            if let Ok(page) = jetstream_page(&client, server).await
                && says_whole(&page)
            {
                return true;
            }
        }
        false
    })
    .await;
    ensure!(is_whole, "the nats-servers do not become one cluster");
    Ok(())
}

async fn jetstream_page(client: &reqwest::Client, server: &Server) -> reqwest::Result<Value> {
    let page = client.get(format!("{}/jsz", server.monitor)).send().await?;
    page.json().await
}

/// Only the leader knows of all others whether they follow.
fn says_whole(page: &Value) -> bool {
    let others = page["meta_cluster"]["replicas"].as_array();
    others.is_some_and(|others| {
        let follows = |other: &Value| other["current"] == true && other["offline"] != true;
        others.len() + 1 == SERVERS && others.iter().all(follows)
    })
}

/// `text` with each of the places replaced that must be in it.
fn filled(text: &str, places: [(&str, String); 4]) -> anyhow::Result<String> {
    let mut text = text.to_owned();
    for (place, with) in places {
        ensure!(
            text.contains(place),
            "the configuration for three servers has no {place}"
        );
        text = text.replace(place, &with);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_whole_when_its_leader_hears_both_others() {
        let page =
            |others: Value| serde_json::json!({"meta_cluster": {"leader": "dramatis-1", "replicas": others}});
        let other = |current: bool| serde_json::json!({"name": "dramatis-2", "current": current});
        assert!(says_whole(&page(serde_json::json!([other(true), other(true)]))));
        assert!(!says_whole(&page(serde_json::json!([other(true), other(false)]))));
        assert!(!says_whole(&page(serde_json::json!([other(true)]))));
        let offline = serde_json::json!({"current": true, "offline": true});
        assert!(!says_whole(&page(serde_json::json!([other(true), offline]))));
        assert!(!says_whole(&serde_json::json!({})));
    }

    #[test]
    fn the_configuration_that_operators_are_given_says_all_that_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats/three.conf");
        let servers = configure(&template, dir.path()).unwrap();
        for server in &servers {
            let text = fs::read_to_string(&server.file).unwrap();
            assert!(!text.contains("0.0.0.0"), "{text}");
            // What is in the environment is all that it takes from there.
            for (name, _) in &server.environment {
                assert!(text.contains(&format!("${name}")), "{name}: {text}");
            }
            let taken = text.matches('$').count() - text.matches("$JS").count();
            let in_comments: usize = text
                .lines()
                .filter(|line| line.trim_start().starts_with('#'))
                .map(|line| line.matches('$').count())
                .sum();
            assert_eq!(taken - in_comments, server.environment.len(), "{text}");
        }
    }
}
