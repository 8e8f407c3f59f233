//! The cast is put in place and taken away again over the admin API of a running server.

use serde_json::json;

use crate::common::{Up, events};

#[test]
fn seeding_twice_makes_ten_personas_and_cleanup_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(&dir.path().join("data"));
    let (planned, code) = up.json(&["seed", "--dry-run"]);
    assert_eq!((planned["created"].as_u64(), code), (Some(10), 0), "{planned}");
    assert_eq!(
        up.json(&["personas", "list"]).0["personas"],
        json!([]),
        "a dry run writes nothing"
    );

    let (first, _) = up.json(&["seed"]);
    assert_eq!(
        (first["created"].as_u64(), first["unchanged"].as_u64()),
        (Some(10), Some(0)),
        "{first}"
    );
    let (second, _) = up.json(&["seed"]);
    assert_eq!(
        (second["created"].as_u64(), second["failed"].as_u64()),
        (Some(0), Some(0)),
        "{second}"
    );
    let (list, _) = up.json(&["personas", "list"]);
    assert_eq!(list["personas"].as_array().unwrap().len(), 10);
    assert_eq!(events(&up.data, &["--type", "PersonaEnrolled"]).len(), 10);
    assert_eq!(
        events(&up.data, &["--type", "PersonaRevised"]).len(),
        0,
        "nothing changed, nothing happened"
    );

    let (shown, _) = up.json(&["personas", "show", "persona.anna@mana.test"]);
    assert_eq!(shown["persona"]["name"], "Anna");
    let (cleaned, code) = up.json(&["cleanup"]);
    assert_eq!((cleaned["deleted"].as_u64(), code), (Some(10), 0), "{cleaned}");
    assert_eq!(up.json(&["personas", "list"]).0["personas"], json!([]));
    assert_eq!(up.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_human_in_the_way_is_never_touched() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(&dir.path().join("data"));
    let client = reqwest::Client::new();
    let human =
        json!({"email": "persona.anna@mana.test", "password": "I am no persona", "name": "Real Anna"});
    let registered = client
        .post(format!("{}/api/v1/auth/register", up.api))
        .json(&human)
        .send()
        .await
        .unwrap();
    assert!(
        registered.status().is_success(),
        "{}",
        registered.text().await.unwrap()
    );

    let (seeded, code) = up.json(&["seed"]);
    assert_eq!(
        (seeded["created"].as_u64(), seeded["failed"].as_u64(), code),
        (Some(9), Some(1), 1),
        "{seeded}"
    );
    let login = json!({"email": "persona.anna@mana.test", "password": "I am no persona"});
    let logged_in = client
        .post(format!("{}/api/v1/auth/login", up.api))
        .json(&login)
        .send()
        .await
        .unwrap();
    let body: serde_json::Value = logged_in.json().await.unwrap();
    assert_eq!(body["user"]["kind"], "human");

    let token = up.admin_token();
    let deletion = format!(
        "{}/api/v1/personas/admin/{}",
        up.api,
        body["user"]["id"].as_str().unwrap()
    );
    let refused = client.delete(deletion).bearer_auth(token).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    up.json(&["cleanup"]);
    let again = client
        .post(format!("{}/api/v1/auth/login", up.api))
        .json(&login)
        .send()
        .await
        .unwrap();
    assert!(again.status().is_success(), "the human is still there");
}
