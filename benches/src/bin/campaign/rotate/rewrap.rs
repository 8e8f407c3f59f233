//! `dramatis vault rewrap`, killed again and again, while keys are read.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use events::{Clock as _, SystemClock, UserId};
use futures::StreamExt as _;
use identity::{Identity, IdentityError, KeyRing};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::signing::person;
use super::{NEW, OLD, kek, open};
use crate::trial::Trial;

/// Accounts made at once: their passwords are hashed side by side.
const MADE_AT_ONCE: usize = 16;
/// Readers at once, besides the program.
const READERS: u64 = 2;
/// Keys sealed anew in one transaction.
const BATCH: &str = "100";
/// How often it is looked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long the way from one kill to the next may take.
const ROUND_WITHIN: Duration = Duration::from_mins(5);
/// Accounts whose keys are compared before and after.
const COMPARED: usize = 1_000;

/// Makes the accounts, seals their keys anew, and looks at what is left.
pub(super) async fn run(
    program: &Path,
    folder: &Path,
    kills: u32,
    users: u32,
    seed: u64,
    trial: &mut Trial,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let clock = Arc::new(SystemClock::new());
    let before = open(folder, kek(OLD).into(), clock.clone()).await?;
    let ids: Vec<UserId> = futures::stream::iter(0..users as usize)
        .map(|n| before.register(person(n)))
        .buffered(MADE_AT_ONCE)
        .map(|made| made.map(|account| account.id))
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<Result<_, IdentityError>>()?;
    let mut keys = Vec::new();
    for id in ids.iter().step_by((ids.len() / COMPARED).max(1)) {
        keys.push((id.clone(), *before.vault_key(id).await?.key));
    }
    before.close().await;

    let both = open(folder, ring(NEW, OLD)?, clock.clone()).await?;
    let (is_done, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let reading =
        futures::future::join_all((0..READERS).map(|n| read(&both, &ids, seed ^ n, &is_done, &reads)));
    let rewrapping = async {
        let done = killed_again_and_again(program, folder, &both, kills, seed, trial, &clock).await;
        is_done.store(true, Ordering::SeqCst);
        done
    };
    let (failed, done) = tokio::join!(reading, rewrapping);
    done?;
    for fault in failed.into_iter().flatten() {
        trial.add("failed reads", Some(fault));
    }
    *trial.by.entry("keys read meanwhile".to_owned()).or_default() += reads.load(Ordering::SeqCst);
    trial.tried += reads.load(Ordering::SeqCst);
    let by_key = both.sealed_by_key().await?;
    both.close().await;

    let is_left = by_key.iter().any(|(name, _)| name != NEW.0);
    trial.add(
        "nothing is sealed with the old key",
        is_left.then(|| format!("{by_key:?}")),
    );
    let after = open(folder, kek(NEW).into(), clock.clone()).await?;
    for (id, key) in &keys {
        let same = after.vault_key(id).await.is_ok_and(|read| *read.key == *key);
        trial.add(
            "keys compared before and after",
            (!same).then(|| format!("{id} has another key")),
        );
    }
    after.close().await;
    let with_old = open(folder, kek(OLD).into(), clock).await;
    let opened = with_old
        .is_ok()
        .then(|| "the old key still opens the signing keys".to_owned());
    trial.add("with the old key alone nothing opens", opened);
    Ok(())
}

/// Reads keys at random until it is done; says which reads failed.
async fn read(
    identity: &Identity,
    ids: &[UserId],
    seed: u64,
    is_done: &AtomicBool,
    reads: &AtomicU64,
) -> Vec<String> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut failed = Vec::new();
    while !is_done.load(Ordering::SeqCst) {
        let id = &ids[dice.random_range(0..ids.len())];
        if let Err(error) = identity.vault_key(id).await {
            failed.push(format!("{id}: {error}"));
        }
        reads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
    failed
}

/// Starts it, and kills it when a share of what is left that follows from the seed is done; the last one may end.
async fn killed_again_and_again(
    program: &Path,
    folder: &Path,
    identity: &Identity,
    kills: u32,
    seed: u64,
    trial: &mut Trial,
    clock: &SystemClock,
) -> anyhow::Result<()> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    for round in 0..kills {
        let left = left(identity).await?;
        let share = left / u64::from(kills - round + 1);
        let until = left - dice.random_range(1..=share.max(1)).min(left);
        let mut running = start(program, folder)?;
        let began = clock.monotonic();
        let mut is_cut = false;
        while running.try_wait()?.is_none() {
            if self::left(identity).await? <= until {
                running.kill()?;
                is_cut = true;
                break;
            }
            ensure!(
                clock.monotonic().saturating_sub(began) < ROUND_WITHIN,
                "it does not get on"
            );
            clock.sleep(LOOK_EVERY).await;
        }
        let ended = running.wait()?;
        let kind = if is_cut { "kills" } else { "ended before its kill" };
        let fault = (!is_cut && !ended.success()).then(|| format!("round {round}: it ended with {ended}"));
        trial.add(kind, fault);
    }
    let mut last = start(program, folder)?;
    loop {
        if let Some(ended) = last.try_wait()? {
            if !ended.success() {
                bail!("the last run ended with {ended}");
            }
            return Ok(());
        }
        clock.sleep(LOOK_EVERY).await;
    }
}

/// Keys that are still sealed with the old key.
async fn left(identity: &Identity) -> anyhow::Result<u64> {
    let by_key = identity.sealed_by_key().await?;
    Ok(by_key
        .iter()
        .filter(|(name, _)| name == OLD.0)
        .map(|(_, keys)| keys)
        .sum())
}

fn start(program: &Path, folder: &Path) -> anyhow::Result<Child> {
    let named = |(name, bytes): (&str, [u8; 32])| format!("{name}:{}", STANDARD.encode(bytes));
    Command::new(program)
        .args(["vault", "rewrap", "--json", "--batch", BATCH])
        .env_clear()
        .env("DRAMATIS_DATA", folder)
        .env("DRAMATIS_KEK", named(NEW))
        .env("DRAMATIS_KEK_OLDER", named(OLD))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .context("the program cannot be started")
}

fn ring(active: (&str, [u8; 32]), older: (&str, [u8; 32])) -> anyhow::Result<KeyRing> {
    Ok(KeyRing::new(kek(active)).try_with(kek(older))?)
}
