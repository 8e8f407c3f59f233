use super::*;
use crate::api_client::stub::StubServer;
use clap::Parser;
use serde_json::{Value, json};

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: PersonasCommand,
}

async fn with_two() -> StubServer {
    let server = StubServer::start().await;
    server.known(|known| {
        for (id, name, last_active_at) in
            [("p1", "Anna Berger", json!("2026-11-20T08:15:00Z")), ("p2", "Evil \u{1b}[2J Twin", Value::Null)]
        {
            let persona = json!({
                "email": format!("{id}@mana.test"), "name": name, "archetype": "adhd-student",
                "systemPrompt": "Du bist Anna.\nDu vergisst viel.", "moduleMix": {"journal": 0.5, "todo": 1.0},
                "tickCadence": "daily", "timeZone": "Europe/Berlin", "partners": ["p9@mana.test"],
                "password": "never-shown", "lastActiveAt": last_active_at,
            });
            known.personas.insert(id.to_owned(), persona.as_object().expect("an object").clone());
        }
    });
    server
}

async fn personas(server: &StubServer, format: Format, more: &[&str]) -> (Result<(), CommandError>, String) {
    let cli =
        Cli::try_parse_from(std::iter::once("test").chain(more.iter().copied())).expect("good arguments");
    let (mut out, captured) = Out::captured(format);
    let result = run(&cli.command, &server.client(), &mut out).await;
    (result, captured.text())
}

#[tokio::test]
async fn the_list_is_a_table() {
    let (result, text) = personas(&with_two().await, Format::Text, &["list"]).await;
    assert_eq!(result, Ok(()));
    assert!(!text.contains('\u{1b}'));
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn the_list_as_json_is_what_the_admin_api_says() {
    let (_, text) = personas(&with_two().await, Format::Json, &["list"]).await;
    insta::assert_json_snapshot!(serde_json::from_str::<Value>(&text).expect("JSON"));
}

#[tokio::test]
async fn an_empty_house_says_how_to_fill_it() {
    let (result, text) = personas(&StubServer::start().await, Format::Text, &["list"]).await;
    assert_eq!(result, Ok(()));
    assert!(text.contains("dramatis seed"), "{text}");
}

#[tokio::test]
async fn a_persona_is_shown_with_its_calls_and_ratings() {
    let (result, text) = personas(&with_two().await, Format::Text, &["show", "P1@mana.test"]).await;
    assert_eq!(result, Ok(()));
    assert!(!text.contains("never-shown"));
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_persona_as_json_is_what_the_admin_api_says() {
    let (_, text) = personas(&with_two().await, Format::Json, &["show", "p1@mana.test"]).await;
    insta::assert_json_snapshot!(serde_json::from_str::<Value>(&text).expect("JSON"));
}

#[tokio::test]
async fn a_persona_nobody_knows_is_not_found() {
    let (result, text) = personas(&with_two().await, Format::Json, &["show", "who@mana.test"]).await;
    let error = result.expect_err("nobody");
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("who@mana.test"), "{error}");
    assert_eq!(text, "");
}
