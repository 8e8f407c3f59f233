//! From an acknowledged append to a row that can be read, at half of what the way can carry.
//!
//! Method: a nats-server, the driver and the real projector on SQLite in one process. First as many appends as the way
//! carries, from the first append to the last row: the maximal rate. Then, in each round, appends paced at half of it; of
//! every tenth the time from its acknowledgement until the tables have passed it (the moment their transaction is
//! committed), and, beside it, until a bare ordered consumer has been handed the message.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::{self, consumer::DeliverPolicy, consumer::pull};
use benches::Spread;
use benches::history::note;
use events::{
    Clock as _, Commit, CommitId, EventLog, ExpectedSeq, JetStreamLog, JetStreamSettings, StreamSeq,
    SystemClock,
};
use futures::StreamExt as _;
use projections::{Projector, ProjectorHandle, Tables};
use serde_json::json;
use testkit::NatsServer;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Outcome;

/// Appends in flight while the maximal rate is looked for.
const IN_FLIGHT: usize = 256;
/// One of so many appends is timed.
const TIMED: u64 = 10;
/// How often the pace is kept: appends go out in bursts of this time's worth.
const BEAT: Duration = Duration::from_millis(2);
/// How long a row may take before the bench gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs the bench.
pub(crate) async fn measure(rounds: usize, commits: u64) -> anyhow::Result<Outcome> {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await?;
    let log: Arc<dyn EventLog> = Arc::new(JetStreamLog::open(client, JetStreamSettings::default()).await?);
    let dir = tempfile::tempdir()?;
    let tables = Tables::open(&dir.path().join("tables.sqlite")).await?;
    let clock = Arc::new(SystemClock::new());
    let (projector, folded) = Projector::new(log.clone(), tables.clone(), clock.clone());
    let stop = CancellationToken::new();
    let mut folding = JoinSet::new();
    folding.spawn(projector.run(stop.clone()));

    let way = Way {
        log,
        folded,
        clock,
        url: server.url(),
    };
    let mut past = past();
    let per_second = way.maximal_rate(&mut past, commits).await?;
    let (mut ours, mut limit) = (Spread::default(), Spread::default());
    for _ in 0..rounds {
        way.at_pace(&mut past, commits, per_second / 2.0, &mut ours, &mut limit)
            .await?;
    }
    stop.cancel();
    while let Some(ended) = folding.join_next().await {
        ended??;
    }
    anyhow::ensure!(tables.counts().await?.parked == 0, "commits were parked");
    Ok(Outcome {
        name: "lag",
        runs: rounds,
        ours: json!({ "maximal_commits_per_second": per_second.round(), "at_half": ours.to_json() }),
        limit: json!({ "bare_consumer": limit.to_json() }),
        ratio: json!(limit.percentile_ms(0.5) / ours.percentile_ms(0.5)),
    })
}

/// New notes without end: each is a commit and a row of its own, so their order does not matter.
fn past() -> impl Iterator<Item = Commit> {
    (0u64..).map(|number| {
        let (subject, events) = note(number);
        let id = CommitId::derived(&["lag", &number.to_string()]);
        Commit::new(id, subject, events::testing::sample_time(), events)
    })
}

/// From append to row.
struct Way {
    log: Arc<dyn EventLog>,
    folded: ProjectorHandle,
    clock: Arc<SystemClock>,
    url: String,
}

impl Way {
    /// Appends as fast as it goes; commits a second from the first append to the last row.
    async fn maximal_rate(
        &self,
        past: &mut impl Iterator<Item = Commit>,
        commits: u64,
    ) -> anyhow::Result<f64> {
        let began = self.clock.monotonic();
        let count = usize::try_from(commits)?;
        let appends = past.take(count).map(|commit| append(self.log.clone(), commit));
        let mut appended = futures::stream::iter(appends).buffered(IN_FLIGHT);
        let mut last = StreamSeq::ZERO;
        while let Some(seq) = appended.next().await {
            last = last.max(seq?);
        }
        self.folded.wait_for(last, PATIENCE).await?;
        Ok(commits as f64 / self.clock.monotonic().saturating_sub(began).as_secs_f64())
    }

    /// Appends at a pace and times some.
    async fn at_pace(
        &self,
        past: &mut impl Iterator<Item = Commit>,
        commits: u64,
        per_second: f64,
        ours: &mut Spread,
        limit: &mut Spread,
    ) -> anyhow::Result<()> {
        let (received, mut reading) = self.read_bare().await?;
        let began = self.clock.monotonic();
        let mut timed = JoinSet::new();
        let mut plain = JoinSet::new();
        for number in 0..commits {
            let due = Duration::from_secs_f64(number as f64 / per_second);
            let early = due.saturating_sub(self.clock.monotonic().saturating_sub(began));
            if early > BEAT {
                self.clock.sleep(early).await;
            }
            let commit = past.next().context("the past is used up")?;
            let appending = append(self.log.clone(), commit);
            if number % TIMED == 0 {
                timed.spawn(time(
                    appending,
                    self.clock.clone(),
                    self.folded.clone(),
                    received.clone(),
                ));
            } else {
                plain.spawn(appending);
            }
            while let Some(done) = plain.try_join_next() {
                done??;
            }
        }
        while let Some(done) = timed.join_next().await {
            let (row, message) = done??;
            ours.add(row);
            limit.add(message);
        }
        while let Some(done) = plain.join_next().await {
            done??;
        }
        reading.abort_all();
        Ok(())
    }

    /// Follows the stream from its end on with a bare consumer; gives the place it has been handed last.
    async fn read_bare(&self) -> anyhow::Result<(watch::Receiver<u64>, JoinSet<anyhow::Result<()>>)> {
        let client = async_nats::connect(&self.url).await?;
        let stream = jetstream::new(client).get_stream(events::STREAM_NAME).await?;
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::New,
            ..pull::OrderedConfig::default()
        };
        let mut messages = stream.create_consumer(config).await?.messages().await?;
        let (sender, receiver) = watch::channel(0);
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            while let Some(message) = messages.next().await {
                let message = message?;
                let info = message.info().map_err(|error| anyhow::anyhow!(error))?;
                sender.send_replace(info.stream_sequence);
            }
            Ok(())
        });
        Ok((receiver, reading))
    }
}

async fn append(log: Arc<dyn EventLog>, commit: Commit) -> anyhow::Result<StreamSeq> {
    Ok(log.append(&commit, ExpectedSeq::Any).await??.seq)
}

/// From the acknowledgement to the row, and to the message at a bare consumer.
async fn time(
    appending: impl Future<Output = anyhow::Result<StreamSeq>>,
    clock: Arc<SystemClock>,
    folded: ProjectorHandle,
    mut received: watch::Receiver<u64>,
) -> anyhow::Result<(Duration, Duration)> {
    let seq = appending.await?;
    let acknowledged = clock.monotonic();
    let since = || clock.monotonic().saturating_sub(acknowledged);
    let row = async {
        folded.wait_for(seq, PATIENCE).await?;
        anyhow::Ok(since())
    };
    let message = async {
        received.wait_for(|handed| *handed >= seq.0).await?;
        anyhow::Ok(since())
    };
    tokio::try_join!(row, message)
}
