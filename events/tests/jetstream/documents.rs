//! Documents that processes share: one suite for those in memory and those on JetStream.

use std::sync::Arc;

use events::{Documents, JetStreamDocuments, JetStreamSettings, LogError, MemoryDocuments};
use futures::future::join_all;
use testkit::NatsServer;

async fn on(server: &NatsServer) -> Arc<dyn Documents> {
    let client = async_nats::connect(server.url()).await.unwrap();
    let opened = JetStreamDocuments::open(client, &JetStreamSettings::default()).await;
    Arc::new(opened.unwrap())
}

async fn says(documents: &dyn Documents, name: &str) -> Option<(u64, Vec<u8>)> {
    let there = documents.get(name).await.unwrap();
    there.map(|there| (there.revision, there.body))
}

async fn conforms(one: &Arc<dyn Documents>, other: &Arc<dyn Documents>) {
    assert_eq!(says(&**one, "mounts.shop").await, None);
    let first = one
        .put("mounts.shop", b"1".to_vec(), None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(says(&**other, "mounts.shop").await, Some((first, b"1".to_vec())));
    // Whoever has not seen it does not replace it.
    assert_eq!(other.put("mounts.shop", b"2".to_vec(), None).await.unwrap(), None);
    let second = other
        .put("mounts.shop", b"2".to_vec(), Some(first))
        .await
        .unwrap()
        .unwrap();
    assert!(second > first);
    assert_eq!(
        one.put("mounts.shop", b"3".to_vec(), Some(first)).await.unwrap(),
        None
    );
    assert_eq!(says(&**one, "mounts.shop").await, Some((second, b"2".to_vec())));
    assert_eq!(
        says(&**one, "mounts.other").await,
        None,
        "each name is for itself"
    );

    // Many at once: each decision rests on all before it.
    let add = async |documents: &Arc<dyn Documents>| {
        for _ in 0..20 {
            loop {
                let there = documents.get("sum").await.unwrap();
                let sum: u64 = there
                    .as_ref()
                    .map_or(0, |there| String::from_utf8_lossy(&there.body).parse().unwrap());
                let body = (sum + 1).to_string().into_bytes();
                let over = there.map(|there| there.revision);
                if documents.put("sum", body, over).await.unwrap().is_some() {
                    break;
                }
            }
        }
    };
    join_all([one, other, one, other].map(add)).await;
    assert_eq!(says(&**one, "sum").await.unwrap().1, b"80");
}

#[tokio::test]
async fn a_document_is_replaced_by_whoever_has_seen_it_last_and_by_nobody_else() {
    let memory: Arc<dyn Documents> = Arc::new(MemoryDocuments::default());
    conforms(&memory, &memory).await;
    let server = NatsServer::start();
    conforms(&on(&server).await, &on(&server).await).await;
}

#[tokio::test]
async fn what_is_too_large_or_has_no_name_is_refused_and_a_deleted_one_can_be_made_again() {
    let server = NatsServer::start();
    let documents = on(&server).await;
    let refused = documents
        .put("large", vec![0; 64 * 1024 * 1024], None)
        .await
        .unwrap_err();
    assert!(matches!(refused, LogError::Unfit(reason) if reason.contains("max_payload")));
    let refused = documents.put("no name", b"1".to_vec(), None).await.unwrap_err();
    assert!(matches!(refused, LogError::Unfit(_)), "{refused}");

    let revision = documents.put("gone", b"1".to_vec(), None).await.unwrap().unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    let bucket = async_nats::jetstream::new(client)
        .get_key_value("DRAMATIS_SHARED")
        .await
        .unwrap();
    bucket.delete("gone").await.unwrap();
    assert_eq!(says(&*documents, "gone").await, None);
    assert_eq!(
        documents
            .put("gone", b"2".to_vec(), Some(revision))
            .await
            .unwrap(),
        None
    );
    assert!(
        documents
            .put("gone", b"2".to_vec(), None)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn without_the_server_nothing_is_known_and_nothing_is_changed() {
    let mut server = NatsServer::start();
    let documents = on(&server).await;
    let revision = documents.put("kept", b"1".to_vec(), None).await.unwrap().unwrap();
    server.kill();
    let unanswered = documents.get("kept").await.unwrap_err();
    assert!(matches!(unanswered, LogError::Unavailable(_)), "{unanswered}");
    let unanswered = documents
        .put("kept", b"2".to_vec(), Some(revision))
        .await
        .unwrap_err();
    assert!(matches!(unanswered, LogError::Unavailable(_)), "{unanswered}");
}
