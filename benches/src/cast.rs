//! Ticks of the simulated brain a minute through the whole program, beside the bare limits of what a tick is made of; and
//! the memory of a persona at rest.
//!
//! Method: `dramatis up` with its child nats-server and SQLite, personas of the built-in cast. All of them are let act at
//! once and the clock runs until the last one's tick has ended; every event is acknowledged by the log. In the same round
//! as many messages of the same mean size are published to a bare stream of the same settings, and a bare rmcp server is
//! called, by as many clients as personas act at once. A tick's bare limit is the time of its messages and of its requests
//! to the MCP server, and nothing else.
//!
//! Memory: what personas beyond the first hundred add to what the kernel counts as resident, divided by them; right after
//! they were enrolled, and after a restart.

mod rest;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use async_nats::jetstream::{self, stream};
use benches::{Site, Spread, write_catalog};
use events::{JetStreamLog, JetStreamSettings, STREAM_NAME};
use serde_json::{Value, json};
use testkit::NatsServer;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::bare_rmcp::BareRmcp;
use crate::door::{Door, Era};
use crate::figures::rounded;

/// How long the bare rmcp server is called in a round.
const RMCP_TURN: Duration = Duration::from_secs(1);
/// Requests of a tick to the MCP server beside its calls: it opens a session, says so, lists tools, says goodbye.
const REQUESTS_BESIDE: f64 = 4.0;
/// The stream of the bare publisher.
const BARE: &str = "BARE";

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Personas that act in each round.
    pub(crate) personas: usize,
    /// How many of them at once.
    pub(crate) at_once: usize,
    /// Personas that are enrolled to rest; 0 leaves that out.
    pub(crate) resting: usize,
}

/// What one round was made of.
#[derive(Debug, Default)]
struct Round {
    seconds: f64,
    calls: f64,
    messages: f64,
    bytes: f64,
}

/// Runs the bench.
pub(crate) async fn measure(program: &Path, plan: Plan) -> anyhow::Result<Outcome> {
    let dir = tempfile::tempdir()?;
    let site = Site::new(program, &dir.path().join("acting"))?
        .with_setting("PERSONA_CONCURRENCY", &plan.at_once.to_string());
    let house = site.start_ready().await?;
    let catalog = dir.path().join("acting.json");
    write_catalog(&catalog, plan.personas, |_, _| {})?;
    site.seed_from(&catalog)?;
    let (bare_stream, bare_rmcp) = (NatsServer::start(), BareRmcp::start()?);
    let echo = Door {
        address: bare_rmcp.address.clone(),
        tool: "echo",
        arguments: json!({}),
        tokens: Vec::new(),
    };
    let ticks = plan.personas as f64;
    let [mut ours, mut limit, mut publish_rates, mut request_rates] = [const { Vec::new() }; 4];
    let (mut durations, mut last) = (Spread::default(), Round::default());
    for _ in 0..plan.rounds {
        last = act(&site, plan.personas, &mut durations).await?;
        ours.push(ticks * 60.0 / last.seconds);
        let publishes = publish(&bare_stream, plan.at_once, &last).await?;
        let mut latencies = Spread::default();
        let requests = echo
            .load(Era::Sessions, plan.at_once, RMCP_TURN, &mut latencies)
            .await?;
        let seconds = last.messages / publishes + (last.calls + REQUESTS_BESIDE * ticks) / requests;
        limit.push(ticks * 60.0 / seconds);
        publish_rates.push(publishes);
        request_rates.push(requests);
    }
    house.stop().await?;
    let figures = json!({
        "ticks_per_minute": median(&ours).round(),
        "of_each_run": ours.iter().map(|rate| rate.round()).collect::<Vec<_>>(),
        "tick_p50_ms": durations.percentile_ms(0.5).round(),
        "tick_p99_ms": durations.percentile_ms(0.99).round(),
        "at_once": plan.at_once,
        "calls_per_tick": rounded(last.calls / ticks),
        "commits_per_tick": rounded(last.messages / ticks),
        "bytes_per_commit": (last.bytes / last.messages).round(),
    });
    let mut outcome = Outcome {
        name: "cast",
        runs: plan.rounds,
        ratio: json!({ "ticks_per_minute": rounded(median(&ours) / median(&limit)) }),
        ours: figures,
        limit: json!({
            "ticks_per_minute": median(&limit).round(),
            "publishes_per_s": median(&publish_rates).round(),
            "rmcp_requests_per_s": median(&request_rates).round(),
        }),
    };
    if plan.resting > 0 {
        let data = dir.path().join("resting");
        outcome.ours["at_rest"] = rest::measure(program, &data, plan.resting).await?;
    }
    Ok(outcome)
}

/// Lets everybody act, and waits until the last one is done.
async fn act(site: &Site, personas: usize, durations: &mut Spread) -> anyhow::Result<Round> {
    let run = site.run_file();
    let mut stream = benches::stream::connect(run["nats"].as_str().unwrap_or_default()).await?;
    let before = stream.info().await?.state.clone();
    let token = site.admin_token()?;
    let client = reqwest::Client::new();
    let began = now();
    let answer: Value = client
        .post(format!("{}/api/v1/admin/runner/tick", site.api()))
        .bearer_auth(token)
        .json(&json!({ "all": true }))
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    let seconds = began.elapsed().as_secs_f64();
    let ticks = answer["ticks"].as_array().context("the ticks")?;
    ensure!(
        answer["succeeded"] == personas && ticks.len() == personas,
        "of {personas} ticks {} succeeded; the first that did not: {:?}",
        answer["succeeded"],
        ticks.iter().find(|tick| tick["outcome"] == "failed")
    );
    for tick in ticks {
        durations.add(Duration::from_millis(
            tick["durationMs"].as_u64().unwrap_or_default(),
        ));
    }
    let after = stream.info().await?.state.clone();
    let calls = ticks.iter().filter_map(|tick| tick["calls"].as_f64()).sum();
    Ok(Round {
        seconds,
        calls,
        messages: (after.messages - before.messages) as f64,
        bytes: (after.bytes - before.bytes) as f64,
    })
}

/// Publishes as many messages of the same mean size, each writer one after the other; gives the messages a second.
async fn publish(server: &NatsServer, writers: usize, round: &Round) -> anyhow::Result<f64> {
    let client = async_nats::connect(server.url()).await?;
    let context = jetstream::new(client.clone());
    // The first round finds none.
    let _ = context.delete_stream(BARE).await;
    JetStreamLog::open(client, JetStreamSettings::default()).await?;
    let config = context
        .get_stream(STREAM_NAME)
        .await?
        .cached_info()
        .config
        .clone();
    let bare = stream::Config {
        name: BARE.to_owned(),
        subjects: vec!["bare.persona.*".to_owned()],
        ..config
    };
    context.create_stream(bare).await?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small and positive"
    )]
    let (size, each) = (
        (round.bytes / round.messages) as usize,
        (round.messages / writers as f64).ceil() as usize,
    );
    let payload = bytes::Bytes::from(vec![b'x'; size]);
    let (began, mut tasks) = (now(), JoinSet::new());
    for writer in 0..writers {
        let (context, payload) = (context.clone(), payload.clone());
        tasks.spawn(async move {
            for _ in 0..each {
                let subject = format!("bare.persona.{writer}");
                context.publish(subject, payload.clone()).await?.await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok((each * writers) as f64 / began.elapsed().as_secs_f64())
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}
