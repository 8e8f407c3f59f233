use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use serde_json::json;

use super::{Answer, TestHouse, sample};

#[tokio::test]
async fn who_registers_can_log_in_and_finds_a_personal_space() {
    let house = TestHouse::open().await;
    let body = json!({ "email": "Eva@Example.org", "password": "correct horse", "name": "Eva", "extra": 1 });
    let registered = house.ask("POST", "/api/v1/auth/register", Some(&body)).await;
    assert_eq!(registered.status, StatusCode::CREATED, "{}", registered.text);

    let login = house
        .ask(
            "POST",
            "/api/v1/auth/login",
            Some(&sample::credentials("eva@example.org")),
        )
        .await;
    assert_eq!(login.status, StatusCode::OK);
    assert_eq!(Answer::members(&login.json), ["token", "user"]);
    let user = &login.json["user"];
    assert_eq!(*user, registered.json["user"]);
    let expected = json!({
        "id": user["id"], "email": "eva@example.org", "name": "Eva", "kind": "human", "role": "user", "tier": "free",
    });
    assert_eq!(*user, expected);
    assert_eq!(login.header("cache-control"), "no-store");

    let token = login.json["token"].as_str().unwrap();
    let spaces = house
        .ask_as(token, "GET", "/api/auth/organization/list", None)
        .await;
    let space = &spaces.json[0];
    assert_eq!(Answer::members(space), ["id", "metadata", "name", "role", "slug"]);
    assert_eq!(
        (&space["metadata"], &space["role"]),
        (&json!({ "type": "personal" }), &json!("owner"))
    );
}

#[tokio::test]
async fn nobody_makes_themselves_admin_or_persona_by_registering() {
    let house = TestHouse::open().await;
    let mut body = sample::credentials("eve@example.org");
    body["role"] = json!("admin");
    body["kind"] = json!("persona");
    let registered = house.ask("POST", "/api/v1/auth/register", Some(&body)).await;
    assert_eq!(registered.json["user"]["role"], "user");
    assert_eq!(registered.json["user"]["kind"], "human");
}

#[tokio::test]
async fn an_email_is_registered_once() {
    let house = TestHouse::open().await;
    house.register("eva@example.org").await;
    let again = house
        .ask(
            "POST",
            "/api/v1/auth/register",
            Some(&sample::credentials("EVA@example.org")),
        )
        .await;
    again.assert_problem(StatusCode::CONFLICT, "EMAIL_TAKEN");
}

#[tokio::test]
async fn a_registration_without_sense_is_refused_with_every_fault() {
    let house = TestHouse::open().await;
    let body = json!({ "password": "short", "name": 7 });
    let answer = house.ask("POST", "/api/v1/auth/register", Some(&body)).await;
    answer.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    let faults = answer.json["faults"].as_array().unwrap();
    let fields: Vec<&str> = faults
        .iter()
        .map(|fault| fault["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["email", "password", "name"]);
    assert!(!answer.text.contains("short"), "a password is not repeated");

    let body = sample::credentials("no-address");
    let answer = house.ask("POST", "/api/v1/auth/register", Some(&body)).await;
    answer.assert_problem(StatusCode::BAD_REQUEST, "INVALID_FIELDS");
    assert_eq!(answer.json["faults"][0]["field"], "email");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_email_read_the_same() {
    let house = TestHouse::open().await;
    house.register("eva@example.org").await;
    let wrong = json!({ "email": "eva@example.org", "password": "wrong horse" });
    let wrong = house.ask("POST", "/api/v1/auth/login", Some(&wrong)).await;
    wrong.assert_problem(StatusCode::UNAUTHORIZED, "BAD_CREDENTIALS");
    let unknown = house
        .ask(
            "POST",
            "/api/v1/auth/login",
            Some(&sample::credentials("nobody@example.org")),
        )
        .await;
    assert_eq!(unknown.text, wrong.text);
}

#[tokio::test]
async fn the_public_keys_are_at_both_addresses_and_hold_nothing_private() {
    let house = TestHouse::open().await;
    let keys = house.ask("GET", "/api/auth/jwks", None).await;
    let again = house.ask("GET", "/.well-known/jwks.json", None).await;
    assert_eq!(keys.json, again.json);
    let key = &keys.json["keys"][0];
    assert_eq!((&key["kty"], &key["crv"]), (&json!("OKP"), &json!("Ed25519")));
    assert!(key.get("d").is_none());
    assert_eq!(keys.header("cache-control"), "public, max-age=60");
}

#[tokio::test]
async fn the_vault_gives_its_owner_one_key_for_good() {
    let house = TestHouse::open().await;
    let (token, _) = house.register("eva@example.org").await;
    let init = house
        .ask_as(&token, "POST", "/api/v1/me/encryption-vault/init", None)
        .await;
    let key = house
        .ask_as(&token, "GET", "/api/v1/me/encryption-vault/key", None)
        .await;
    assert_eq!(
        (init.status, key.status),
        (StatusCode::OK, StatusCode::OK),
        "{}",
        init.text
    );
    assert_eq!(init.json, key.json);
    assert_eq!(
        Answer::members(&key.json),
        ["formatVersion", "kekId", "masterKey"]
    );
    assert_eq!(
        BASE64
            .decode(key.json["masterKey"].as_str().unwrap())
            .unwrap()
            .len(),
        32
    );
    assert_eq!(key.header("cache-control"), "no-store");

    let status = house
        .ask_as(&token, "GET", "/api/v1/me/encryption-vault/status", None)
        .await;
    assert_eq!(status.json["vaultExists"], true);
    assert!(status.json.get("masterKey").is_none());

    let (other, _) = house.register("other@example.org").await;
    let others_key = house
        .ask_as(&other, "GET", "/api/v1/me/encryption-vault/key", None)
        .await;
    assert_ne!(others_key.json["masterKey"], key.json["masterKey"]);
}

#[test]
fn a_vault_that_is_not_there_has_its_own_code() {
    let problem = crate::http::problem::Problem::from(identity::IdentityError::VaultNotInitialised);
    assert_eq!(problem.code(), "VAULT_NOT_INITIALISED");
}

#[tokio::test]
async fn what_belongs_to_somebody_needs_their_token() {
    let house = TestHouse::open().await;
    for (method, path) in [
        ("GET", "/api/auth/organization/list"),
        ("GET", "/api/v1/me/encryption-vault/key"),
        ("GET", "/api/v1/me/encryption-vault/status"),
        ("POST", "/api/v1/me/encryption-vault/init"),
    ] {
        house
            .ask(method, path, None)
            .await
            .assert_problem(StatusCode::UNAUTHORIZED, "TOKEN_MISSING");
        let forged = house.ask_as("e30.e30.e30", method, path, None).await;
        forged.assert_problem(StatusCode::UNAUTHORIZED, "TOKEN_INVALID");
    }
}
