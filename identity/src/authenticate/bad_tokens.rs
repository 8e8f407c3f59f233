//! Tokens that must not be accepted, each wrong in one way, most of them signed with our own key: what is refused
//! here is refused for what it says and not for its signature.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use events::UserId;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Identity;
use crate::signing_keys::SigningKey;
use crate::testing::{anna, room};

/// The seconds of the sample time, at which the room's clock stands.
const NOW: u64 = 1_767_600_000;

struct Forge {
    identity: Identity,
    user: UserId,
    _dir: TempDir,
}

impl Forge {
    async fn start() -> Self {
        let (identity, dir) = room().await;
        let user = identity.register(anna()).await.unwrap().id;
        Self {
            identity,
            user,
            _dir: dir,
        }
    }

    fn key(&self) -> Arc<SigningKey> {
        let inner = &self.identity.inner;
        inner.signing_keys.signing(inner.clock.now())
    }

    fn header(&self) -> Value {
        json!({ "typ": "JWT", "alg": "EdDSA", "kid": self.key().kid })
    }

    fn claims(&self) -> Value {
        json!({
            "iss": "https://dramatis.test",
            "aud": ["mana", "https://dramatis.test/mcp"],
            "sub": self.user.as_str(),
            "exp": NOW + 60,
            "nbf": NOW,
        })
    }

    /// Any header and claims as text, signed with our key.
    fn sign(&self, header: &str, claims: &str) -> String {
        sign_with(&self.key().private, Algorithm::EdDSA, header, claims)
    }

    fn good(&self) -> String {
        self.sign(&self.header().to_string(), &self.claims().to_string())
    }

    fn with_header(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut header = self.header();
        change(&mut header);
        self.sign(&header.to_string(), &self.claims().to_string())
    }

    fn with_claim(&self, claim: &str, value: Value) -> String {
        let mut claims = self.claims();
        claims[claim] = value;
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    fn without_claim(&self, claim: &str) -> String {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove(claim);
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// A token whose MAC is made with something everybody can read.
    fn mac(&self, alg: &str, secret: &[u8]) -> String {
        let algorithm: Algorithm = alg.parse().unwrap();
        let mut header = self.header();
        header["alg"] = json!(alg);
        let key = EncodingKey::from_secret(secret);
        sign_with(&key, algorithm, &header.to_string(), &self.claims().to_string())
    }

    /// Why `token` is refused.
    async fn refusal(&self, token: &str) -> &'static str {
        match self.identity.authenticate(token).await {
            Ok(_) => "ACCEPTED",
            Err(error) => error.reason(),
        }
    }

    /// Fails with all wrong answers at once.
    async fn all_refused(&self, cases: Vec<(String, String, &str)>) {
        assert_eq!(
            self.refusal(&self.good()).await,
            "ACCEPTED",
            "the forge makes good tokens too"
        );
        let mut wrong = Vec::new();
        for (name, token, wanted) in cases {
            let got = self.refusal(&token).await;
            if got != wanted {
                wrong.push(format!("{name}: {got}, not {wanted}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

fn sign_with(key: &EncodingKey, algorithm: Algorithm, header: &str, claims: &str) -> String {
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

#[tokio::test]
async fn a_token_that_chooses_its_own_algorithm_is_refused() {
    let forge = Forge::start().await;
    let claims = forge.claims().to_string();
    let jwks = forge.identity.jwks();
    let x = jwks["keys"][0]["x"].as_str().unwrap();
    let mut cases = Vec::new();
    for (alg, reason) in [
        ("none", "malformed"),
        ("None", "malformed"),
        ("nOnE", "malformed"),
        ("", "malformed"),
    ] {
        let header = json!({ "typ": "JWT", "alg": alg, "kid": forge.key().kid }).to_string();
        let signed = forge.sign(&header, &claims);
        let bare = signed.rsplit_once('.').unwrap().0;
        cases.push((format!("alg {alg:?}, signed"), signed.clone(), reason));
        cases.push((
            format!("alg {alg:?}, empty signature"),
            format!("{bare}."),
            reason,
        ));
        cases.push((format!("alg {alg:?}, no signature"), bare.to_owned(), "malformed"));
    }
    for alg in ["HS256", "HS384", "HS512"] {
        let secrets: [(&str, Vec<u8>); 4] = [
            ("public key", URL_SAFE_NO_PAD.decode(x).unwrap()),
            ("public key in base64", x.as_bytes().to_vec()),
            ("key set", jwks.to_string().into_bytes()),
            ("nothing", Vec::new()),
        ];
        for (name, secret) in secrets {
            cases.push((
                format!("{alg} with the {name}"),
                forge.mac(alg, &secret),
                "wrong-algorithm",
            ));
        }
    }
    for alg in ["RS256", "PS256", "ES256"] {
        cases.push((
            format!("alg {alg}"),
            forge.with_header(|h| h["alg"] = json!(alg)),
            "wrong-algorithm",
        ));
    }
    for alg in [
        json!(["EdDSA"]),
        json!(null),
        json!(1),
        json!("eddsa"),
        json!("ES512"),
    ] {
        cases.push((
            format!("alg {alg}"),
            forge.with_header(|h| h["alg"] = alg.clone()),
            "malformed",
        ));
    }
    forge.all_refused(cases).await;
}

#[tokio::test]
async fn a_token_that_brings_or_names_another_key_is_refused() {
    let forge = Forge::start().await;
    let other = Forge::start().await;
    let mut cases = Vec::new();
    for kid in [
        "",
        "unknown",
        "../../../dev/null",
        "' OR 1=1 --",
        "https://evil.test/key",
        &forge.key().kid.to_uppercase(),
        &format!("{} ", forge.key().kid),
    ] {
        cases.push((
            format!("kid {kid:?}"),
            forge.with_header(|h| h["kid"] = json!(kid)),
            "unknown-key",
        ));
    }
    let no_kid = forge.with_header(|h| {
        h.as_object_mut().unwrap().remove("kid");
    });
    cases.push(("no kid".to_owned(), no_kid, "unknown-key"));
    for kid in [json!(1), json!([forge.key().kid]), json!({})] {
        cases.push((
            format!("kid {kid}"),
            forge.with_header(|h| h["kid"] = kid.clone()),
            "malformed",
        ));
    }
    let (header, claims) = (forge.header().to_string(), forge.claims().to_string());
    cases.push((
        "other key, our kid".to_owned(),
        other.sign(&header, &claims),
        "bad-signature",
    ));
    cases.push((
        "other key, its kid".to_owned(),
        other.sign(&other.header().to_string(), &claims),
        "unknown-key",
    ));
    let jwk = other.identity.jwks()["keys"][0].clone();
    let mut brings_key = forge.header();
    brings_key["jwk"] = jwk.clone();
    cases.push((
        "embedded key".to_owned(),
        other.sign(&brings_key.to_string(), &claims),
        "malformed",
    ));
    for (member, value) in [
        ("jwk", jwk),
        ("jku", json!("https://evil.test/jwks.json")),
        ("x5u", json!("https://evil.test/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("cty", json!("JWT")),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("typ", json!("at+jwt")),
        ("typ", json!("jwt")),
        ("typ", json!(null)),
        ("typ", json!(1)),
        ("whatever", json!(1)),
    ] {
        let token = forge.with_header(|h| h[member] = value.clone());
        cases.push((format!("header {member}: {value}"), token, "malformed"));
    }
    let twice = format!(
        r#"{{"typ":"JWT","alg":"EdDSA","alg":"EdDSA","kid":"{}"}}"#,
        forge.key().kid
    );
    cases.push(("alg twice".to_owned(), forge.sign(&twice, &claims), "malformed"));
    for text in [
        "",
        "{}",
        "[]",
        "null",
        "not json",
        "{\"alg\":\"EdDSA\"",
        "\u{feff}{}",
    ] {
        cases.push((format!("header {text:?}"), forge.sign(text, &claims), "malformed"));
    }
    forge.all_refused(cases).await;
}

#[tokio::test]
async fn a_token_without_a_claim_or_with_one_of_the_wrong_shape_is_refused() {
    let forge = Forge::start().await;
    let mut cases = Vec::new();
    for claim in ["iss", "aud", "sub", "exp", "nbf"] {
        cases.push((format!("no {claim}"), forge.without_claim(claim), "missing-claim"));
        cases.push((
            format!("{claim}: null"),
            forge.with_claim(claim, json!(null)),
            "missing-claim",
        ));
    }
    let ours = "https://dramatis.test";
    // Where the library itself stumbles over the shape, the whole token is called malformed.
    for (claim, value, reason) in [
        ("iss", json!(1), "malformed-claim"),
        ("iss", json!({}), "malformed-claim"),
        ("iss", json!([ours]), "malformed-claim"),
        ("iss", json!(["https://evil.test", ours]), "malformed-claim"),
        ("iss", json!(""), "malformed-claim"),
        ("iss", json!("https://evil.test"), "wrong-issuer"),
        ("iss", json!("https://dramatis.test/"), "wrong-issuer"),
        ("iss", json!("https://DRAMATIS.test"), "wrong-issuer"),
        ("aud", json!({ "mana": true }), "malformed-claim"),
        ("aud", json!(1), "malformed-claim"),
        ("aud", json!([1]), "malformed-claim"),
        ("aud", json!(["mana", 1]), "malformed-claim"),
        ("aud", json!([]), "malformed-claim"),
        ("aud", json!(""), "wrong-audience"),
        ("aud", json!("other"), "wrong-audience"),
        ("aud", json!("mana,other"), "wrong-audience"),
        ("aud", json!(["other"]), "wrong-audience"),
        ("aud", json!(["mana", "other"]), "wrong-audience"),
        ("sub", json!(1), "malformed-claim"),
        ("sub", json!({}), "malformed"),
        ("sub", json!([forge.user.as_str()]), "malformed"),
        ("sub", json!(""), "malformed-claim"),
        ("sub", json!("a\nb"), "malformed-claim"),
        ("sub", json!("x".repeat(300)), "malformed-claim"),
        ("sub", json!("nobody"), "unknown-account"),
        (
            "sub",
            json!(forge.user.as_str().to_uppercase()),
            "unknown-account",
        ),
        ("exp", json!((NOW + 60).to_string()), "malformed-claim"),
        ("exp", json!([NOW + 60]), "malformed"),
        ("exp", json!(true), "malformed-claim"),
        ("nbf", json!(NOW.to_string()), "malformed-claim"),
        ("nbf", json!({}), "malformed-claim"),
    ] {
        cases.push((
            format!("{claim}: {value}"),
            forge.with_claim(claim, value),
            reason,
        ));
    }
    let good = forge.claims().to_string();
    let twice = good.replacen('{', r#"{"sub":"somebody","#, 1);
    cases.push((
        "sub twice".to_owned(),
        forge.sign(&forge.header().to_string(), &twice),
        "malformed",
    ));
    for claims in ["", "[]", "null", "\"text\"", "not json", "{\"iss\":", "{}{}"] {
        let token = forge.sign(&forge.header().to_string(), claims);
        let got = forge.refusal(&token).await;
        assert!(
            matches!(got, "malformed" | "malformed-claim"),
            "claims {claims:?}: {got}"
        );
    }
    forge.all_refused(cases).await;
}

#[tokio::test]
async fn a_token_out_of_its_time_is_refused_by_the_clock_handed_in() {
    let forge = Forge::start().await;
    let mut cases = Vec::new();
    for (exp, reason) in [
        (json!(0), "expired"),
        (json!(NOW - 45), "expired"),
        (json!(NOW - 30), "expired"),
        (json!(NOW - 29), "ACCEPTED"),
        (json!(NOW + 1), "ACCEPTED"),
        (json!(u64::MAX), "malformed-claim"),
    ] {
        cases.push((format!("exp: {exp}"), forge.with_claim("exp", exp), reason));
    }
    for (nbf, reason) in [
        (json!(4_102_444_800_u64), "not-yet-valid"),
        (json!(NOW + 31), "not-yet-valid"),
        (json!(NOW + 30), "ACCEPTED"),
        (json!(u64::MAX), "not-yet-valid"),
    ] {
        cases.push((format!("nbf: {nbf}"), forge.with_claim("nbf", nbf), reason));
    }
    forge.all_refused(cases).await;
    for (claim, value) in [
        ("exp", json!(-1)),
        ("exp", json!(1.8e9)),
        ("exp", json!(1e300)),
        ("nbf", json!(0.5)),
    ] {
        let got = forge.refusal(&forge.with_claim(claim, value.clone())).await;
        assert!(
            matches!(got, "missing-claim" | "malformed-claim"),
            "{claim}: {value}: {got}"
        );
    }
}

#[tokio::test]
async fn text_that_is_no_token_is_refused() {
    let forge = Forge::start().await;
    let good = forge.good();
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("three parts")
    };
    let padded = format!("{header}=.{claims}.{signature}");
    let json_form = json!({ "payload": claims, "protected": header, "signature": signature }).to_string();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let cases = [
        ("empty", String::new(), "missing"),
        ("1 MB", "a".repeat(1_000_000), "too-long"),
        (
            "1 MB behind a good one",
            format!("{good}.{}", "a".repeat(1_000_000)),
            "too-long",
        ),
        ("8 KiB of dots", ".".repeat(8 * 1024), "malformed"),
        ("a dot", ".".to_owned(), "malformed"),
        ("two dots", "..".to_owned(), "malformed"),
        ("letters", "a.b.c".to_owned(), "malformed"),
        ("a word", "token".to_owned(), "malformed"),
        ("nul", "\0".to_owned(), "malformed"),
        ("not ascii", "ü.日.👩".to_owned(), "malformed"),
        ("scheme left on", format!("Bearer {good}"), "malformed"),
        ("space before", format!(" {good}"), "malformed"),
        ("line break behind", format!("{good}\n"), "malformed"),
        ("two parts", format!("{header}.{claims}"), "malformed"),
        ("four parts", format!("{good}.{signature}"), "malformed"),
        (
            "five parts",
            format!("{header}.{claims}.{signature}.a.b"),
            "malformed",
        ),
        ("json form", json_form, "malformed"),
        ("padded header", padded, "malformed"),
        ("no signature", format!("{header}.{claims}."), "bad-signature"),
        (
            "half a signature",
            format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(&raw[..32])),
            "bad-signature",
        ),
        (
            "signature and more",
            format!(
                "{header}.{claims}.{}",
                URL_SAFE_NO_PAD.encode([&raw[..], &[0]].concat())
            ),
            "bad-signature",
        ),
        (
            "zero signature",
            format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
            "bad-signature",
        ),
        (
            "wrong alphabet",
            format!("{header}.{claims}.{}", STANDARD.encode([0xff; 64])),
            "malformed",
        ),
    ];
    let cases = cases
        .into_iter()
        .map(|(name, token, reason)| (name.to_owned(), token, reason))
        .collect();
    forge.all_refused(cases).await;
}

#[tokio::test]
async fn a_token_with_any_one_character_changed_is_refused_also_after_the_right_one_was_accepted() {
    let forge = Forge::start().await;
    let good = forge.good();
    assert_eq!(forge.refusal(&good).await, "ACCEPTED");
    for place in 0..good.len() {
        for other in ["A", "B", "."] {
            if &good[place..=place] == other {
                continue;
            }
            let mut changed = good.clone();
            changed.replace_range(place..=place, other);
            assert_ne!(
                forge.refusal(&changed).await,
                "ACCEPTED",
                "character {place} is {other}"
            );
        }
    }
}

#[tokio::test]
async fn a_refusal_never_repeats_what_the_token_says() {
    let forge = Forge::start().await;
    for token in [
        forge.with_claim("iss", json!("canary-secret")),
        forge.with_claim("sub", json!("canary-secret")),
        forge.with_header(|h| h["kid"] = json!("canary-secret")),
        "canary-secret".to_owned(),
    ] {
        let error = forge.identity.authenticate(&token).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("canary"), "{text}");
    }
}
