//! Requests that are wrong in every way we can think of. Each must be answered soon and without blame on the server:
//! no 5xx, no silence, no panic; and whoever does everything right is served as before.

mod cases;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use benches::wire::{Wire, post};
use benches::{House, Site};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::json;

use self::cases::{Case, Kind};

/// How long an answer may take before it counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Connections at once.
const AT_ONCE: usize = 8;
/// Faults that are told in full.
const FAULTS_SHOWN: usize = 20;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    name: &'static str,
    seed: u64,
    tried: u32,
    pub(crate) failed: u32,
    /// How many were answered how; 0 is a connection closed on what was no HTTP.
    statuses: BTreeMap<u16, u32>,
    kinds: BTreeMap<&'static str, u32>,
    panics: usize,
    slowest_ms: u64,
    faults: Vec<String>,
}

impl Report {
    /// Prints it.
    ///
    /// # Errors
    /// When it cannot be put in words, which does not happen.
    #[expect(clippy::print_stdout, reason = "stdout is where a finding goes")]
    pub(crate) fn print(&self, as_json: bool) -> anyhow::Result<()> {
        if as_json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!(
            "malformed, seed {}: {} tried, {} failed, {} panics, slowest answer {} ms",
            self.seed, self.tried, self.failed, self.panics, self.slowest_ms
        );
        println!("  answers {:?}\n  kinds {:?}", self.statuses, self.kinds);
        for fault in &self.faults {
            println!("  {fault}");
        }
        Ok(())
    }
}

/// How one of them was answered.
#[derive(Debug)]
struct Outcome {
    kind: Kind,
    status: u16,
    took: Duration,
    fault: Option<String>,
}

/// Runs the trial.
pub(crate) async fn run(program: &Path, requests: u32, seed: u64) -> anyhow::Result<Report> {
    let dir = tempfile::tempdir()?;
    let site =
        Site::new(program, &dir.path().join("data"))?.with_setting("DRAMATIS_SESSIONS_PER_USER_MAX", "64");
    let house = site.start_ready().await?;
    let address = site.api().trim_start_matches("http://").to_owned();
    let token = site.account("malformed@example.org").await?;
    let session = open_session(&address, &token).await?;
    let target = Arc::new(cases::Target {
        address,
        token,
        session,
    });
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut report = Report {
        name: "malformed",
        seed,
        tried: 0,
        failed: 0,
        statuses: BTreeMap::new(),
        kinds: BTreeMap::new(),
        panics: 0,
        slowest_ms: 0,
        faults: Vec::new(),
    };
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..requests {
        if tasks.len() >= AT_ONCE
            && let Some(done) = tasks.join_next().await
        {
            report.count(done?);
        }
        let case = cases::next(&mut chance, &target);
        let target = target.clone();
        tasks.spawn(async move { send(&target, case).await });
    }
    while let Some(done) = tasks.join_next().await {
        report.count(done?);
    }
    report.panics = panics(&site)?;
    if report.panics > 0 {
        report.fault(format!("the log tells of {} panics", report.panics));
    }
    if let Err(error) = still_serves(&target).await {
        report.fault(format!("a good call afterwards: {error:#}"));
    }
    stop(house, &mut report).await?;
    Ok(report)
}

impl Report {
    fn count(&mut self, outcome: Outcome) {
        self.tried += 1;
        *self.statuses.entry(outcome.status).or_default() += 1;
        *self.kinds.entry(outcome.kind.name()).or_default() += 1;
        let took_ms = u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX);
        self.slowest_ms = self.slowest_ms.max(took_ms);
        if let Some(fault) = outcome.fault {
            self.fault(fault);
        }
    }

    fn fault(&mut self, fault: String) {
        self.failed += 1;
        if self.faults.len() < FAULTS_SHOWN {
            self.faults.push(fault);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a trial measures real time")]
async fn send(target: &cases::Target, case: Case) -> Outcome {
    let sent = std::time::Instant::now();
    let answered = tokio::time::timeout(ANSWER_WITHIN, async {
        let mut wire = Wire::connect(&target.address).await?;
        let answer = wire.ask(&case.bytes).await?;
        Ok::<_, std::io::Error>((answer.status, answer.contains("panicked")))
    });
    let answered = answered.await;
    let told = |what: String| Some(format!("{what}: {}", case.shown()));
    let (status, fault) = match answered {
        Err(_) => (0, told("no answer".to_owned())),
        // A connection that did not speak HTTP may be closed without a word.
        Ok(Err(_)) if case.kind == Kind::Http => (0, None),
        Ok(Err(error)) => (0, told(format!("closed ({error})"))),
        Ok(Ok((status, _))) if status >= 500 => (status, told(status.to_string())),
        Ok(Ok((status, true))) => (status, told("speaks of a panic".to_owned())),
        Ok(Ok((status, false))) => (status, None),
    };
    Outcome {
        kind: case.kind,
        status,
        took: sent.elapsed(),
        fault,
    }
}

async fn open_session(address: &str, token: &str) -> anyhow::Result<String> {
    let info = json!({"name": "malformed", "version": "1"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info});
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let bytes = post(
        address,
        "/mcp",
        &cases::headers(&format!("Bearer {token}")),
        &body.to_string(),
    );
    let mut wire = Wire::connect(address).await?;
    let answer = wire.ask(&bytes).await?;
    Ok(answer.header("mcp-session-id").context("a session")?.to_owned())
}

/// A call in good form, in the session that was there all the time.
async fn still_serves(target: &cases::Target) -> anyhow::Result<()> {
    let bytes = cases::good(target);
    let mut wire = Wire::connect(&target.address).await?;
    let answer = wire.ask(&bytes).await?;
    anyhow::ensure!(
        answer.status == 200 && answer.contains("\"isError\":false"),
        "{}: {}",
        answer.status,
        String::from_utf8_lossy(answer.body)
    );
    Ok(())
}

fn panics(site: &Site) -> anyhow::Result<usize> {
    let log = std::fs::read(site.log_file())?;
    let log = String::from_utf8_lossy(&log);
    Ok(log.matches("panicked").count())
}

async fn stop(house: House, report: &mut Report) -> anyhow::Result<()> {
    let status = house.stop().await?;
    if !status.success() {
        report.fault(format!("it did not stop in good order: {status}"));
    }
    Ok(())
}
