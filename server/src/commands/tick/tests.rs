use super::*;
use crate::api_client::stub::StubServer;
use clap::Parser;
use serde_json::{Value, json};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    tick: TickArgs,
}

fn parse(more: &[&str]) -> Result<TickArgs, clap::Error> {
    Cli::try_parse_from(std::iter::once("test").chain(more.iter().copied())).map(|cli| cli.tick)
}

fn answer(failed: u64) -> Value {
    let tick = |email: &str, outcome: &str, reason: Option<&str>| {
        json!({
            "personaId": "p", "email": email, "name": "Anna Berger", "tickId": "t", "outcome": outcome,
            "reason": reason, "calls": 12, "errors": 1, "ratings": 3, "durationMs": 2_140,
        })
    };
    let mut ticks = vec![
        tick("a@mana.test", "completed", None),
        tick("b@mana.test", "busy", Some("acting")),
    ];
    if failed > 0 {
        ticks.push(tick("c@mana.test", "failed", Some("login refused")));
    }
    json!({
        "due": 2 + failed, "succeeded": 1, "failed": failed, "skipped": 1, "durationMs": 3_210, "ticks": ticks,
    })
}

async fn tick(server: &StubServer, format: Format, more: &[&str]) -> (Result<(), CommandError>, String) {
    let (mut out, captured) = Out::captured(format);
    let result = run(&parse(more).expect("good arguments"), &server.client(), &mut out).await;
    (result, captured.text())
}

#[tokio::test]
async fn what_came_of_each_tick_is_shown_with_the_counts() {
    let server = StubServer::start().await;
    server.known(|known| known.tick = answer(0));
    let (result, text) = tick(&server, Format::Text, &[]).await;
    assert_eq!(result, Ok(()));
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_failed_tick_is_listed_with_its_reason_and_fails_the_command() {
    let server = StubServer::start().await;
    server.known(|known| known.tick = answer(1));
    let (result, text) = tick(&server, Format::Text, &["--all"]).await;
    assert_eq!(
        result,
        Err(CommandError::Failed(
            "1 of 3 ticks failed:\n  c@mana.test: login refused".to_owned()
        ))
    );
    assert!(
        text.ends_with("3 due, 1 succeeded, 1 failed, 1 skipped in 3.2 s\n"),
        "{text}"
    );
}

#[tokio::test]
async fn json_is_what_the_server_said_even_when_a_tick_failed() {
    let server = StubServer::start().await;
    server.known(|known| known.tick = answer(1));
    let (result, text) = tick(&server, Format::Json, &[]).await;
    assert_eq!(result.expect_err("one failed").exit_code(), 1);
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), answer(1));
}

#[tokio::test]
async fn who_is_to_act_is_asked_for_in_the_body() {
    let server = StubServer::start().await;
    server.known(|known| known.tick = answer(0));
    tick(&server, Format::Text, &[]).await.0.expect("nobody failed");
    tick(&server, Format::Text, &["--all"])
        .await
        .0
        .expect("nobody failed");
    let bodies = server.known(|known| {
        known
            .writes
            .iter()
            .map(|write| write.2.clone())
            .collect::<Vec<_>>()
    });
    assert_eq!(bodies, [json!({}), json!({ "all": true })]);
}

#[tokio::test]
async fn a_persona_nobody_knows_is_not_found() {
    let server = StubServer::start().await;
    let (result, text) = tick(&server, Format::Text, &["--persona", "who@mana.test"]).await;
    let error = result.expect_err("nobody");
    assert_eq!(error.exit_code(), 3);
    assert!(
        error
            .to_string()
            .contains("who@mana.test; `dramatis personas list`"),
        "{error}"
    );
    assert_eq!(text, "");
}

#[test]
fn one_persona_and_all_exclude_each_other() {
    assert!(parse(&["--persona", "a@mana.test", "--all"]).is_err());
}
