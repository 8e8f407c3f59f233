//! Bob's attempts where people share: the sync protocol, spaces, invitations, key grants.

use anyhow::Context as _;
use benches::SERVICE_KEY;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::alice::{Alice, Kind};
use super::attempt::{Bob, May, of_kind};

/// Any of what Alice holds of a kind.
fn any<'a>(alice: &'a Alice, kind: Kind, dice: &mut ChaCha8Rng) -> &'a str {
    let held: Vec<&str> = alice.of(kind).collect();
    if held.is_empty() {
        return "x";
    }
    held[dice.random_range(0..held.len())]
}

/// Pushes into her spaces and over her records, and pulls with what is hers.
pub(super) fn sync(bob: &Bob, alice: &Alice, dice: &mut ChaCha8Rng) -> (&'static str, RequestBuilder, May) {
    let (space, record) = (any(alice, Kind::Space, dice), any(alice, Kind::Record, dice));
    let cursor = of_kind(alice, Kind::Cursor).unwrap_or_default();
    let change = json!({"table": "drawings", "id": record, "op": "update",
        "fields": {"color": {"value": "bobs", "at": "2026-06-01T00:00:00.000Z"}}});
    let push = |space: Option<&str>| {
        let mut change = change.clone();
        if let Some(space) = space {
            change["spaceId"] = space.into();
        }
        // Her own client's name: what she wrote is not his for it.
        json!({"clientId": "alices-client", "since": cursor, "changes": [change]})
    };
    match dice.random_range(0..6) {
        0 => (
            "push into her space",
            bob.ask(Method::POST, "/sync/trial").json(&push(Some(space))),
            May::BeRefused,
        ),
        1 => (
            "push from her space",
            bob.ask(Method::POST, "/sync/trial")
                .header("x-mana-space", space)
                .json(&push(None)),
            May::BeRefused,
        ),
        2 => {
            let mut delete = push(Some(space));
            delete["changes"][0]["op"] = "delete".into();
            let asked = bob.ask(Method::POST, "/sync/trial").json(&delete);
            ("delete in her space", asked, May::BeRefused)
        }
        3 => (
            "push over her record, in his space",
            bob.ask(Method::POST, "/sync/trial").json(&push(None)),
            May::ShowHisOwn,
        ),
        4 => (
            "pull her space",
            bob.ask(
                Method::GET,
                ["/sync/trial/pull", "/sync/todo/pull"][dice.random_range(0..2)],
            )
            .header("x-mana-space", space),
            May::BeRefused,
        ),
        _ => (
            "pull with her cursor",
            bob.ask(Method::GET, "/sync/trial/pull")
                .query(&[("since", cursor)])
                .header("x-client-id", "bobs-client"),
            May::ShowHisOwn,
        ),
    }
}

/// Looks into her spaces, invites himself, takes an invitation that is another's, and takes her out.
pub(super) fn spaces(bob: &Bob, alice: &Alice, dice: &mut ChaCha8Rng) -> (&'static str, RequestBuilder, May) {
    let (space, account) = (any(alice, Kind::Space, dice), any(alice, Kind::Account, dice));
    let invitation = any(alice, Kind::Invitation, dice);
    let here = format!("/api/v1/spaces/{space}");
    let (name, asked) = match dice.random_range(0..12) {
        0 => ("look into her space", bob.ask(Method::GET, &here)),
        1 => ("leave her space", bob.ask(Method::POST, &format!("{here}/leave"))),
        2 => (
            "list her invitations",
            bob.ask(Method::GET, &format!("{here}/invitations")),
        ),
        3 => (
            "invite himself",
            bob.ask(Method::POST, &format!("{here}/invitations"))
                .json(&json!({"email": "bob@example.org", "role": "admin"})),
        ),
        4 => (
            "withdraw her invitation",
            bob.ask(Method::DELETE, &format!("{here}/invitations/{invitation}")),
        ),
        5 => (
            "give himself a role",
            bob.ask(Method::POST, &format!("{here}/members/{account}"))
                .json(&json!({"role": "admin"})),
        ),
        6 => (
            "take her out",
            bob.ask(Method::DELETE, &format!("{here}/members/{account}")),
        ),
        7 => (
            "hand her space to himself",
            bob.ask(Method::POST, &format!("{here}/hand-over"))
                .json(&json!({"userId": bob.id()})),
        ),
        8 => (
            "hand her space to her",
            bob.ask(Method::POST, &format!("{here}/hand-over"))
                .json(&json!({"userId": account})),
        ),
        9 => ("delete her space", bob.ask(Method::DELETE, &here)),
        10 => (
            "accept another's invitation",
            bob.ask(
                Method::POST,
                &format!("/api/v1/me/invitations/{invitation}/accept"),
            ),
        ),
        _ => (
            "decline another's invitation",
            bob.ask(
                Method::POST,
                &format!("/api/v1/me/invitations/{invitation}/decline"),
            ),
        ),
    };
    (name, asked, May::BeRefused)
}

/// Her grant under his name, her space under a grant of his, and her records under a grant of his own space, which the
/// runner then asks for with everything it needs.
pub(super) async fn grants(
    bob: &Bob,
    alice: &Alice,
    dice: &mut ChaCha8Rng,
) -> anyhow::Result<(&'static str, RequestBuilder, May)> {
    let (space, record) = (any(alice, Kind::Space, dice), any(alice, Kind::Record, dice));
    let hers = any(alice, Kind::Grant, dice);
    let table = ["tasks", "notes", "journalEntries", "habits", "drawings"][dice.random_range(0..5)];
    let wanted = json!({"missionId": "alices-mission", "tables": [table], "recordIds": [record]});
    let mint = |wanted: &Value| bob.ask(Method::POST, "/api/v1/me/key-grants").json(wanted);
    let as_runner = |grant: &str| {
        let path = format!("/api/v1/internal/key-grants/{grant}/records/{table}/{record}");
        bob.ask(Method::GET, &path).header("x-service-key", SERVICE_KEY)
    };
    let (name, asked) = match dice.random_range(0..4) {
        0 => {
            let path = format!("/api/v1/me/key-grants/{hers}");
            ("take her grant back", bob.ask(Method::DELETE, &path))
        }
        1 => {
            let mut wanted = wanted;
            wanted["spaceId"] = space.into();
            if dice.random_bool(0.5) {
                wanted["wrappedKey"] = "bobs".into();
            }
            ("grant her space", mint(&wanted))
        }
        2 if !bob.keeps_his_account_here => ("grant her records", mint(&wanted)),
        2 => {
            let granted: Value = mint(&wanted).send().await?.error_for_status()?.json().await?;
            let grant = granted["id"].as_str().context("a grant has an id")?;
            let answer = as_runner(grant).send().await?;
            let (status, text) = (answer.status(), answer.text().await?);
            // 200 for a record of his own that he has given the same id, in his space.
            anyhow::ensure!(
                [200, 404].contains(&status.as_u16())
                    && !alice.secrets.iter().any(|secret| text.contains(secret)),
                "her record under his grant: {status} {text}"
            );
            // He may have only so many.
            let path = format!("/api/v1/me/key-grants/{grant}");
            let taken = bob.ask(Method::DELETE, &path).send().await?;
            taken.error_for_status()?;
            // Taken back it opens nothing either.
            ("her record under his grant", as_runner(grant))
        }
        _ => {
            // What he has is not the service key.
            let path = format!("/api/v1/internal/key-grants/{hers}/records/{table}/{record}");
            let asked = bob.ask(Method::GET, &path);
            let key = ["", "bobs", hers][dice.random_range(0..3)];
            ("her record under her grant", asked.header("x-service-key", key))
        }
    };
    Ok((name, asked, May::BeRefused))
}
