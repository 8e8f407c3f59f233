use super::*;
use crate::api_client::stub::{StubServer, USER_TOKEN};
use crate::commands::drift::own_modules;
use clap::Parser;
use serde_json::{Value, json};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    seed: SeedArgs,
}

fn args(more: &[&str]) -> SeedArgs {
    Cli::try_parse_from(std::iter::once("test").chain(more.iter().copied()))
        .expect("good arguments")
        .seed
}

async fn seed_with(server: &StubServer, more: &[&str]) -> (Result<(), CommandError>, Value) {
    let (mut out, captured) = Out::captured(Format::Json);
    let result = run(&args(more), &server.client(), &Config::default(), &mut out).await;
    (result, serde_json::from_str(&captured.text()).expect("JSON"))
}

fn counts(report: &Value) -> [u64; 4] {
    ["created", "updated", "unchanged", "failed"].map(|count| report[count].as_u64().expect("a count"))
}

#[tokio::test]
async fn seeding_twice_makes_ten_personas_and_finds_them_unchanged() {
    let server = StubServer::start().await;
    let (result, report) = seed_with(&server, &[]).await;
    assert_eq!((result, counts(&report)), (Ok(()), [10, 0, 0, 0]));
    let (result, report) = seed_with(&server, &[]).await;
    assert_eq!((result, counts(&report)), (Ok(()), [0, 0, 10, 0]));
    assert_eq!(server.known(|known| known.personas.len()), 10);
}

#[tokio::test]
async fn a_persona_is_sent_whole_with_its_derived_password() {
    let server = StubServer::start().await;
    seed_with(&server, &[]).await.0.expect("seeded");
    let catalog = load_catalog(None, &own_modules()).expect("the built-in catalog is sound");
    let persona = &catalog.personas[0];
    let secret = SecretString::from(catalog::DEVELOPMENT_SEED_SECRET);
    let password = derive_password(&secret, &persona.email);
    let is_hers = |body: &Value| body["email"] == *persona.email;
    let writes = server.known(|known| known.writes.clone());
    let sent = writes
        .into_iter()
        .map(|(.., body)| body)
        .find(is_hers)
        .expect("it was sent");
    assert_eq!(
        sent,
        json!({
            "email": persona.email, "name": persona.name, "password": password.expose_secret(),
            "archetype": persona.archetype, "systemPrompt": persona.system_prompt,
            "moduleMix": persona.module_mix, "tickCadence": persona.cadence,
            "timeZone": persona.time_zone, "partners": persona.partners,
        })
    );
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_writes_nothing() {
    let server = StubServer::start().await;
    seed_with(&server, &[]).await.0.expect("seeded");
    let (gone, changed) = server.known(|known| {
        known.writes.clear();
        let gone = known.personas.pop_first().expect("ten personas").1["email"].clone();
        let mut entry = known.personas.first_entry().expect("nine personas");
        entry.get_mut().insert("archetype".to_owned(), json!("pirate"));
        entry
            .get_mut()
            .insert("tickCadence".to_owned(), json!("fortnightly"));
        (gone, entry.get()["email"].clone())
    });
    let (result, report) = seed_with(&server, &["--dry-run"]).await;
    assert_eq!((result, counts(&report)), (Ok(()), [1, 1, 8, 0]));
    let line = |email: &Value| {
        let lines = report["personas"].as_array().expect("lines");
        lines
            .iter()
            .find(|line| line["email"] == *email)
            .expect("a line")
            .clone()
    };
    assert_eq!(line(&gone)["action"], "created");
    assert_eq!(line(&changed)["action"], "updated");
    assert_eq!(line(&changed)["changes"], json!(["archetype", "tickCadence"]));
    assert_eq!(
        server.known(|known| (known.writes.len(), known.personas.len())),
        (0, 9)
    );
}

#[tokio::test]
async fn one_refusal_does_not_keep_the_others_out_and_is_told_at_the_end() {
    let server = StubServer::start().await;
    let email = load_catalog(None, &own_modules()).expect("sound").personas[3]
        .email
        .clone();
    server.known(|known| known.humans.insert(email.clone()));
    let (result, report) = seed_with(&server, &[]).await;
    assert_eq!(counts(&report), [9, 0, 0, 1]);
    let error = result.expect_err("one failed");
    assert_eq!(error.exit_code(), 1);
    assert_eq!(
        error.to_string(),
        format!("1 of 10 personas not seeded:\n  {email}: this email belongs to a person")
    );
    assert_eq!(server.known(|known| known.personas.len()), 9);
}

#[tokio::test]
async fn nothing_is_tried_where_the_list_is_refused() {
    let server = StubServer::start().await;
    let (mut out, captured) = Out::captured(Format::Text);
    let config = Config::default();
    let error = run(&args(&[]), &server.client_with(USER_TOKEN), &config, &mut out)
        .await
        .expect_err("no admin");
    assert_eq!(error.exit_code(), 4);
    assert_eq!(captured.text(), "");
    assert!(server.known(|known| known.writes.is_empty()));
}

#[tokio::test]
async fn a_bad_catalog_is_a_usage_error_with_every_fault_and_nothing_is_sent() {
    let server = StubServer::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("bad.json");
    std::fs::write(&file, r#"{"personas": [{"email": "x@example.com", "name": ""}]}"#).expect("written");
    let (mut out, _) = Out::captured(Format::Text);
    let file = file.to_str().expect("UTF-8");
    let config = Config::default();
    let error = run(&args(&["--catalog", file]), &server.client(), &config, &mut out)
        .await
        .expect_err("bad");
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(
        text.contains("email") && text.contains("archetype") && text.lines().count() > 1,
        "{text}"
    );
    assert!(server.known(|known| known.writes.is_empty()));
}

#[tokio::test]
async fn the_table_shows_each_persona_and_the_counts_but_no_password() {
    let server = StubServer::start().await;
    let (mut out, captured) = Out::captured(Format::Text);
    let secret = SecretString::from(catalog::DEVELOPMENT_SEED_SECRET);
    let config = Config::default();
    run(&args(&["--dry-run"]), &server.client(), &config, &mut out)
        .await
        .expect("planned");
    let text = captured.text();
    assert!(
        text.ends_with("\n10 personas: to be created 10, updated 0, unchanged 0\n"),
        "{text}"
    );
    for persona in load_catalog(None, &own_modules()).expect("sound").personas {
        assert!(
            text.contains(&persona.name) && text.contains(&persona.email),
            "{text}"
        );
        assert!(!text.contains(derive_password(&secret, &persona.email).expose_secret()));
    }
}

#[test]
fn the_json_form_is_stable() {
    let line = |email: &str, action, changes| SeedLine {
        email: email.to_owned(),
        name: "A Name".to_owned(),
        action,
        changes,
        user_id: Some("id-1".to_owned()),
        error: None,
    };
    let report = SeedReport {
        dry_run: false,
        created: 1,
        updated: 1,
        unchanged: 0,
        failed: 1,
        personas: vec![
            line("a@mana.test", SeedAction::Created, vec![]),
            line("b@mana.test", SeedAction::Updated, vec!["moduleMix"]),
            SeedLine {
                user_id: None,
                error: Some("no".to_owned()),
                ..line("c@mana.test", SeedAction::Failed, vec![])
            },
        ],
    };
    insta::assert_json_snapshot!(report);
}
