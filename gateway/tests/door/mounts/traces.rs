//! One trace from a client through the door, the log and a mounted server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use axum::http::HeaderMap;
use events::spans::Spans;
use events::{EventLog, JetStreamLog, JetStreamSettings, MemoryLog, Subject};
use futures::StreamExt as _;
use gateway::MountsSettings;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{SpanKind, Status, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use serde_json::{Value, json};
use testkit::wait_until_async;

use super::shop::Running;
use super::{house, mount};
use crate::harness::{House, Plan, SOON, User, message, rpc};
use crate::stateless;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What the shop heard of the latest call.
fn heard(shop: &Running) -> (HeaderMap, Value) {
    let headers = shop.shared.headers.lock().unwrap().last().unwrap().clone();
    (headers, shop.shared.meta.lock().unwrap().last().unwrap().clone())
}

async fn call_in_session(house: &House, user: &User, meta: Value, headers: &[(&str, &str)]) {
    let session = house.open_session(user).await;
    let call = json!({"name": "shop.echo", "arguments": {"text": "hello"}, "_meta": meta});
    let mut request = house.post(&user.token, rpc("tools/call", call));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = message(request.header("mcp-session-id", session).send().await.unwrap()).await;
    assert_eq!(answer["result"]["content"][0]["text"], "hello", "{answer}");
}

#[tokio::test]
async fn a_clients_trace_goes_on_in_the_log_and_at_the_mounted_server() {
    let nats = testkit::NatsServer::start();
    let connected = async_nats::connect(nats.url()).await.unwrap();
    let log: Arc<dyn EventLog> = Arc::new(
        JetStreamLog::open(connected.clone(), JetStreamSettings::default())
            .await
            .unwrap(),
    );
    let shop = Running::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut plan = Plan {
        log: log.clone(),
        ..Plan::default()
    };
    plan.settings.mounts = MountsSettings {
        mounts: vec![mount(&shop)],
        folder: folder.path().to_owned(),
        refresh: Duration::from_mins(1),
        ..MountsSettings::default()
    };
    let house = House::build(plan).await;
    house.gateway.mounts_settled(SOON).await;
    let anna = house.user("anna").await;
    let params = json!({"name": "shop.echo", "arguments": {"text": "hello"}});
    let answer = stateless::modern(&house, &anna, "tools/call", params)
        .header("traceparent", TRACE)
        .header("tracestate", "vendor=1")
        .header("tracestate", "other=2")
        .send()
        .await
        .unwrap();
    let answer = message(answer).await;
    assert_eq!(answer["result"]["content"][0]["text"], "hello", "{answer}");
    let (headers, meta) = heard(&shop);
    assert_eq!(headers["traceparent"], TRACE);
    assert_eq!(headers["tracestate"], "vendor=1,other=2");
    assert_eq!(
        (&meta["traceparent"], &meta["tracestate"]),
        (&json!(TRACE), &json!("vendor=1,other=2"))
    );
    let subject = Subject::Session(anna.id.clone());
    let is_ended = || async { log.read_subject(&subject).await.unwrap().len() >= 2 };
    assert!(
        wait_until_async(SOON, is_ended).await,
        "the start and the end of the call"
    );
    let stream = jetstream::new(connected).get_stream("DRAMATIS").await.unwrap();
    let all = stream
        .create_consumer(jetstream::consumer::pull::OrderedConfig::default())
        .await
        .unwrap();
    let messages = all.messages().await.unwrap().take(2).collect::<Vec<_>>().await;
    for message in messages {
        let headers = message.unwrap().headers.clone().unwrap();
        assert_eq!(headers.get("traceparent").unwrap().as_str(), TRACE);
    }
    house.stop().await;
    drop(nats);
}

#[tokio::test]
async fn what_a_request_says_itself_counts_before_its_headers_and_what_is_broken_counts_as_nothing() {
    let shop = Running::start().await;
    let house = house(vec![mount(&shop)]).await;
    let anna = house.user("anna").await;
    let in_headers = [("traceparent", OTHER), ("tracestate", "of=headers")];

    call_in_session(&house, &anna, json!({"traceparent": TRACE}), &in_headers).await;
    let (headers, meta) = heard(&shop);
    assert_eq!(
        (&headers["traceparent"], &meta["traceparent"]),
        (&TRACE.parse().unwrap(), &json!(TRACE))
    );
    assert!(
        !headers.contains_key("tracestate"),
        "a state belongs to its own trace"
    );

    let broken = json!({"traceparent": TRACE.to_uppercase(), "tracestate": "of=meta"});
    call_in_session(&house, &anna, broken.clone(), &in_headers).await;
    let (headers, meta) = heard(&shop);
    assert_eq!(
        (&headers["traceparent"], &headers["tracestate"]),
        (&OTHER.parse().unwrap(), &"of=headers".parse().unwrap())
    );
    assert_eq!(meta["traceparent"], OTHER);

    let twice = [
        ("traceparent", TRACE),
        ("traceparent", OTHER),
        ("tracestate", "of=headers"),
    ];
    call_in_session(&house, &anna, broken, &twice).await;
    let (headers, meta) = heard(&shop);
    for name in ["traceparent", "tracestate"] {
        assert!(
            !headers.contains_key(name) && meta.get(name).is_none(),
            "{headers:?} {meta}"
        );
    }
    house.stop().await;
}

/// Keeps every span that has ended.
#[derive(Debug, Clone, Default)]
struct Watcher(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Watcher {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Watcher {
    fn spans(&self) -> Spans {
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(self.clone())
            .build();
        Spans::to(BoxedTracer::new(Box::new(provider.tracer("test"))))
    }

    fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn about(span: &SpanData, name: &str) -> Option<String> {
    let named = span.attributes.iter().find(|pair| pair.key.as_str() == name);
    named.map(|pair| pair.value.to_string())
}

fn id(span: &SpanData) -> String {
    format!(
        "00-{}-{}-01",
        span.span_context.trace_id(),
        span.span_context.span_id()
    )
}

#[tokio::test]
async fn where_somebody_watches_a_call_has_a_span_and_so_has_what_is_asked_of_the_mounted_server() {
    let (watcher, shop) = (Watcher::default(), Running::start().await);
    let log = Arc::new(MemoryLog::new());
    let mut plan = Plan {
        log: log.clone(),
        ..Plan::default()
    };
    plan.settings.spans = watcher.spans();
    let house = super::build(plan, vec![mount(&shop)], tempfile::tempdir().unwrap().keep()).await;
    let anna = house.user("anna").await;
    let state = [("tracestate", "vendor=1"), ("traceparent", TRACE)];
    call_in_session(&house, &anna, json!({}), &state).await;

    let spans = watcher.take();
    let [client, server] = spans.as_slice() else {
        panic!("two spans: {spans:?}")
    };
    assert_eq!(
        (server.name.as_ref(), &server.span_kind),
        ("tools/call shop.echo", &SpanKind::Server)
    );
    assert_eq!(
        (client.name.as_ref(), &client.span_kind),
        ("tools/call echo", &SpanKind::Client)
    );
    assert_eq!(&id(server)[..35], &TRACE[..35], "the caller's own trace");
    assert_eq!(server.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(client.parent_span_id, server.span_context.span_id());
    assert_eq!(about(client, "dramatis.mount").as_deref(), Some("shop"));
    assert_eq!(about(client, "server.address").as_deref(), Some("127.0.0.1"));
    assert_eq!(about(server, "dramatis.call.outcome").as_deref(), Some("ok"));
    let (headers, meta) = heard(&shop);
    assert_eq!(
        (&headers["traceparent"], &meta["traceparent"]),
        (&id(client).parse().unwrap(), &json!(id(client)))
    );
    assert_eq!(meta["tracestate"], "vendor=1");
    let subject = Subject::Session(anna.id.clone());
    let calls = async || {
        let commits = log.read_subject(&subject).await.unwrap();
        let parents = commits.into_iter().filter_map(|one| one.commit.traceparent);
        parents.collect::<Vec<_>>()
    };
    assert!(wait_until_async(SOON, async || calls().await.len() == 2).await);
    assert_eq!(
        calls().await,
        [id(server), id(server)],
        "the record goes on from the call's span"
    );
    house.stop().await;
}

#[tokio::test]
async fn a_span_says_how_a_call_failed_and_names_no_tool_that_is_not_there() {
    let watcher = Watcher::default();
    let mut plan = Plan::default();
    plan.settings.spans = watcher.spans();
    let house = House::build(plan).await;
    let anna = house.user("anna").await;
    let session = house.open_session(&anna).await;
    let mut ended = Vec::new();
    for (tool, arguments) in [
        ("todo.complete", json!({"id": "no-such-thing"})),
        ("my-own-secret", json!({"text": "my-own-secret"})),
    ] {
        let call = json!({"name": tool, "arguments": arguments});
        let request = house.post(&anna.token, rpc("tools/call", call));
        request.header("mcp-session-id", &session).send().await.unwrap();
        ended.extend(watcher.take());
    }
    let [refused, unknown] = ended.as_slice() else {
        panic!("two spans: {ended:?}")
    };
    assert_eq!(refused.name, "tools/call todo.complete");
    assert_eq!(about(refused, "error.type").as_deref(), Some("tool_error"));
    assert_eq!(refused.status, Status::error(""));
    assert_eq!(unknown.name, "tools/call");
    assert_eq!(about(unknown, "error.type").as_deref(), Some("-32602"));
    assert!(!format!("{ended:?}").contains("my-own-secret"), "{ended:?}");
    assert!(
        refused.parent_span_id.to_string() == "0000000000000000",
        "nobody named a parent"
    );
    house.stop().await;
}
