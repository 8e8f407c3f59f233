//! Keys rotated under load: a hundred signing keys while another process verifies, and every master key sealed anew with
//! another key-encryption key while everybody's is read and the program that does it is killed again and again.
//!
//! No token that holds may be refused, no key may fail to be read, nothing may be sealed with the old key afterwards, and
//! with the old key alone nothing may open. Time is real for the second; for the first each process moves its clock on
//! between rotations, as a key is published three minutes before it signs.

mod rewrap;
mod signing;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::{SystemClock, SystemIds};
use identity::{Identity, IdentitySettings, KeyEncryptionKey, KeyRing, PasswordCost};

use crate::trial::Trial;

pub(crate) use signing::verify;

/// Signing keys that follow one another.
const ROTATIONS: u32 = 100;
const OLD: (&str, [u8; 32]) = ("winter", [3; 32]);
const NEW: (&str, [u8; 32]) = ("summer", [5; 32]);

/// Kills the rewrapping program `kills` times over `users` accounts.
///
/// # Errors
/// When a process cannot be run.
#[expect(clippy::disallowed_methods, reason = "a trial takes real time")]
pub(crate) async fn run(program: &Path, kills: u32, users: u32, seed: u64) -> anyhow::Result<Trial> {
    let began = Instant::now();
    let mut trial = Trial::new("rotate", seed);
    let dir = tempfile::tempdir()?;
    signing::run(&dir.path().join("signing"), ROTATIONS, &mut trial).await?;
    rewrap::run(
        program,
        &dir.path().join("rewrap"),
        kills,
        users,
        seed,
        &mut trial,
    )
    .await?;
    trial.seconds = began.elapsed().as_secs();
    Ok(trial)
}

fn kek((name, bytes): (&str, [u8; 32])) -> KeyEncryptionKey {
    KeyEncryptionKey::new(name, bytes)
}

/// The accounts of a folder, as the program itself opens them.
async fn open(folder: &Path, keks: KeyRing, clock: Arc<SystemClock>) -> anyhow::Result<Identity> {
    let settings = IdentitySettings {
        database: folder.join("identity.sqlite").into(),
        keks,
        issuer: "http://127.0.0.1:3069".to_owned(),
        audiences: vec!["mana".to_owned()],
        token_ttl: Duration::from_mins(15),
        password_cost: PasswordCost::Fast,
    };
    Ok(Identity::open(settings, clock, Arc::new(SystemIds)).await?)
}
