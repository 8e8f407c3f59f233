//! Spans as a collector gets them: what a persona does is one trace from its tick to the tool.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use testkit::FakeCollector;

use crate::common::{Up, json, stdout};

/// Everything that was sent, and the names of the services it came from.
fn spans(collector: &FakeCollector) -> (Vec<Span>, Vec<String>) {
    let (mut spans, mut services) = (Vec::new(), Vec::new());
    for body in collector.taken() {
        let sent = ExportTraceServiceRequest::decode(body).unwrap();
        for of_service in sent.resource_spans {
            let service = of_service.resource.unwrap();
            services.push(texts(&service.attributes)["service.name"].clone());
            spans.extend(of_service.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    (spans, services)
}

/// Attributes by name, as text.
fn texts(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |value: &KeyValue| match value.value.clone().unwrap().value.unwrap() {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::DoubleValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let pairs = attributes.iter().map(|pair| (pair.key.as_str(), text(pair)));
    pairs.collect()
}

/// The spans right below `parent`.
fn below<'a>(spans: &'a [Span], parent: &Span) -> Vec<&'a Span> {
    let below = spans.iter().filter(|span| span.parent_span_id == parent.span_id);
    below
        .inspect(|span| assert_eq!(span.trace_id, parent.trace_id, "{}", span.name))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_persona_does_is_one_trace_from_its_tick_to_the_tool() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let collector = FakeCollector::start().await;
    let endpoint = collector.endpoint();
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_SERVICE_NAME", "house-of-this-test"),
    ];
    let up = Up::start_with(&data, &settings);
    up.json(&["seed"]);
    let (listed, _) = up.json(&["personas", "list"]);
    let persona = &listed["personas"].as_array().or(listed.as_array()).unwrap()[0];
    let email = persona["email"].as_str().unwrap();
    let (ticked, code) = up.json(&["tick", "--persona", email]);
    assert_eq!(code, 0, "{ticked}");
    let log = stdout(&data, &["events", "cat", "--persona", email]);
    let commits: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let calls = |kind: &str| commits.iter().filter(|event| event["type"] == kind).count();
    let (called, rated) = (calls("ToolCalled"), calls("Rated"));
    assert!(called > 0 && rated > 0, "{log}");
    // What waits is sent before it ends.
    assert_eq!(up.stop(), Some(0));

    let (spans, services) = spans(&collector);
    assert!(services.iter().all(|name| name == "house-of-this-test") && !services.is_empty());
    let ticks: Vec<&Span> = spans
        .iter()
        .filter(|span| span.name.starts_with("invoke_agent "))
        .collect();
    let [tick] = ticks.as_slice() else {
        panic!("one tick, one span: {ticks:?}")
    };
    assert!(tick.parent_span_id.is_empty());
    let about = texts(&tick.attributes);
    assert_eq!(about["gen_ai.operation.name"], "invoke_agent");
    assert_eq!(about["gen_ai.agent.name"], persona["archetype"].as_str().unwrap());
    assert_eq!(about["dramatis.tick.number"], "1");
    assert_eq!(about["dramatis.tick.outcome"], "completed");
    let scores = tick
        .events
        .iter()
        .filter(|event| event.name == "gen_ai.evaluation.result");
    let scores: Vec<_> = scores.map(|event| texts(&event.attributes)).collect();
    assert_eq!(scores.len(), rated);
    for score in scores {
        assert!(
            score["gen_ai.evaluation.name"].starts_with("rating."),
            "{score:?}"
        );
        let stars: f64 = score["gen_ai.evaluation.score.value"].parse().unwrap();
        assert!((1.0..=5.0).contains(&stars), "{score:?}");
    }

    let executed = below(&spans, tick);
    assert_eq!(executed.len(), called);
    for execution in executed {
        let tool = texts(&execution.attributes)["gen_ai.tool.name"].clone();
        assert_eq!(execution.name, format!("execute_tool {tool}"));
        let served = below(&spans, execution);
        let [served] = served.as_slice() else {
            panic!("one call, one span at the door: {served:?}")
        };
        assert_eq!(
            (served.name.as_str(), served.kind()),
            (format!("tools/call {tool}").as_str(), SpanKind::Server)
        );
        let about = texts(&served.attributes);
        assert_eq!(about["mcp.method.name"], "tools/call");
        assert_eq!(about["gen_ai.operation.name"], "execute_tool");
        assert_eq!(
            about.contains_key("error.type"),
            about["dramatis.call.outcome"] != "ok"
        );
    }
}

#[test]
fn where_no_collector_is_named_none_is_asked_and_a_wrong_one_is_an_error_that_names_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let shown = json(&data, &["config", "print", "--json"]);
    let endpoint = shown
        .as_array()
        .unwrap()
        .iter()
        .find(|setting| setting["key"] == "otlp_endpoint");
    assert!(endpoint.unwrap()["value"].is_null(), "{shown}");
    let wrong = crate::common::dramatis(&data)
        .args(["config", "print"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let told = String::from_utf8_lossy(&wrong.stderr);
    assert!(
        told.contains("otlp_endpoint") && told.contains("otlp_protocol"),
        "{told}"
    );
}
