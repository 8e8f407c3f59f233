//! The same door over the log that counts.

use std::sync::Arc;

use events::{JetStreamLog, JetStreamSettings};
use serde_json::json;

use crate::harness::{House, Plan, call};

#[tokio::test]
async fn a_task_written_through_the_door_is_on_jetstream_sealed_and_read_back() {
    let nats = testkit::NatsServer::start();
    let connected = async_nats::connect(nats.url()).await.unwrap();
    let log = JetStreamLog::open(connected, JetStreamSettings::default())
        .await
        .unwrap();
    let house = House::build(Plan {
        log: Arc::new(log),
        ..Plan::default()
    })
    .await;
    let client = house.connect(&house.user("anna").await).await;
    let created = call(&client, "todo.create", json!({"title": "Milch kaufen"})).await;
    let listed = call(&client, "todo.list", json!({})).await;
    assert_eq!(listed["tasks"][0], created["task"]);
    client.cancel().await.unwrap();
    let events = house.events().await;
    let types: Vec<_> = events.iter().map(events::Event::type_name).collect();
    assert!(
        types.starts_with(&["SessionOpened", "CallStarted", "RecordChanged"]),
        "{types:?}"
    );
    assert!(!format!("{events:?}").contains("Milch"));
    house.stop().await;
    drop(nats);
}
