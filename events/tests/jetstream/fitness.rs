//! Servers and streams that are not to be trusted with the log.

use async_nats::jetstream::stream::Config;
use events::{Durability, JetStreamLog, JetStreamSettings, LogError, STREAM_NAME, ServerReport};
use testkit::NatsServer;

use crate::*;

async fn open_with(server: &NatsServer, durability: Durability) -> Result<JetStreamLog, LogError> {
    let client = async_nats::connect(server.url()).await.unwrap();
    let settings = JetStreamSettings {
        durability,
        ..JetStreamSettings::default()
    };
    JetStreamLog::open(client, settings).await
}

fn reported(server: &NatsServer) -> Durability {
    Durability::Reported(ServerReport::from_varz(&server.varz()).unwrap())
}

#[tokio::test]
async fn a_server_that_writes_to_disk_every_two_minutes_is_refused_with_the_mend() {
    let server = NatsServer::start_with_sync(None);
    let error = open_with(&server, reported(&server)).await.unwrap_err();
    assert!(matches!(error, LogError::Unfit(_)), "{error:?}");
    let text = error.to_string();
    for part in [
        "every 120 s",
        "sync_interval: \"100ms\"",
        "unsafe_nats_durability_unchecked",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_writes_to_disk_soon_or_always_is_taken() {
    for sync_interval in ["100ms", "1s", "always"] {
        let server = NatsServer::start_with_sync(Some(sync_interval));
        open_with(&server, reported(&server)).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_nobody_knows_about_is_refused_unless_the_operator_vouches_for_it() {
    let server = NatsServer::start_with_sync(None);
    let error = open_with(&server, Durability::Unknown).await.unwrap_err();
    assert!(error.to_string().contains("`nats_monitor`"), "{error}");
    open_with(&server, Durability::UnsafeUnchecked).await.unwrap();
}

#[tokio::test]
async fn the_page_of_another_server_proves_nothing() {
    let (server, other) = (NatsServer::start_with_sync(None), NatsServer::start());
    let error = open_with(&server, reported(&other)).await.unwrap_err();
    assert!(error.to_string().contains("page of the same server"), "{error}");
}

#[tokio::test]
async fn a_stream_that_could_lose_history_or_never_forget_is_refused_by_name() {
    let faults: [(&str, Config); 3] = [
        (
            "drops messages by age",
            Config {
                max_age: Duration::from_hours(1),
                ..Config::default()
            },
        ),
        (
            "drops older messages of a subject",
            Config {
                max_messages_per_subject: 9,
                ..Config::default()
            },
        ),
        (
            "denies deletion",
            Config {
                deny_delete: true,
                ..Config::default()
            },
        ),
    ];
    for (fault, config) in faults {
        let server = NatsServer::start();
        let client = async_nats::connect(server.url()).await.unwrap();
        let config = Config {
            name: STREAM_NAME.to_owned(),
            subjects: vec!["dramatis.>".to_owned()],
            ..config
        };
        async_nats::jetstream::new(client)
            .create_stream(config)
            .await
            .unwrap();
        let refused = open_with(&server, Durability::Ours).await.unwrap_err();
        assert!(refused.to_string().contains(fault), "{refused}");
    }
}
