//! `dramatis backup`, a wipe and `dramatis restore` of a long log, beside a bare copy of the same files.
//!
//! Method: the program as its users run it, with its child nats-server, is given a long past and stopped when its tables
//! are level with its log. Each round backs it up, wipes its folder and restores it, by the times the program itself says;
//! then copies the backup without reading it twice. After each restore `verify` holds tables and log against each other,
//! and the checksums of the tables must be those from before.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use benches::{Site, Spread};
use events::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::Outcome;
use crate::rebuild::{Beside, append_history};

/// How long the tables may take to come level with the log.
const LEVEL_WITHIN: Duration = Duration::from_mins(10);

/// Runs the bench.
pub(crate) async fn measure(program: &Path, rounds: usize, events: u64) -> anyhow::Result<Outcome> {
    let dir = tempfile::tempdir()?;
    let site = Site::new(program, &dir.path().join("data"))?;
    let appended = live_a_past(&site, events).await?;
    let before = checksums(&site)?;
    let (mut backups, mut returns, mut copies) = (Spread::default(), Spread::default(), Spread::default());
    let (mut bytes, mut files) = (0, 0);
    for round in 0..rounds {
        let (backup, copy) = (
            dir.path().join(format!("backup-{round}")),
            dir.path().join("copy"),
        );
        let to = backup.to_str().context("a path in UTF-8")?;
        let made = said(&site, &["backup", to, "--json"])?;
        fs::remove_dir_all(site.data())?;
        let restored = said(&site, &["restore", to, "--json"])?;
        ensure!(
            restored["digest"] == made["digest"],
            "another backup was restored"
        );
        ensure!(
            checksums(&site)? == before,
            "the restored tables are not those from before"
        );
        backups.add(took(&made)?);
        returns.add(took(&restored)?);
        copies.add(copy_bare(&backup, &copy)?);
        bytes = made["bytes"].as_u64().unwrap_or_default();
        files = made["files"].as_u64().unwrap_or_default();
        fs::remove_dir_all(&backup)?;
        fs::remove_dir_all(&copy)?;
    }
    let ratio = |ours: &Spread| copies.percentile_ms(0.5) / ours.percentile_ms(0.5);
    Ok(Outcome {
        name: "backup",
        runs: rounds,
        ours: json!({
            "events": appended,
            "files": files,
            "mb": bytes / 1_000_000,
            "backup": backups.to_json(),
            "restore": returns.to_json(),
            "checksums": "equal",
        }),
        limit: json!({ "copy": copies.to_json() }),
        ratio: json!({ "backup": ratio(&backups), "restore": ratio(&returns) }),
    })
}

/// Has the house fold a long past; gives how many events it has.
async fn live_a_past(site: &Site, events: u64) -> anyhow::Result<u64> {
    let house = site.start_ready().await?;
    let appended = append_history(site.nats().await?, events, Beside::House).await?;
    let (client, token, clock) = (reqwest::Client::new(), site.admin_token()?, SystemClock::new());
    let began = clock.monotonic();
    loop {
        let asked = client.get(format!("{}/api/v1/queries/overview", site.api()));
        let seen: Value = asked
            .bearer_auth(&token)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        if seen["as_of_seq"] == seen["log_seq"] {
            break;
        }
        let waited = clock.monotonic().saturating_sub(began);
        ensure!(waited < LEVEL_WITHIN, "the tables stay behind the log: {seen}");
        clock.sleep(Duration::from_millis(200)).await;
    }
    let status = house.stop().await?;
    ensure!(status.success(), "the house ended with {status}");
    Ok(appended)
}

/// What a command says, which must succeed.
fn said(site: &Site, arguments: &[&str]) -> anyhow::Result<Value> {
    let output = site.run(arguments)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{arguments:?} ended with {}: {errors}",
        output.status
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Of all tables, as they are; that they agree with the log is `verify`'s own to say.
fn checksums(site: &Site) -> anyhow::Result<Vec<Value>> {
    let report = said(site, &["verify", "--json"])?;
    let tables = report["tables"].as_array().context("verify says no tables")?;
    Ok(tables.iter().map(|table| table["live"].clone()).collect())
}

fn took(said: &Value) -> anyhow::Result<Duration> {
    Ok(Duration::from_millis(said["tookMs"].as_u64().context("no time")?))
}

/// Copies every file of a folder, and makes sure that it is on the disk.
fn copy_bare(from: &Path, to: &Path) -> anyhow::Result<Duration> {
    fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let to = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                copy(&entry.path(), &to)?;
            } else {
                fs::copy(entry.path(), &to)?;
                fs::File::open(&to)?.sync_all()?;
            }
        }
        Ok(())
    }
    let clock = SystemClock::new();
    copy(from, to)?;
    Ok(clock.monotonic())
}
