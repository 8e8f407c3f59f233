//! Rounds of load, each with one kill at a random moment, each judged when the program is back.

mod hurt;
mod judge;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use benches::{House, Site, Spread};
use events::{Clock as _, SystemClock};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::ledger::{Kind, Ledger};
use crate::load::{Batch, Load, PEOPLE, Town};
use crate::log_view::LogView;
use crate::report::Report;

use hurt::Hurt;

/// The longest a load goes on before the kill.
const LOAD_MS_MAX: u64 = 2_000;
/// How long writers go on when the program is back.
const AFTERWARDS: Duration = Duration::from_millis(200);

/// What is to be tried.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    pub(crate) rounds: u32,
    /// The time after which no further round is begun.
    pub(crate) time: Option<Duration>,
    pub(crate) seed: u64,
    pub(crate) verify_every: u32,
    /// The longest that 99 of 100 kills may keep the program away.
    pub(crate) ready_within: Duration,
    pub(crate) ledger: Option<PathBuf>,
}

/// A trial under way.
struct Trial {
    site: Site,
    house: Option<House>,
    town: Arc<Town>,
    clock: SystemClock,
    chance: ChaCha8Rng,
    log: LogView,
    in_doubt: Vec<Batch>,
    nats_kills_in_a_row: u32,
    report: Report,
}

/// The nats-server of a killed program lives on; it must not outlive the trial.
struct Leftover(Site);

impl Drop for Leftover {
    fn drop(&mut self) {
        self.0.kill_nats();
    }
}

/// Runs the trial.
///
/// # Errors
/// When it cannot be begun or judged; what it finds wrong is in the report.
pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let dir = tempfile::tempdir()?;
    let site = Site::new(&plan.program, &dir.path().join("data"))?
        .with_setting("PERSONA_CONCURRENCY", "4")
        // A tick that a lost log ended is found unfinished by the scheduler's next look; a trial does not wait a minute.
        .with_setting("TICK_INTERVAL_MS", "5000")
        // Sessions of clients that were cut off stay until they are idle for long.
        .with_setting("DRAMATIS_SESSIONS_PER_USER_MAX", "1000");
    let leftover = Leftover(site.clone());
    let mut trial = Trial::begin(plan, site).await?;
    trial.go_on(plan).await;
    let began = trial.clock.monotonic();
    if let Some(house) = trial.house.take() {
        trial.expect_clean_stop(0, house, began).await;
    }
    let report = trial.report;
    if report.failed > 0 {
        drop(leftover);
        eprintln!("the folder of this trial is kept: {}", dir.keep().display());
    }
    Ok(report)
}

impl Trial {
    async fn begin(plan: &Plan, site: Site) -> anyhow::Result<Self> {
        let clock = SystemClock::new();
        let house = site.start_ready().await?;
        site.seed()?;
        let mut people = Vec::new();
        for person in 0..PEOPLE {
            people.push(site.account(&format!("person-{person}@example.org")).await?);
        }
        let town = Town {
            api: site.api(),
            personas: personas(&site).await?,
            people,
            ledger: Ledger::open(plan.ledger.as_deref())?,
            prefix: format!("trial-{}", plan.seed),
            tickers: 2,
        };
        Ok(Self {
            site,
            house: Some(house),
            town: Arc::new(town),
            clock,
            chance: ChaCha8Rng::seed_from_u64(plan.seed),
            log: LogView::default(),
            in_doubt: Vec::new(),
            nats_kills_in_a_row: 0,
            report: Report {
                name: "kill",
                seed: plan.seed,
                tried: 0,
                failed: 0,
                acknowledged: BTreeMap::new(),
                in_doubt: 0,
                kills: BTreeMap::new(),
                ready: Spread::default(),
                interrupted_ticks: 0,
                messages: 0,
                events: 0,
                verified: 0,
                seconds: 0,
                faults: Vec::new(),
            },
        })
    }

    /// All rounds, then what is judged once. A round in which something is wrong is the last: what is lost stays lost,
    /// and the folder shows it best as it is.
    async fn go_on(&mut self, plan: &Plan) {
        let began = self.clock.monotonic();
        let elapsed = |trial: &Self| trial.clock.monotonic().saturating_sub(began);
        while self.report.tried < plan.rounds && plan.time.is_none_or(|time| elapsed(self) < time) {
            let found = self.report.faults.len();
            let is_verified = (self.report.tried + 1).is_multiple_of(plan.verify_every);
            self.round(plan.seed, is_verified).await;
            if self.report.faults.len() > found {
                self.report.failed += 1;
                break;
            }
        }
        let found = self.report.faults.len();
        if self.report.failed == 0 {
            self.judge_the_whole(plan).await;
        }
        self.report.failed += u32::from(self.report.faults.len() > found);
        self.report.seconds = elapsed(self).as_secs();
        self.sum_up();
    }

    /// One round: load, a kill, and what is there when the program is back.
    async fn round(&mut self, seed: u64, is_verified: bool) {
        self.report.tried += 1;
        let round = self.report.tried;
        let load = Load::begin(&self.town, seed, round, std::mem::take(&mut self.in_doubt));
        let moment = self.chance.random_range(0..=LOAD_MS_MAX);
        self.clock.sleep(Duration::from_millis(moment)).await;
        let hurt = Hurt::choose(&mut self.chance, self.nats_kills_in_a_row);
        *self.report.kills.entry(hurt.as_str()).or_default() += 1;
        match self.hurt(round, hurt).await {
            Ok(took) => {
                self.report.ready.add(took);
                self.clock.sleep(AFTERWARDS).await;
                self.in_doubt = load.end().await;
                self.judge(round, is_verified).await;
            }
            Err(error) => {
                self.fault(
                    round,
                    format!("the program is not back after {}: {error:#}", hurt.as_str()),
                );
                self.in_doubt = load.end().await;
            }
        }
        eprintln!(
            "round {round}: {} after {moment} ms of load, {} acknowledged so far, {} faults",
            hurt.as_str(),
            self.town.ledger.pages().acknowledged.len(),
            self.report.faults.len()
        );
    }

    fn fault(&mut self, round: u32, text: impl Into<String>) {
        let text = text.into();
        eprintln!("round {round}: FAULT {text}");
        self.report.faults.push(format!("round {round}: {text}"));
    }

    fn sum_up(&mut self) {
        let pages = self.town.ledger.pages();
        for (kind, name) in [
            (Kind::Action, "action"),
            (Kind::Rating, "rating"),
            (Kind::Record, "record"),
        ] {
            let count = pages
                .acknowledged
                .iter()
                .filter(|entry| entry.kind == kind)
                .count();
            self.report.acknowledged.insert(name, count as u64);
        }
        let nameless = pages.titles.values().filter(|id| id.is_none()).count();
        self.report.in_doubt = (pages.in_doubt.len() + nameless) as u64;
        self.report.interrupted_ticks = self.log.interrupted_ticks;
        self.report.messages = self.log.message_ids.len() as u64;
        self.report.events = self.log.events;
    }
}

/// Ids and emails of all personas.
async fn personas(site: &Site) -> anyhow::Result<Vec<(String, String)>> {
    let asked = reqwest::Client::new().get(format!("{}/api/v1/personas/admin", site.api()));
    let answer: Value = asked
        .bearer_auth(site.admin_token()?)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    let listed = answer["personas"].as_array().context("a list of personas")?;
    let text = |persona: &Value, name: &str| persona[name].as_str().unwrap_or_default().to_owned();
    Ok(listed
        .iter()
        .map(|persona| (text(persona, "userId"), text(persona, "email")))
        .collect())
}
