//! Three clients that work offline: random edits and deletions, clocks that are off, now and then a push or a pull,
//! sometimes all at once. In the end they, a newcomer, and a newcomer after a rebuild from the log show one checksum, and
//! `dramatis verify` agrees; on SQLite and on Postgres.

mod client;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use benches::Site;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use self::client::Client;
use crate::trial::Trial;

/// Records the clients share.
const RECORDS: u32 = 400;
/// How likely it is after an edit that some go online.
const MEET_EVERY: f64 = 0.01;
/// How long one answer may take.
const WITHIN: Duration = Duration::from_mins(1);
/// How far each client's clock is off, in milliseconds.
const CLOCKS_OFF: [i64; 3] = [0, -90_000, 120_000];

/// Makes `operations` edits on each database.
///
/// # Errors
/// When the program cannot be run.
#[expect(clippy::disallowed_methods, reason = "a trial takes real time")]
pub(crate) async fn run(program: &Path, operations: u64, seed: u64) -> anyhow::Result<Trial> {
    let began = Instant::now();
    let mut trial = Trial::new("converge", seed);
    let postgres = testkit::Postgres::start();
    for database in ["sqlite", "postgres"] {
        let dir = tempfile::tempdir()?;
        let mut site = Site::new(program, &dir.path().join("data"))?;
        if database == "postgres" {
            site = site.with_setting("DRAMATIS_DATABASE", &postgres.url());
        }
        let fault = one(&site, operations, seed, &mut trial, database).await?;
        trial.add(format!("{database}: came to one state"), fault);
    }
    trial.seconds = began.elapsed().as_secs();
    Ok(trial)
}

/// One database; says what was wrong with it.
async fn one(
    site: &Site,
    operations: u64,
    seed: u64,
    trial: &mut Trial,
    database: &str,
) -> anyhow::Result<Option<String>> {
    let house = site.start_ready().await?;
    let token = site.account("anna@example.org").await?;
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut clients: Vec<Client> = CLOCKS_OFF
        .iter()
        .enumerate()
        .map(|(number, off)| Client::new(&site.api(), &token, &format!("client-{number}"), *off))
        .collect();
    for _ in 0..operations {
        let client = &mut clients[dice.random_range(0..CLOCKS_OFF.len())];
        client.edit(&mut dice, RECORDS);
        trial.add(format!("{database}: edits"), None);
        if dice.random_bool(MEET_EVERY) {
            meet(&mut clients, &mut dice).await?;
        }
    }
    for client in &mut clients {
        client.push().await?;
    }
    for client in &mut clients {
        client.pull_all().await?;
    }
    let wanted = newcomer(site, &token, "newcomer").await?;
    for client in &clients {
        if client.checksum() != wanted {
            return Ok(Some(format!(
                "{database}: {} differs from a newcomer",
                client.name()
            )));
        }
    }
    for verb in ["verify", "rebuild", "verify"] {
        let output = site.run(&[verb, "--json"])?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Ok(Some(format!("{database}: {verb}: {said}")));
        }
    }
    let rebuilt = newcomer(site, &token, "newcomer-after-rebuild").await?;
    house.stop().await?;
    Ok((rebuilt != wanted).then(|| format!("{database}: after a rebuild the state is another one")))
}

/// Some go online: one of them, or all at the same time.
async fn meet(clients: &mut [Client], dice: &mut ChaCha8Rng) -> anyhow::Result<()> {
    let [a, b, c] = clients else {
        anyhow::bail!("there are three clients");
    };
    match dice.random_range(0..5) {
        0 => a.push().await,
        1 => b.pull_all().await,
        2 => c.push().await,
        3 => {
            let (a, b, c) = tokio::join!(a.push(), b.push(), c.pull_all());
            a.and(b).and(c)
        }
        _ => {
            let (a, b, c) = tokio::join!(a.push(), b.push(), c.push());
            a.and(b).and(c)
        }
    }
}

/// The checksum of what somebody sees who has nothing yet.
async fn newcomer(site: &Site, token: &str, name: &str) -> anyhow::Result<String> {
    let mut newcomer = Client::new(&site.api(), token, name, 0);
    newcomer.pull_all().await.context("a newcomer pulls")?;
    ensure!(newcomer.len() > 0, "there is something to see");
    Ok(newcomer.checksum())
}
