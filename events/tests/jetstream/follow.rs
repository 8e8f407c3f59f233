//! Followers over restarts.

use events::{EventLog, JetStreamSettings, StreamSeq};
use futures::StreamExt as _;
use testkit::{NatsServer, wait_until_async};

use crate::*;

/// The client's own consumer would take half a minute to notice, and begin again at the log's first message.
#[tokio::test]
async fn a_follower_that_had_nothing_yet_goes_on_at_its_place_soon_after_a_restart() {
    let mut server = NatsServer::start();
    let log = open(&server.url(), JetStreamSettings::default()).await;
    let subject = persona("followed");
    let places = append_some(&log, &subject, 5).await;
    let mut idle = log.follow(places[4]).await.unwrap();
    let mut reading = log.follow(StreamSeq::ZERO).await.unwrap();
    for place in &places[..3] {
        assert_eq!(reading.next().await.unwrap().unwrap().seq(), *place);
    }
    server.kill();
    server.restart();
    let sixth = commit(&subject, "sixth");
    let appended = wait_until_async(LIMIT, || async {
        matches!(log.append(&sixth, exactly(places[4])).await, Ok(Ok(_)))
    })
    .await;
    assert!(appended);
    for (following, next) in [
        (&mut idle, &[StreamSeq(6)][..]),
        (&mut reading, &[places[3], places[4], StreamSeq(6)]),
    ] {
        for seq in next {
            let delivery = tokio::time::timeout(LIMIT, following.next()).await;
            assert_eq!(delivery.expect("soon").unwrap().unwrap().seq(), *seq);
        }
    }
}
