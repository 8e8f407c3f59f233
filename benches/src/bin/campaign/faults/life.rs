//! One life: virtual weeks lived by the program, and what it says of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use benches::{Site, write_catalog};
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::app::{MODULES, Planted};
use super::upstream::Server;

/// Personas that live it, each once a day.
const PERSONAS: usize = 10;
/// Days one run of the program lives.
const DAYS_A_RUN: u32 = 42;
/// When virtual days begin, in seconds: Monday, 5 January 2026.
const FIRST_DAY: i64 = 1_767_571_200;
const DAY: i64 = 86_400;

/// What happens in a life.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    pub(super) program: &'a Path,
    pub(super) seed: u64,
    pub(super) weeks: u32,
    /// What breaks, and at the end of which week.
    pub(super) planted: Option<(u32, Planted)>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// The week in which each finding was first reported, by what it says of what.
    pub(super) first: BTreeMap<String, u32>,
    /// Pieces of evidence that are where they are said to be…
    pub(super) evidence: u64,
    /// …and those that are not.
    pub(super) unresolved: Vec<String>,
    pub(super) ticks: u64,
    /// Calls that the app answered.
    pub(super) calls: u64,
    pub(super) seconds: u64,
}

/// Lives it from the first day to the last.
///
/// # Errors
/// When the program fails.
#[expect(clippy::disallowed_methods, reason = "a trial takes real time")]
pub(super) async fn live(plot: &Plot<'_>) -> anyhow::Result<Life> {
    let began = Instant::now();
    let (dir, server) = (tempfile::tempdir()?, Server::start(plot.seed).await?);
    let site = Site::new(plot.program, &dir.path().join("data"))?
        .with_setting("DRAMATIS_SEED", &plot.seed.to_string());
    // Where the program looks for it.
    fs::write(dir.path().join("dramatis.toml"), server.mounts())?;
    let catalog = dir.path().join("cast.json");
    write_catalog(&catalog, PERSONAS, |number, persona| {
        persona["tickCadence"] = json!("daily");
        // Each module is somebody's favourite.
        let mut mix = json!({});
        for (place, module) in MODULES.iter().enumerate() {
            mix[module.name] = json!(1 + (place + number) % MODULES.len());
        }
        persona["moduleMix"] = mix;
    })?;
    let mut life = Life::default();
    let mut lived = 0;
    let planted_week = plot.planted.as_ref().map_or(plot.weeks, |(week, _)| *week);
    for until in [planted_week.min(plot.weeks) * 7, plot.weeks * 7] {
        while lived < until {
            let days = (until - lived).min(DAYS_A_RUN);
            life.ticks = demo(&site, days, &catalog).await?;
            lived += days;
        }
        if let Some((_, planted)) = &plot.planted {
            server.plant(planted.clone());
        }
    }
    life.calls = server.calls();
    for week in 1..=plot.weeks {
        let until = jiff::Timestamp::from_second(FIRST_DAY + i64::from(week) * 7 * DAY)?;
        let until = until.to_string();
        let report = read(&site, &["findings", "--json", "--until", &until]).await?;
        for finding in report["findings"].as_array().context("a list of findings")? {
            let about = finding["tool"].as_str().or(finding["module"].as_str());
            let named = format!(
                "{} of {}",
                finding["kind"].as_str().unwrap_or_default(),
                about.unwrap_or_default()
            );
            if !life.first.contains_key(&named) {
                resolve(&site, &named, finding, &mut life).await?;
                life.first.insert(named, week);
            }
        }
    }
    life.seconds = began.elapsed().as_secs();
    Ok(life)
}

/// Lives so many days more; gives the ticks there are by then.
async fn demo(site: &Site, days: u32, catalog: &Path) -> anyhow::Result<u64> {
    let days = days.to_string();
    let catalog = catalog.to_str().context("a path in UTF-8")?;
    let report = read(
        site,
        &[
            "demo",
            "--json",
            "--days",
            &days,
            "--catalog",
            catalog,
            "--listen",
            "127.0.0.1:0",
        ],
    )
    .await?;
    let ticks = report["log"]["events_by_type"]["TickFinished"].as_u64();
    ticks.context("ticks in the demo's report")
}

/// What a command prints as JSON.
async fn read(site: &Site, arguments: &[&str]) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&stdout(site, arguments).await?)?)
}

async fn stdout(site: &Site, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = tokio::process::Command::from(site.command(arguments));
    let output = command.kill_on_drop(true).output().await?;
    ensure!(
        output.status.success(),
        "{}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Looks up each piece of evidence in the tables and in the log.
async fn resolve(site: &Site, named: &str, finding: &Value, life: &mut Life) -> anyhow::Result<()> {
    let evidence = finding["evidence"].as_array().context("a list of evidence")?;
    if evidence.is_empty() {
        life.unresolved.push(format!("{named} has no evidence"));
    }
    for piece in evidence {
        let (is_row, is_event) = (is_row(site, piece).await?, is_event(site, piece).await?);
        if is_row && is_event {
            life.evidence += 1;
        } else {
            life.unresolved.push(format!(
                "{named}: {piece} is {}",
                if is_row { "not in the log" } else { "no row" }
            ));
        }
    }
    Ok(())
}

async fn is_row(site: &Site, piece: &Value) -> anyhow::Result<bool> {
    let query = match piece["kind"].as_str() {
        Some("call") => "SELECT COUNT(*) FROM persona_actions WHERE id = ? AND stream_seq = ?",
        _ => "SELECT COUNT(*) FROM persona_feedback WHERE id = ? AND stream_seq = ?",
    };
    let file = site.data().join("dramatis.sqlite");
    let mut db = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .connect()
        .await?;
    let found: i64 = sqlx::query_scalar(query)
        .bind(piece["id"].as_str())
        .bind(piece["stream_seq"].as_i64())
        .fetch_one(&mut db)
        .await?;
    Ok(found == 1)
}

/// Whether the log holds the call, or the rating, at the place that is named.
async fn is_event(site: &Site, piece: &Value) -> anyhow::Result<bool> {
    let at = piece["stream_seq"].to_string();
    let there = stdout(site, &["events", "cat", "--from", &at, "--until", &at]).await?;
    let is_it = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        match piece["kind"].as_str() {
            Some("call") => event["type"] == "ToolCalled" && event["data"]["call_id"] == piece["call_id"],
            _ => event["type"] == "Rated",
        }
    };
    Ok(there.lines().any(is_it))
}
