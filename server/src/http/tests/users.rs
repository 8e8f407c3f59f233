use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, SERVICE_KEY, TestHouse, request, sample};

async fn with_service_key(house: &TestHouse, key: &str, path: &str) -> Answer {
    let mut asked = request("POST", path, None);
    asked.headers_mut().insert("x-service-key", key.parse().unwrap());
    house.send(asked).await
}

fn emails(answer: &Answer) -> Vec<&str> {
    let users = answer.json["users"].as_array().unwrap();
    users.iter().map(|user| user["email"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn personas_are_not_among_the_accounts_unless_asked_for() {
    let house = TestHouse::open().await;
    house.register("eva@example.org").await;
    let (token, stamped) = house.register("was-human@example.org").await;
    let path = format!("/api/v1/internal/users/{stamped}/persona-stamp");
    with_service_key(&house, "wrong", &path)
        .await
        .assert_problem(StatusCode::UNAUTHORIZED, "SERVICE_KEY_WRONG");
    for _ in 0..2 {
        let done = with_service_key(&house, SERVICE_KEY, &path).await;
        assert_eq!(
            done.json,
            json!({ "ok": true, "userId": stamped, "kind": "persona", "tier": "free" })
        );
    }
    let admin = house.admin_token.clone();
    let people = house.ask_as(&admin, "GET", "/api/v1/admin/users", None).await;
    assert_eq!(emails(&people), ["admin@example.org", "eva@example.org"]);
    assert_eq!(people.json["total"], 2);
    let personas = house
        .ask_as(&admin, "GET", "/api/v1/admin/users?kind=persona", None)
        .await;
    assert_eq!(emails(&personas), ["was-human@example.org"]);
    let first = house
        .ask_as(&admin, "GET", "/api/v1/admin/users?kind=all&limit=2", None)
        .await;
    assert_eq!((first.json["total"].as_u64(), emails(&first).len()), (Some(3), 2));
    let after = first.json["next"].as_str().unwrap();
    let path = format!("/api/v1/admin/users?kind=all&limit=2&after={after}");
    let rest = house.ask_as(&admin, "GET", &path, None).await;
    assert_eq!(emails(&rest), ["was-human@example.org"]);
    assert_eq!(rest.json["next"], Value::Null);

    for path in ["/api/v1/admin/users", "/api/v1/admin/audit"] {
        house
            .ask_as(&token, "GET", path, None)
            .await
            .assert_problem(StatusCode::FORBIDDEN, "ADMIN_ONLY");
    }
    let admins = house
        .app
        .identity
        .account_by_email("admin@example.org")
        .await
        .unwrap();
    let path = format!("/api/v1/internal/users/{}/persona-stamp", admins.unwrap().id);
    with_service_key(&house, SERVICE_KEY, &path)
        .await
        .assert_problem(StatusCode::CONFLICT, "NOT_STAMPABLE");
}

#[tokio::test]
async fn an_admin_deletes_an_account_and_never_an_administrators() {
    let house = TestHouse::open().await;
    let (token, user) = house.register("eva@example.org").await;
    let admin = house.admin_token.clone();
    let path = format!("/api/v1/admin/users/{user}");
    let deleted = house.ask_as(&admin, "DELETE", &path, None).await;
    assert_eq!(
        deleted.json,
        json!({ "ok": true, "deleted": user }),
        "{}",
        deleted.text
    );
    house
        .ask_as(&token, "GET", "/api/auth/organization/list", None)
        .await
        .assert_problem(StatusCode::UNAUTHORIZED, "TOKEN_INVALID");
    house
        .ask_as(&admin, "DELETE", &path, None)
        .await
        .assert_problem(StatusCode::NOT_FOUND, "USER_NOT_FOUND");
    let own = house
        .app
        .identity
        .account_by_email("admin@example.org")
        .await
        .unwrap();
    let path = format!("/api/v1/admin/users/{}", own.unwrap().id);
    house
        .ask_as(&admin, "DELETE", &path, None)
        .await
        .assert_problem(StatusCode::CONFLICT, "ACCOUNT_PROTECTED");
    let acts = house
        .ask_as(&admin, "GET", "/api/v1/admin/audit?limit=3", None)
        .await;
    assert_eq!(acts.json["acts"][0]["act"], "account.deleted");
    assert_eq!(acts.json["acts"][0]["userId"], Value::Null, "its id went with it");
}

async fn status_of(house: &TestHouse, token: &str) -> StatusCode {
    let path = "/api/auth/organization/list";
    house.ask_as(token, "GET", path, None).await.status
}

async fn token_of(house: &TestHouse) -> String {
    let credentials = sample::credentials("eva@example.org");
    let login = house.ask("POST", "/api/v1/auth/login", Some(&credentials)).await;
    login.json["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_refreshed_token_is_of_the_same_login_and_ends_with_it() {
    let house = TestHouse::open().await;
    let (first, user) = house.register("eva@example.org").await;
    let elsewhere = token_of(&house).await;
    let fresh = house.ask_as(&first, "POST", "/api/v1/auth/refresh", None).await;
    assert_eq!(Answer::members(&fresh.json), ["token", "user"]);
    let fresh = fresh.json["token"].as_str().unwrap();
    assert_eq!(status_of(&house, fresh).await, StatusCode::OK);

    let out = house.ask_as(&first, "POST", "/api/v1/auth/logout", None).await;
    assert_eq!(out.status, StatusCode::OK, "{}", out.text);
    for (token, expected) in [
        (first.as_str(), StatusCode::UNAUTHORIZED),
        (fresh, StatusCode::UNAUTHORIZED),
        (&elsewhere, StatusCode::OK),
    ] {
        assert_eq!(status_of(&house, token).await, expected);
    }
    let refused = house.ask_as(fresh, "POST", "/api/v1/auth/refresh", None).await;
    refused.assert_problem(StatusCode::UNAUTHORIZED, "TOKEN_INVALID");
    assert_eq!(refused.json["reason"], "revoked");

    let everywhere = json!({ "everywhere": true });
    house
        .ask_as(&elsewhere, "POST", "/api/v1/auth/logout", Some(&everywhere))
        .await;
    assert_eq!(status_of(&house, &elsewhere).await, StatusCode::UNAUTHORIZED);
    let again = token_of(&house).await;
    assert_eq!(status_of(&house, &again).await, StatusCode::OK);
    let path = format!("/api/v1/admin/users/{user}/revoke");
    let admin = house.admin_token.clone();
    assert_eq!(
        house.ask_as(&admin, "POST", &path, None).await.status,
        StatusCode::OK
    );
    assert_eq!(status_of(&house, &again).await, StatusCode::UNAUTHORIZED);
}
