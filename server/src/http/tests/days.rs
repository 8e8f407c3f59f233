//! Days lived twice: one seed on two fresh databases gives one behaviour.

use actors::{Behaviour, BehaviourDigest};
use http::StatusCode;
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{TestHouse, sample};
use crate::virtual_days;

/// A newcomer who errs by chance, one who sends calls side by side, and one who hops between modules.
const CAST: [(&str, &str, &str); 3] = [
    ("persona.giulia@mana.test", "overwhelmed-newbie", "hourly"),
    ("persona.ben@mana.test", "solo-dev", "daily"),
    ("persona.anna@mana.test", "adhd-student", "daily"),
];

fn persona(email: &str, archetype: &str, cadence: &str) -> Value {
    let mut persona = sample::persona(email);
    persona["name"] = json!(email.split(['.', '@']).nth(1));
    persona["archetype"] = json!(archetype);
    persona["tickCadence"] = json!(cadence);
    persona["moduleMix"] = json!({ "todo": 3, "notes": 2, "habits": 2, "journal": 1 });
    persona
}

/// Anna and Ben act every hour, and share a space.
fn share(persona: &mut Value) {
    let pair = ["persona.anna@mana.test", "persona.ben@mana.test"];
    if let Some(at) = pair.iter().position(|email| persona["email"] == **email) {
        persona["partners"] = json!([pair[1 - at]]);
        persona["tickCadence"] = json!("hourly");
    }
}

/// What this cast does in the first six hours of a fresh house.
async fn lived(cast: &[(&str, &str, &str)], change: impl Fn(&mut Value)) -> BehaviourDigest {
    let house = TestHouse::open().await;
    virtual_days::begin(&house.app).await.unwrap();
    let identity = &house.app.identity;
    let admin = identity
        .account_by_email("admin@example.org")
        .await
        .unwrap()
        .unwrap();
    // One that is good by the clock of that day.
    let token = identity.mint(&admin.id).await.unwrap().token;
    for (email, archetype, cadence) in cast {
        let mut persona = persona(email, archetype, cadence);
        change(&mut persona);
        let path = "/api/v1/personas/admin";
        let answer = house
            .ask_as(token.expose_secret(), "POST", path, Some(&persona))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
    let ticks = virtual_days::live(&house.app, SignedDuration::from_hours(6), || Ok(()))
        .await
        .unwrap();
    assert!(ticks.iter().all(actors::TickReport::succeeded), "{ticks:?}");
    let mut behaviour = Behaviour::default();
    for recorded in house.log.inner.commits() {
        behaviour.fold(&recorded);
    }
    behaviour.digest()
}

/// The negative control: let `Slot::of` follow from the persona's id, or `Sights::without_ids` leave ids as they are,
/// and the two runs differ.
#[tokio::test]
async fn one_seed_lives_the_same_days_in_two_fresh_houses_and_another_persona_changes_nobody_else_s() {
    let one = lived(&CAST, share).await;
    let other = lived(&CAST, share).await;
    assert_eq!(one, other);
    assert!(one.ticks >= 16 && one.calls >= 60, "{one:?}");
    assert_ne!(
        one.digest,
        lived(&CAST, |_| {}).await.digest,
        "sharing a space is another life"
    );

    let with_kai = [&CAST[..], &[("persona.kai@mana.test", "researcher", "daily")]].concat();
    let more = lived(&with_kai, share).await;
    assert_ne!(more.digest, one.digest);
    for (email, days) in &one.personas {
        assert_eq!(&more.personas[email], days, "{email} lives as before");
    }
}

#[tokio::test]
async fn another_description_lives_other_days_and_leaves_the_others_theirs() {
    let cast = &CAST[1..];
    let (as_ever, changed) = (
        lived(cast, |_| {}).await,
        lived(cast, |persona| {
            if persona["archetype"] == "solo-dev" {
                persona["moduleMix"] = json!({ "todo": 1 });
            }
        })
        .await,
    );
    assert_ne!(
        as_ever.personas["persona.ben@mana.test"],
        changed.personas["persona.ben@mana.test"]
    );
    assert_eq!(
        as_ever.personas["persona.anna@mana.test"],
        changed.personas["persona.anna@mana.test"]
    );
}
