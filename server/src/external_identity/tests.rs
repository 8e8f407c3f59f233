use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};
use tokio_util::task::TaskTracker;

use super::*;

async fn serve(router: Router) -> HttpExternalIdentity {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
    HttpExternalIdentity::new(&origin, Arc::new(SystemClock::new())).unwrap()
}

fn answering(path: &'static str, body: Value) -> Router {
    Router::new().route(path, get(move || async move { axum::Json(body) }))
}

fn token() -> SecretString {
    SecretString::from("a-token")
}

#[test]
fn only_an_origin_that_is_safe_to_show_a_token_to_is_taken() {
    assert_eq!(
        checked_origin("https://app.example.org").unwrap(),
        "https://app.example.org"
    );
    assert_eq!(
        checked_origin("http://127.0.0.1:3000/").unwrap(),
        "http://127.0.0.1:3000"
    );
    for bad in [
        "",
        "app.example.org",
        "http://app.example.org",
        "http://127.0.0.1.example.org",
        "https://user:secret@app.example.org",
        "https://app.example.org/api",
        "https://app.example.org/?a=b",
        "file:///etc/passwd",
    ] {
        let told = checked_origin(bad).unwrap_err();
        assert!(told.contains("must be an origin"), "{bad}: {told}");
    }
}

#[tokio::test]
async fn answers_of_another_shape_are_told_by_what_is_wrong_with_them() {
    let whole = json!([{"id": "s1", "name": "Anna", "slug": "anna", "metadata": {"type": "personal"}, "role": "owner"}]);
    let places = serve(answering(SPACES, whole.clone()))
        .await
        .spaces(&token())
        .await
        .unwrap();
    assert_eq!(
        (places[0].space_id.as_str(), places[0].role),
        ("s1", SpaceRole::Owner)
    );
    let mut untyped = whole.clone();
    untyped[0]["metadata"] = Value::Null;
    let mut unnamed = whole;
    unnamed[0]["id"] = json!(7);
    for bad in [json!({}), json!([1]), untyped, unnamed] {
        let error = serve(answering(SPACES, bad.clone()))
            .await
            .spaces(&token())
            .await
            .unwrap_err();
        assert!(matches!(error, ExternalError::Malformed(_)), "{bad}: {error}");
    }
    for bad in [
        json!({}),
        json!({"masterKey": "AAAA"}),
        json!({"masterKey": 1}),
        json!("x"),
    ] {
        let error = serve(answering(VAULT_KEY, bad.clone()))
            .await
            .vault_key(&token())
            .await
            .unwrap_err();
        assert!(matches!(error, ExternalError::Malformed(_)), "{bad}: {error}");
    }
    for owners in [
        json!({"requiresRecoveryCode": true}),
        json!({"zeroKnowledge": true}),
    ] {
        let key = serve(answering(VAULT_KEY, owners))
            .await
            .vault_key(&token())
            .await
            .unwrap();
        assert!(matches!(key, ExternalKey::OwnersOnly), "{key:?}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed_and_too_much_is_not_read() {
    let router = Router::new()
        .route(
            SPACES,
            get(|| async { Redirect::temporary("http://127.0.0.1:1/elsewhere") }),
        )
        .route(VAULT_KEY, get(|| async { vec![b' '; BYTES_MAX + 1] }))
        .route(LOGIN, post(|| async { (StatusCode::UNAUTHORIZED, "no") }));
    let external = serve(router).await;
    let moved = external.spaces(&token()).await.unwrap_err();
    assert!(moved.to_string().contains("where nobody follows"), "{moved}");
    let large = external.vault_key(&token()).await.unwrap_err();
    assert!(large.to_string().contains("more than"), "{large}");
    let refused = external.login("a@example.org", &token()).await.unwrap_err();
    assert_eq!(refused, ExternalError::Refused);
}

#[tokio::test]
async fn a_system_that_is_down_is_left_alone_for_some_seconds_and_then_asked_again() {
    let clock = Arc::new(SystemClock::new());
    // Nobody listens on the port of a listener that is gone.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let external = HttpExternalIdentity::new(&origin, clock.clone()).unwrap();
    let is_left_alone = async || {
        let error = external.spaces(&token()).await.unwrap_err();
        assert!(matches!(error, ExternalError::Unavailable(_)), "{error}");
        error.to_string().contains("left alone")
    };
    for _ in 0..FAILURES_MAX {
        assert!(!is_left_alone().await);
    }
    assert!(is_left_alone().await);
    clock.advance(LEFT_ALONE_FOR);
    assert!(!is_left_alone().await, "it is asked again");
}
