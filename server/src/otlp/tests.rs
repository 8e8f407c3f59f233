use axum::Router;
use axum::extract::State;
use axum::routing::post;
use events::spans::Parent;
use http::{HeaderMap, StatusCode};
use secrecy::SecretString;
use tokio::sync::mpsc;

use super::*;

fn config(endpoint: &str) -> Config {
    Config {
        otlp_endpoint: Some(endpoint.to_owned()),
        ..Config::default()
    }
}

fn keys_at_fault(config: &Config) -> Vec<&'static str> {
    faults(config).into_iter().map(|(key, _)| key).collect()
}

#[test]
fn what_cannot_be_meant_is_named_by_its_key() {
    assert_eq!(keys_at_fault(&Config::default()), Vec::<&str>::new());
    assert_eq!(
        keys_at_fault(&config("https://collector.example:4318")),
        Vec::<&str>::new()
    );
    for bad in ["collector:4317", "ftp://collector", "http://", "/v1/traces"] {
        assert_eq!(keys_at_fault(&config(bad)), ["otlp_endpoint"], "{bad}");
    }
    let headers = |text: &str| Config {
        otlp_headers: Some(SecretString::from(text)),
        ..Config::default()
    };
    assert_eq!(
        super::headers(&headers("a=1, b-c = x%20y%3D,")).unwrap()["b-c"],
        "x y="
    );
    for bad in ["a", "a b=1", "a=%zz", "a=%0a"] {
        assert_eq!(keys_at_fault(&headers(bad)), ["otlp_headers"], "{bad}");
    }
    let odd = Config {
        otlp_protocol: "grpc".to_owned(),
        otlp_timeout_ms: 0,
        otlp_sampled: 1.5,
        ..Config::default()
    };
    assert_eq!(
        keys_at_fault(&odd),
        ["otlp_protocol", "otlp_timeout_ms", "otlp_sampled"]
    );
}

#[test]
fn the_address_for_spans_counts_before_the_collector_s() {
    assert_eq!(endpoint(&Config::default()), None);
    assert_eq!(
        endpoint(&config("http://c:4318/")).as_deref(),
        Some("http://c:4318/v1/traces")
    );
    let both = Config {
        otlp_traces_endpoint: Some("http://t/in".to_owned()),
        ..config("http://c:4318")
    };
    assert_eq!(endpoint(&both).as_deref(), Some("http://t/in"));
}

/// A collector that hands on what it is sent, and answers with `status`.
async fn collector(status: StatusCode) -> (String, mpsc::Receiver<(HeaderMap, Bytes)>) {
    let (taken, sent) = mpsc::channel(16);
    let take = async move |State(taken): State<mpsc::Sender<_>>, headers: HeaderMap, body: Bytes| {
        taken.send((headers, body)).await.unwrap();
        status
    };
    let router = Router::new().route(TRACES_PATH, post(take)).with_state(taken);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(TaskTracker::new().spawn(async move { axum::serve(listener, router).await }));
    (address, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_sent_when_the_house_stops_with_the_headers_the_collector_wants() {
    let (address, mut sent) = collector(StatusCode::OK).await;
    let config = Config {
        otlp_headers: Some(SecretString::from("x-key=k1")),
        ..config(&address)
    };
    let otlp = Otlp::open(&config).unwrap();
    drop(otlp.spans().internal(None, || "a piece of work".to_owned()));
    otlp.stop().await;
    let (headers, body) = sent.recv().await.unwrap();
    assert_eq!(headers["x-key"], "k1");
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let holds = |text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("a piece of work") && holds("service.name") && holds("dramatis"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_does_not_want_kept_is_not_kept_and_none_is_where_the_share_is_nothing() {
    let (address, mut sent) = collector(StatusCode::OK).await;
    let config = Config {
        otlp_sampled: 0.0,
        ..config(&address)
    };
    let otlp = Otlp::open(&config).unwrap();
    let from = |flags: &str| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
    let (wanted, unwanted) = (from("01"), from("00"));
    let spans = otlp.spans();
    for (parent, name) in [
        (None, "our own"),
        (Some(&unwanted), "unwanted"),
        (Some(&wanted), "wanted"),
    ] {
        let parent = parent.map(|parent| Parent::new(parent));
        let span = spans.server(parent, || name.to_owned());
        let onward = span.traceparent().unwrap();
        assert_eq!(onward.ends_with("-01"), name == "wanted", "{onward}");
    }
    otlp.stop().await;
    let (_, body) = sent.recv().await.unwrap();
    let holds = |text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("wanted") && !holds("unwanted") && !holds("our own"));
    assert!(sent.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_never_answers_holds_nobody_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    // It takes connections and says nothing.
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let (broken, _sent) = collector(StatusCode::SERVICE_UNAVAILABLE).await;
    for address in ["http://127.0.0.1:9", &silent, &broken] {
        let otlp = Otlp::open(&config(address)).unwrap();
        let spans = otlp.spans();
        for _ in 0..WAITING_MAX * 2 {
            drop(spans.internal(None, || "work".to_owned()));
        }
        tokio::time::timeout(FLUSH_WITHIN * 10, otlp.stop())
            .await
            .unwrap();
    }
}
