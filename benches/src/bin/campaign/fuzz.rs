//! Anything at all to every parser of what strangers send: no panic, no hang, and nothing forged is taken.
//!
//! Inputs are made from a few good ones by seeded mutation, and what made a parser go further is not known: this finds
//! what a careless parser does with near misses, a million times over.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use events::{SystemClock, SystemIds};
use gateway::{Parsers, PolicyRules, field_crypto};
use identity::{
    AccountKind, Identity, IdentitySettings, KeyEncryptionKey, PasswordCost, Registration, Role, Tier,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::trial::Trial;

/// Longer than this is a hang, whatever came of it.
const HANG: Duration = Duration::from_secs(1);
/// Bytes an input grows to at most.
const INPUT_BYTES_MAX: usize = 16 * 1024;
const KEY: [u8; 32] = [7; 32];

/// Says whether it took its input.
type Parse = Box<dyn Fn(&[u8]) -> bool>;

/// A parser, good inputs for it, and whether it may take what was mutated.
struct Target {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    /// Says whether it took the input.
    parse: Parse,
    /// Taking anything but a seed is a forgery.
    is_sealed: bool,
}

/// Gives every parser `rounds` inputs.
///
/// # Errors
/// When the parsers cannot be set up, or `only` names none.
#[expect(clippy::disallowed_methods, reason = "a trial takes real time")]
pub(crate) fn run(rounds: u64, seed: u64, only: Option<&str>) -> anyhow::Result<Trial> {
    let began = Instant::now();
    let dir = tempfile::tempdir()?;
    let mut trial = Trial::new("fuzz", seed);
    let mut taken = BTreeMap::new();
    let mut targets = targets(dir.path())?;
    targets.retain(|target| only.is_none_or(|only| only == target.name));
    if targets.is_empty() {
        bail!("there is no such parser");
    }
    for target in &targets {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        for round in 0..rounds {
            let input = mutated(&target.seeds, &mut dice);
            let asked = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| (target.parse)(&input)));
            let fault = match outcome {
                Err(_) => Some("a panic"),
                Ok(_) if asked.elapsed() > HANG => Some("a hang"),
                Ok(true) if target.is_sealed && !target.seeds.contains(&input) => Some("a forgery was taken"),
                Ok(is_taken) => {
                    *taken.entry(target.name).or_insert(0_u64) += u64::from(is_taken);
                    None
                }
            };
            let fault = fault.map(|fault| {
                let shown = String::from_utf8_lossy(&input).escape_debug().to_string();
                format!("{} round {round}: {fault}: {shown}", target.name)
            });
            trial.add(target.name, fault);
        }
    }
    for (name, count) in taken {
        trial.by.insert(format!("{name}, taken"), count);
    }
    trial.seconds = began.elapsed().as_secs();
    Ok(trial)
}

fn targets(dir: &std::path::Path) -> anyhow::Result<Vec<Target>> {
    let parsers = Arc::new(Parsers::new(Arc::new(SystemIds))?);
    let (body, headers, trace, cursor) = (parsers.clone(), parsers.clone(), parsers.clone(), parsers.clone());
    let text = |text: &str| text.as_bytes().to_vec();
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "todo.create", "arguments": {"title": "Milch \u{1F95B}"}, "_meta": {"dramatis/callId": "c"}}});
    let sealed = field_crypto::seal(&KEY, &json!({"title": "x", "n": [1, 2.5, null]}), [3; 12]);
    Ok(vec![
        Target {
            name: "body",
            seeds: vec![
                text(&call.to_string()),
                text(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}"#),
                text(r#"{"jsonrpc":"2.0","id":"x","result":{"deep":[[[[{}]]]]}}"#),
                text(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#),
            ],
            parse: Box::new(move |input| body.body(input)),
            is_sealed: false,
        },
        Target {
            name: "headers",
            seeds: vec![
                text(
                    "host: 127.0.0.1:3069\norigin: http://localhost:8080\nauthorization: Bearer a.b.c\n\
                     mcp-session-id: 0123\nmcp-protocol-version: 2026-07-28\ncontent-length: 12",
                ),
                text("host: [::1]:3069\nx-forwarded-host: evil.example\nauthorization: bearer  x"),
                text("host: user@localhost:65536\norigin: null"),
            ],
            parse: Box::new(move |input| headers.headers(input)),
            is_sealed: false,
        },
        tokens(dir)?,
        Target {
            name: "policy",
            seeds: vec![
                text(PolicyRules::built_in_text()),
                text(
                    "version = 2\n[[grant]]\nid = \"g\"\ntools = [\"todo.*\"]\nwhere = [{ argument = \"a.b\", at_most = 5 }]\n",
                ),
                text("version = 3\n[[rate]]\nid = \"r\"\nper = \"user\"\ncalls = 3\nwindow_s = 60\n"),
            ],
            parse: Box::new(|input| PolicyRules::parse(&String::from_utf8_lossy(input)).is_ok()),
            is_sealed: false,
        },
        Target {
            name: "trace",
            seeds: vec![
                text("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nvendor=1,other@tenant=a b"),
                text("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-more"),
            ],
            parse: Box::new(move |input| std::str::from_utf8(input).is_ok_and(|text| trace.trace(text))),
            is_sealed: false,
        },
        Target {
            name: "cursor",
            seeds: vec![text(&parsers.a_cursor())],
            parse: Box::new(move |input| std::str::from_utf8(input).is_ok_and(|text| cursor.cursor(text))),
            is_sealed: true,
        },
        Target {
            name: "field",
            seeds: vec![text(&sealed)],
            parse: Box::new(|input| {
                std::str::from_utf8(input).is_ok_and(|text| field_crypto::open(&KEY, text).is_ok())
            }),
            is_sealed: true,
        },
    ])
}

fn tokens(dir: &std::path::Path) -> anyhow::Result<Target> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (identity, token) = runtime.block_on(async {
        let settings = IdentitySettings {
            database: dir.join("identity.sqlite").into(),
            keks: KeyEncryptionKey::new("fuzz", KEY).into(),
            issuer: "http://127.0.0.1:3069".to_owned(),
            audiences: vec!["mana".to_owned()],
            token_ttl: Duration::from_hours(24),
            password_cost: PasswordCost::Fast,
        };
        let identity = Identity::open(settings, Arc::new(SystemClock::new()), Arc::new(SystemIds)).await?;
        let registration = Registration {
            email: "anna@example.org".to_owned(),
            password: "a long enough password".into(),
            name: None,
            kind: AccountKind::Human,
            role: Role::User,
            tier: Tier::Free,
            time_zone: None,
        };
        let account = identity.register(registration).await?;
        let login = identity.mint(&account.id).await?;
        let token = secrecy::ExposeSecret::expose_secret(&login.token).to_owned();
        anyhow::Ok((identity, token))
    })?;
    Ok(Target {
        name: "token",
        seeds: vec![token.into_bytes()],
        parse: Box::new(move |input| {
            let Ok(text) = std::str::from_utf8(input) else {
                return false;
            };
            runtime.block_on(identity.authenticate(text)).is_ok()
        }),
        is_sealed: true,
    })
}

/// One of `seeds` with one to eight things done to it.
fn mutated(seeds: &[Vec<u8>], dice: &mut ChaCha8Rng) -> Vec<u8> {
    const WORDS: [&[u8]; 14] = [
        b"\0",
        b"\"",
        b"\\u0000",
        b"{",
        b"[",
        b"]}",
        b":",
        b".",
        b"=",
        b"\r\n",
        b"1e999",
        b"-0",
        b"\xff\xfe",
        b"null",
    ];
    let mut input = seeds[dice.random_range(0..seeds.len())].clone();
    for _ in 0..dice.random_range(1..=8) {
        let at = dice.random_range(0..=input.len());
        let to = (at + dice.random_range(0..=16)).min(input.len());
        match dice.random_range(0..8) {
            0 if at < input.len() => input[at] ^= 1 << dice.random_range(0..8),
            1 if at < input.len() => input[at] = dice.random_range(0..=255),
            2 => {
                input.drain(at..to);
            }
            3 => {
                let word = WORDS[dice.random_range(0..WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
            4 => {
                let piece = input[at..to].to_vec();
                let again = dice.random_range(1..=64);
                input.splice(at..at, piece.repeat(again));
            }
            5 => input.truncate(at),
            6 => {
                let other = &seeds[dice.random_range(0..seeds.len())];
                let from = dice.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => input
                .splice(at..to, std::iter::repeat_n(b'[', dice.random_range(1..=256)))
                .for_each(drop),
        }
        input.truncate(INPUT_BYTES_MAX);
    }
    input
}
