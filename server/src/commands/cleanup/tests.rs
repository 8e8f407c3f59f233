use super::*;
use crate::api_client::stub::StubServer;
use crate::commands::drift::own_modules;
use catalog::Persona;
use clap::Parser;
use serde_json::{Map, Value, json};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    cleanup: CleanupArgs,
}

fn args(more: &[&str]) -> CleanupArgs {
    Cli::try_parse_from(std::iter::once("test").chain(more.iter().copied()))
        .expect("good arguments")
        .cleanup
}

/// A server on which the built-in cast is live, as the catalog has it.
async fn with_cast() -> StubServer {
    let server = StubServer::start().await;
    for persona in load_catalog(None, &own_modules()).expect("sound").personas {
        server.known(|known| {
            known
                .personas
                .insert(format!("id-{}", persona.email), body(&persona))
        });
    }
    server
}

fn body(persona: &Persona) -> Map<String, Value> {
    let value = json!({
        "email": persona.email, "name": persona.name, "archetype": persona.archetype,
        "systemPrompt": persona.system_prompt, "moduleMix": persona.module_mix,
        "tickCadence": persona.cadence, "timeZone": persona.time_zone, "partners": persona.partners,
    });
    value.as_object().expect("an object").clone()
}

async fn clean(server: &StubServer, more: &[&str]) -> (Result<(), CommandError>, Value) {
    let (mut out, captured) = Out::captured(Format::Json);
    let result = run(&args(more), &server.client(), &Config::default(), &mut out).await;
    (result, serde_json::from_str(&captured.text()).expect("JSON"))
}

#[tokio::test]
async fn every_live_persona_goes_and_a_second_time_there_is_nothing_to_do() {
    let server = with_cast().await;
    let (result, report) = clean(&server, &[]).await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        (&report["deleted"], &report["warnings"]),
        (&json!(10), &json!([]))
    );
    assert!(server.known(|known| known.personas.is_empty()));
    let (result, report) = clean(&server, &[]).await;
    assert_eq!((result, &report["deleted"]), (Ok(()), &json!(0)));
}

#[tokio::test]
async fn a_dry_run_deletes_nothing() {
    let server = with_cast().await;
    let (result, report) = clean(&server, &["--dry-run"]).await;
    assert_eq!((result, &report["deleted"]), (Ok(()), &json!(10)));
    assert_eq!(report["personas"][0]["action"], "would-delete");
    assert_eq!(
        server.known(|known| (known.personas.len(), known.writes.len())),
        (10, 0)
    );
}

#[tokio::test]
async fn a_difference_between_live_and_catalog_is_warned_of_and_deleted_all_the_same() {
    let server = with_cast().await;
    let (missing, changed) = server.known(|known| {
        let missing = known.personas.pop_first().expect("ten").1["email"].clone();
        let mut first = known.personas.first_entry().expect("nine");
        first
            .get_mut()
            .insert("timeZone".to_owned(), json!("Pacific/Chatham"));
        let changed = first.get()["email"].clone();
        let mut stranger = first.get().clone();
        stranger.insert("email".to_owned(), json!("stranger@mana.test"));
        known.personas.insert("id-zzz".to_owned(), stranger);
        (missing, changed)
    });
    let (result, report) = clean(&server, &[]).await;
    assert_eq!((result, &report["deleted"]), (Ok(()), &json!(10)));
    assert_eq!(
        report["warnings"],
        json!([
            { "kind": "missing", "email": missing },
            { "kind": "changed", "email": changed, "fields": ["timeZone"] },
            { "kind": "extra", "email": "stranger@mana.test" },
        ])
    );
    assert!(server.known(|known| known.personas.is_empty()));
}

#[tokio::test]
async fn an_account_that_is_not_a_personas_is_kept_and_told() {
    let server = with_cast().await;
    let id = server.known(|known| {
        let id = known.personas.keys().nth(4).expect("ten").clone();
        known.not_personas.insert(id.clone());
        id
    });
    let (result, report) = clean(&server, &[]).await;
    assert_eq!(
        (&report["deleted"], &report["refused"], &report["failed"]),
        (&json!(9), &json!(1), &json!(0))
    );
    let error = result.expect_err("one is left");
    assert_eq!(error.exit_code(), 1);
    assert!(
        error
            .to_string()
            .contains("kept: only personas can be deleted here"),
        "{error}"
    );
    assert_eq!(
        server.known(|known| known.personas.keys().cloned().collect::<Vec<_>>()),
        [id]
    );
}

#[tokio::test]
async fn a_deletion_that_breaks_does_not_keep_the_others() {
    let server = with_cast().await;
    server.known(|known| {
        let id = known.personas.keys().next().expect("ten").clone();
        known.unbreakable.insert(id);
    });
    let (result, report) = clean(&server, &[]).await;
    assert_eq!((&report["deleted"], &report["failed"]), (&json!(9), &json!(1)));
    assert_eq!(result.expect_err("one is left").exit_code(), 1);
}

#[tokio::test]
async fn a_persona_that_somebody_else_deleted_meanwhile_is_as_good_as_deleted() {
    let server = with_cast().await;
    let line = LivePersona {
        user_id: "id-gone".to_owned(),
        email: "gone@mana.test".to_owned(),
        name: None,
        archetype: "researcher".to_owned(),
        tick_cadence: "daily".to_owned(),
        last_active_at: None,
        actions_7d: 0,
    };
    let line = delete_one(line, false, &server.client()).await;
    assert_eq!((line.action, line.error), (CleanupAction::AlreadyGone, None));
}

#[tokio::test]
async fn the_text_warns_first_and_counts_last() {
    let server = with_cast().await;
    let missing = server.known(|known| known.personas.pop_first().expect("ten").1["email"].clone());
    let (mut out, captured) = Out::captured(Format::Text);
    let config = Config::default();
    run(&args(&["--dry-run"]), &server.client(), &config, &mut out)
        .await
        .expect("planned");
    let text = captured.text();
    let missing = missing.as_str().expect("an email");
    assert!(
        text.starts_with(&format!("warning: {missing} is in the catalog and not live\n")),
        "{text}"
    );
    assert!(
        text.ends_with("\n9 personas: to be deleted 9, kept 0, failed 0\n"),
        "{text}"
    );
}

#[test]
fn the_json_form_is_stable() {
    let line = |email: &str, action, error: Option<&str>| CleanupLine {
        email: email.to_owned(),
        user_id: "id-1".to_owned(),
        action,
        error: error.map(str::to_owned),
    };
    let report = CleanupReport {
        dry_run: false,
        deleted: 2,
        refused: 1,
        failed: 1,
        warnings: vec![
            Drift::Missing {
                email: "m@mana.test".to_owned(),
            },
            Drift::Changed {
                email: "c@mana.test".to_owned(),
                fields: vec!["name", "partners"],
            },
            Drift::Unknown {
                email: "u@mana.test".to_owned(),
                reason: "no".to_owned(),
            },
        ],
        personas: vec![
            line("a@mana.test", CleanupAction::Deleted, None),
            line("b@mana.test", CleanupAction::AlreadyGone, None),
            line("c@mana.test", CleanupAction::Refused, Some("not a persona")),
            line("d@mana.test", CleanupAction::Failed, Some("broken")),
        ],
    };
    insta::assert_json_snapshot!(report);
}
