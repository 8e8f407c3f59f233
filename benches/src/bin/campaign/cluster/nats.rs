//! The three configurations of the cluster's nats-servers: the very file that operators are given, with other ports.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::ensure;

/// Servers of the cluster.
pub(super) const SERVERS: usize = 3;
/// What the program and the servers prove themselves with; loopback only, for as long as the trial lasts.
const PASSWORD: &str = "trial";

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
