//! Tokens of another issuer at the door: sessions, challenges and what is said about where to get one.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{KeySetFuture, KeySetSource, TokenAlgorithm, TrustedIssuer};
use serde_json::{Value, json};

use crate::harness::{House, initialize};

const ISSUER: &str = "https://id.example";

/// An issuer with one key.
#[derive(Debug)]
struct Elsewhere {
    pair: Ed25519KeyPair,
}

impl KeySetSource for Elsewhere {
    fn fetch<'a>(&'a self, _: &'a str) -> KeySetFuture<'a> {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]});
        Box::pin(async move { Ok(set.to_string().into_bytes()) })
    }
}

impl Elsewhere {
    fn token(&self, claims: &Value) -> String {
        let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": "k"});
        let coded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", coded(&header), coded(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }
}

fn claims(expires: u64, scope: &str) -> Value {
    json!({"iss": ISSUER, "aud": "mana", "sub": "s-1", "exp": expires, "scope": scope})
}

/// A house that trusts an issuer whose subject `s-1` is anna.
async fn house() -> (House, Arc<Elsewhere>) {
    let house = House::start().await;
    house.user("anna").await;
    let elsewhere = Arc::new(Elsewhere {
        pair: Ed25519KeyPair::generate().unwrap(),
    });
    let source: Arc<dyn KeySetSource> = elsewhere.clone();
    let issuer = TrustedIssuer {
        issuer: ISSUER.to_owned(),
        jwks_url: format!("{ISSUER}/keys"),
        audiences: vec!["mana".to_owned()],
        algorithms: vec![TokenAlgorithm::EdDSA],
        scope: Some("mcp:tools".to_owned()),
        accounts: [("s-1".to_owned(), "anna@mana.test".to_owned())].into(),
        is_whose_accounts_are_ours: false,
    };
    house.identity.trust(vec![issuer], &source).unwrap();
    (house, elsewhere)
}

#[tokio::test]
async fn a_refreshed_token_goes_on_with_its_session_and_one_of_another_issuer_does_not() {
    let (house, elsewhere) = house().await;
    let anna = house.user("anna").await;
    let first = elsewhere.token(&claims(4_000_000_000, "mcp:tools"));
    let response = house.post(&first, initialize()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let refreshed = elsewhere.token(&claims(4_000_000_001, "openid mcp:tools"));
    assert_eq!(house.call_in(&refreshed, &session).await.status(), 200);
    assert_eq!(
        house.call_in(&anna.token, &session).await.status(),
        403,
        "our own token, the same account"
    );
    let own = house.open_session(&anna).await;
    assert_eq!(house.call_in(&refreshed, &own).await.status(), 403);
    assert_eq!(
        house.call_in(&first, &session).await.status(),
        200,
        "the session lives on"
    );
    house.stop().await;
}

#[tokio::test]
async fn a_token_without_the_scope_is_told_which_it_lacks_and_does_not_ride_on_a_stronger_session() {
    let (house, elsewhere) = house().await;
    let strong = elsewhere.token(&claims(4_000_000_000, "mcp:tools"));
    let response = house.post(&strong, initialize()).send().await.unwrap();
    let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let weak = elsewhere.token(&claims(4_000_000_000, "openid"));
    let refused = house.call_in(&weak, &session).await;
    assert_eq!(refused.status(), 403);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
    for part in [
        "Bearer resource_metadata=\"",
        "error=\"insufficient_scope\"",
        "scope=\"mcp:tools\"",
    ] {
        assert!(challenge.contains(part), "{part}: {challenge}");
    }
    house.stop().await;
}

#[tokio::test]
async fn the_metadata_names_every_issuer() {
    let (house, _) = house().await;
    let metadata: Value = house
        .http
        .get(format!("{}/.well-known/oauth-protected-resource", house.url))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let servers = metadata["authorization_servers"].as_array().unwrap();
    assert_eq!(servers.len(), 2);
    assert_eq!(servers[1], ISSUER);
    house.stop().await;
}
