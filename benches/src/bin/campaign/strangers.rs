//! Two strangers: everything Alice ever received, replayed by Bob on every method and path. None of Alice's bytes may
//! come back, no answer may say that it worked, and Alice's work goes on.
//!
//! They meet at two places: a house that keeps their accounts, and one that stands in front of it and keeps theirs there.

mod alice;
mod attempt;
mod described;
mod sharing;

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use benches::Site;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use reqwest::Client;

use self::alice::Alice;
use self::attempt::Bob;
use crate::trial::Trial;

/// Attempts between two looks at whether Alice's work goes on.
const LOOK_EVERY: u64 = 250;
/// One attempt in so many is made at the house in front.
const FRONT_EVERY: u64 = 5;
/// Attempts after which every path that is described must have been tried, at both places.
const ALL_TRIED_AFTER: u64 = 10_000;

/// Where accounts are kept, and where people work.
struct Place<'a> {
    name: &'static str,
    accounts: &'a Site,
    door: &'a Site,
}

impl Place<'_> {
    /// Whether both are the same house.
    fn keeps_its_accounts(&self) -> bool {
        self.accounts.api() == self.door.api()
    }
}

/// Makes `attempts`.
///
/// # Errors
/// When the program cannot be run.
#[expect(clippy::disallowed_methods, reason = "a trial takes real time")]
pub(crate) async fn run(program: &Path, attempts: u64, seed: u64) -> anyhow::Result<Trial> {
    let began = Instant::now();
    let dir = tempfile::tempdir()?;
    let runner_key = dir.path().join("runner.pem");
    std::fs::write(&runner_key, runner_key_pem()?)?;
    let issuer = "https://accounts.example.org";
    let home = Site::new(program, &dir.path().join("home"))?
        .with_setting("DRAMATIS_ISSUER", issuer)
        .with_setting("DRAMATIS_RUNNER_KEY_FILE", &runner_key.to_string_lossy());
    let front = Site::new(program, &dir.path().join("front"))?
        .with_setting("DRAMATIS_ISSUER", "https://front.example.org")
        .with_setting("DRAMATIS_RUNNER_KEY_FILE", &runner_key.to_string_lossy())
        .with_setting("DRAMATIS_EXTERNAL_IDENTITY", &home.api())
        .with_setting("DRAMATIS_EXTERNAL_ISSUER", issuer);
    let houses = [home.start_ready().await?, front.start_ready().await?];
    let client = Client::new();
    let mut pairs = Vec::new();
    for (name, door) in [("at-home", &home), ("in-front", &front)] {
        let place = Place {
            name,
            accounts: &home,
            door,
        };
        pairs.push((
            Alice::live(&place, &client).await?,
            Bob::arrive(&place, &client).await?,
        ));
    }
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut trial = Trial::new("strangers", seed);
    for number in 0..attempts {
        let (alice, bob) = &mut pairs[usize::from(number % FRONT_EVERY == FRONT_EVERY - 1)];
        let tried = bob.attempt(alice, &mut dice).await;
        trial.add(
            tried.kind,
            tried.fault.map(|fault| format!("attempt {number}: {fault}")),
        );
        if number % LOOK_EVERY == 0 || number + 1 == attempts {
            for (alice, bob) in &mut pairs {
                alice.goes_on().await?;
                bob.goes_on().await?;
            }
        }
    }
    ensure!(trial.tried == attempts, "every attempt is counted");
    for (_, bob) in &pairs {
        let (described, tried) = bob.described();
        let is_all = tried == described || attempts < ALL_TRIED_AFTER;
        ensure!(is_all, "{tried} of {described} described paths were tried");
    }
    for house in houses.into_iter().rev() {
        house.stop().await?;
    }
    trial.seconds = began.elapsed().as_secs();
    Ok(trial)
}

/// The public key of a runner that keys can be granted to; nobody has the other half.
fn runner_key_pem() -> anyhow::Result<String> {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048)?.public_key();
    let der = STANDARD.encode(key.as_der()?.as_ref());
    Ok(format!(
        "-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n"
    ))
}
