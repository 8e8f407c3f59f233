//! Two runners on one real stream.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use actors::CastSettings;
use events::{Event, EventLog, JetStreamLog, JetStreamSettings, Subject};
use serde_json::json;
use testkit::{NatsServer, wait_until_async};

use crate::door::Door;
use crate::house::{SOON, enrol, start_cast, tick, types};
use crate::scripted::{Scripted, call};

async fn open(server: &NatsServer) -> Arc<dyn EventLog> {
    let client = async_nats::connect(server.url()).await.unwrap();
    Arc::new(
        JetStreamLog::open(client, JetStreamSettings::default())
            .await
            .unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_runners_that_reach_for_the_same_tick_one_lives_it_and_one_stands_down() {
    let (server, door) = (NatsServer::start(), Door::start().await);
    let (one, other) = (open(&server).await, open(&server).await);
    let mut brain = Scripted::rounds(vec![
        vec![call("todo.create", json!({"title": "Milch"}))],
        vec![
            call("todo.list", json!({})),
            call("notes.create", json!({"title": "Notiz"})),
        ],
    ]);
    brain.meeting = Some(Barrier::new(2));
    let brain = Arc::new(brain);
    // No looks in between: a runner takes another's unfinished tick for a dead one's.
    let rare = |settings: &mut CastSettings| settings.tick_interval = Duration::from_hours(1);
    let first = start_cast(&door, one.clone(), brain.clone(), 1, rare).await;
    let second = start_cast(&door, other, brain, 2, rare).await;
    let anna = enrol(one.as_ref(), "anna").await;
    let (a, b) = tokio::join!(tick(&first, &anna), tick(&second, &anna));

    let commits = one.read_subject(&Subject::Persona(anna.clone())).await.unwrap();
    let story: Vec<Event> = commits
        .into_iter()
        .flat_map(|recorded| recorded.commit.events)
        .collect();
    let numbers: Vec<u64> = story
        .iter()
        .filter_map(|event| {
            if let Event::TickStarted(started) = event {
                Some(started.number)
            } else {
                None
            }
        })
        .collect();
    let mut outcomes = [a.outcome.as_str(), b.outcome.as_str()];
    outcomes.sort_unstable();
    assert_eq!(
        (numbers, outcomes),
        (vec![1], ["completed", "stood-down"]),
        "{a:?} {b:?}"
    );
    assert_eq!(
        types(&story).iter().filter(|name| **name == "ToolCalled").count(),
        3
    );
    assert_eq!(door.seen().len(), 3, "nothing was sent twice");
    let caught_up = || async {
        first
            .observe()
            .await
            .roster
            .is_some_and(|roster| roster.personas[0].last_number == 1)
    };
    assert!(wait_until_async(SOON, caught_up).await);
    first.stop(SOON).await;
    second.stop(SOON).await;
}
