//! What a write leaves behind: sealed events, deterministic retries, honest errors.

use std::collections::BTreeMap;
use std::time::Duration;

use events::{
    Commit, CommitId, Event, ExpectedSeq, FieldWrite, RecordChanged, RecordId, RecordOp, Subject, SystemClock,
};
use rmcp::model::{CallToolRequestParams, RequestParamsMeta as _};
use serde_json::{Value, json};

use crate::harness::{Client, House, Plan, User, call, refused};

const CANARY: &str = "CANARY-5e0f-Milch";

/// Every byte the house has on disk.
fn bytes_on_disk(house: &House) -> Vec<u8> {
    let files = std::fs::read_dir(house.dir.path())
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .filter(|path| path.is_file())
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect()
}

fn holds(haystack: &[u8], needle: &str) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle.as_bytes())
}

#[tokio::test]
async fn no_sealed_text_is_in_the_log_or_in_any_file() {
    let house = House::start().await;
    let client = house.connect(&house.user("anna").await).await;
    call(
        &client,
        "todo.create",
        json!({"title": CANARY, "description": CANARY}),
    )
    .await;
    call(
        &client,
        "notes.create",
        json!({"title": CANARY, "content": CANARY}),
    )
    .await;
    call(
        &client,
        "journal.add",
        json!({"title": CANARY, "content": CANARY}),
    )
    .await;
    call(&client, "habits.create", json!({"title": "not sealed at all"})).await;
    let written = house.events_of("RecordChanged").await;
    assert_eq!(written.len(), 4);
    assert!(!format!("{written:?}").contains(CANARY));
    let on_disk = bytes_on_disk(&house);
    assert!(
        holds(&on_disk, "not sealed at all"),
        "the search finds what is there"
    );
    assert!(!holds(&on_disk, CANARY));
    let Event::RecordChanged(task) = &written[0] else {
        panic!("a record")
    };
    let title = task.fields["title"].value.as_str().unwrap();
    assert!(title.starts_with("enc:2:"), "{title}");
    assert_eq!(task.fields["subtasks"].value, Value::Null, "null passes through");
    assert_eq!(
        call(&client, "todo.list", json!({})).await["tasks"][0]["title"],
        CANARY
    );
    client.cancel().await.unwrap();
    house.stop().await;
}

async fn call_with_id(client: &Client, call_id: &str, title: &str) -> Value {
    let arguments = json!({"title": title}).as_object().unwrap().clone();
    let mut params = CallToolRequestParams::new("todo.create").with_arguments(arguments);
    let meta = json!({"dramatis/callId": call_id, "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"});
    *params.meta_mut() = Some(serde_json::from_value(meta).unwrap());
    client
        .call_tool(params)
        .await
        .unwrap()
        .structured_content
        .unwrap()
}

#[tokio::test]
async fn a_call_sent_again_under_its_id_is_the_same_write() {
    let house = House::start().await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let client = house.connect(&anna).await;
    let first = call_with_id(&client, "call-1", "eins").await;
    call_with_id(&client, "call-2", "zwei").await;
    let again = call_with_id(&client, "call-1", "eins").await;
    assert_eq!(first, again);
    assert_eq!(house.events_of("RecordChanged").await.len(), 2);
    let bens = house.connect(&ben).await;
    let other = call_with_id(&bens, "call-1", "drei").await;
    assert_eq!(
        other["task"]["title"], "drei",
        "another caller's id of the same text is another call"
    );

    let commits = house
        .log
        .read_subject(&Subject::Record(anna.space.clone()))
        .await
        .unwrap();
    let commit = &commits[0].commit;
    assert_eq!(
        commit.traceparent.as_deref(),
        Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    );
    let Event::RecordChanged(record) = &commit.events[0] else {
        panic!("a record")
    };
    assert_eq!(
        record.call_id.as_ref().map(events::CallId::as_str),
        Some("call-1")
    );
    assert_eq!(
        (record.tool.as_deref(), &record.actor),
        (Some("todo.create"), &anna.id)
    );
    client.cancel().await.unwrap();
    bens.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn a_write_that_cannot_be_waited_for_says_that_it_is_stored() {
    let mut plan = Plan {
        is_projecting: false,
        ..Plan::default()
    };
    plan.settings.read_your_writes = Duration::from_millis(50);
    let house = House::build(plan).await;
    let client = house.connect(&house.user("anna").await).await;
    let told = refused(&client, "todo.create", json!({"title": "Milch"})).await;
    assert!(
        told.starts_with("the write is stored (as entry 3 of the log) but not visible yet"),
        "{told}"
    );
    assert_eq!(house.events_of("RecordChanged").await.len(), 1);
    client.cancel().await.unwrap();
    house.stop().await;
}

/// Puts a task into the log as another program would.
async fn put_task(house: &House, user: &User, title: &str) {
    let at = events::Clock::now(&SystemClock::new());
    let field = |value: Value| FieldWrite { value, at };
    let record = RecordChanged {
        space_id: user.space.clone(),
        table: "tasks".to_owned(),
        record_id: RecordId::derived(&[title]),
        op: RecordOp::Put,
        fields: BTreeMap::from([
            ("title".to_owned(), field(json!(title))),
            ("priority".to_owned(), field(json!("low"))),
        ]),
        actor: user.id.clone(),
        tool: None,
        call_id: None,
        synced: None,
        changed_at: at,
    };
    let subject = Subject::Record(user.space.clone());
    let commit = Commit::new(CommitId::derived(&[title]), subject, at, vec![record.into()]);
    let appended = house
        .log
        .append(&commit, ExpectedSeq::Any)
        .await
        .unwrap()
        .unwrap();
    let seen = testkit::wait_until_async(crate::harness::SOON, || async {
        house
            .tables
            .checkpoint()
            .await
            .unwrap()
            .is_some_and(|checkpoint| checkpoint.seq >= appended.seq)
    });
    assert!(seen.await);
}

#[tokio::test]
async fn a_plaintext_field_of_old_is_read_as_it_is() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    put_task(&house, &anna, "von früher").await;
    let client = house.connect(&anna).await;
    let task = call(&client, "todo.list", json!({})).await["tasks"][0].clone();
    assert_eq!(
        (&task["title"], &task["isCompleted"], &task["order"]),
        (&json!("von früher"), &json!(false), &json!(0))
    );
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn a_tampered_field_is_an_error_that_names_the_record_and_never_silence() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    let foreign = gateway::field_crypto::seal(&[9; 32], &json!("von anderswo"), [1; 12]);
    put_task(&house, &anna, &foreign).await;
    let client = house.connect(&anna).await;
    let told = refused(&client, "todo.list", json!({})).await;
    let record = RecordId::derived(&[&foreign]);
    assert!(
        told.starts_with(&format!(
            "title of tasks record {record} cannot be read: it does not open"
        )),
        "{told}"
    );
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn a_text_too_large_for_the_log_is_refused_with_its_size() {
    let house = House::start().await;
    let client = house.connect(&house.user("anna").await).await;
    let told = refused(
        &client,
        "notes.create",
        json!({"title": "x", "content": "🦀".repeat(200_000)}),
    )
    .await;
    assert!(
        told.contains("too large to store") && told.contains("shorten the text"),
        "{told}"
    );
    assert!(house.events_of("RecordChanged").await.is_empty());
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn a_call_id_that_cannot_be_one_is_invalid_params() {
    let house = House::start().await;
    let client = house.connect(&house.user("anna").await).await;
    for bad in [json!(7), json!(""), json!("a\nb")] {
        let mut params = CallToolRequestParams::new("spaces.list");
        *params.meta_mut() = Some(serde_json::from_value(json!({"dramatis/callId": bad})).unwrap());
        assert!(client.call_tool(params).await.is_err());
    }
    client.cancel().await.unwrap();
    house.stop().await;
}
