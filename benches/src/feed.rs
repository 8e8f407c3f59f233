//! The live feed at a steady pace: how late an event is on a page, and what viewers that do not read cost who writes.
//!
//! Method: the program as its users run it. Writers append what personas do, together a given number of events a second,
//! each timed to its acknowledgement. With `--browser` a page in Chromium shows the built-in feed meanwhile and measures
//! from each event's time (its writer's clock, which is the page's) to the frame it is painted in. Then rounds without
//! viewers and with stalled ones in turn: half of them on the built-in feed, half on NATS, admitted and never reading
//! again. The time of an append with stalled viewers is judged beside that without.

mod stalled;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use benches::history::{Decision, history_of};
use benches::{Site, Spread};
use events::{
    Clock as _, Commit, CommitId, EventLog, ExpectedSeq, JetStreamLog, JetStreamSettings, SystemClock,
};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Outcome;
use stalled::Stalled;

/// Personas that act at once.
const WRITERS: u64 = 16;
/// How long the page may take from its start to its figures, beyond the time it looks on.
const PAGE_WITHIN: Duration = Duration::from_mins(3);

/// What is to be measured.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Rounds, each of them once without and once with stalled viewers.
    pub(crate) rounds: usize,
    /// How long each turn takes.
    pub(crate) turn: Duration,
    /// Events a second.
    pub(crate) per_second: u64,
    /// Viewers that do not read.
    pub(crate) viewers: usize,
    /// A script that looks at the feed in a browser.
    pub(crate) browser: Option<PathBuf>,
}

/// Runs the bench.
pub(crate) async fn measure(program: &Path, plan: Plan) -> anyhow::Result<Outcome> {
    let dir = tempfile::tempdir()?;
    let site = Site::new(program, &dir.path().join("data"))?;
    let house = site.start_ready().await?;
    let mut stage = Stage::open(&site, plan.per_second).await?;
    let page = match &plan.browser {
        Some(script) => Some(stage.watched(&site, script, plan.turn).await?),
        None => None,
    };
    let (mut alone, mut watched) = (Spread::default(), Spread::default());
    let mut paces = Vec::new();
    for _ in 0..plan.rounds {
        paces.push(stage.write(plan.turn, &mut alone).await?);
        let stalled = Stalled::open(&site, plan.viewers).await?;
        paces.push(stage.write(plan.turn, &mut watched).await?);
        drop(stalled);
    }
    let status = house.stop().await?;
    ensure!(status.success(), "the house ended with {status}");
    let slowest = paces.iter().copied().fold(f64::INFINITY, f64::min);
    let rounded = |figure: f64| (figure * 100.0).round() / 100.0;
    Ok(Outcome {
        name: "feed",
        runs: plan.rounds,
        ours: json!({
            "event_to_pixel": page,
            "appends_with_stalled_viewers": watched.to_json(),
            "viewers": plan.viewers,
            "events_per_second_at_least": slowest.round(),
        }),
        limit: json!({ "appends_without_viewers": alone.to_json() }),
        ratio: json!({
            "p50": rounded(alone.percentile_ms(0.5) / watched.percentile_ms(0.5)),
            "p99": rounded(alone.percentile_ms(0.99) / watched.percentile_ms(0.99)),
        }),
    })
}

/// Personas with their pasts still to come, and the log they are written to.
struct Stage {
    log: Arc<dyn EventLog>,
    clock: Arc<SystemClock>,
    pasts: Vec<Past>,
    per_second: u64,
}

/// What one persona does, from where it is.
struct Past {
    persona: u64,
    number: u64,
    decisions: Box<dyn Iterator<Item = Decision> + Send>,
}

impl Stage {
    async fn open(site: &Site, per_second: u64) -> anyhow::Result<Self> {
        let log = JetStreamLog::open(site.nats().await?, JetStreamSettings::default()).await?;
        let past = |persona| Past {
            persona,
            number: 0,
            decisions: Box::new(history_of(persona, u64::from(u32::MAX))),
        };
        Ok(Self {
            log: Arc::new(log),
            clock: Arc::new(SystemClock::new()),
            pasts: (0..WRITERS).map(past).collect(),
            per_second,
        })
    }

    /// Has everybody act for `turn`; gives the events a second that came of it.
    async fn write(&mut self, turn: Duration, times: &mut Spread) -> anyhow::Result<f64> {
        let (stop, stopped) = watch::channel(false);
        let mut acting = self.act(&stopped);
        let began = self.clock.monotonic();
        self.clock.sleep(turn).await;
        stop.send_replace(true);
        let events = self.rest(&mut acting, times).await?;
        Ok(events as f64 / self.clock.monotonic().saturating_sub(began).as_secs_f64())
    }

    /// Has everybody act until a page in a browser has seen enough; gives what it measured.
    async fn watched(&mut self, site: &Site, script: &Path, turn: Duration) -> anyhow::Result<Value> {
        let page = Command::new("node")
            .arg(script)
            .env("DASHBOARD_API", site.api())
            .env("DASHBOARD_TOKEN", site.admin_token()?)
            .env("SECONDS", turn.as_secs().max(1).to_string())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .output();
        let (stop, stopped) = watch::channel(false);
        let mut acting = self.act(&stopped);
        let seen = tokio::time::timeout(turn + PAGE_WITHIN, page).await;
        stop.send_replace(true);
        self.rest(&mut acting, &mut Spread::default()).await?;
        let seen = seen.context("the page does not come to an end")??;
        ensure!(seen.status.success(), "the page failed: {}", seen.status);
        Ok(serde_json::from_slice(&seen.stdout)?)
    }

    fn act(
        &mut self,
        stopped: &watch::Receiver<bool>,
    ) -> JoinSet<anyhow::Result<(Past, u64, Vec<Duration>)>> {
        let apart = Duration::from_secs_f64(WRITERS as f64 / self.per_second as f64);
        let mut acting = JoinSet::new();
        for past in self.pasts.drain(..) {
            let writer = Writer {
                log: self.log.clone(),
                clock: self.clock.clone(),
                apart,
                stopped: stopped.clone(),
            };
            acting.spawn(writer.act(past));
        }
        acting
    }

    async fn rest(
        &mut self,
        acting: &mut JoinSet<anyhow::Result<(Past, u64, Vec<Duration>)>>,
        times: &mut Spread,
    ) -> anyhow::Result<u64> {
        let mut all = 0;
        while let Some(rested) = acting.join_next().await {
            let (past, events, took) = rested??;
            self.pasts.push(past);
            all += events;
            for took in took {
                times.add(took);
            }
        }
        Ok(all)
    }
}

/// One persona that acts at its pace.
struct Writer {
    log: Arc<dyn EventLog>,
    clock: Arc<SystemClock>,
    /// From one event to the next.
    apart: Duration,
    stopped: watch::Receiver<bool>,
}

impl Writer {
    async fn act(self, mut past: Past) -> anyhow::Result<(Past, u64, Vec<Duration>)> {
        let began = self.clock.monotonic();
        // Everybody begins somewhere else within the pace.
        let mut due = self.apart.mul_f64(past.persona as f64 / WRITERS as f64);
        let (mut events, mut times) = (0, Vec::new());
        while !*self.stopped.borrow() {
            let (subject, what) = past.decisions.next().context("the past is used up")?;
            let count = u32::try_from(what.len())?;
            let early = due.saturating_sub(self.clock.monotonic().saturating_sub(began));
            self.clock.sleep(early).await;
            let key = [past.persona.to_string(), past.number.to_string()];
            let id = CommitId::derived(&["feed", &key[0], &key[1]]);
            let sent = self.clock.monotonic();
            let commit = Commit::new(id, subject, self.clock.now(), what);
            let appended = self.log.append(&commit, ExpectedSeq::Any).await??;
            ensure!(!appended.duplicate, "this was in the log before");
            times.push(self.clock.monotonic().saturating_sub(sent));
            past.number += 1;
            events += u64::from(count);
            due += self.apart * count;
        }
        Ok((past, events, times))
    }
}
