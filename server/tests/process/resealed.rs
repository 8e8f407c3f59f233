//! Everything sealed anew by the command, with the command and the server killed on the way, while somebody writes.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use projections::{StoredPlace, Tables};
use reqwest::Client;
use serde_json::{Value, json};
use testkit::wait_until_async;

use crate::common::{Up, dramatis, run};

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);
const RECORDS: usize = 60;

async fn account(up: &Up) -> String {
    let credentials = json!({"email": "anna@example.org", "password": "a password of eleven words"});
    let ask = async |path: &str| {
        let asked = Client::new().post(format!("{}{path}", up.api)).json(&credentials);
        asked.send().await.unwrap().json::<Value>().await.unwrap()
    };
    // The second time it is there already.
    ask("/api/v1/auth/register").await;
    ask("/api/v1/auth/login").await["token"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Writes every record's title, as a sync client that sends plaintext.
async fn write(up: &Up, token: &str, title: &str, at: &str) -> reqwest::Result<()> {
    let change = |n: usize| {
        json!({"table": "notes", "id": format!("note-{n}"), "op": "update",
            "fields": {"title": {"value": format!("{title} {n}"), "at": at}, "content": {"value": "text", "at": at}}})
    };
    let push = json!({"clientId": "phone", "changes": (0..RECORDS).map(change).collect::<Vec<_>>()});
    let pushed = Client::new()
        .post(format!("{}/sync/notes", up.api))
        .bearer_auth(token)
        .json(&push);
    pushed.send().await?.error_for_status().map(drop)
}

/// What another device sees.
async fn titles(up: &Up, token: &str) -> Vec<String> {
    let pull = Client::new()
        .get(format!("{}/sync/notes/pull", up.api))
        .bearer_auth(token);
    let pulled: Value = pull.send().await.unwrap().json().await.unwrap();
    let changes = pulled["serverChanges"].as_array().unwrap().iter();
    changes
        .map(|change| change["fields"]["title"]["value"].as_str().unwrap().to_owned())
        .collect()
}

/// How many stored values begin like that.
async fn stored(data: &Path, form: &str) -> usize {
    let tables = Tables::open(&data.join("dramatis.sqlite")).await.unwrap();
    let rows = tables
        .stored_records(&StoredPlace::default(), None, &["notes"], 1_000)
        .await
        .unwrap();
    tables.close().await;
    let fields = rows.iter().flat_map(|row| row.record.fields.values());
    fields
        .filter(|field| field.value.as_str().is_some_and(|text| text.starts_with(form)))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_sealing_anew_goes_on_where_it_stopped_and_every_write_stands() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let old = Up::start_with(&data, &[("DRAMATIS_FIELD_ENCRYPTION", "enc:1")]);
    let token = account(&old).await;
    write(&old, &token, "first", "2026-01-01T00:00:00.000Z")
        .await
        .unwrap();
    assert_eq!(stored(&data, "enc:1:").await, 2 * RECORDS);
    let refused = old
        .command(&["seal", "migrate", "--to", "enc:2"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && told.contains("set field_encryption"),
        "{told}"
    );
    assert_eq!(old.stop(), Some(0));

    let new = Up::start(&data);
    let token = account(&new).await;
    let (counted, code) = new.json(&["seal", "migrate", "--dry-run"]);
    assert_eq!(
        (code, &counted["resealed"]),
        (0, &json!(2 * RECORDS)),
        "{counted}"
    );
    let slowly = |up: &Up| {
        let mut slowly = up.command(&["seal", "migrate", "--rate", "10"]);
        slowly
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    // The command dies in the middle.
    let mut command = slowly(&new);
    let some_are_done = async || stored(&data, "enc:2:").await > 0;
    assert!(
        wait_until_async(LIMIT, some_are_done).await,
        "nothing is sealed anew"
    );
    command.kill().unwrap();
    command.wait().unwrap();
    let done = stored(&data, "enc:2:").await;
    assert!(done < 2 * RECORDS, "it is in the middle: {done}");
    // Somebody writes, and the server dies in the middle of the next run.
    write(&new, &token, "second", "2026-02-01T00:00:00.000Z")
        .await
        .unwrap();
    let mut command = slowly(&new);
    new.kill();
    command.kill().unwrap();
    command.wait().unwrap();

    let again = Up::start(&data);
    let token = account(&again).await;
    let (migrated, code) = again.json(&["seal", "migrate", "--to", "enc:2"]);
    assert_eq!((code, &migrated["refused"]), (0, &json!(0)), "{migrated}");
    assert_eq!(
        (stored(&data, "enc:1:").await, stored(&data, "enc:2:").await),
        (0, 2 * RECORDS)
    );
    let seen = titles(&again, &token).await;
    assert_eq!(seen.len(), RECORDS);
    assert!(seen.iter().all(|title| title.starts_with("second ")), "{seen:?}");
    let (rest, _) = again.json(&["seal", "migrate"]);
    assert_eq!(
        (&rest["resealed"], &rest["current"]),
        (&json!(0), &json!(2 * RECORDS)),
        "{rest}"
    );
    assert_eq!(again.stop(), Some(0));
    let verified = run(&data, &["verify", "--json"]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
    let without = dramatis(&data)
        .args(["seal", "migrate"])
        .env("MANA_ADMIN_JWT", "x")
        .output()
        .unwrap();
    assert_eq!(without.status.code(), Some(5), "there is nobody to ask");
}
