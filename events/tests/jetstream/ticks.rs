//! The work queue: each tick is there once, and is one runner's at a time.

use std::time::Duration;

use events::testing::{id, sample_time};
use events::{DueTick, JetStreamSettings, JetStreamTicks, TickQueue as _};
use testkit::NatsServer;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);
const AT_ONCE: Duration = Duration::from_millis(200);

async fn queue(server: &NatsServer, kept_for: Duration) -> JetStreamTicks {
    let client = async_nats::connect(server.url()).await.unwrap();
    let queue = JetStreamTicks::open(client, &JetStreamSettings::default(), kept_for).await;
    queue.unwrap()
}

fn due(name: &str, number: u64) -> DueTick {
    DueTick {
        persona_id: id(name),
        number,
        email: format!("{name}@mana.test"),
        name: name.to_owned(),
        due_at: sample_time(),
    }
}

#[tokio::test]
async fn whoever_offers_it_a_tick_is_there_once_also_when_it_was_done_with() {
    let server = NatsServer::start();
    let (one, other) = (queue(&server, PATIENCE).await, queue(&server, PATIENCE).await);
    let ticks = [due("anna", 1), due("ben", 4)];
    assert_eq!(one.offer(&ticks).await.unwrap(), 2);
    assert_eq!(other.offer(&ticks).await.unwrap(), 0, "under the same names");
    assert_eq!(
        other.offer(&[due("anna", 2)]).await.unwrap(),
        0,
        "one at a time for each persona"
    );
    let taken = other.take(10, PATIENCE).await.unwrap();
    let who: Vec<&str> = taken.iter().map(|taken| taken.tick.name.as_str()).collect();
    assert_eq!(who, ["anna", "ben"]);
    assert!(taken.iter().all(|taken| !taken.was_taken_before));
    assert!(
        one.take(10, AT_ONCE).await.unwrap().is_empty(),
        "they are the other's"
    );
    taken[0].claim.done().await;
    assert_eq!(
        one.offer(&[due("anna", 1)]).await.unwrap(),
        0,
        "a runner that lags offers in vain"
    );
    let next = async || one.offer(&[due("anna", 2)]).await.unwrap() == 1;
    assert!(
        testkit::wait_until_async(PATIENCE, next).await,
        "and the next can be offered"
    );
}

#[tokio::test]
async fn what_is_given_back_or_not_kept_is_handed_to_another_and_says_so() {
    let server = NatsServer::start();
    let queue = queue(&server, Duration::from_secs(1)).await;
    queue.offer(&[due("anna", 1)]).await.unwrap();
    let first = queue.take(1, PATIENCE).await.unwrap().remove(0);
    first.claim.give_back(Duration::ZERO).await;
    let second = queue.take(1, PATIENCE).await.unwrap().remove(0);
    assert_eq!((second.tick, second.was_taken_before), (due("anna", 1), true));
    // Its runner is gone without a word.
    drop(second.claim);
    let third = queue.take(1, PATIENCE).await.unwrap().remove(0);
    assert!(third.was_taken_before);
    third.claim.done().await;
}
