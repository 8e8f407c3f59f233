//! A call put through to a mounted server, beside the same call to that server itself.
//!
//! Method: the mounted server is a bare rmcp server with one tool that gives nothing back, a process of its own behind
//! Streamable HTTP. The same client calls it by itself and through the gateway in turn, in sessions (2025-11-25) and
//! without (2026-07-28). The gateway checks a token on each request and asks the policy gate; it is measured without and
//! with every call on the record (`plain`, `recorded`). Each MCP session has a session of its own with the server.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use benches::{House, Site};
use serde_json::{Value, json};

use crate::Outcome;
use crate::bare_rmcp::BareRmcp;
use crate::door::{Door, Era};
use crate::figures::{Figures, rounded};

/// Accounts among which connections are spread.
const ACCOUNTS: usize = 4;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) turn: Duration,
    /// Connections at once.
    pub(crate) clients: usize,
}

/// Runs the bench.
pub(crate) async fn measure(program: &Path, plan: Plan) -> anyhow::Result<Outcome> {
    let bare = BareRmcp::start()?;
    let direct = Door {
        address: bare.address.clone(),
        tool: "echo",
        arguments: json!({}),
        tokens: Vec::new(),
    };
    let dir = tempfile::tempdir()?;
    let mut through = Vec::new();
    for (kind, record_calls) in [("plain", "off"), ("recorded", "hashes")] {
        let (door, house) = start(program, &dir.path().join(kind), &bare, record_calls).await?;
        through.push((kind, door, house));
    }
    let (mut limit, mut ours) = (Figures::default(), Figures::default());
    for _ in 0..plan.rounds {
        for era in Era::BOTH {
            let what = era.name();
            limit
                .turn(what.to_owned(), &direct, era, plan.clients, plan.turn)
                .await?;
            for (kind, door, _) in &through {
                ours.turn(format!("{kind}-{what}"), door, era, plan.clients, plan.turn)
                    .await?;
            }
        }
    }
    let mut ratio: BTreeMap<String, Value> = BTreeMap::new();
    for era in Era::BOTH {
        for (kind, ..) in &through {
            let what = format!("{kind}-{}", era.name());
            let ours = ours.rate(&what);
            ratio.insert(what, rounded(ours / limit.rate(era.name())));
        }
    }
    Ok(Outcome {
        name: "mount",
        runs: plan.rounds,
        ours: json!(ours.to_json()),
        limit: json!(limit.to_json()),
        ratio: json!(ratio),
    })
}

/// The program with `bare` mounted, in a folder of its own below `folder`.
async fn start(
    program: &Path,
    folder: &Path,
    bare: &BareRmcp,
    record_calls: &str,
) -> anyhow::Result<(Door, House)> {
    let site = Site::new(program, &folder.join("data"))?
        .with_setting("DRAMATIS_RECORD_CALLS", record_calls)
        .with_setting("DRAMATIS_CALLS_PER_MINUTE_MAX", "100000000");
    // Where the program looks for it.
    fs::write(
        folder.join("dramatis.toml"),
        format!(
            "[mounts.bare]\nurl = \"http://{}/mcp\"\nallow_private_addresses = true\n",
            bare.address
        ),
    )?;
    let house = site.start_ready().await?;
    let mut tokens = Vec::new();
    for account in 0..ACCOUNTS {
        tokens.push(site.account(&format!("bench-{account}@example.org")).await?);
    }
    let door = Door {
        address: site.api().trim_start_matches("http://").to_owned(),
        tool: "bare.echo",
        arguments: json!({}),
        tokens,
    };
    door.until_it_answers().await?;
    Ok((door, house))
}
