//! Tokens over time, over restarts, and for others who verify them. What is refused and why is tried in
//! `src/authenticate/bad_tokens.rs`.

use std::sync::Arc;
use std::time::Duration;

use events::{ManualClock, SystemIds};
use identity::{Identity, IdentityError, IdentitySettings, KeyEncryptionKey, TokenError};
use jiff::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::place::Place;
use crate::room::{Room, person, settings};

#[tokio::test]
async fn a_token_outlives_a_restart() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let token = room.token(&anna).await;
    let keys = room.identity.jwks();
    let room = room.reopen().await;
    assert_eq!(room.identity.authenticate(&token).await.unwrap().user_id, anna.id);
    assert_eq!(room.identity.jwks(), keys);
}

#[tokio::test]
async fn a_token_lives_its_hour_and_the_leeway_also_when_it_was_seen_before() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let token = room.token(&anna).await;
    room.clock.advance(Duration::from_secs(3_600 + 29));
    room.identity.authenticate(&token).await.unwrap();
    room.clock.advance(Duration::from_secs(1));
    let error = room.identity.authenticate(&token).await.unwrap_err();
    assert!(matches!(error, TokenError::Expired), "{error}");
}

#[tokio::test]
async fn tokens_follow_the_clock_handed_in_and_not_the_machines() {
    for (year, start) in [("1990", 631_152_000), ("2100", 4_102_444_800)] {
        let place = Place::new();
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(start).unwrap()));
        let settings = settings(&place, KeyEncryptionKey::new("k", [1; 32]));
        let identity = Identity::open(settings, clock.clone(), Arc::new(SystemIds))
            .await
            .unwrap();
        let account = identity.register(person("Anna")).await.unwrap();
        let login = identity.mint(&account.id).await.unwrap();
        assert_eq!(login.expires_at.as_second(), start + 3_600, "{year}");
        assert!(
            identity.authenticate(login.token.expose_secret()).await.is_ok(),
            "{year}"
        );
        clock.advance(Duration::from_hours(2));
        let outcome = identity.authenticate(login.token.expose_secret()).await;
        assert!(matches!(outcome, Err(TokenError::Expired)), "{year}: {outcome:?}");
    }
}

#[tokio::test]
async fn another_servers_token_is_refused() {
    let (here, there) = (Room::open().await, Room::open().await);
    here.person("Anna").await;
    let theirs = there.person("Anna").await;
    let token = there.token(&theirs).await;
    let error = here.identity.authenticate(&token).await.unwrap_err();
    assert!(matches!(error, TokenError::UnknownKey), "{error}");
}

#[tokio::test]
async fn others_can_verify_a_token_with_the_published_keys() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let token = room.token(&anna).await;
    let keys: JwkSet = serde_json::from_value(room.identity.jwks()).unwrap();
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_audience(&["mana"]);
    rules.set_issuer(&["https://dramatis.test"]);
    // The sample time is past for the machine's clock.
    rules.validate_exp = false;
    let claims = jsonwebtoken::decode::<Value>(&token, &key, &rules)
        .unwrap()
        .claims;
    assert_eq!(claims["sub"], anna.id.as_str());
    assert_eq!(claims["email"], "anna@example.test");
    assert_eq!(
        (&claims["role"], &claims["tier"]),
        (&Value::from("user"), &Value::from("free"))
    );
}

#[tokio::test]
async fn the_key_set_publishes_public_halves_only() {
    let keys = Room::open().await.identity.jwks();
    let key = keys["keys"][0].as_object().unwrap();
    let mut members: Vec<&str> = key.keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"]);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn two_that_open_a_new_file_at_once_make_one_key_between_them() {
    let place = Place::new();
    let open = || {
        let settings = settings(&place, KeyEncryptionKey::new("k", [1; 32]));
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        Identity::open(settings, clock, Arc::new(SystemIds))
    };
    let (one, two) = tokio::join!(open(), open());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.jwks(), two.jwks());
    let anna = one.register(person("Anna")).await.unwrap();
    let token = two.mint(&anna.id).await.unwrap().token;
    assert!(one.authenticate(token.expose_secret()).await.is_ok());
}

#[tokio::test]
async fn a_room_without_issuer_audience_or_lifetime_does_not_open() {
    let place = Place::new();
    let good = || settings(&place, KeyEncryptionKey::new("k", [1; 32]));
    for (wanted, settings) in [
        (
            "issuer",
            IdentitySettings {
                issuer: String::new(),
                ..good()
            },
        ),
        (
            "audiences",
            IdentitySettings {
                audiences: Vec::new(),
                ..good()
            },
        ),
        (
            "audiences",
            IdentitySettings {
                audiences: vec![String::new()],
                ..good()
            },
        ),
        (
            "token_ttl",
            IdentitySettings {
                token_ttl: Duration::ZERO,
                ..good()
            },
        ),
    ] {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        match Identity::open(settings, clock, Arc::new(SystemIds)).await {
            Err(IdentityError::InvalidField { field, .. }) => assert_eq!(field, wanted),
            other => panic!("{wanted}: {other:?}"),
        }
    }
}
