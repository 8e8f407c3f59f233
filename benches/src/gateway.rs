//! Tool calls through the gateway beside a bare rmcp server, and what a session at rest costs both.
//!
//! Method: both are processes of their own, called in turn by the same client, which writes and reads bytes: one call
//! at a time on each of 1, 16 and 64 connections, in sessions (2025-11-25) and without (2026-07-28). Ours checks a
//! token on each request and asks the policy gate, whose rate limit is raised out of the way; it is measured without
//! and with every call on the record (`plain`, `recorded`). Writes answer when they are in the log **and** folded.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use benches::wire::Wire;
use benches::{House, Site, resident_kib};
use serde_json::{Value, json};

use crate::Outcome;
use crate::bare_rmcp::BareRmcp;
use crate::door::{Door, Era};
use crate::figures::{Figures, rounded};

/// Connections at once.
const CLIENTS: [usize; 3] = [1, 16, 64];
/// Sessions opened before memory is looked at first, so that what a server sets up once is not counted.
const WARM_SESSIONS: usize = 200;
/// Accounts among which sessions are spread.
const ACCOUNTS: usize = 4;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) turn: Duration,
    pub(crate) idle_sessions: usize,
}

/// Runs the bench.
pub(crate) async fn measure(program: &Path, plan: Plan) -> anyhow::Result<Outcome> {
    let bare = BareRmcp::start()?;
    let dir = tempfile::tempdir()?;
    let (unrecorded, unrecorded_house) = start(program, &dir.path().join("plain"), "off").await?;
    let (recorded, _recorded_house) = start(program, &dir.path().join("recorded"), "hashes").await?;
    let echo = Door {
        address: bare.address.clone(),
        tool: "echo",
        arguments: json!({}),
        tokens: Vec::new(),
    };
    let bare_idle_kib = idle_kib(&echo, bare.pid(), plan.idle_sessions).await?;
    let ours_idle_kib = idle_kib(&unrecorded, unrecorded_house.pid(), plan.idle_sessions).await?;

    let (mut limit, mut ours) = (Figures::default(), Figures::default());
    for _ in 0..plan.rounds {
        for era in Era::BOTH {
            for clients in CLIENTS {
                let what = format!("{}-{clients}", era.name());
                limit.turn(what.clone(), &echo, era, clients, plan.turn).await?;
                let as_plain = format!("plain-{what}");
                ours.turn(as_plain, &unrecorded, era, clients, plan.turn).await?;
                let as_recorded = format!("recorded-{what}");
                ours.turn(as_recorded, &recorded, era, clients, plan.turn).await?;
            }
        }
        for (tool, arguments) in [
            (
                "todo.create",
                json!({"title": "Buy milk", "description": "Two litres, the fresh kind"}),
            ),
            ("todo.list", json!({"limit": 50})),
        ] {
            let door = Door {
                tool,
                arguments,
                ..recorded.clone()
            };
            ours.turn(tool.to_owned(), &door, Era::Sessions, 1, plan.turn)
                .await?;
        }
    }
    let mut ratio: BTreeMap<String, Value> = BTreeMap::new();
    for what in limit.asked() {
        for kind in ["plain", "recorded"] {
            let ours = ours.rate(&format!("{kind}-{what}"));
            ratio.insert(format!("{kind}-{what}"), rounded(ours / limit.rate(what)));
        }
    }
    ratio.insert(
        "idle_session_kib".to_owned(),
        rounded(ours_idle_kib / bare_idle_kib),
    );
    let (mut ours, mut limit) = (ours.to_json(), limit.to_json());
    ours.insert("idle_session_kib".to_owned(), rounded(ours_idle_kib));
    limit.insert("idle_session_kib".to_owned(), rounded(bare_idle_kib));
    Ok(Outcome {
        name: "gateway",
        runs: plan.rounds,
        ours: json!(ours),
        limit: json!(limit),
        ratio: json!(ratio),
    })
}

async fn start(program: &Path, data: &Path, record_calls: &str) -> anyhow::Result<(Door, House)> {
    let site = Site::new(program, data)?
        .with_setting("DRAMATIS_RECORD_CALLS", record_calls)
        .with_setting("DRAMATIS_SESSIONS_PER_USER_MAX", "100000")
        .with_setting("DRAMATIS_SESSIONS_MAX", "400000")
        .with_setting("DRAMATIS_CALLS_PER_MINUTE_MAX", "100000000");
    let house = site.start_ready().await?;
    let mut tokens = Vec::new();
    for account in 0..ACCOUNTS {
        tokens.push(site.account(&format!("bench-{account}@example.org")).await?);
    }
    let door = Door {
        address: site.api().trim_start_matches("http://").to_owned(),
        tool: "spaces.list",
        arguments: json!({}),
        tokens,
    };
    Ok((door, house))
}

/// KiB of memory a session takes that rests, over `count` of them.
async fn idle_kib(door: &Door, pid: u32, count: usize) -> anyhow::Result<f64> {
    let mut wire = Wire::connect(&door.address).await?;
    for client in 0..WARM_SESSIONS {
        door.open_session(&mut wire, client).await?;
    }
    let before = resident_kib(pid)?;
    for client in 0..count {
        door.open_session(&mut wire, client).await?;
    }
    let grown = resident_kib(pid)? - before;
    Ok(grown / count as f64)
}
