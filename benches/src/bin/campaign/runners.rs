//! Three runners, processes of their own, share what is due on one nats-server while one of them is killed.
//!
//! Everybody is due at the same time. When so many ticks have begun, as the seed says, one runner gets `SIGKILL` with
//! ticks in its hands; nobody is told. In the end each persona must have lived one tick, each tick must have one beginning
//! and one end, and no call may have reached the gateway twice. What the killed one had begun ends as interrupted once the
//! work queue has waited for it long enough.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use benches::{Site, write_catalog};
use events::{Event, JetStreamLog, JetStreamSettings, LogError, PersonaId, StreamSeq, TickId, read_to_end};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use testkit::{NatsServer, wait_until_async};
use tokio::sync::Mutex;

use crate::trial::Trial;

/// Runners that share what is due.
const RUNNERS: usize = 3;
/// Ticks each of them lives at once.
const AT_ONCE: &str = "4";
/// How long the runners may take to begin, and to come to an end.
const PATIENCE: Duration = Duration::from_mins(30);

/// Lets `personas` act once.
///
/// # Errors
/// When the program cannot be run, or it does not come to an end.
#[expect(clippy::disallowed_methods, reason = "a trial takes real time")]
pub(crate) async fn run(program: &Path, personas: u32, seed: u64) -> anyhow::Result<Trial> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let (dir, nats) = (tempfile::tempdir()?, NatsServer::start());
    let site = Site::new(program, &dir.path().join("data"))?
        .with_setting("DRAMATIS_NATS", &nats.url())
        .with_setting("DRAMATIS_NATS_MONITOR", &nats.monitor_url());
    let house = site.start_ready().await?;
    let catalog = dir.path().join("cast.json");
    write_catalog(&catalog, usize::try_from(personas)?, |_, persona| {
        persona["tickCadence"] = json!("daily");
    })?;
    site.seed_from(&catalog)?;

    let log = JetStreamLog::open(
        async_nats::connect(nats.url()).await?,
        JetStreamSettings::default(),
    )
    .await?;
    let told = Arc::new(Mutex::new(Seen::default()));
    let wanted = usize::try_from(personas)?;
    let began = Instant::now();
    let mut runners = Vec::new();
    for number in 0..RUNNERS {
        runners.push(Runner::start(
            &site,
            &dir.path().join(format!("runner-{number}.log")),
        )?);
    }
    let killed_after = wanted * dice.random_range(20..60) / 100;
    let has_begun = || async {
        let mut told = told.lock().await;
        told.read_on(&log).await.is_ok() && told.ticks.len() >= killed_after
    };
    ensure!(
        wait_until_async(PATIENCE, has_begun).await,
        "of {wanted} ticks only {} began",
        told.lock().await.ticks.len()
    );
    drop(runners.swap_remove(dice.random_range(0..RUNNERS)));
    let has_ended = || async {
        let mut told = told.lock().await;
        told.read_on(&log).await.is_ok() && told.ended() >= wanted
    };
    let is_over = wait_until_async(PATIENCE, has_ended).await;
    let seconds = began.elapsed().as_secs();
    drop(runners);
    let mut told = told.lock().await;
    told.read_on(&log).await?;
    let mut trial = Trial::new("runners", seed);
    trial.seconds = seconds;
    told.judge(&mut trial);
    if !is_over || told.personas.len() != wanted {
        trial.failed += 1;
        let said = format!(
            "{} of {wanted} personas lived, {} ticks ended",
            told.personas.len(),
            told.ended()
        );
        trial.faults.push(said);
    }
    trial
        .by
        .insert("ticks begun when one was killed".to_owned(), killed_after as u64);
    let verified = site.run(&["verify", "--json"])?;
    if !verified.status.success() {
        trial.failed += 1;
        trial
            .faults
            .push(String::from_utf8_lossy(&verified.stderr).into_owned());
    }
    house.stop().await?;
    Ok(trial)
}

/// A runner. Killed (`SIGKILL`) when dropped.
#[derive(Debug)]
struct Runner(Child);

impl Runner {
    fn start(site: &Site, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log)?;
        let child = site
            .command(&["runner", "--gateway", &site.api()])
            .env_remove("RUNNER_PAUSED")
            .env("PERSONA_CONCURRENCY", AT_ONCE)
            .env("TICK_INTERVAL_MS", "1000")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A tick as the log tells it.
#[derive(Debug, Default)]
struct Tick {
    begun: u32,
    ended: u32,
    is_interrupted: bool,
    /// Calls without an outcome.
    open: i64,
}

/// What the log says so far.
#[derive(Debug, Default)]
struct Seen {
    at: StreamSeq,
    ticks: BTreeMap<TickId, Tick>,
    /// Ticks of each persona.
    personas: BTreeMap<PersonaId, u32>,
    /// How often each call was written down, and how often it came to the gateway.
    calls: BTreeMap<String, (u32, u32)>,
}

impl Seen {
    async fn read_on(&mut self, log: &JetStreamLog) -> Result<(), LogError> {
        let from = self.at;
        read_to_end(log, from, |delivery| -> Result<(), LogError> {
            self.at = delivery.seq();
            for (_, event) in delivery.into_commit()?.events() {
                self.take(event);
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::TickStarted(started) => {
                self.tick(&started.tick_id).begun += 1;
                *self.personas.entry(started.persona_id.clone()).or_default() += 1;
            }
            Event::TickFinished(finished) => self.tick(&finished.tick_id).ended += 1,
            Event::TickInterrupted(interrupted) => {
                let tick = self.tick(&interrupted.tick_id);
                tick.ended += 1;
                tick.is_interrupted = true;
            }
            Event::ToolCalled(called) => {
                self.tick(&called.tick_id).open += 1;
                self.calls.entry(called.call_id.to_string()).or_default().0 += 1;
            }
            Event::ToolReturned(returned) => self.tick(&returned.tick_id).open -= 1,
            Event::ToolFailed(failed) => self.tick(&failed.tick_id).open -= 1,
            Event::CallStarted(started) => {
                if let Some(call_id) = &started.client_call_id {
                    self.calls.entry(call_id.to_string()).or_default().1 += 1;
                }
            }
            _ => {}
        }
    }

    fn tick(&mut self, tick_id: &TickId) -> &mut Tick {
        self.ticks.entry(tick_id.clone()).or_default()
    }

    fn ended(&self) -> usize {
        self.ticks.values().filter(|tick| tick.ended > 0).count()
    }

    fn judge(&self, trial: &mut Trial) {
        for (tick_id, tick) in &self.ticks {
            let kind = if tick.is_interrupted {
                "ticks that end as interrupted"
            } else {
                "ticks that were finished"
            };
            let is_whole = (tick.begun, tick.ended) == (1, 1) && (tick.open == 0 || tick.is_interrupted);
            trial.add(kind, (!is_whole).then(|| format!("tick {tick_id}: {tick:?}")));
        }
        for (persona_id, ticks) in self.personas.iter().filter(|(_, ticks)| **ticks != 1) {
            trial.failed += 1;
            trial.faults.push(format!("{persona_id} lived {ticks} ticks"));
        }
        let mut sent = 0;
        for (call_id, (planned, came)) in &self.calls {
            sent += u64::from(*came);
            if *planned != 1 || *came > 1 {
                trial.failed += 1;
                trial.faults.push(format!(
                    "call {call_id} was written down {planned} times and came {came} times"
                ));
            }
        }
        trial.by.insert("calls that came to the gateway".to_owned(), sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_lived_twice_and_a_call_that_came_twice_are_faults() {
        let mut told = Seen::default();
        for event in events::testing::samples() {
            told.take(&event);
        }
        let started = |event: &Event| matches!(event, Event::TickStarted(_));
        let came = |event: &Event| matches!(event, Event::CallStarted(_));
        let judged = |told: &Seen| {
            let mut trial = Trial::new("runners", 1);
            told.judge(&mut trial);
            trial.faults
        };
        let before = judged(&told).len();
        for event in events::testing::samples().iter().filter(|event| started(event)) {
            told.take(event);
        }
        let lived_twice = judged(&told);
        assert!(lived_twice.len() > before, "{lived_twice:?}");
        for event in events::testing::samples().iter().filter(|event| came(event)) {
            told.take(event);
            told.take(event);
        }
        assert!(judged(&told).len() > lived_twice.len(), "{:?}", judged(&told));
    }
}
