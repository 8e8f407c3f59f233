//! Two strangers: everything Alice ever received, replayed by Bob on every method and path. None of Alice's bytes may
//! come back, no answer may say that it worked, and Alice's work goes on.

mod alice;
mod attempt;
mod sharing;

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use benches::Site;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use reqwest::Client;

use self::alice::Alice;
use self::attempt::Bob;
use crate::trial::Trial;

/// Attempts between two looks at whether Alice's work goes on.
const LOOK_EVERY: u64 = 250;

/// Makes `attempts`.
///
/// # Errors
/// When the program cannot be run.
#[expect(clippy::disallowed_methods, reason = "a trial takes real time")]
pub(crate) async fn run(program: &Path, attempts: u64, seed: u64) -> anyhow::Result<Trial> {
    let began = Instant::now();
    let dir = tempfile::tempdir()?;
    let site = Site::new(program, &dir.path().join("data"))?;
    let house = site.start_ready().await?;
    let client = Client::new();
    let mut alice = Alice::live(&site, &client).await?;
    let bob = Bob::arrive(&site, &client).await?;
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut trial = Trial::new("strangers", seed);
    for number in 0..attempts {
        let tried = bob.attempt(&alice, &mut dice).await;
        trial.add(
            tried.kind,
            tried.fault.map(|fault| format!("attempt {number}: {fault}")),
        );
        if number % LOOK_EVERY == 0 {
            alice.goes_on().await?;
        }
    }
    alice.goes_on().await?;
    ensure!(trial.tried == attempts, "every attempt is counted");
    house.stop().await?;
    trial.seconds = began.elapsed().as_secs();
    Ok(trial)
}
