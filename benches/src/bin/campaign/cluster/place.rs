//! The ten processes and what stands between them: three nats-servers, two gateways behind balancers, two projectors,
//! three runners, one Postgres.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::Postgres;

use super::balancer::Balancer;
use super::member::{Kind, Member};
use super::nats::{self, Server};

/// What all of them seal keys with: thirty-two bytes that are nobody's.
const KEK: &str = "trial:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// What personas' passwords are derived from.
const SEED_SECRET: &str = "a seed secret for as long as the trial lasts";
const RUNNERS: usize = 3;
const PROJECTORS: usize = 2;
const GATEWAYS: usize = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) members: Vec<Member>,
    /// Where people come in.
    pub(super) people: Balancer,
    /// Where runners' personas come in: at the other gateway, while both are there.
    _personas: Balancer,
    pub(super) servers: Vec<Server>,
    pub(super) postgres: Postgres,
    program: PathBuf,
    settings: Vec<(String, String)>,
    data: PathBuf,
}

/// What all processes of the cluster are set to.
fn settings(
    servers: &[nats::Server],
    database: &str,
    for_people: u16,
    for_personas: u16,
) -> Vec<(String, String)> {
    let nats: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
    let monitors: Vec<&str> = servers.iter().map(|server| server.monitor.as_str()).collect();
    [
        ("DRAMATIS_NATS", nats.join(",")),
        ("DRAMATIS_NATS_MONITOR", monitors.join(",")),
        ("DRAMATIS_NATS_REPLICAS", nats::SERVERS.to_string()),
        ("DRAMATIS_DATABASE", database.to_owned()),
        ("DRAMATIS_KEK", KEK.to_owned()),
        ("PERSONA_SEED_SECRET", SEED_SECRET.to_owned()),
        ("DRAMATIS_PUBLIC_URL", format!("http://127.0.0.1:{for_people}")),
        (
            "DRAMATIS_ALLOWED_HOSTS",
            format!("[\"127.0.0.1:{for_personas}\"]"),
        ),
        ("DRAMATIS_CALLS_PER_MINUTE_MAX", "1000000".to_owned()),
        // Sessions of clients that were cut off stay until they are idle for long.
        ("DRAMATIS_SESSIONS_PER_USER_MAX", "1000".to_owned()),
        ("PERSONA_CONCURRENCY", "4".to_owned()),
        ("TICK_INTERVAL_MS", "500".to_owned()),
        // A tick that a killed gateway was asked for is closed by a runner after this time.
        ("DRAMATIS_TICK_DEADLINE_MS", "20000".to_owned()),
        ("RUST_LOG", "warn".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

impl Place {
    /// Starts everything in `dir`, in the order that each needs the one before.
    ///
    /// # Errors
    /// When something does not come up.
    pub(super) async fn start(program: &Path, template: &Path, dir: &Path) -> anyhow::Result<Self> {
        let program = std::fs::canonicalize(program).with_context(|| program.display().to_string())?;
        let (postgres, servers) = (Postgres::start(), nats::configure(template, dir)?);
        let [for_people, for_personas] = [testkit::free_port(), testkit::free_port()];
        let gateways: Vec<u16> = (0..GATEWAYS).map(|_| testkit::free_port()).collect();
        let settings = settings(&servers, &postgres.url(), for_people, for_personas);
        let mut members = Vec::new();
        let nats_server = std::fs::canonicalize(testkit::nats_server_binary())?;
        for (number, server) in (1..).zip(&servers) {
            members.push(Member::new(
                Kind::Nats,
                number,
                &nats_server,
                vec!["--config".to_owned(), server.file.display().to_string()],
                server.environment.clone(),
                format!("{}/healthz", server.monitor),
                dir,
            ));
        }
        let role = |kind: Kind, number: usize, arguments: &[String], probe: u16| {
            let data = dir.join(format!("{}-{number}", kind.as_str()));
            let mut environment = settings.clone();
            environment.push(("DRAMATIS_DATA".to_owned(), data.display().to_string()));
            let arguments = std::iter::once(kind.as_str().to_owned()).chain(arguments.iter().cloned());
            let probe = format!("http://127.0.0.1:{probe}/readyz");
            Member::new(
                kind,
                number,
                &program,
                arguments.collect(),
                environment,
                probe,
                dir,
            )
        };
        let address = |port: u16| format!("127.0.0.1:{port}");
        for number in 1..=PROJECTORS {
            let port = testkit::free_port();
            let arguments = ["--probes".to_owned(), address(port)];
            members.push(role(Kind::Projector, number, &arguments, port));
        }
        for (number, port) in (1..).zip(&gateways) {
            let arguments = ["--listen".to_owned(), address(*port)];
            members.push(role(Kind::Gateway, number, &arguments, *port));
        }
        for number in 1..=RUNNERS {
            let port = testkit::free_port();
            let gateway = format!("http://127.0.0.1:{for_personas}");
            let arguments = [
                "--gateway".to_owned(),
                gateway,
                "--probes".to_owned(),
                address(port),
            ];
            members.push(role(Kind::Runner, number, &arguments, port));
        }
        for kind in Kind::ALL {
            // Of what needs a quorum all are started before one is waited for.
            for member in members.iter_mut().filter(|member| member.kind == kind) {
                member.start()?;
            }
            for member in members.iter_mut().filter(|member| member.kind == kind) {
                member.wait_until_ready().await?;
            }
            if kind == Kind::Nats {
                nats::wait_until_whole(&servers).await?;
            }
        }
        let turned = gateways.iter().rev().copied().collect();
        Ok(Self {
            members,
            people: Balancer::start(for_people, gateways).await?,
            _personas: Balancer::start(for_personas, turned).await?,
            servers,
            postgres,
            program,
            settings,
            data: dir.join("by-hand"),
        })
    }

    /// A command of the program beside the cluster, with nothing of the caller's environment.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .env("DRAMATIS_DATA", &self.data)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .current_dir(self.data.parent().unwrap_or(&self.data));
        command
    }

    /// Runs a command that must succeed and gives what it said.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn run(&self, arguments: &[&str], token: Option<&str>) -> anyhow::Result<String> {
        let mut command = self.command(arguments);
        if let Some(token) = token {
            command.env("MANA_ADMIN_JWT", token);
        }
        let Output {
            status,
            stdout,
            stderr,
        } = command.output()?;
        ensure!(
            status.success(),
            "{arguments:?} ended with {status}: {}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
        Ok(String::from_utf8(stdout)?)
    }
}

/// The password of a persona's account, as a seed script derives it and a runner again.
pub(super) fn password_of(email: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SEED_SECRET.as_bytes());
    let encoded = STANDARD.encode(hmac::sign(&key, email.as_bytes()));
    encoded
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(32)
        .collect()
}
