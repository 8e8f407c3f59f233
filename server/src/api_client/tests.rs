use clap::Parser;

use super::stub::{StubServer, USER_TOKEN};
use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    api: ApiArgs,
}

fn parse(args: &[&str]) -> ApiArgs {
    Cli::try_parse_from(std::iter::once("test").chain(args.iter().copied()))
        .expect("good arguments")
        .api
}

async fn refused_by(api: &ApiClient) -> CommandError {
    api.personas().await.expect_err("the server says no").into()
}

#[tokio::test]
async fn a_token_that_has_expired_is_not_allowed_and_says_what_to_do() {
    let server = StubServer::start().await;
    let error = refused_by(&server.client_with("old")).await;
    assert_eq!(error.exit_code(), 4);
    let text = error.to_string();
    assert!(
        text.contains("the token has expired") && text.contains("MANA_ADMIN_JWT"),
        "{text}"
    );
    assert!(!text.contains('\n'));
}

#[tokio::test]
async fn an_account_without_the_admin_role_is_not_allowed() {
    let server = StubServer::start().await;
    let error = refused_by(&server.client_with(USER_TOKEN)).await;
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("admin role"), "{error}");
}

#[tokio::test]
async fn an_unknown_persona_is_not_found() {
    let server = StubServer::start().await;
    let error: CommandError = server
        .client()
        .persona("no-such-id")
        .await
        .expect_err("no such persona")
        .into();
    assert_eq!(error.exit_code(), 3);
}

#[tokio::test]
async fn an_id_with_a_slash_stays_one_part_of_the_path() {
    let server = StubServer::start().await;
    let error = server
        .client()
        .persona("../../../etc")
        .await
        .expect_err("no such persona");
    // The problem of the handler, not of a path that was left.
    assert_eq!(error.to_string(), "no persona has this id");
}

#[tokio::test]
async fn nobody_listening_is_unavailable_and_says_what_to_start() {
    let url = format!("http://127.0.0.1:{}", testkit::free_port());
    let api = ApiClient::new(&url, SecretString::from("t")).expect("a good address");
    let error = refused_by(&api).await;
    assert_eq!(error.exit_code(), 5);
    let text = error.to_string();
    assert!(text.contains(&url) && text.contains("dramatis up"), "{text}");
}

#[tokio::test]
async fn a_busy_server_is_unavailable_and_says_when_to_try_again() {
    let server = StubServer::start().await;
    let error = refused_by(&server.client_under("/busy")).await;
    assert_eq!(
        error,
        CommandError::Unavailable("too many logins at once; try again in 2 s".to_owned())
    );
}

#[tokio::test]
async fn a_proxy_without_its_server_is_unavailable() {
    let server = StubServer::start().await;
    assert_eq!(refused_by(&server.client_under("/proxy/")).await.exit_code(), 5);
}

#[tokio::test]
async fn another_program_at_that_address_is_told_from_a_dramatis_server() {
    let server = StubServer::start().await;
    for path in ["/blog", "/nothing-here", "/moved"] {
        let error = refused_by(&server.client_under(path)).await;
        assert_eq!(error.exit_code(), 1);
        assert!(error.to_string().contains("check --api"), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = StubServer::start().await;
    let error = refused_by(&server.client_under("/moved")).await;
    assert!(
        error.to_string().contains("https://elsewhere.example/"),
        "{error}"
    );
}

#[test]
fn what_is_not_an_address_or_a_token_is_a_usage_error() {
    for url in ["", "localhost:3069", "ftp://127.0.0.1", "http://"] {
        let error = ApiClient::new(url, SecretString::from("t")).expect_err("not an address");
        assert_eq!(error.exit_code(), 2, "{url}");
    }
    let error = ApiClient::new("http://127.0.0.1", SecretString::from("a\nb")).expect_err("not a token");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn without_a_token_nothing_is_sent_and_the_line_says_where_to_get_one() {
    let error = ApiClient::connect(
        &ApiArgs {
            jwt: None,
            ..parse(&[])
        },
        &Config::default(),
    )
    .expect_err("no token");
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("MANA_ADMIN_JWT"), "{error}");
}

#[test]
fn the_old_name_of_the_address_option_still_works() {
    let args = parse(&["--auth", "http://127.0.0.1:1", "--jwt", " t "]);
    assert_eq!(args.api_url.as_deref(), Some("http://127.0.0.1:1"));
    assert_eq!(args.jwt.expect("given").expose_secret(), "t");
}

#[test]
fn the_token_is_in_no_debug_output_and_no_help() {
    let args = parse(&["--jwt", "hush-hush"]);
    let api = ApiClient::new("http://127.0.0.1:1", SecretString::from("hush-hush")).expect("good");
    let help = <Cli as clap::CommandFactory>::command()
        .render_long_help()
        .to_string();
    assert!(!format!("{args:?} {api:?} {help}").contains("hush-hush"));
}

#[test]
fn only_loopback_addresses_pass_by_the_proxy() {
    let at = |url: &str| is_loopback(&url.parse().expect("an address"));
    assert!(at("http://127.0.0.1:3069") && at("http://[::1]:3069") && at("http://localhost"));
    assert!(!at("http://192.0.2.1") && !at("http://localhost.example"));
}
