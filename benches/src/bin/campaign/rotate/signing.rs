//! One process rotates and signs, another verifies.

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use events::{Clock as _, SystemClock};
use identity::{AccountKind, Registration, Role, Tier};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::{OLD, kek, open};
use crate::trial::Trial;

/// Accounts that get tokens.
const PEOPLE: usize = 8;
/// By how much time moves on between rotations: more than a key is published ahead.
const STEP: Duration = Duration::from_mins(4);
/// How long a token holds.
const HOLDS: SignedDuration = SignedDuration::from_mins(15);
/// How often every token that holds is verified between two rotations.
const PASSES: u32 = 4;

/// Rotates, signs, and has the other process verify every token that holds.
pub(super) async fn run(folder: &Path, rotations: u32, trial: &mut Trial) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let clock = Arc::new(SystemClock::new());
    let identity = open(folder, kek(OLD).into(), clock.clone()).await?;
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(identity.register(person(n)).await?.id);
    }
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .arg("verify-tokens")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut asks = child.stdin.take().context("it is asked")?;
    let mut answers = BufReader::new(child.stdout.take().context("it answers")?).lines();
    let mut tokens: Vec<(jiff::Timestamp, String)> = Vec::new();
    let mut ahead_ms = 0_u64;
    for rotation in 0..rotations {
        identity.rotate_signing_key().await?;
        for _ in 0..PASSES {
            for user in &people {
                let token = identity.mint(user).await?.token.expose_secret().to_owned();
                tokens.push((clock.now(), token));
            }
            let now = clock.now();
            // A little before their end, so that none ends on the way.
            tokens.retain(|(made, _)| now.duration_since(*made) < HOLDS - SignedDuration::from_secs(20));
            let asked = tokens.iter().fold(String::new(), |mut asked, (_, token)| {
                for part in [&ahead_ms.to_string(), " ", token, "\n"] {
                    asked.push_str(part);
                }
                asked
            });
            let (asked, answered) = tokio::join!(asks.write_all(asked.as_bytes()), async {
                let mut refused = Vec::new();
                for (made, _) in &tokens {
                    let answer = answers.next_line().await?.context("the other process goes on")?;
                    refused.push(
                        (answer != "ok").then(|| format!("rotation {rotation}, made at {made}: {answer}")),
                    );
                }
                anyhow::Ok(refused)
            });
            asked?;
            for fault in answered? {
                trial.add("tokens verified by another process", fault);
            }
            let step = STEP / PASSES;
            clock.advance(step);
            ahead_ms += u64::try_from(step.as_millis())?;
        }
        trial.add("signing keys rotated", None);
    }
    drop(asks);
    let ended = child.wait().await?;
    ensure!(ended.success(), "the other process ended well");
    identity.close().await;
    Ok(())
}

/// The other process: reads how far its clock is ahead and a token from each line, and says what it makes of it.
///
/// # Errors
/// When the accounts cannot be opened, or nobody reads.
#[expect(clippy::print_stdout, reason = "whoever asks reads it there")]
pub(crate) async fn verify(folder: &Path) -> anyhow::Result<()> {
    let clock = Arc::new(SystemClock::new());
    let identity = open(folder, kek(OLD).into(), clock.clone()).await?;
    let mut ahead_ms = 0_u64;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (ahead, token) = line.split_once(' ').context("a line has two words")?;
        let ahead: u64 = ahead.parse()?;
        clock.advance(Duration::from_millis(ahead.saturating_sub(ahead_ms)));
        ahead_ms = ahead;
        match identity.authenticate(token).await {
            Ok(_) => println!("ok"),
            Err(error) => println!("{}", error.reason()),
        }
        std::io::stdout().flush()?;
    }
    identity.close().await;
    Ok(())
}

pub(super) fn person(n: usize) -> Registration {
    Registration {
        email: format!("person-{n}@example.org"),
        password: "a long enough password".into(),
        name: None,
        kind: AccountKind::Human,
        role: Role::User,
        tier: Tier::Free,
        time_zone: None,
    }
}
