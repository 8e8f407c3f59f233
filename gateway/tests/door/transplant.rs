//! Ciphertext moved and changed behind the gateway's back, by plain SQL.

use gateway::field_crypto::FieldForm;
use rmcp::model::CallToolRequestParams;
use serde_json::{Map, Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::harness::{Client, House, User, call};

/// What a stored sealed field is: where it stands, and what stands there.
#[derive(Debug, Clone)]
struct Cell {
    space: String,
    table: String,
    record: String,
    field: String,
    wire: String,
}

async fn sql(house: &House) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(house.dir.path().join("tables.sqlite"));
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// Every sealed field there is.
async fn cells(db: &mut SqliteConnection) -> Vec<Cell> {
    let rows: Vec<(String, String, String, String)> =
        sqlx::query_as("SELECT space_id, table_name, record_id, fields FROM records")
            .fetch_all(db)
            .await
            .unwrap();
    rows.into_iter()
        .flat_map(|(space, table, record, fields)| {
            let fields: Map<String, Value> = serde_json::from_str(&fields).unwrap();
            fields.into_iter().filter_map(move |(field, write)| {
                let wire = write["value"].as_str()?.to_owned();
                wire.starts_with("enc:").then(|| Cell {
                    space: space.clone(),
                    table: table.clone(),
                    record: record.clone(),
                    field,
                    wire,
                })
            })
        })
        .collect()
}

async fn put(db: &mut SqliteConnection, at: &Cell, wire: &str) {
    let done = sqlx::query(
        "UPDATE records SET fields = json_set(fields, '$.' || $1 || '.value', $2)
         WHERE space_id = $3 AND table_name = $4 AND record_id = $5",
    )
    .bind(&at.field)
    .bind(wire)
    .bind(&at.space)
    .bind(&at.table)
    .bind(&at.record)
    .execute(db)
    .await
    .unwrap();
    assert_eq!(done.rows_affected(), 1);
}

async fn write_all(client: &Client, name: &str) {
    for n in 1..=2 {
        let text = |what: &str| format!("CANARY {name} {what} {n}");
        call(
            client,
            "todo.create",
            json!({"title": text("task"), "description": text("more")}),
        )
        .await;
        call(
            client,
            "notes.create",
            json!({"title": text("note"), "content": text("content")}),
        )
        .await;
    }
}

/// What a caller is told who reads a table, with the code of an error; the whole answer is searched for others' text.
async fn read(client: &Client, table: &str) -> (String, Option<String>) {
    let tool = if table == "tasks" {
        "todo.list"
    } else {
        "notes.search"
    };
    let result = client.call_tool(CallToolRequestParams::new(tool)).await.unwrap();
    let told = serde_json::to_value(&result).unwrap();
    let code = told["_meta"]["dramatis/errorCode"].as_str().map(str::to_owned);
    assert_eq!(result.is_error == Some(true), code.is_some(), "{told}");
    (told.to_string(), code)
}

async fn refusals(house: &House) -> usize {
    let acts = house.identity.acts(None, None, 1_000).await.unwrap();
    acts.iter()
        .filter(|act| act.act == identity::Act::FieldRefused)
        .count()
}

/// A house that lets one ask as often as these tests do.
async fn patient_house() -> House {
    House::with(|settings| {
        settings.policy.rules = settings.policy.rules.clone().with_calls_per_window(100_000);
    })
    .await
}

fn reader<'a>(readers: &'a [(User, Client)], space: &str) -> &'a Client {
    let (_, client) = readers
        .iter()
        .find(|(user, _)| user.space.as_str() == space)
        .expect("every space is somebody's");
    client
}

#[tokio::test]
async fn whatever_is_put_in_another_value_s_place_is_refused_and_on_record() {
    let house = patient_house().await;
    let mut readers = Vec::new();
    for name in ["anna", "ben"] {
        let user = house.user(name).await;
        let client = house.connect(&user).await;
        write_all(&client, name).await;
        readers.push((user, client));
    }
    let mut db = sql(&house).await;
    let all = cells(&mut db).await;
    assert_eq!(all.len(), 2 * 2 * 4, "users, rows, fields");
    let mut tried = 0;
    for here in &all {
        let client = reader(&readers, &here.space);
        for there in all.iter().filter(|there| there.wire != here.wire) {
            put(&mut db, here, &there.wire).await;
            let (told, code) = read(client, &here.table).await;
            assert_eq!(
                code.as_deref(),
                Some("FIELD_REFUSED"),
                "{there:?} in the place of {here:?}: {told}"
            );
            assert!(!told.contains("CANARY"), "{told}");
            tried += 1;
        }
        put(&mut db, here, &here.wire).await;
        assert_eq!(
            read(client, &here.table).await.1,
            None,
            "what was put back is read again"
        );
    }
    assert_eq!((tried, refusals(&house).await), (16 * 15, 16 * 15));
    for (_, client) in readers {
        client.cancel().await.unwrap();
    }
    house.stop().await;
}

#[tokio::test]
async fn a_value_with_any_bit_flipped_is_refused_and_on_record() {
    let house = patient_house().await;
    let anna = house.user("anna").await;
    let client = house.connect(&anna).await;
    call(&client, "todo.create", json!({"title": "x"})).await;
    let mut db = sql(&house).await;
    let cell = cells(&mut db).await.remove(0);
    let mut flipped = 0;
    for at in "enc:2:".len()..cell.wire.len() {
        let mut bytes = cell.wire.clone().into_bytes();
        // The lowest bit that leaves it text: one of the six that a letter stands for, or none at all.
        bytes[at] ^= 1;
        let Ok(wire) = String::from_utf8(bytes) else {
            continue;
        };
        put(&mut db, &cell, &wire).await;
        let (told, code) = read(&client, "tasks").await;
        assert_eq!(code.as_deref(), Some("FIELD_REFUSED"), "{at}: {told}");
        flipped += 1;
    }
    assert_eq!(refusals(&house).await, flipped);
    assert!(flipped >= 40, "{flipped}");
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn where_only_bound_values_are_read_one_that_opens_anywhere_is_refused() {
    let house = House::with(|settings| settings.field_form = FieldForm::BoundOnly).await;
    let anna = house.user("anna").await;
    let client = house.connect(&anna).await;
    call(&client, "todo.create", json!({"title": "x"})).await;
    let mut db = sql(&house).await;
    let cell = cells(&mut db).await.remove(0);
    let key = house.identity.vault_key(&anna.id).await.unwrap();
    let shared = gateway::field_crypto::seal(&key.key, &json!("from elsewhere"), [1; 12]);
    put(&mut db, &cell, &shared).await;
    let (told, code) = read(&client, "tasks").await;
    assert_eq!(code.as_deref(), Some("FIELD_REFUSED"), "{told}");
    assert!(!told.contains("from elsewhere"));
    client.cancel().await.unwrap();
    house.stop().await;
}

#[tokio::test]
async fn a_zero_knowledge_user_is_told_why_encrypted_tools_refuse_and_the_others_go_on() {
    let house = House::start().await;
    let anna = house.user("anna").await;
    let client = house.connect(&anna).await;
    call(&client, "todo.create", json!({"title": "before"})).await;
    let wrap = identity::RecoveryWrap {
        wrapped_key: "AAAA".to_owned(),
        iv: "AAAA".to_owned(),
    };
    house.identity.set_recovery_wrap(&anna.id, &wrap).await.unwrap();
    house.identity.zero_knowledge_on(&anna.id).await.unwrap();
    for (tool, arguments) in [
        ("todo.list", json!({})),
        ("todo.create", json!({"title": "after"})),
        ("notes.create", json!({"title": "after"})),
        ("journal.add", json!({"content": "after"})),
    ] {
        let arguments = arguments.as_object().unwrap().clone();
        let result = client
            .call_tool(CallToolRequestParams::new(tool).with_arguments(arguments))
            .await
            .unwrap();
        let told = serde_json::to_value(&result).unwrap();
        assert_eq!(told["isError"], true, "{told}");
        assert_eq!(told["_meta"]["dramatis/errorCode"], "ZERO_KNOWLEDGE", "{told}");
        let text = told["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("only its owner's own app has"), "{text}");
    }
    let habit = call(&client, "habits.create", json!({"title": "water"})).await;
    assert_eq!(habit["habit"]["title"], "water");
    client.cancel().await.unwrap();
    house.stop().await;
}
