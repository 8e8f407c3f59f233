//! An issuer of a test's own: its keys, its tokens, and how often it was asked for them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use events::ManualClock;
use events::testing::sample_time;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::testing::{anna, room_at};

/// The seconds of the sample time, at which the room's clock stands.
const NOW: u64 = 1_767_600_000;
const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "https://dramatis.test/mcp";

enum Signer {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    fn alg(&self) -> &'static str {
        match self {
            Self::Ed(_) => "EdDSA",
            Self::Ec(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        let coded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match self {
            Self::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": coded(pair.public_key().as_ref())}),
            Self::Ec(pair) => {
                // The uncompressed point: a byte 4, then both coordinates.
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": coded(&point[1..33]), "y": coded(&point[33..])})
            }
            Self::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                let (n, e) = (
                    n.big_endian_without_leading_zero().to_vec(),
                    e.big_endian_without_leading_zero().to_vec(),
                );
                json!({"kty": "RSA", "n": coded(&n), "e": coded(&e)})
            }
        };
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.alg());
        jwk
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let bytes = message.as_bytes();
        let random = SystemRandom::new();
        let signature = match self {
            Self::Ed(pair) => pair.sign(bytes).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&random, bytes).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature)
                    .unwrap();
                signature
            }
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn token(&self, kid: &str, claims: &Value) -> String {
        self.sign(&json!({"typ": "JWT", "alg": self.alg(), "kid": kid}), claims)
    }
}

/// What is published, and how often it was asked for.
#[derive(Debug, Default)]
struct Published {
    body: Mutex<Option<Vec<u8>>>,
    asked: AtomicUsize,
}

impl KeySetSource for Published {
    fn fetch<'a>(&'a self, url: &'a str) -> KeySetFuture<'a> {
        assert_eq!(url, "https://id.example/keys");
        Box::pin(async {
            self.asked.fetch_add(1, Ordering::SeqCst);
            // Long enough for everybody who asks at once to be waiting.
            tokio::task::yield_now().await;
            let body = self.body.lock().unwrap().clone();
            body.ok_or_else(|| "no answer".to_owned())
        })
    }
}

impl Published {
    fn publish(&self, keys: &[Value]) {
        *self.body.lock().unwrap() = Some(json!({"keys": keys}).to_string().into_bytes());
    }

    fn go_down(&self) {
        *self.body.lock().unwrap() = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

struct Site {
    identity: Identity,
    published: Arc<Published>,
    clock: Arc<ManualClock>,
    _dir: TempDir,
}

impl Site {
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut TrustedIssuer)) -> Self {
        let clock = Arc::new(ManualClock::new(sample_time()));
        let (identity, dir) = room_at(clock.clone()).await;
        identity.register(anna()).await.unwrap();
        let mut issuer = TrustedIssuer {
            issuer: ISSUER.to_owned(),
            jwks_url: "https://id.example/keys".to_owned(),
            audiences: vec![AUDIENCE.to_owned()],
            algorithms: vec![
                TokenAlgorithm::EdDSA,
                TokenAlgorithm::ES256,
                TokenAlgorithm::RS256,
            ],
            scope: None,
            accounts: [("subject-1".to_owned(), "anna@example.test".to_owned())].into(),
            is_whose_accounts_are_ours: false,
        };
        change(&mut issuer);
        let published = Arc::new(Published::default());
        let source: Arc<dyn KeySetSource> = published.clone();
        identity.trust(vec![issuer], &source).unwrap();
        Self {
            identity,
            published,
            clock,
            _dir: dir,
        }
    }

    /// Why `token` is refused.
    async fn refusal(&self, token: &str) -> &'static str {
        match self.identity.authenticate(token).await {
            Ok(caller) => {
                assert_eq!(
                    (caller.email.as_str(), caller.issuer.as_str()),
                    ("anna@example.test", ISSUER)
                );
                "ACCEPTED"
            }
            Err(error) => error.reason(),
        }
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "subject-1", "exp": NOW + 100_000})
}

#[tokio::test]
async fn tokens_of_each_algorithm_are_accepted_and_mean_the_account_their_subject_is_mapped_to() {
    let site = Site::start().await;
    let signers = [("ed", Signer::ed()), ("ec", Signer::ec()), ("rsa", Signer::rsa())];
    let keys: Vec<Value> = signers.iter().map(|(kid, signer)| signer.jwk(kid)).collect();
    site.published.publish(&keys);
    for (kid, signer) in &signers {
        assert_eq!(
            site.refusal(&signer.token(kid, &claims())).await,
            "ACCEPTED",
            "{kid}"
        );
        let at_jwt = json!({"typ": "at+jwt", "alg": signer.alg(), "kid": kid});
        assert_eq!(
            site.refusal(&signer.sign(&at_jwt, &claims())).await,
            "ACCEPTED",
            "{kid}"
        );
    }
    assert_eq!(site.published.asked(), 1, "fetched once");
    let own = site
        .identity
        .account_by_email("anna@example.test")
        .await
        .unwrap()
        .unwrap();
    let own = site.identity.mint(&own.id).await.unwrap();
    let own = secrecy::ExposeSecret::expose_secret(&own.token).to_owned();
    assert!(site.identity.authenticate(&own).await.is_ok(), "our own go on");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one line a token")]
async fn a_token_that_is_wrong_in_one_way_is_refused() {
    let site = Site::with(|issuer| issuer.scope = Some("mcp".to_owned())).await;
    let (ed, rsa, stranger) = (Signer::ed(), Signer::rsa(), Signer::ed());
    let mut for_encryption = rsa.jwk("enc");
    for_encryption["use"] = json!("enc");
    let mut disagrees = rsa.jwk("disagrees");
    disagrees["alg"] = json!("PS256");
    site.published.publish(&[
        ed.jwk("ed"),
        rsa.jwk("rsa"),
        ed.jwk("twice"),
        rsa.jwk("twice"),
        for_encryption,
        disagrees,
    ]);
    let scoped = |change: fn(&mut Value)| {
        let mut claims = claims();
        claims["scope"] = json!("openid mcp");
        change(&mut claims);
        claims
    };
    let good = scoped(|_| ());
    assert_eq!(site.refusal(&ed.token("ed", &good)).await, "ACCEPTED");
    let confused = |alg: &str, kid: &str| ed.sign(&json!({"typ": "JWT", "alg": alg, "kid": kid}), &good);
    let brings = |member: &str, value: Value| {
        let mut header = json!({"typ": "JWT", "alg": "EdDSA", "kid": "ed"});
        header[member] = value;
        ed.sign(&header, &good)
    };
    let cases = [
        ("foreign key", stranger.token("ed", &good), "bad-signature"),
        ("other algorithm", confused("RS256", "ed"), "wrong-algorithm"),
        ("symmetric", confused("HS256", "ed"), "wrong-algorithm"),
        ("key of another kind", confused("EdDSA", "rsa"), "wrong-algorithm"),
        ("none", confused("none", "ed"), "malformed"),
        ("shared id", ed.token("twice", &good), "unknown-key"),
        ("key for encryption", rsa.token("enc", &good), "unknown-key"),
        (
            "key that names another algorithm",
            rsa.token("disagrees", &good),
            "unknown-key",
        ),
        ("unknown id", ed.token("../ed", &good), "unknown-key"),
        ("embedded key", brings("jwk", ed.jwk("ed")), "malformed"),
        ("jku", brings("jku", json!("https://evil.test")), "malformed"),
        ("crit", brings("crit", json!(["exp"])), "malformed"),
        ("typ", brings("typ", json!("JWE")), "malformed"),
        (
            "other issuer",
            ed.token("ed", &scoped(|c| c["iss"] = json!("https://evil.test"))),
            "unknown-key",
        ),
        (
            "our name",
            ed.token("ed", &scoped(|c| c["iss"] = json!("https://dramatis.test"))),
            "unknown-key",
        ),
        (
            "other audience",
            ed.token("ed", &scoped(|c| c["aud"] = json!("mana"))),
            "wrong-audience",
        ),
        (
            "also for others",
            ed.token("ed", &scoped(|c| c["aud"] = json!([AUDIENCE, "x"]))),
            "wrong-audience",
        ),
        (
            "no audience",
            ed.token("ed", &scoped(|c| c["aud"] = Value::Null)),
            "missing-claim",
        ),
        (
            "no subject",
            ed.token("ed", &scoped(|c| c["sub"] = Value::Null)),
            "missing-claim",
        ),
        (
            "unmapped subject",
            ed.token("ed", &scoped(|c| c["sub"] = json!("subject-2"))),
            "unknown-account",
        ),
        (
            "an account's id",
            ed.token("ed", &scoped(|c| c["sub"] = json!("anna@example.test"))),
            "unknown-account",
        ),
        (
            "no expiry",
            ed.token("ed", &scoped(|c| c["exp"] = Value::Null)),
            "missing-claim",
        ),
        (
            "expiry as text",
            ed.token("ed", &scoped(|c| c["exp"] = json!("2099"))),
            "malformed-claim",
        ),
        (
            "expired",
            ed.token("ed", &scoped(|c| c["exp"] = json!(NOW - 60))),
            "expired",
        ),
        (
            "not yet",
            ed.token("ed", &scoped(|c| c["nbf"] = json!(NOW + 60))),
            "not-yet-valid",
        ),
        ("no scope", ed.token("ed", &claims()), "insufficient-scope"),
        (
            "other scope",
            ed.token("ed", &scoped(|c| c["scope"] = json!("mcpx"))),
            "insufficient-scope",
        ),
    ];
    let mut wrong = Vec::new();
    for (name, token, wanted) in cases {
        let got = site.refusal(&token).await;
        if got != wanted {
            wrong.push(format!("{name}: {got}, not {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn keys_are_fetched_once_however_many_ask_at_once() {
    let site = Site::start().await;
    let ed = Signer::ed();
    site.published.publish(&[ed.jwk("ed")]);
    let token = ed.token("ed", &claims());
    let all = futures::future::join_all((0..100).map(|_| site.identity.authenticate(&token))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(site.published.asked(), 1);
    site.clock.advance(Duration::from_secs(61));
    let all = futures::future::join_all((0..100).map(|_| site.identity.authenticate(&token))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(site.published.asked(), 2);
}

#[tokio::test]
async fn a_hundred_rotations_refuse_nobody_and_withdrawn_keys_are_dead_within_a_minute() {
    let site = Site::start().await;
    let mut old: Option<(String, Signer)> = None;
    for round in 0..100 {
        let (kid, new) = (format!("key-{round}"), Signer::ed());
        let overlap = old.as_ref().map(|(kid, signer)| signer.jwk(kid));
        site.published.publish(
            &[overlap, Some(new.jwk(&kid))]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
        );
        site.clock.advance(Duration::from_secs(31));
        if let Some((kid, signer)) = &old {
            assert_eq!(
                site.refusal(&signer.token(kid, &claims())).await,
                "ACCEPTED",
                "{round}: in overlap"
            );
        }
        let token = new.token(&kid, &claims());
        assert_eq!(site.refusal(&token).await, "ACCEPTED", "{round}: new");
        site.published.publish(&[new.jwk(&kid)]);
        site.clock.advance(Duration::from_mins(1));
        if let Some((kid, signer)) = &old {
            // Verified a minute ago, and remembered.
            assert_eq!(
                site.refusal(&signer.token(kid, &claims())).await,
                "unknown-key",
                "{round}: withdrawn"
            );
        }
        assert_eq!(site.refusal(&token).await, "ACCEPTED", "{round}: stays");
        old = Some((kid, new));
    }
}

#[tokio::test]
async fn a_token_remembered_under_a_key_that_changed_its_material_is_not_believed_for_the_id() {
    let site = Site::start().await;
    let (one, other) = (Signer::ed(), Signer::ed());
    site.published.publish(&[one.jwk("same")]);
    let token = one.token("same", &claims());
    assert_eq!(site.refusal(&token).await, "ACCEPTED");
    site.published.publish(&[other.jwk("same")]);
    site.clock.advance(Duration::from_secs(61));
    assert_eq!(site.refusal(&token).await, "bad-signature");
    assert_eq!(site.refusal(&other.token("same", &claims())).await, "ACCEPTED");
}

#[tokio::test]
async fn unknown_key_ids_do_not_make_us_fetch_more_than_once_in_half_a_minute() {
    let site = Site::start().await;
    let ed = Signer::ed();
    site.published.publish(&[ed.jwk("ed")]);
    assert_eq!(site.refusal(&ed.token("ed", &claims())).await, "ACCEPTED");
    for number in 0..10_000 {
        let token = ed.token(&format!("made-up-{number}"), &claims());
        assert_eq!(site.refusal(&token).await, "unknown-key");
    }
    assert_eq!(site.published.asked(), 2, "at first, and once for all of them");
    // A key that is new in the middle of it is usable soon.
    let new = Signer::ed();
    site.published.publish(&[ed.jwk("ed"), new.jwk("new")]);
    site.clock.advance(Duration::from_secs(30));
    assert_eq!(site.refusal(&new.token("new", &claims())).await, "ACCEPTED");
    assert_eq!(site.published.asked(), 3);
}

#[tokio::test]
async fn while_the_issuer_is_down_its_keys_go_on_for_an_hour_and_nobody_is_believed_after() {
    let site = Site::start().await;
    let ed = Signer::ed();
    let token = ed.token("ed", &claims());
    site.published.go_down();
    assert_eq!(site.refusal(&token).await, "keys-unavailable");
    assert_eq!(site.refusal(&token).await, "keys-unavailable");
    assert_eq!(site.published.asked(), 1, "not asked again at once");
    site.clock.advance(Duration::from_secs(5));
    site.published.publish(&[ed.jwk("ed")]);
    assert_eq!(site.refusal(&token).await, "ACCEPTED");
    site.published.go_down();
    for _ in 0..10 {
        site.clock.advance(Duration::from_mins(5));
        assert_eq!(site.refusal(&token).await, "ACCEPTED");
    }
    site.clock.advance(Duration::from_mins(11));
    assert_eq!(site.refusal(&token).await, "keys-unavailable");
}

#[tokio::test]
async fn what_is_no_key_set_is_no_answer() {
    let site = Site::start().await;
    let ed = Signer::ed();
    for body in ["", "[]", "{\"keys\": 1}", "<html>"] {
        *site.published.body.lock().unwrap() = Some(body.as_bytes().to_vec());
        assert_eq!(
            site.refusal(&ed.token("ed", &claims())).await,
            "keys-unavailable",
            "{body}"
        );
        site.clock.advance(Duration::from_secs(6));
    }
    let many: Vec<Value> = (0..65).map(|number| ed.jwk(&number.to_string())).collect();
    site.published.publish(&many);
    assert_eq!(site.refusal(&ed.token("0", &claims())).await, "keys-unavailable");
}

#[tokio::test]
async fn issuers_that_cannot_be_meant_are_refused_at_start() {
    let cases: [fn(&mut TrustedIssuer); 7] = [
        |issuer| issuer.issuer = String::new(),
        |issuer| issuer.issuer = "https://dramatis.test".to_owned(),
        |issuer| issuer.jwks_url = "http://id.example/keys".to_owned(),
        |issuer| issuer.jwks_url = "http://localhost.evil.test/keys".to_owned(),
        |issuer| issuer.jwks_url = "file:///etc/passwd".to_owned(),
        |issuer| issuer.audiences = Vec::new(),
        |issuer| issuer.algorithms = Vec::new(),
    ];
    for change in cases {
        let (identity, _dir) = room_at(Arc::new(ManualClock::new(sample_time()))).await;
        let mut issuer = TrustedIssuer {
            issuer: ISSUER.to_owned(),
            jwks_url: "https://id.example/keys".to_owned(),
            audiences: vec![AUDIENCE.to_owned()],
            algorithms: vec![TokenAlgorithm::EdDSA],
            scope: None,
            accounts: BTreeMap::new(),
            is_whose_accounts_are_ours: false,
        };
        change(&mut issuer);
        let source: Arc<dyn KeySetSource> = Arc::new(Published::default());
        assert!(
            identity.trust(vec![issuer.clone()], &source).is_err(),
            "{issuer:?}"
        );
    }
}
