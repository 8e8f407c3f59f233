//! Durable appends a second, beside a bare publisher.
//!
//! Method: writers, each alone on its subject, each waiting for one acknowledgement before it sends the next, so that
//! as many are in flight as there are writers. Ours is the driver: encoding, message id, guard and chain. Bare is an
//! async-nats publisher on a stream with the same settings that sends the very bytes and headers which ours had stored,
//! with an id of its own and no guard. Both derive their ids alike; the bare one encodes nothing. Each turn has streams
//! of its own; who goes first changes from round to round.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::{self, message::PublishMessage, stream};
use async_nats::{Client, HeaderMap, header};
use benches::Spread;
use events::testing::{id, sample_time, samples};
use events::{
    Clock as _, Commit, CommitId, EventLog, ExpectedSeq, JetStreamLog, JetStreamSettings, STREAM_NAME,
    StreamSeq, Subject, SystemClock,
};
use serde_json::{Map, Value, json};
use testkit::NatsServer;
use tokio::task::JoinSet;

use crate::Outcome;

/// Writers, and so appends in flight.
const DEPTHS: [u32; 3] = [1, 64, 1_024];
/// When the server writes to disk.
const SYNC_INTERVALS: [&str; 2] = ["100ms", "always"];
/// How long one append may take: on a slow disk a thousand of them written one by one take seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// The stream of the bare publisher.
const BARE: &str = "BARE";

/// Who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Ours,
    Bare,
}

/// Figures of one publisher at one depth, a turn each.
#[derive(Debug, Default)]
struct Figures {
    rates: Vec<f64>,
    /// Processor time of this process per append, in microseconds. The server's own is not in it.
    cpu_us: Vec<f64>,
    latencies: Spread,
}

/// What one turn gave.
#[derive(Debug)]
struct Turn {
    rate: f64,
    cpu_us: f64,
    latencies: Vec<Duration>,
}

impl Figures {
    fn rate(&self) -> f64 {
        median(&self.rates)
    }

    fn to_json(&self) -> Value {
        let rounded = |ms: f64| (ms * 1_000.0).round() / 1_000.0;
        json!({
            "per_second": self.rate().round(),
            "per_second_of_each_run": self.rates.iter().map(|rate| rate.round()).collect::<Vec<_>>(),
            "cpu_us": rounded(median(&self.cpu_us)),
            "p50_ms": rounded(self.latencies.percentile_ms(0.5)),
            "p99_ms": rounded(self.latencies.percentile_ms(0.99)),
        })
    }
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Processor time this process has used, in hundredths of a second as the kernel counts it.
fn cpu_ticks() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = stat.rsplit_once(')').unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let [user, system] = [11, 12].map(|field| fields.get(field).and_then(|ticks| ticks.parse::<f64>().ok()));
    anyhow::Context::context(
        user.zip(system).map(|(user, system)| user + system),
        "no times in /proc/self/stat",
    )
}

/// Runs the bench: `rounds` turns of `turn` each, for everybody at every depth.
pub(crate) async fn measure(rounds: usize, turn: Duration) -> anyhow::Result<Outcome> {
    let [mut ours, mut limit, mut ratio] = [Map::new(), Map::new(), Map::new()];
    for sync_interval in SYNC_INTERVALS {
        let server = NatsServer::start_with_sync(Some(sync_interval));
        let mut figures: BTreeMap<(Who, u32), Figures> = BTreeMap::new();
        for round in 0..rounds {
            for depth in DEPTHS {
                let mut turns = [Who::Ours, Who::Bare];
                turns.rotate_left(round % 2);
                for who in turns {
                    let taken = take_turn(&server, who, depth, turn).await?;
                    let figures = figures.entry((who, depth)).or_default();
                    figures.rates.push(taken.rate);
                    figures.cpu_us.push(taken.cpu_us);
                    for latency in taken.latencies {
                        figures.latencies.add(latency);
                    }
                }
            }
        }
        let of = |who| {
            let depths = DEPTHS
                .iter()
                .map(|depth| (depth.to_string(), figures[&(who, *depth)].to_json()));
            depths.collect::<Map<_, _>>()
        };
        let shares = DEPTHS.iter().map(|depth| {
            let share = figures[&(Who::Ours, *depth)].rate() / figures[&(Who::Bare, *depth)].rate();
            (depth.to_string(), json!((share * 1_000.0).round() / 1_000.0))
        });
        let name = format!("sync_{sync_interval}");
        ours.insert(name.clone(), of(Who::Ours).into());
        limit.insert(name.clone(), of(Who::Bare).into());
        ratio.insert(name, shares.collect::<Map<_, _>>().into());
    }
    Ok(Outcome {
        name: "append",
        runs: rounds,
        ours: ours.into(),
        limit: limit.into(),
        ratio: ratio.into(),
    })
}

/// One publisher on fresh streams.
async fn take_turn(server: &NatsServer, who: Who, depth: u32, turn: Duration) -> anyhow::Result<Turn> {
    let client = async_nats::connect(server.url()).await?;
    let (log, bare) = fresh_streams(&client).await?;
    let mut writers = JoinSet::new();
    let clock = std::sync::Arc::new(SystemClock::new());
    let (end, ticks) = (clock.monotonic() + turn, cpu_ticks()?);
    for writer in 0..depth {
        let clock = clock.clone();
        match who {
            Who::Ours => {
                let (log, commit) = (log.clone(), commit_of(&format!("writer-{writer}")));
                writers.spawn(async move { append_until(&log, commit, &clock, end).await });
            }
            Who::Bare => {
                let bare = bare.clone();
                writers.spawn(async move { bare.publish_until(writer, &clock, end).await });
            }
        }
    }
    let mut latencies = Vec::new();
    while let Some(done) = writers.join_next().await {
        latencies.extend(done??);
    }
    let (took, used) = (clock.monotonic().saturating_sub(end) + turn, cpu_ticks()? - ticks);
    let stored = log.state().await?.messages;
    if who == Who::Ours {
        anyhow::ensure!(
            stored == latencies.len() as u64 + 1,
            "{stored} are stored, {} acknowledged",
            latencies.len()
        );
    }
    // Appends that were under way at the end are counted, so their time is too.
    let appends = latencies.len() as f64;
    Ok(Turn {
        rate: appends / took.as_secs_f64(),
        cpu_us: used * 10_000.0 / appends,
        latencies,
    })
}

async fn append_until(
    log: &JetStreamLog,
    mut commit: Commit,
    clock: &SystemClock,
    end: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let (mut latencies, mut last, subject) = (Vec::new(), StreamSeq::ZERO, commit.subject.to_string());
    let mut began = clock.monotonic();
    while began < end {
        commit.id = CommitId::derived(&[&subject, &latencies.len().to_string()]);
        last = log.append(&commit, ExpectedSeq::Exactly(last)).await??.seq;
        let now = clock.monotonic();
        latencies.push(now.saturating_sub(began));
        began = now;
    }
    Ok(latencies)
}

/// What an outcome and the next call make: the commonest commit.
fn commit_of(persona: &str) -> Commit {
    let events = samples()
        .into_iter()
        .filter(|event| ["ToolReturned", "ToolCalled"].contains(&event.type_name()));
    let commit_id = CommitId::derived(&["first", persona]);
    Commit::new(
        commit_id,
        Subject::Persona(id(persona)),
        sample_time(),
        events.collect(),
    )
    .in_tick(id("018f0000-0000-7000-8000-000000000002"))
    .caused_by("018f0000-0000-7000-8000-000000000003")
}

/// The log with one commit in it, and a publisher of the same bytes.
async fn fresh_streams(client: &Client) -> anyhow::Result<(JetStreamLog, BarePublisher)> {
    let context = jetstream::ContextBuilder::new()
        .timeout(PATIENCE)
        .build(client.clone());
    for name in [STREAM_NAME, BARE] {
        // The first turn finds none.
        let _ = context.delete_stream(name).await;
    }
    let settings = JetStreamSettings {
        append_within: PATIENCE,
        ..JetStreamSettings::default()
    };
    let log = JetStreamLog::open(client.clone(), settings).await?;
    let first = log
        .append(&commit_of("first"), ExpectedSeq::Exactly(StreamSeq::ZERO))
        .await??;
    let theirs = context.get_stream(STREAM_NAME).await?;
    let message = theirs.get_raw_message(first.seq.0).await?;
    let config = theirs.cached_info().config.clone();
    context
        .create_stream(stream::Config {
            name: BARE.to_owned(),
            subjects: vec!["bare.persona.*".to_owned()],
            ..config
        })
        .await?;
    let bare = BarePublisher {
        context,
        headers: message
            .headers
            .iter()
            .filter(|(name, _)| !name.to_string().starts_with("Nats-Expected-Last"))
            .filter_map(|(name, values)| Some((name.to_string(), values.first()?.to_string())))
            .collect(),
        payload: message.payload,
    };
    Ok((log, bare))
}

/// Publishes the same bytes for ever.
#[derive(Debug, Clone)]
struct BarePublisher {
    context: jetstream::Context,
    headers: Vec<(String, String)>,
    payload: bytes::Bytes,
}

impl BarePublisher {
    async fn publish_until(
        &self,
        writer: u32,
        clock: &SystemClock,
        end: Duration,
    ) -> anyhow::Result<Vec<Duration>> {
        let (mut latencies, subject) = (Vec::new(), format!("bare.persona.writer-{writer}"));
        let mut began = clock.monotonic();
        while began < end {
            let id = CommitId::derived(&[&subject, &latencies.len().to_string()]).to_string();
            let mut headers = HeaderMap::new();
            for (name, value) in &self.headers {
                headers.insert(name.as_str(), value.as_str());
            }
            headers.insert("ce-id", id.as_str());
            headers.insert(header::NATS_MESSAGE_ID, id.as_str());
            headers.insert(header::NATS_EXPECTED_STREAM, BARE);
            let message = PublishMessage::build()
                .headers(headers)
                .payload(self.payload.clone());
            self.context.send_publish(subject.clone(), message).await?.await?;
            let now = clock.monotonic();
            latencies.push(now.saturating_sub(began));
            began = now;
        }
        Ok(latencies)
    }
}
