//! An issuer of the trial's own, which the program is told to trust, and every bad token it can make.

use std::fs;

use anyhow::Context as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use axum::Json;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use benches::Site;
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "campaign";
/// Far ahead, and long ago.
const LATER: u64 = 4_000_000_000;
const EARLIER: u64 = 1_000_000_000;

/// See the module.
pub(super) struct Forge {
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
    stranger: Ed25519KeyPair,
}

impl Forge {
    /// Serves the keys and writes the configuration that trusts them.
    #[expect(
        clippy::disallowed_methods,
        reason = "the issuer lives as long as the trial's process"
    )]
    pub(super) async fn start(site: &Site) -> anyhow::Result<Self> {
        let made = |_| anyhow::anyhow!("no key could be made");
        let forge = Self {
            ed: Ed25519KeyPair::generate().map_err(made)?,
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(made)?,
            stranger: Ed25519KeyPair::generate().map_err(made)?,
        };
        let keys = json!({"keys": [forge.ed_jwk("ed"), forge.ec_jwk("ec")]});
        let router = axum::Router::new().route("/keys", get(async move || Json(keys)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = format!(
            "[[issuers]]\nissuer = \"{ISSUER}\"\njwks_url = \"http://{address}/keys\"\n\
             algorithms = [\"EdDSA\", \"ES256\"]\naudiences = [\"{AUDIENCE}\"]\n\
             [issuers.accounts]\n\"subject-1\" = \"anna@example.org\"\n\"subject-2\" = \"nobody@example.org\"\n"
        );
        let folder = site.data().parent().context("the data folder has a parent")?;
        fs::write(folder.join("dramatis.toml"), config)?;
        Ok(forge)
    }

    fn ed_jwk(&self, kid: &str) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.ed.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "alg": "EdDSA", "x": x})
    }

    fn ec_jwk(&self, kid: &str) -> Value {
        // The uncompressed point: a byte 4, then both coordinates.
        let point = self.ec.public_key().as_ref();
        let (x, y) = (
            URL_SAFE_NO_PAD.encode(&point[1..33]),
            URL_SAFE_NO_PAD.encode(&point[33..]),
        );
        json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256", "x": x, "y": y})
    }

    /// Tokens that must be accepted.
    pub(super) fn good_tokens(&self) -> Vec<(&'static str, String)> {
        vec![
            ("EdDSA", self.signed(&header(), &claims())),
            (
                "ES256",
                self.es256(&json!({"typ": "at+jwt", "alg": "ES256", "kid": "ec"}), &claims()),
            ),
        ]
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = message(&header.to_string(), &claims.to_string());
        with_signature(&message, self.ed.sign(message.as_bytes()).as_ref())
    }

    fn es256(&self, header: &Value, claims: &Value) -> String {
        let message = message(&header.to_string(), &claims.to_string());
        let signature = self.ec.sign(&SystemRandom::new(), message.as_bytes());
        with_signature(&message, signature.as_ref().map_or(&[], AsRef::as_ref))
    }

    fn mac(algorithm: hmac::Algorithm, alg: &str, secret: &[u8]) -> String {
        let header = json!({"typ": "JWT", "alg": alg, "kid": "ed"});
        let message = message(&header.to_string(), &claims().to_string());
        let key = hmac::Key::new(algorithm, secret);
        with_signature(&message, hmac::sign(&key, message.as_bytes()).as_ref())
    }

    /// Every bad token, with what is wrong with it. `ours` is a good one of the program itself, of which parts are taken.
    pub(super) fn bad_tokens(&self, ours: &str) -> Vec<(String, String)> {
        let mut bad = self.of_wrong_algorithms();
        bad.extend(self.with_wrong_headers());
        bad.extend(self.with_wrong_claims());
        bad.extend(self.of_wrong_form());
        bad.extend(damaged(ours));
        bad
    }

    fn of_wrong_algorithms(&self) -> Vec<(String, String)> {
        let public = self.ed.public_key().as_ref();
        let coded = URL_SAFE_NO_PAD.encode(public);
        let mut bad = Vec::new();
        for alg in [
            "none", "None", "NONE", "nOnE", "", "EDDSA", "Ed25519", "ES512", "PS256", "RS256", "ES256",
        ] {
            let header = json!({"typ": "JWT", "alg": alg, "kid": "ed"});
            let token = self.signed(&header, &claims());
            let bare = token.rsplit_once('.').map_or("", |(bare, _)| bare).to_owned();
            bad.push((format!("alg {alg:?}, signed"), token));
            bad.push((format!("alg {alg:?}, empty signature"), format!("{bare}.")));
        }
        for (algorithm, alg) in [
            (hmac::HMAC_SHA256, "HS256"),
            (hmac::HMAC_SHA384, "HS384"),
            (hmac::HMAC_SHA512, "HS512"),
        ] {
            for (name, secret) in [
                ("the public key", public),
                ("the public key in base64", coded.as_bytes()),
                ("nothing", b"".as_slice()),
                ("a guess", b"secret".as_slice()),
            ] {
                bad.push((format!("{alg} with {name}"), Self::mac(algorithm, alg, secret)));
            }
        }
        bad.push((
            "EdDSA under the id of an ES256 key".to_owned(),
            self.signed(&json!({"typ": "JWT", "alg": "EdDSA", "kid": "ec"}), &claims()),
        ));
        bad.push((
            "ES256 under the id of an EdDSA key".to_owned(),
            self.es256(&json!({"typ": "JWT", "alg": "ES256", "kid": "ed"}), &claims()),
        ));
        bad
    }

    fn with_wrong_headers(&self) -> Vec<(String, String)> {
        let mut bad = Vec::new();
        for kid in [
            "",
            "unknown",
            "../../dev/null",
            "' OR 1=1 --",
            "http://169.254.169.254/",
            "ED",
            "ed ",
            "\u{0}",
        ] {
            let header = json!({"typ": "JWT", "alg": "EdDSA", "kid": kid});
            bad.push((format!("kid {kid:?}"), self.signed(&header, &claims())));
        }
        for (member, value) in [
            ("jwk", self.ed_jwk("ed")),
            ("jku", json!("https://evil.example/keys")),
            ("x5u", json!("https://evil.example/cert")),
            ("x5c", json!(["MIIB"])),
            ("crit", json!(["exp"])),
            ("b64", json!(false)),
            ("cty", json!("JWT")),
            ("typ", json!("JWE")),
            ("typ", json!(1)),
            ("kid", json!(["ed"])),
            ("kid", Value::Null),
            ("alg", json!(["EdDSA"])),
        ] {
            let mut header = header();
            header[member] = value.clone();
            bad.push((
                format!("header {member}: {value}"),
                self.signed(&header, &claims()),
            ));
        }
        let foreign = message(&header().to_string(), &claims().to_string());
        let signature = self.stranger.sign(foreign.as_bytes());
        bad.push((
            "signed by a stranger".to_owned(),
            with_signature(&foreign, signature.as_ref()),
        ));
        bad
    }

    fn with_wrong_claims(&self) -> Vec<(String, String)> {
        let mut bad = Vec::new();
        for (claim, value) in [
            ("iss", Value::Null),
            ("iss", json!("https://issuer.example/")),
            ("iss", json!("urn:dramatis:development")),
            ("iss", json!([ISSUER])),
            ("aud", Value::Null),
            ("aud", json!("somebody-else")),
            ("aud", json!("")),
            ("aud", json!([])),
            ("aud", json!([AUDIENCE, "somebody-else"])),
            ("aud", json!([AUDIENCE, 1])),
            ("aud", json!({"campaign": true})),
            ("sub", Value::Null),
            ("sub", json!("")),
            ("sub", json!(1)),
            ("sub", json!(["subject-1"])),
            ("sub", json!("subject-2")),
            ("sub", json!("subject-3")),
            ("sub", json!("anna@example.org")),
            ("exp", Value::Null),
            ("exp", json!("4000000000")),
            ("exp", json!(-1)),
            ("exp", json!(4e9 + 0.5)),
            ("exp", json!(EARLIER)),
            ("exp", json!(0)),
            ("exp", json!(u64::MAX)),
            ("nbf", json!(LATER - 1)),
            ("nbf", json!("1")),
            ("nbf", json!(-1)),
        ] {
            let mut claims = claims();
            claims[claim] = value.clone();
            bad.push((format!("claim {claim}: {value}"), self.signed(&header(), &claims)));
        }
        bad
    }

    fn of_wrong_form(&self) -> Vec<(String, String)> {
        let good = self.signed(&header(), &claims());
        let mut bad = vec![("a megabyte".to_owned(), "A".repeat(9_000))];
        for (name, header, payload) in [
            ("claims that are no object", header().to_string(), "[]".to_owned()),
            ("claims that are no JSON", header().to_string(), "{".to_owned()),
            (
                "a header that is no object",
                "[]".to_owned(),
                claims().to_string(),
            ),
            (
                "a claim twice",
                header().to_string(),
                claims().to_string().replacen('{', "{\"sub\":\"subject-1\",", 1),
            ),
            (
                "alg twice",
                "{\"typ\":\"JWT\",\"alg\":\"EdDSA\",\"alg\":\"EdDSA\",\"kid\":\"ed\"}".to_owned(),
                claims().to_string(),
            ),
        ] {
            let message = message(&header, &payload);
            bad.push((
                name.to_owned(),
                with_signature(&message, self.ed.sign(message.as_bytes()).as_ref()),
            ));
        }
        bad.push(("padded".to_owned(), format!("{good}=")));
        bad.push(("five parts".to_owned(), format!("{good}.a.b")));
        bad
    }
}

/// A good token with something taken away, changed or put to it.
fn damaged(ours: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = ours.split('.').collect();
    let mut bad: Vec<(String, String)> = [
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("one word", "token".to_owned()),
        ("without its signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        (
            "signature of another form",
            format!("{}.{}.{}", parts[0], parts[1], STANDARD.encode([0; 64])),
        ),
        ("payload first", format!("{}.{}.{}", parts[1], parts[0], parts[2])),
        ("twice", format!("{ours}{ours}")),
        ("cut short", ours[..ours.len() - 2].to_owned()),
    ]
    .map(|(name, token)| (name.to_owned(), token))
    .into();
    for (part, name) in ["header", "payload", "signature"].iter().enumerate() {
        let mut changed: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        let middle = changed[part].len() / 2;
        let other = if changed[part].as_bytes()[middle] == b'A' {
            "B"
        } else {
            "A"
        };
        changed[part].replace_range(middle..=middle, other);
        bad.push((format!("our own with another {name}"), changed.join(".")));
    }
    bad
}

fn header() -> Value {
    json!({"typ": "JWT", "alg": "EdDSA", "kid": "ed"})
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "subject-1", "exp": LATER})
}

fn message(header: &str, claims: &str) -> String {
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    )
}

fn with_signature(message: &str, signature: &[u8]) -> String {
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
