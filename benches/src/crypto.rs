//! Encrypted fields sealed and opened, and tokens verified, beside the bare crates doing what the forms demand.
//!
//! Method: everything is in one thread of one process, ours and the limit in turn, as long as one another. The limit of a
//! field is `serde_json`, `aes-gcm` with its key made ready once, and `base64`, one after the other: what a value's form
//! demands and nothing else, the associated data of a bound one at hand. Beside it stands `aes-gcm` alone, which no form could do without. The limit of a token is
//! `jsonwebtoken` with the key and the claims we demand; every token is another one, but for `cached`, where ours is asked
//! for the same few again and the limit, which remembers nothing, verifies them anew.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use events::{Clock as _, SystemClock, SystemIds};
use gateway::field_crypto::{FieldCipher, FieldPlace};
use identity::{
    AccountKind, Identity, IdentitySettings, KeyEncryptionKey, PasswordCost, Registration, Role, Tier,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::figures::rounded;

/// Characters of the fields: a title, a note, a long one.
const SIZES: [usize; 3] = [60, 2_000, 64_000];
/// Tokens verified in one turn; each is new to whoever verifies it.
const TOKENS: usize = 1_000;
const KEY: [u8; 32] = [7; 32];
const ISSUER: &str = "http://127.0.0.1:3069";
const AUDIENCE: &str = "mana";

/// Rates of one thing, ours and the limit's, one for each round.
#[derive(Debug, Default)]
struct Pair {
    ours: Vec<f64>,
    limit: Vec<f64>,
}

/// Runs the bench.
pub(crate) async fn measure(rounds: usize, turn: Duration) -> anyhow::Result<Outcome> {
    let clock = SystemClock::new();
    let mut pairs: Vec<(String, Pair)> = Vec::new();
    let mut alone = Map::new();
    for round in 0..rounds {
        for chars in SIZES {
            let fields = Fields::new(chars)?;
            for (what, pair) in fields.turns(&clock, turn) {
                keep(&mut pairs, what, pair);
            }
            if round == 0 {
                alone.insert(
                    format!("aes_gcm_alone_{chars}"),
                    rounded(fields.cipher_alone(&clock, turn)),
                );
            }
        }
        for (what, pair) in tokens(&clock).await? {
            keep(&mut pairs, what, pair);
        }
    }
    let shown = |figure: &dyn Fn(&Pair) -> f64| -> Map<String, Value> {
        let figures = pairs
            .iter()
            .map(|(what, pair)| (what.clone(), rounded(figure(pair))));
        figures.collect()
    };
    let ours = shown(&|pair| median(&pair.ours).round());
    let mut limit = shown(&|pair| median(&pair.limit).round());
    limit.extend(alone);
    Ok(Outcome {
        name: "crypto",
        runs: rounds,
        ours: json!({ "per_second": ours }),
        limit: json!({ "per_second": limit }),
        ratio: Value::Object(shown(&|pair| median(&pair.ours) / median(&pair.limit))),
    })
}

fn keep(pairs: &mut Vec<(String, Pair)>, what: String, (ours, limit): (f64, f64)) {
    let known = pairs.iter().position(|(known, _)| *known == what);
    let at = known.unwrap_or(pairs.len());
    if known.is_none() {
        pairs.push((what, Pair::default()));
    }
    pairs[at].1.ours.push(ours);
    pairs[at].1.limit.push(limit);
}

fn median(rates: &[f64]) -> f64 {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How often `work` is done in a second. Nonces count up: this key seals nothing that is kept.
fn rate(clock: &SystemClock, turn: Duration, mut work: impl FnMut([u8; 12])) -> f64 {
    let began = clock.monotonic();
    let mut done = 0_u64;
    loop {
        for _ in 0..16 {
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&done.to_be_bytes());
            work(nonce);
            done += 1;
        }
        let took = clock.monotonic().saturating_sub(began);
        if took >= turn {
            return done as f64 / took.as_secs_f64();
        }
    }
}

/// A field of some size, and both ways of sealing and opening it.
struct Fields {
    chars: usize,
    value: Value,
    ours: FieldCipher,
    bare: Aes256Gcm,
    shared: String,
    bound: String,
}

/// A form for the bare crates: its mark and its associated data.
#[derive(Clone, Copy)]
struct Form<'a> {
    mark: &'a str,
    aad: &'a [u8],
}

const SHARED: Form<'static> = Form {
    mark: "enc:1:",
    aad: b"",
};

const HERE: FieldPlace<'static> = FieldPlace {
    space: "018f0000-0000-7000-8000-000000000004",
    table: "tasks",
    record: "018f0000-0000-7000-8000-000000000006",
    field: "title",
};

impl Fields {
    fn new(chars: usize) -> anyhow::Result<Self> {
        let words = "Milch, Brot und Käse \"für morgen\" ";
        let value = Value::String(words.chars().cycle().take(chars).collect());
        let ours = FieldCipher::new(&KEY);
        let (shared, bound) = (ours.seal(&value, [1; 12]), ours.seal_bound(&value, [2; 12], HERE));
        let fields = Self {
            chars,
            value,
            ours,
            bare: Aes256Gcm::new(&KEY.into()),
            shared,
            bound,
        };
        let aad = associated_data();
        for (form, text, nonce) in [
            (SHARED, &fields.shared, [1; 12]),
            (bound_form(&aad), &fields.bound, [2; 12]),
        ] {
            ensure!(
                fields.bare_sealed(form, nonce) == *text,
                "the bare crates write another form than {}",
                form.mark
            );
            ensure!(
                fields.bare_opened(form, text).as_ref() == Some(&fields.value),
                "nor do they read it"
            );
        }
        Ok(fields)
    }

    fn turns(&self, clock: &SystemClock, turn: Duration) -> Vec<(String, (f64, f64))> {
        let chars = self.chars;
        let ours = |work: &dyn Fn([u8; 12])| rate(clock, turn, work);
        let seal = |nonce| drop(black_box(self.ours.seal(black_box(&self.value), nonce)));
        let seal_bound = |nonce| {
            let sealed = self.ours.seal_bound(black_box(&self.value), nonce, HERE);
            drop(black_box(sealed));
        };
        let open = |_| drop(black_box(self.ours.open(black_box(&self.shared))));
        let open_bound = |_| drop(black_box(self.ours.open_bound(black_box(&self.bound), HERE)));
        let aad = associated_data();
        let place = bound_form(&aad);
        let bare_seal = |nonce| drop(black_box(self.bare_sealed(SHARED, nonce)));
        let bare_seal_bound = |nonce| drop(black_box(self.bare_sealed(place, nonce)));
        let bare_open = |_| drop(black_box(self.bare_opened(SHARED, black_box(&self.shared))));
        let bare_open_bound = |_| drop(black_box(self.bare_opened(place, black_box(&self.bound))));
        vec![
            (format!("seal_enc1_{chars}"), (ours(&seal), ours(&bare_seal))),
            (
                format!("seal_enc2_{chars}"),
                (ours(&seal_bound), ours(&bare_seal_bound)),
            ),
            (format!("open_enc1_{chars}"), (ours(&open), ours(&bare_open))),
            (
                format!("open_enc2_{chars}"),
                (ours(&open_bound), ours(&bare_open_bound)),
            ),
        ]
    }

    /// What the form demands, with the crates alone.
    fn bare_sealed(&self, form: Form<'_>, nonce: [u8; 12]) -> String {
        let mut bytes = serde_json::to_vec(black_box(&self.value)).unwrap_or_default();
        let sealed = self
            .bare
            .encrypt_in_place(&Nonce::from(nonce), form.aad, &mut bytes);
        debug_assert!(sealed.is_ok());
        let (nonce, sealed) = (STANDARD.encode(nonce), STANDARD.encode(&bytes));
        format!("{}{nonce}.{sealed}", form.mark)
    }

    fn bare_opened(&self, form: Form<'_>, text: &str) -> Option<Value> {
        let (nonce, sealed) = text.strip_prefix(form.mark)?.split_once('.')?;
        let nonce: [u8; 12] = STANDARD.decode(nonce).ok()?.try_into().ok()?;
        let mut bytes = STANDARD.decode(sealed).ok()?;
        self.bare
            .decrypt_in_place(&Nonce::from(nonce), form.aad, &mut bytes)
            .ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Seals a second by the cipher alone: no JSON, no base64.
    fn cipher_alone(&self, clock: &SystemClock, turn: Duration) -> f64 {
        let mut bytes = vec![7; self.chars];
        rate(clock, turn, |nonce| {
            let buffer = bytes.as_mut_slice().into();
            let tag = self.bare.encrypt_inout_detached(&Nonce::from(nonce), b"", buffer);
            debug_assert!(black_box(tag).is_ok());
        })
        .round()
    }
}

/// The place as the bound form binds it: each part with its length before it.
fn associated_data() -> Vec<u8> {
    let parts = [
        "dramatis field",
        "enc:2:",
        HERE.space,
        HERE.table,
        HERE.record,
        HERE.field,
    ];
    let framed = |part: &str| [&(part.len() as u64).to_be_bytes()[..], part.as_bytes()].concat();
    parts.into_iter().flat_map(framed).collect()
}

fn bound_form(aad: &[u8]) -> Form<'_> {
    Form { mark: "enc:2:", aad }
}

/// Tokens that nobody has seen, then the same again.
async fn tokens(clock: &SystemClock) -> anyhow::Result<Vec<(String, (f64, f64))>> {
    let dir = tempfile::tempdir()?;
    let settings = IdentitySettings {
        database: dir.path().join("identity.sqlite").into(),
        keks: KeyEncryptionKey::new("bench", [3; 32]).into(),
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        token_ttl: Duration::from_hours(1),
        password_cost: PasswordCost::Fast,
    };
    let identity = Identity::open(settings, Arc::new(SystemClock::new()), Arc::new(SystemIds)).await?;
    let account = Registration {
        email: "anna@example.org".to_owned(),
        password: "correct horse battery".into(),
        name: None,
        kind: AccountKind::Human,
        role: Role::User,
        tier: Tier::Free,
        time_zone: None,
    };
    let account = identity.register(account).await?;
    let mut tokens = Vec::with_capacity(TOKENS);
    for _ in 0..TOKENS {
        tokens.push(identity.mint(&account.id).await?.token.expose_secret().to_owned());
    }
    let key = identity.jwks();
    let key = DecodingKey::from_ed_components(key["keys"][0]["x"].as_str().context("no key is published")?)?;
    let validation = validation();

    let per_second = |took: Duration| TOKENS as f64 / took.as_secs_f64();
    let bare = || {
        let began = clock.monotonic();
        for token in &tokens {
            let read = jsonwebtoken::decode::<Map<String, Value>>(black_box(token), &key, &validation);
            black_box(read)?;
        }
        anyhow::Ok(per_second(clock.monotonic().saturating_sub(began)))
    };
    let mut pairs = Vec::new();
    for what in ["token_new", "token_cached"] {
        let began = clock.monotonic();
        for token in &tokens {
            black_box(identity.authenticate(black_box(token)).await)?;
        }
        let ours = per_second(clock.monotonic().saturating_sub(began));
        pairs.push((what.to_owned(), (ours, bare()?)));
    }
    identity.close().await;
    Ok(pairs)
}

/// The claims and times that ours demands too.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation
}
