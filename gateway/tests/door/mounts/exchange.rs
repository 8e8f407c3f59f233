//! Tokens exchanged for a mounted server in each user's name.

use std::path::PathBuf;

use axum::http::StatusCode;
use gateway::{ClientAuthentication, MountSettings, SubjectToken, TokenExchange};
use rmcp::ServiceError;
use serde_json::json;
use tempfile::TempDir;

use super::shop::Running;
use super::token_endpoint::{AUDIENCE, Answers, CLIENT, SECRET, TokenEndpoint};
use super::{house, mount};
use crate::harness::{Client, House, call, call_text, try_call};

/// The shop, and where tokens for it are issued.
struct Both {
    shop: Running,
    tokens: TokenEndpoint,
    secret: PathBuf,
    _folder: TempDir,
}

impl Both {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
        Self {
            shop: Running::start().await,
            tokens: TokenEndpoint::start().await,
            secret,
            _folder: folder,
        }
    }

    fn exchange(&self) -> TokenExchange {
        TokenExchange {
            endpoint: self.tokens.url.clone(),
            client_id: CLIENT.to_owned(),
            client_secret_file: self.secret.clone(),
            client_authentication: ClientAuthentication::Basic,
            subject: SubjectToken::Statement {
                audience: AUDIENCE.to_owned(),
            },
            audiences: vec!["shop".to_owned(), "till & co".to_owned()],
            resources: vec!["https://shop.example/mcp".to_owned()],
            scope: Some("buy look".to_owned()),
            allow_private_addresses: true,
        }
    }

    async fn house(&self, change: impl FnOnce(&mut MountSettings, &mut TokenExchange)) -> House {
        let (mut mount, mut exchange) = (mount(&self.shop), self.exchange());
        change(&mut mount, &mut exchange);
        mount.token_exchange = Some(exchange);
        house(vec![mount]).await
    }

    /// What was shown to the shop so far.
    fn shown(&self) -> Vec<String> {
        self.shop.shared.credentials.lock().unwrap().clone()
    }

    fn answer(&self, answers: Answers) {
        *self.tokens.shared.answers.lock().unwrap() = answers;
    }
}

async fn echo(client: &Client) -> String {
    call_text(client, "shop.echo", json!({"text": "hello"})).await
}

/// What a client reads of a call that fails.
async fn failure(client: &Client) -> String {
    match try_call(client, "shop.echo", json!({"text": "hello"})).await {
        Err(ServiceError::McpError(error)) if error.code.0 == -32_603 => error.message.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_users_calls_show_a_token_issued_for_that_user_and_nobodys_own() {
    let both = Both::start().await;
    let house = both.house(|_, _| {}).await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    for user in [&anna, &ben] {
        let client = house.connect(user).await;
        assert_eq!(echo(&client).await, "hello");
        let called_with = both.shop.shared.headers.lock().unwrap().pop().unwrap()["authorization"].clone();
        let own = format!("Bearer issued-for-{}-", user.id);
        assert!(called_with.to_str().unwrap().starts_with(&own), "{called_with:?}");
    }
    let shown = both.shown();
    assert!(
        shown.iter().all(|shown| shown.starts_with("Bearer issued-for-")),
        "{shown:?}"
    );
    let exchanges = both.tokens.shared.exchanges();
    let subjects: Vec<_> = exchanges
        .iter()
        .map(|asked| asked.subject.clone().unwrap())
        .collect();
    assert_eq!(subjects, [anna.id.as_str(), ben.id.as_str()]);
    for asked in exchanges {
        assert_eq!(asked.form["audience"], ["shop", "till & co"]);
        assert_eq!(asked.form["resource"], ["https://shop.example/mcp"]);
        assert_eq!(asked.form["scope"], ["buy look"]);
        let stated = asked.subject_token.unwrap();
        assert!(stated != anna.token && stated != ben.token, "a statement of ours");
        assert_eq!(house.post(&stated, "{}").send().await.unwrap().status(), 401);
    }
    house.stop().await;
}

#[tokio::test]
async fn a_callers_token_goes_to_the_token_endpoint_alone_and_each_is_exchanged_for_itself() {
    let both = Both::start().await;
    let house = both
        .house(|mount, exchange| {
            mount.is_stateless = true;
            exchange.subject = SubjectToken::Callers;
            exchange.client_authentication = ClientAuthentication::Post;
        })
        .await;
    let mut anna = house.user("anna").await;
    let first = anna.token.clone();
    echo(&house.connect(&anna).await).await;
    // Tokens say to the second when they are from; another one of the same account says something else.
    while anna.token == first {
        tokio::task::yield_now().await;
        anna.token = house.token(&anna.id).await;
    }
    echo(&house.connect(&anna).await).await;
    let exchanged: Vec<_> = both.tokens.shared.exchanges();
    let exchanged: Vec<_> = exchanged
        .into_iter()
        .filter_map(|asked| asked.subject_token)
        .collect();
    assert_eq!(exchanged, [first.clone(), anna.token.clone()]);
    let shown = both.shown();
    assert!(
        shown.iter().all(|shown| shown.starts_with("Bearer issued-for-")),
        "{shown:?}"
    );
    let headers = both.shop.shared.headers.lock().unwrap().clone();
    assert_ne!(headers[0]["authorization"], headers[1]["authorization"]);
    house.stop().await;
}

#[tokio::test]
async fn a_token_is_asked_for_once_however_many_need_it_and_again_when_it_is_over() {
    let both = Both::start().await;
    let house = both.house(|_, _| {}).await;
    let client = house.connect(&house.user("anna").await).await;
    let many = (0..20).map(|_| echo(&client));
    futures::future::join_all(many).await;
    assert_eq!(both.tokens.shared.exchanges().len(), 1);
    both.answer(Answers::Fleeting);
    let client = house.connect(&house.user("ben").await).await;
    for expected in [2, 3] {
        echo(&client).await;
        assert_eq!(both.tokens.shared.exchanges().len(), expected);
    }
    house.stop().await;
}

#[tokio::test]
async fn where_no_token_is_issued_the_call_ends_in_an_error_that_tells_nothing_and_the_rest_goes_on() {
    let both = Both::start().await;
    let house = both.house(|_, _| {}).await;
    for (user, answers, told) in [
        (
            "anna",
            Answers::InvalidTarget,
            "issues no token for you (invalid_target)",
        ),
        ("ben", Answers::Echo, "hands the exchanged token back"),
        ("cleo", Answers::Redirect, "a redirect"),
        (
            "dora",
            Answers::Status(StatusCode::BAD_GATEWAY),
            "does not answer",
        ),
        (
            "emil",
            Answers::Status(StatusCode::NO_CONTENT),
            "no token response",
        ),
    ] {
        both.answer(answers);
        let user = house.user(user).await;
        let client = house.connect(&user).await;
        let failure = failure(&client).await;
        assert!(failure.contains(told), "{failure}");
        for secret in [SECRET, user.token.as_str(), "eyJ", "exchange {"] {
            assert!(!failure.contains(secret), "{failure}");
        }
        call(&client, "spaces.list", json!({})).await;
    }
    let shown = both.shown();
    assert!(
        shown.iter().all(|shown| shown.contains("-itself-")),
        "nobody came: {shown:?}"
    );
    assert!(
        !house.gateway.mounts()[0].is_resting,
        "the server is not to blame"
    );
    std::fs::remove_file(&both.secret).unwrap();
    both.answer(Answers::Tokens);
    let client = house.connect(&house.user("finn").await).await;
    assert!(failure(&client).await.contains("client secret"));
    house.stop().await;
}

#[tokio::test]
async fn wrong_client_credentials_keep_the_mount_degraded_and_say_so() {
    let both = Both::start().await;
    std::fs::write(&both.secret, "another").unwrap();
    let house = both.house(|_, _| {}).await;
    let problem = house.gateway.mounts()[0].problem.clone().unwrap();
    assert!(
        problem.contains("does not accept our client credentials"),
        "{problem}"
    );
    assert!(both.shown().is_empty(), "nobody knocked at the server");
    house.stop().await;
}

#[tokio::test]
async fn a_token_the_server_refuses_is_exchanged_anew_once() {
    let both = Both::start().await;
    let house = both.house(|_, _| {}).await;
    let anna = house.user("anna").await;
    let client = house.connect(&anna).await;
    echo(&client).await;
    let own = format!("Bearer issued-for-{}-", anna.id);
    let first = both
        .shown()
        .into_iter()
        .rfind(|shown| shown.starts_with(&own))
        .unwrap();
    both.shop.shared.refused.lock().unwrap().push(first.clone());
    assert_eq!(echo(&client).await, "hello");
    assert_eq!(both.tokens.shared.exchanges().len(), 2);
    let second = both
        .shown()
        .into_iter()
        .rfind(|shown| shown.starts_with(&own))
        .unwrap();
    assert_ne!(first, second);
    both.shop.shared.refused.lock().unwrap().push(own);
    let failure = failure(&client).await;
    assert!(failure.contains("does not accept our credentials"), "{failure}");
    assert_eq!(both.tokens.shared.exchanges().len(), 3, "once, and not for ever");
    assert!(!house.gateway.mounts()[0].is_resting, "a refusal is an answer");
    house.stop().await;
}
