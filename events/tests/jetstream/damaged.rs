//! Bytes that were changed in the server's own files.

use events::{CodecError, Delivery, EventLog as _, JetStreamSettings, STREAM_NAME, StreamSeq, SubjectTag};
use futures::StreamExt as _;
use testkit::{NatsServer, StoredRecord, StreamFiles};

use super::{append_some, open, persona};

/// Changes what `server` keeps at `seq` while it is down, and starts it again.
fn tamper(server: &mut NatsServer, seq: u64, change: impl FnOnce(&mut StoredRecord)) {
    server.kill();
    let files = StreamFiles::of(&server.store_dir().join("store"), STREAM_NAME);
    let mut records = files.read();
    change(records.iter_mut().find(|record| record.seq == seq).unwrap());
    files.write(&records);
    server.restart();
}

fn seq_and_fault(delivery: &Delivery) -> (u64, bool) {
    let is_damaged = matches!(
        delivery,
        Delivery::Undecodable(message) if matches!(message.error, CodecError::Damaged { .. })
    );
    (delivery.seq().0, is_damaged)
}

#[tokio::test]
async fn a_message_that_no_client_can_receive_is_passed_on_as_damaged_and_the_rest_is_read() {
    for damage in [
        // No text any more, no name before the value, a space in the subject, another version.
        (|record: &mut StoredRecord| record.headers[20] |= 0x80) as fn(&mut StoredRecord),
        |record| {
            let colon = record.headers.iter().position(|byte| *byte == b':').unwrap();
            record.headers[colon] = b';';
        },
        |record| record.subject[18] = b' ',
        |record| record.headers[7] ^= 4,
    ] {
        let mut server = NatsServer::start();
        let log = open(&server.url(), JetStreamSettings::default()).await;
        append_some(&log, &persona("anna"), 5).await;
        let whole = log.at(StreamSeq(3)).await.unwrap().unwrap();
        assert_eq!(seq_and_fault(&whole), (3, false));
        drop(log);
        tamper(&mut server, 3, damage);

        let log = open(&server.url(), JetStreamSettings::default()).await;
        let followed: Vec<_> = log.follow(StreamSeq::ZERO).await.unwrap().take(5).collect().await;
        let followed: Vec<_> = followed
            .iter()
            .map(|delivery| seq_and_fault(delivery.as_ref().unwrap()))
            .collect();
        let expected = [(1, false), (2, false), (3, true), (4, false), (5, false)];
        assert_eq!(followed, expected);
        let read: Vec<_> = log
            .read(StreamSeq::ZERO, StreamSeq(5))
            .await
            .unwrap()
            .collect()
            .await;
        let read: Vec<_> = read
            .iter()
            .map(|delivery| seq_and_fault(delivery.as_ref().unwrap()))
            .collect();
        assert_eq!(read, expected);
        // Asked for alone it may be readable, but not as what was written.
        for there in [log.at(StreamSeq(3)).await, log.next_after(StreamSeq(2)).await] {
            let there = there.unwrap().unwrap();
            assert_eq!(there.seq(), StreamSeq(3));
            assert_ne!(there.seal(), whole.seal());
        }
    }
}

#[tokio::test]
async fn the_same_message_has_the_same_seal_however_it_is_read_and_another_one_after_any_change() {
    let mut server = NatsServer::start();
    let log = open(&server.url(), JetStreamSettings::default()).await;
    append_some(&log, &persona("anna"), 3).await;
    let at = log.at(StreamSeq(2)).await.unwrap().unwrap().seal().unwrap();
    let followed = log
        .follow(StreamSeq(1))
        .await
        .unwrap()
        .next()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(followed.seal(), Some(at));
    assert_eq!(at.subject(), SubjectTag::of("dramatis.persona.anna"));
    drop(log);

    // A header that we do not read, and one value for another of the same length.
    tamper(&mut server, 2, |record| {
        let text = String::from_utf8(record.headers.clone()).unwrap();
        assert!(text.contains("application/json"), "{text}");
        record.headers = text.replace("application/json", "application/jsom").into_bytes();
    });
    let log = open(&server.url(), JetStreamSettings::default()).await;
    let changed = log.at(StreamSeq(2)).await.unwrap().unwrap();
    assert_eq!(seq_and_fault(&changed), (2, false));
    assert_ne!(changed.seal(), Some(at));
}
