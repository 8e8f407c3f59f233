//! Load from outside: an external runner's reports, people with MCP clients, and personas told to act.
//!
//! Writers go on through a kill as clients do: what got no answer is in doubt, and what may be sent again is.

mod people;
mod runner;

use std::sync::Arc;
use std::time::Duration;

use events::{Clock as _, SystemClock};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;

pub(crate) use runner::{Batch, acknowledge_one};

/// Writers that report for an external runner.
const RUNNERS: u32 = 3;
/// People with a client of their own.
pub(crate) const PEOPLE: usize = 3;
/// How long one request may go without an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Pause after a request that went wrong.
const PAUSE: Duration = Duration::from_millis(50);

/// Whom the load is for.
#[derive(Debug)]
pub(crate) struct Town {
    /// Where the program answers.
    pub(crate) api: String,
    /// Personas by id and email.
    pub(crate) personas: Vec<(String, String)>,
    /// Tokens of people.
    pub(crate) people: Vec<String>,
    /// What is acknowledged.
    pub(crate) ledger: Ledger,
    /// What names of this trial begin with.
    pub(crate) prefix: String,
    /// Writers that let personas act.
    pub(crate) tickers: usize,
}

/// Writers at work.
#[derive(Debug)]
pub(crate) struct Load {
    writers: JoinSet<Vec<Batch>>,
    enough: CancellationToken,
}

/// What every writer has.
#[derive(Debug)]
struct Writer {
    town: Arc<Town>,
    clock: SystemClock,
    chance: ChaCha8Rng,
    enough: CancellationToken,
    /// Names of what this writer writes begin with it.
    name: String,
    written: u32,
}

impl Writer {
    fn next_name(&mut self) -> String {
        self.written += 1;
        format!("{}-{}", self.name, self.written)
    }

    /// One of `count` things.
    fn pick(&mut self, count: usize) -> usize {
        self.chance.random_range(0..count.max(1))
    }

    async fn pause(&self) {
        self.clock.sleep(PAUSE).await;
    }
}

impl Load {
    /// Sets writers to work, the first of them on what an earlier load left in doubt.
    pub(crate) fn begin(town: &Arc<Town>, seed: u64, round: u32, mut in_doubt: Vec<Batch>) -> Self {
        let (mut writers, enough) = (JoinSet::new(), CancellationToken::new());
        let writer = |role: &str, number: usize| Writer {
            town: town.clone(),
            clock: SystemClock::new(),
            chance: ChaCha8Rng::seed_from_u64(seed ^ (u64::from(round) << 32) ^ ((number as u64) << 8)),
            enough: enough.clone(),
            name: format!("{}-{round}-{role}{number}", town.prefix),
            written: 0,
        };
        for number in 0..RUNNERS as usize {
            writers.spawn(runner::work(writer("r", number), std::mem::take(&mut in_doubt)));
        }
        for number in 0..town.people.len() {
            writers.spawn(people::work(writer("p", 100 + number), number));
        }
        for number in 0..town.tickers {
            writers.spawn(let_act(writer("t", 200 + number)));
        }
        Self { writers, enough }
    }

    /// Lets every writer end what it is at; gives what is in doubt and can be sent again.
    pub(crate) async fn end(mut self) -> Vec<Batch> {
        self.enough.cancel();
        let mut in_doubt = Vec::new();
        while let Some(left) = self.writers.join_next().await {
            in_doubt.extend(left.unwrap_or_default());
        }
        in_doubt
    }
}

/// Lets one persona after the other act. What they do is judged by the log and the tables alone.
async fn let_act(mut writer: Writer) -> Vec<Batch> {
    let client = reqwest::Client::new();
    let address = format!("{}/diag/tick", writer.town.api);
    while !writer.enough.is_cancelled() {
        let index = writer.pick(writer.town.personas.len());
        let Some((_, email)) = writer.town.personas.get(index) else {
            break;
        };
        let asked = client.post(&address).json(&json!({ "persona": email })).send();
        let answer = tokio::select! {
            answer = asked => answer,
            // The tick goes on in the program and is waited for there.
            () = writer.enough.cancelled() => break,
        };
        if !answer.is_ok_and(|answer| answer.status().is_success()) {
            writer.pause().await;
        }
    }
    Vec::new()
}
