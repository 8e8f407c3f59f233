//! Two houses on one log and one database of tables: one folds, the other answers for what it folds, and takes over.

use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use testkit::{NatsServer, Postgres, wait_until_async};

use crate::common::Up;

/// How long a takeover may take: two seconds of standing still, and a start of folding, on a machine that may have other things to do.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(45);

/// What a house says of its projector, ready or not.
async fn projection(up: &Up) -> Value {
    let answer = reqwest::get(format!("{}/readyz?verbose", up.api)).await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let checks = answer["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "projection");
    check.unwrap()["facts"].clone()
}

/// Enrols a persona and says how that was answered: 200 when it can be read.
async fn enrol(up: &Up, token: &str, name: &str) -> StatusCode {
    let body = json!({
        "email": format!("persona.{name}@mana.test"), "name": name, "password": "a password of eleven words",
        "archetype": "adhd-student", "systemPrompt": "You are.", "moduleMix": {"todo": 1}, "tickCadence": "daily",
    });
    let enrol = Client::new()
        .post(format!("{}/api/v1/personas/admin", up.api))
        .bearer_auth(token)
        .json(&body);
    enrol.send().await.unwrap().status()
}

/// Whether the tables hold the persona, read through that house.
async fn shows(up: &Up, token: &str, name: &str) -> bool {
    let list = Client::new()
        .get(format!("{}/api/v1/personas/admin", up.api))
        .bearer_auth(token);
    let text = list.send().await.unwrap().text().await.unwrap();
    text.contains(&format!("persona.{name}@mana.test"))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_houses_one_folds_and_the_other_answers_for_it_and_takes_over_within_seconds() {
    let (nats, postgres) = (NatsServer::start(), Postgres::start());
    let (url, monitor, database) = (nats.url(), nats.monitor_url(), postgres.url());
    let settings = [
        ("DRAMATIS_NATS", url.as_str()),
        ("DRAMATIS_NATS_MONITOR", &monitor),
        ("DRAMATIS_DATABASE", &database),
        // They open the same accounts.
        (
            "DRAMATIS_KEK",
            "shared:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let houses = [
        Up::start_with(&dir.path().join("one"), &settings),
        Up::start_with(&dir.path().join("two"), &settings),
    ];
    let tokens = [houses[0].admin_token(), houses[1].admin_token()];

    // Both begin alike; whoever loses a race for the checkpoint stands by.
    let mut enrolled = 0;
    let mut states = Vec::new();
    while states != ["running", "standby"] {
        assert!(enrolled < 200, "nobody stands by: {states:?}");
        for (house, token) in houses.iter().zip(&tokens) {
            let name = format!("p{enrolled}");
            assert_eq!(enrol(house, token, &name).await, StatusCode::OK, "{name}");
            // Whoever wrote it reads it, whichever of the two has folded it.
            assert!(shows(house, token, &name).await, "{name}");
            enrolled += 1;
        }
        states.clear();
        for house in &houses {
            states.push(projection(house).await["state"].as_str().unwrap().to_owned());
        }
        states.sort_unstable();
    }

    let is_first_folding = projection(&houses[0]).await["state"] == "running";
    let ([one, other], [one_token, other_token]) = (houses, tokens);
    let (folding, standing_by, token) = if is_first_folding {
        (one, other, other_token)
    } else {
        (other, one, one_token)
    };
    // A house that stands by is ready.
    let ready = reqwest::get(format!("{}/readyz", standing_by.api)).await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
    assert_eq!(
        enrol(&standing_by, &token, "while-standing-by").await,
        StatusCode::OK
    );
    assert!(shows(&standing_by, &token, "while-standing-by").await);

    folding.kill();
    #[expect(
        clippy::disallowed_methods,
        reason = "a process is killed and takes over in real time"
    )]
    let killed_at = Instant::now();
    // It may be answered before the tables have it; then they have it soon.
    let answer = enrol(&standing_by, &token, "after-the-kill").await;
    assert!(answer.is_success(), "{answer}");
    let is_there = wait_until_async(TAKEN_OVER_WITHIN, || {
        shows(&standing_by, &token, "after-the-kill")
    })
    .await;
    assert!(is_there, "{}", projection(&standing_by).await);
    assert!(
        killed_at.elapsed() < TAKEN_OVER_WITHIN,
        "{:?}",
        killed_at.elapsed()
    );
    assert_eq!(projection(&standing_by).await["state"], "running");
    assert_eq!(standing_by.stop(), Some(0));
}
