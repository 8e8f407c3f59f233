//! Ten processes on one log and one database: three nats-servers, two gateways, two projectors, three runners. One after
//! the other is killed under load, the rest goes on, and it is started again; what is there is judged each time.

mod balancer;
mod member;
mod nats;
mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use benches::Spread;
use events::{Clock as _, SystemClock};
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::ledger::{Kind as Written, Ledger};
use crate::load::{Batch, Load, PEOPLE, Town, acknowledge_one};
use crate::log_view::{LogView, tick_of};
use crate::report::Report;
use crate::table_view::TableView;
use crate::{check, read_back};

use member::Kind;
use place::Place;

/// The longest a load goes on before the kill.
const LOAD_MS_MAX: u64 = 1_500;
/// How long writers go on while one is away.
const WITHOUT: Duration = Duration::from_millis(500);
/// Personas enrolled in each round, whose first tick is due at once, for whichever runner takes it.
const NEWCOMERS: u32 = 3;
/// How often a write is tried while one is away; each try waits for twenty seconds.
const TRIES_MAX: u32 = 4;
/// How long the tables may be behind the log, and the cluster without a leader, on a machine that has other things to do.
const LEVEL_WITHIN: Duration = Duration::from_mins(2);
/// How long it may take until every tick is begun, and ended or found unfinished: the queue hands a dead runner's on after
/// half a minute, and a dead gateway's is closed when it is overdue.
const TICKS_WITHIN: Duration = Duration::from_mins(4);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is to be tried.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    pub(crate) rounds: u32,
    pub(crate) nats_config: PathBuf,
    pub(crate) seed: u64,
}

/// A trial under way.
struct Trial {
    place: Place,
    town: Arc<Town>,
    admin: String,
    clock: SystemClock,
    chance: ChaCha8Rng,
    log: LogView,
    in_doubt: Vec<Batch>,
    /// Personas whose first tick is a runner's.
    newcomers: Vec<String>,
    report: Report,
}

/// Runs the trial.
///
/// # Errors
/// When it cannot be begun; what it finds wrong is in the report.
pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let dir = tempfile::tempdir()?;
    let mut trial = Trial::begin(plan, &std::fs::canonicalize(dir.path())?).await?;
    trial.go_on(plan).await;
    let report = trial.report;
    drop(trial.place);
    if report.failed > 0 {
        eprintln!("the folder of this trial is kept: {}", dir.keep().display());
    }
    Ok(report)
}

/// Which members are killed in which order: of the first four one of each kind, of the first ten each once.
fn order(chance: &mut ChaCha8Rng, kinds: &[Kind], rounds: u32) -> Vec<usize> {
    let mut of_each = Kind::ALL.to_vec();
    of_each.shuffle(chance);
    let mut first: Vec<usize> = Vec::new();
    for kind in of_each {
        let places: Vec<usize> = (0..kinds.len()).filter(|place| kinds[*place] == kind).collect();
        first.extend(places.choose(chance));
    }
    let mut rest: Vec<usize> = (0..kinds.len()).filter(|place| !first.contains(place)).collect();
    rest.shuffle(chance);
    first.extend(rest);
    first.into_iter().cycle().take(rounds as usize).collect()
}

impl Trial {
    async fn begin(plan: &Plan, dir: &std::path::Path) -> anyhow::Result<Self> {
        let clock = SystemClock::new();
        let place = Place::start(&plan.program, &plan.nats_config, dir).await?;
        let api = place.people.url.clone();
        let admin = place.run(&["token"], None)?.trim().to_owned();
        place.run(&["seed", "--json", "--api", &api], Some(&admin))?;
        let mut people = Vec::new();
        for person in 0..PEOPLE {
            people.push(account(&api, &format!("person-{person}@example.org")).await?);
        }
        let town = Town {
            personas: personas(&api, &admin).await?,
            people,
            ledger: Ledger::open(None)?,
            prefix: format!("trial-{}", plan.seed),
            // Runners live what is due; nobody is told to act.
            tickers: 0,
            api,
        };
        let newcomers = town.personas.iter().map(|(id, _)| id.clone()).collect();
        Ok(Self {
            place,
            town: Arc::new(town),
            admin,
            clock,
            chance: ChaCha8Rng::seed_from_u64(plan.seed),
            log: LogView::default(),
            in_doubt: Vec::new(),
            newcomers,
            report: Report {
                name: "cluster",
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

    /// All rounds, then what only the whole trial shows. A round in which something is wrong is the last.
    async fn go_on(&mut self, plan: &Plan) {
        let began = self.clock.monotonic();
        let kinds: Vec<Kind> = self.place.members.iter().map(|member| member.kind).collect();
        for index in order(&mut self.chance, &kinds, plan.rounds) {
            let found = self.report.faults.len();
            self.report.tried += 1;
            if let Err(error) = self.round(plan.seed, index).await {
                self.fault(format!("{error:#}"));
            }
            if self.report.faults.len() > found {
                self.report.failed += 1;
                break;
            }
        }
        let found = self.report.faults.len();
        if self.report.failed == 0
            && let Err(error) = self.judge_the_whole().await
        {
            self.fault(format!("cannot be judged: {error:#}"));
        }
        self.report.failed += u32::from(self.report.faults.len() > found);
        self.report.seconds = self.clock.monotonic().saturating_sub(began).as_secs();
        self.sum_up();
    }

    /// One round: load, a kill, service by the others, a new start, and what is there then.
    async fn round(&mut self, seed: u64, index: usize) -> anyhow::Result<()> {
        let round = self.report.tried;
        let load = Load::begin(&self.town, seed, round, std::mem::take(&mut self.in_doubt));
        for number in 0..NEWCOMERS {
            self.enrol(&format!("newcomer-{round}-{number}")).await?;
        }
        let moment = self.chance.random_range(0..=LOAD_MS_MAX);
        self.clock.sleep(Duration::from_millis(moment)).await;
        let member = self.place.members.get_mut(index).context("a member")?;
        let (name, kind) = (member.name.clone(), member.kind);
        member.kill()?;
        *self.report.kills.entry(kind.as_str()).or_default() += 1;
        let killed = self.clock.monotonic();
        let is_served = self.is_served(round).await;
        let took = self.clock.monotonic().saturating_sub(killed);
        self.report.ready.add(took);
        if !is_served {
            self.fault(format!("while {name} is away no write is acknowledged"));
        }
        self.enrol(&format!("newcomer-{round}-without-{name}")).await?;
        self.clock.sleep(WITHOUT).await;
        self.in_doubt = load.end().await;
        // The tables come level with the log while it is away.
        self.judge(true).await?;
        let member = self.place.members.get_mut(index).context("a member")?;
        member.start()?;
        member.wait_until_ready().await?;
        self.judge(true).await?;
        eprintln!(
            "round {round}: {name} after {moment} ms of load; served again after {} ms, {} acknowledged so far, {} faults",
            took.as_millis(),
            self.town.ledger.pages().acknowledged.len(),
            self.report.faults.len()
        );
        Ok(())
    }

    async fn is_served(&self, round: u32) -> bool {
        for number in 0..TRIES_MAX {
            let name = format!("{}-{round}-again-{number}", self.town.prefix);
            if acknowledge_one(&self.town, &name).await {
                return true;
            }
        }
        false
    }

    /// Enrols somebody who is due at once. Who is enrolled twice is enrolled once.
    async fn enrol(&mut self, name: &str) -> anyhow::Result<()> {
        let email = format!("persona.{name}@mana.test");
        let body = json!({
            "email": email, "name": name, "password": place::password_of(&email), "archetype": "adhd-student",
            "systemPrompt": "You are.", "moduleMix": {"todo": 1}, "tickCadence": "daily",
        });
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(20))
            .build()?;
        let began = self.clock.monotonic();
        loop {
            let asked = client
                .post(format!("{}/api/v1/personas/admin", self.town.api))
                .bearer_auth(&self.admin)
                .json(&body);
            let said = match asked.send().await {
                Ok(answer) if answer.status().is_success() => {
                    let answer: Value = answer.json().await.unwrap_or_default();
                    if let Some(id) = answer["userId"].as_str().or(answer["persona"]["userId"].as_str()) {
                        self.newcomers.push(id.to_owned());
                        return Ok(());
                    }
                    format!("an answer without an id: {answer}")
                }
                Ok(answer) => format!("{}", answer.status()),
                Err(error) => error.to_string(),
            };
            if self.clock.monotonic().saturating_sub(began) > LEVEL_WITHIN {
                anyhow::bail!("{name} cannot be enrolled: {said}");
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    /// Holds ledger, log and tables against one another once they are level. Ticks may be open unless that is the end.
    async fn judge(&mut self, may_act: bool) -> anyhow::Result<()> {
        let tables = self.level().await?;
        let open = if may_act {
            std::mem::take(&mut self.log.open_ticks)
        } else {
            BTreeSet::new()
        };
        let faults = check::faults(&self.town.ledger.pages(), &self.log, &tables);
        if may_act {
            self.log.open_ticks = open;
        }
        for fault in faults {
            self.fault(fault);
        }
        Ok(())
    }

    /// Reads on until log and tables stand at one place, or for as long as that may take.
    async fn level(&mut self) -> anyhow::Result<TableView> {
        let began = self.clock.monotonic();
        loop {
            let is_late = self.clock.monotonic().saturating_sub(began) > LEVEL_WITHIN;
            match self.read_on().await {
                Ok(tables) if tables.checkpoint == self.log.last_seq || is_late => return Ok(tables),
                Err(error) if is_late => return Err(error),
                // A cluster that chooses a leader answers later.
                Ok(_) | Err(_) => self.clock.sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn read_on(&mut self) -> anyhow::Result<TableView> {
        let mut refused = None;
        for server in &self.place.servers {
            match benches::stream::connect(&server.url).await {
                Ok(stream) => {
                    self.log.read_on(&stream).await?;
                    return TableView::of_postgres(&self.place.postgres.url()).await;
                }
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| anyhow::anyhow!("there is no server to ask")))
    }

    /// Waits until everybody who was due has acted, then judges once more, with a fold of the whole log beside it.
    async fn judge_the_whole(&mut self) -> anyhow::Result<()> {
        let began = self.clock.monotonic();
        loop {
            self.level().await?;
            let is_late = self.clock.monotonic().saturating_sub(began) > TICKS_WITHIN;
            if is_late || (self.log.open_ticks.is_empty() && self.waiting().is_empty()) {
                break;
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
        if let Some(one) = self.waiting().first() {
            self.fault(format!(
                "{} were due and never acted, such as {one}",
                self.waiting().len()
            ));
        }
        self.judge(false).await?;
        match read_back::faults(&self.town).await {
            Ok(faults) => faults.into_iter().for_each(|fault| self.fault(fault)),
            Err(error) => self.fault(format!("people cannot read back: {error:#}")),
        }
        self.report.verified += 1;
        if let Err(error) = self.place.run(&["verify"], None) {
            self.fault(format!("{error:#}"));
        }
        self.sum_up();
        let unused: Vec<_> = self
            .report
            .acknowledged
            .iter()
            .filter(|(_, count)| **count == 0)
            .collect();
        if !unused.is_empty() {
            let text = format!("nothing was acknowledged of {unused:?}, so nothing was tried");
            self.fault(text);
        }
        Ok(())
    }

    /// Who was due and has not begun a tick.
    fn waiting(&self) -> Vec<&String> {
        let has_begun = |id: &&String| !self.log.ticks.contains_key(&tick_of(id, Some(1)));
        self.newcomers.iter().filter(has_begun).collect()
    }

    fn fault(&mut self, text: impl Into<String>) {
        let text = format!("round {}: {}", self.report.tried, text.into());
        eprintln!("FAULT {text}");
        self.report.faults.push(text);
    }

    fn sum_up(&mut self) {
        let pages = self.town.ledger.pages();
        for (kind, name) in [
            (Written::Action, "action"),
            (Written::Rating, "rating"),
            (Written::Record, "record"),
        ] {
            let of_kind = pages.acknowledged.iter().filter(|entry| entry.kind == kind);
            self.report.acknowledged.insert(name, of_kind.count() as u64);
        }
        let nameless = pages.titles.values().filter(|id| id.is_none()).count();
        self.report.in_doubt = (pages.in_doubt.len() + nameless) as u64;
        self.report.interrupted_ticks = self.log.interrupted_ticks;
        self.report.messages = self.log.message_ids.len() as u64;
        self.report.events = self.log.events;
    }
}

/// Registers an account and logs it in; gives its token.
async fn account(api: &str, email: &str) -> anyhow::Result<String> {
    let client = reqwest::Client::new();
    let body = json!({"email": email, "password": "a long enough password"});
    let ask = async |path: &str| -> anyhow::Result<Value> {
        let asked = client.post(format!("{api}{path}")).json(&body);
        Ok(asked.send().await?.error_for_status()?.json().await?)
    };
    ask("/api/v1/auth/register").await?;
    let login = ask("/api/v1/auth/login").await?;
    Ok(login["token"].as_str().context("login gives a token")?.to_owned())
}

/// Ids and emails of all personas.
async fn personas(api: &str, admin: &str) -> anyhow::Result<Vec<(String, String)>> {
    let asked = reqwest::Client::new().get(format!("{api}/api/v1/personas/admin"));
    let answer = asked.bearer_auth(admin).send().await?.error_for_status()?;
    let answer: Value = answer.json().await?;
    let listed = answer["personas"].as_array().context("a list of personas")?;
    let text = |persona: &Value, name: &str| persona[name].as_str().unwrap_or_default().to_owned();
    Ok(listed
        .iter()
        .map(|persona| (text(persona, "userId"), text(persona, "email")))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_rounds_kill_one_of_each_kind_and_ten_each_process_once() {
        let kinds = [
            [Kind::Nats; 3].as_slice(),
            &[Kind::Projector; 2],
            &[Kind::Gateway; 2],
            &[Kind::Runner; 3],
        ]
        .concat();
        for seed in 0..20 {
            let mut chance = ChaCha8Rng::seed_from_u64(seed);
            let order = order(&mut chance, &kinds, 12);
            for kind in Kind::ALL {
                let of_kind = order[..4].iter().filter(|place| kinds[**place] == kind);
                assert_eq!(of_kind.count(), 1, "{order:?}");
            }
            let mut first = order[..10].to_vec();
            first.sort_unstable();
            assert_eq!(first, (0..10).collect::<Vec<_>>());
            assert_eq!(order[10..], order[..2]);
        }
    }
}
