use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, TestHouse, sample};

const VAULT: &str = "/api/v1/me/encryption-vault";

async fn ask(house: &TestHouse, token: &str, method: &str, what: &str, body: Option<&Value>) -> Answer {
    house
        .ask_as(token, method, &format!("{VAULT}/{what}"), body)
        .await
}

fn wrap() -> Value {
    json!({ "recoveryWrappedMk": BASE64.encode([1; 48]), "recoveryIv": BASE64.encode([2; 12]) })
}

#[tokio::test]
async fn a_zero_knowledge_vault_gives_its_wrap_and_no_key_and_refuses_what_would_lose_it() {
    let house = TestHouse::open().await;
    let (token, _) = house.register("eva@example.org").await;
    let key = ask(&house, &token, "GET", "key", None).await.json;
    let on = json!({ "enable": true });
    ask(&house, &token, "POST", "zero-knowledge", Some(&on))
        .await
        .assert_problem(StatusCode::BAD_REQUEST, "RECOVERY_WRAP_MISSING");

    let kept = ask(&house, &token, "POST", "recovery-wrap", Some(&wrap())).await;
    assert_eq!(kept.status, StatusCode::OK, "{}", kept.text);
    let switched = ask(&house, &token, "POST", "zero-knowledge", Some(&on)).await;
    assert_eq!(switched.status, StatusCode::OK, "{}", switched.text);
    for (method, what) in [("GET", "key"), ("POST", "init")] {
        let access = ask(&house, &token, method, what, None).await.json;
        let expected = json!({
            "requiresRecoveryCode": true,
            "recoveryWrappedMk": wrap()["recoveryWrappedMk"],
            "recoveryIv": wrap()["recoveryIv"],
            "formatVersion": 1,
        });
        assert_eq!(access, expected, "{what}");
    }
    let status = ask(&house, &token, "GET", "status", None).await.json;
    assert_eq!(
        (&status["zeroKnowledge"], &status["hasRecoveryWrap"]),
        (&json!(true), &json!(true))
    );
    ask(&house, &token, "POST", "rotate", None)
        .await
        .assert_problem(StatusCode::CONFLICT, "ZK_ROTATE_FORBIDDEN");
    ask(&house, &token, "DELETE", "recovery-wrap", None)
        .await
        .assert_problem(StatusCode::CONFLICT, "ZK_ACTIVE");

    let without = json!({ "enable": false });
    ask(&house, &token, "POST", "zero-knowledge", Some(&without))
        .await
        .assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    let short = json!({ "enable": false, "masterKey": BASE64.encode([3; 31]) });
    let refused = ask(&house, &token, "POST", "zero-knowledge", Some(&short)).await;
    refused.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    assert!(
        !refused.text.contains(&BASE64.encode([3; 31])),
        "a key is not repeated"
    );
    let off = json!({ "enable": false, "masterKey": key["masterKey"] });
    let switched = ask(&house, &token, "POST", "zero-knowledge", Some(&off)).await;
    assert_eq!(switched.status, StatusCode::OK, "{}", switched.text);
    assert_eq!(ask(&house, &token, "GET", "key", None).await.json, key);
}

#[tokio::test]
async fn a_rotated_key_is_another_one_and_a_wrap_of_the_one_before_is_gone() {
    let house = TestHouse::open().await;
    let (token, user) = house.register("eva@example.org").await;
    let before = ask(&house, &token, "GET", "key", None).await.json;
    ask(&house, &token, "POST", "recovery-wrap", Some(&wrap())).await;
    let rotated = ask(&house, &token, "POST", "rotate", None).await;
    assert_eq!(rotated.status, StatusCode::OK, "{}", rotated.text);
    assert_eq!(
        Answer::members(&rotated.json),
        ["formatVersion", "kekId", "masterKey"]
    );
    assert_ne!(rotated.json["masterKey"], before["masterKey"]);
    assert_eq!(ask(&house, &token, "GET", "key", None).await.json, rotated.json);
    let status = ask(&house, &token, "GET", "status", None).await.json;
    assert_eq!(status["hasRecoveryWrap"], false);

    let user = events::UserId::try_new(user).unwrap();
    let acts = house.app.identity.acts(Some(&user), None, 10).await.unwrap();
    let acts: Vec<&str> = acts.iter().rev().map(|act| act.act.as_str()).collect();
    let expected = [
        "account.registered",
        "login.accepted",
        "vault.read",
        "recovery.set",
        "vault.rotated",
        "vault.read",
    ];
    assert_eq!(acts, expected, "each act is on record, readings too");
}

#[tokio::test]
async fn what_is_no_wrap_is_refused() {
    let house = TestHouse::open().await;
    let (token, _) = house.register("eva@example.org").await;
    for bad in [
        json!({}),
        json!({ "recoveryWrappedMk": "not base64!", "recoveryIv": "AAAA" }),
        json!({ "recoveryWrappedMk": "A".repeat(1_028), "recoveryIv": "AAAA" }),
    ] {
        ask(&house, &token, "POST", "recovery-wrap", Some(&bad))
            .await
            .assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    }
}

#[tokio::test]
async fn ten_wrong_passwords_put_an_email_off_whether_or_not_it_is_anybodys() {
    let house = TestHouse::open().await;
    house.register("eva@example.org").await;
    let mut put_off = Vec::new();
    for email in ["eva@example.org", "nobody@example.org"] {
        let wrong = json!({ "email": email, "password": "wrong horse" });
        for _ in 0..10 {
            let refused = house.ask("POST", "/api/v1/auth/login", Some(&wrong)).await;
            refused.assert_problem(StatusCode::UNAUTHORIZED, "BAD_CREDENTIALS");
        }
        let right = sample::credentials(email);
        let refused = house.ask("POST", "/api/v1/auth/login", Some(&right)).await;
        refused.assert_problem(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_LOGINS");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() <= 901);
        put_off.push((refused.status, refused.json["code"].clone()));
    }
    assert_eq!(put_off[0], put_off[1]);
    house.register("other@example.org").await;
}
