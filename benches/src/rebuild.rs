//! `dramatis rebuild` of a long log, beside a bare read of its stream and a bare insert of its rows.
//!
//! Method: a nats-server of its own holds the past. Each round runs the built program as its users do and takes its wall
//! time from start to exit (opening and swapping included) and the peak of its resident memory; then reads the stream
//! with an unfiltered ordered consumer that only counts; then writes the resulting rows without folding. All of it once
//! with a tenth of the events, to see whether cost and memory grow with the log.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use async_nats::jetstream::{self, consumer::pull};
use benches::history::{PERSONAS, history_of};
use benches::{BareRows, Site, Spread};
use events::{
    Clock as _, Commit, CommitId, EventLog as _, ExpectedSeq, JetStreamLog, JetStreamSettings, StreamSeq,
    Subject, SystemClock,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use testkit::NatsServer;

use crate::Outcome;

/// Personas whose past is appended at once.
const APPEND_AT_ONCE: usize = 64;
/// Pause between two looks at a process's memory.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What one size of log came to.
#[derive(Debug, Default)]
struct Size {
    events: u64,
    ours: Spread,
    read: Spread,
    insert: Spread,
    peak_bytes: u64,
}

/// Runs the bench.
pub(crate) async fn measure(program: &Path, rounds: usize, events: u64) -> anyhow::Result<Outcome> {
    let tenth = measure_size(program, rounds, events / 10).await?;
    let whole = measure_size(program, rounds, events).await?;
    let figures = |measured: &Size| {
        json!({
            "events": measured.events,
            "events_per_second": measured.ours.rate(measured.events),
            "peak_mb": measured.peak_bytes / 1_000_000,
        })
    };
    let bare = |measured: &Size| {
        json!({
            "read_events_per_second": measured.read.rate(measured.events),
            "insert_events_per_second": measured.insert.rate(measured.events),
        })
    };
    let ratio = |measured: &Size| {
        let slower = measured
            .read
            .percentile_ms(0.5)
            .max(measured.insert.percentile_ms(0.5));
        slower / measured.ours.percentile_ms(0.5)
    };
    Ok(Outcome {
        name: "rebuild",
        runs: rounds,
        ours: json!({ "whole": figures(&whole), "tenth": figures(&tenth) }),
        limit: json!({ "whole": bare(&whole), "tenth": bare(&tenth) }),
        ratio: json!({ "whole": ratio(&whole), "tenth": ratio(&tenth) }),
    })
}

async fn measure_size(program: &Path, rounds: usize, events: u64) -> anyhow::Result<Size> {
    let server = NatsServer::start();
    let mut measured = Size {
        events: append_history(async_nats::connect(server.url()).await?, events, Beside::Nobody).await?,
        ..Size::default()
    };
    for _ in 0..rounds {
        let dir = tempfile::tempdir()?;
        let site = Site::new(program, &dir.path().join("data"))?
            .with_setting("DRAMATIS_NATS", &server.url())
            .with_setting("DRAMATIS_NATS_MONITOR", &server.monitor_url());
        let (took, peak_bytes) = rebuild(&site, measured.events).await?;
        measured.ours.add(took);
        measured.peak_bytes = measured.peak_bytes.max(peak_bytes);
        measured.read.add(read_bare(&server.url()).await?);
        let rows = BareRows::read(&site.data().join("dramatis.sqlite")).await?;
        measured
            .insert
            .add(rows.insert_into_sqlite(&dir.path().join("bare.sqlite")).await?);
    }
    Ok(measured)
}

/// Who else writes to the log meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    Nobody,
    /// A house, which says of ticks it finds unfinished that they were interrupted.
    House,
}

/// Appends the past through the driver, many personas at once, each guarded where nobody else writes; gives how many
/// events it has.
pub(crate) async fn append_history(
    client: async_nats::Client,
    events: u64,
    beside: Beside,
) -> anyhow::Result<u64> {
    let log = JetStreamLog::open(client, JetStreamSettings::default()).await?;
    let log = &log;
    stream::iter(0..PERSONAS)
        .map(|persona| async move {
            let (mut after, mut appended) = (StreamSeq::ZERO, 0);
            for (number, (subject, events)) in history_of(persona, events).enumerate() {
                appended += events.len() as u64;
                let is_guarded = beside == Beside::Nobody && matches!(subject, Subject::Persona(_));
                let id = CommitId::derived(&["bench", &persona.to_string(), &number.to_string()]);
                let commit = Commit::new(id, subject, events::testing::sample_time(), events);
                let expected = if is_guarded {
                    ExpectedSeq::Exactly(after)
                } else {
                    ExpectedSeq::Any
                };
                let seq = log.append(&commit, expected).await??.seq;
                if is_guarded {
                    after = seq;
                }
            }
            anyhow::Ok(appended)
        })
        .buffer_unordered(APPEND_AT_ONCE)
        .try_fold(0, |sum, appended| std::future::ready(Ok(sum + appended)))
        .await
}

/// Runs the command; gives its wall time and the peak of its resident memory in bytes.
async fn rebuild(site: &Site, events: u64) -> anyhow::Result<(Duration, u64)> {
    let clock = SystemClock::new();
    let mut command = site.command(&["rebuild", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut peak_bytes = 0;
    let status = loop {
        peak_bytes = peak_bytes.max(peak_of(child.id()).unwrap_or_default());
        if let Some(status) = child.try_wait()? {
            break status;
        }
        clock.sleep(LOOK_EVERY).await;
    };
    let took = clock.monotonic();
    let output = child.wait_with_output()?;
    if !status.success() {
        bail!("rebuild ended with {status}");
    }
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["events"] == events, "not all events were folded: {report}");
    Ok((took, peak_bytes))
}

/// The peak of a process's resident memory, as the kernel keeps it.
fn peak_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1_024)
}

/// Reads the whole stream and only counts.
async fn read_bare(url: &str) -> anyhow::Result<Duration> {
    let client = async_nats::connect(url).await?;
    let stream = jetstream::new(client).get_stream(events::STREAM_NAME).await?;
    let stored = stream.get_info().await?.state.messages;
    let clock = SystemClock::new();
    let consumer = stream.create_consumer(pull::OrderedConfig::default()).await?;
    let mut messages = consumer.messages().await?;
    for _ in 0..stored {
        messages.next().await.context("the stream ended")??;
    }
    Ok(clock.monotonic())
}
