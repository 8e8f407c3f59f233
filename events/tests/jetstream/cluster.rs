//! A log that is kept three times: set up when its cluster is whole, and left alone by those who find it so.

use async_nats::jetstream::stream::Config;
use events::{JetStreamDocuments, JetStreamLog, JetStreamSettings, LogError, STREAM_NAME};
use futures::StreamExt as _;
use testkit::{NatsCluster, NatsServer};
use tokio::task::JoinSet;

use crate::*;

fn thrice() -> JetStreamSettings {
    JetStreamSettings {
        replicas: 3,
        ..JetStreamSettings::default()
    }
}

/// A connection to a server that may take its time.
async fn client(url: &str) -> async_nats::Client {
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    let client = options.connect(url).await.unwrap();
    let is_there = || async { !client.server_info().version.is_empty() };
    assert!(testkit::wait_until_async(LIMIT, is_there).await);
    client
}

/// How the server keeps the log now.
async fn log_config(context: &async_nats::jetstream::Context) -> Config {
    let stream = context.get_stream(STREAM_NAME).await.unwrap();
    stream.cached_info().config.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_kept_three_times_is_set_up_as_soon_as_the_third_server_is_there() {
    let mut cluster = NatsCluster::start(2);
    let connection = client(&cluster.url()).await;
    let mut opening = JoinSet::new();
    opening.spawn(JetStreamLog::open(connection.clone(), thrice()));
    // Two of three that are new have no leader yet, or one that finds no place for a third copy.
    let asking = async_nats::jetstream::new(connection.clone());
    let config = Config {
        name: "THRICE".to_owned(),
        num_replicas: 3,
        ..Config::default()
    };
    let is_refused = testkit::wait_until_async(LIMIT, || async {
        let refused = asking
            .create_stream(&config)
            .await
            .map_err(|error| error.to_string());
        let reasons = ["temporarily unavailable", "no suitable peers"];
        refused.is_err_and(|refused| reasons.iter().any(|reason| refused.contains(reason)))
    })
    .await;
    assert!(is_refused && opening.try_join_next().is_none());

    cluster.start_next();
    let log = opening.join_next().await.unwrap().unwrap().unwrap();
    let first = commit(&persona("p"), "first");
    let appended = log.append(&first, exactly(StreamSeq(0))).await;
    assert_eq!(appended.unwrap().unwrap().seq, StreamSeq(1));
    let queue = log.ticks(LIMIT).await;
    let documents = JetStreamDocuments::open(connection, &thrice()).await;
    assert!(queue.is_ok() && documents.is_ok(), "{queue:?} {documents:?}");
    assert_eq!(log_config(&asking).await.num_replicas, 3);
}

#[tokio::test]
async fn three_copies_on_one_server_are_refused_at_once() {
    let server = NatsServer::start();
    let connection = client(&server.url()).await;
    let refused = JetStreamLog::open(connection, thrice()).await.unwrap_err();
    assert!(matches!(refused, LogError::Unfit(_)), "{refused:?}");
    assert!(
        refused.to_string().contains("replicas > 1 not supported"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_stream_that_is_as_it_should_be_is_left_alone_and_another_is_mended() {
    let server = NatsServer::start();
    let watcher = client(&server.url()).await;
    let mut changes = watcher.subscribe("$JS.EVENT.ADVISORY.STREAM.>").await.unwrap();
    watcher.flush().await.unwrap();
    let context = async_nats::jetstream::new(watcher.clone());
    let mark = async |name: &str| {
        let config = Config {
            name: name.to_owned(),
            ..Config::default()
        };
        context.create_stream(config).await.unwrap();
    };
    for _ in 0..3 {
        drop(open(&server.url(), JetStreamSettings::default()).await);
    }
    mark("LEFT_ALONE").await;
    let mut config = log_config(&context).await;
    config.max_bytes = 1_000_000;
    context.update_stream(&config).await.unwrap();
    for _ in 0..2 {
        drop(open(&server.url(), JetStreamSettings::default()).await);
    }
    mark("MENDED").await;

    let mut seen: Vec<String> = Vec::new();
    while seen.last().is_none_or(|last| !last.ends_with("MENDED")) {
        let change = tokio::time::timeout(LIMIT, changes.next()).await;
        let subject = change.unwrap().unwrap().subject.to_string();
        seen.push(subject.replace("$JS.EVENT.ADVISORY.STREAM.", ""));
    }
    let of_log = |what: &str| format!("{what}.{STREAM_NAME}");
    let (by_hand, by_us) = (of_log("UPDATED"), of_log("UPDATED"));
    let expected = [
        of_log("CREATED"),
        "CREATED.LEFT_ALONE".to_owned(),
        by_hand,
        by_us,
        "CREATED.MENDED".to_owned(),
    ];
    assert_eq!(seen, expected);
    assert_eq!(log_config(&context).await.max_bytes, -1);
}
