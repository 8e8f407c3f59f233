//! Spans on their way out: kept a moment, and sent in batches to an OpenTelemetry collector, by OTLP over HTTP.
//!
//! Off until an operator names a collector. A collector that is slow or away costs spans and nothing else: they wait in
//! a queue with an end, and what finds it full is dropped.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use events::spans::{Spans, names};
use opentelemetry::KeyValue;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use secrecy::ExposeSecret as _;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::exit::CommandError;

/// The one form that is spoken.
const PROTOCOL: &str = "http/protobuf";
/// Where a collector takes spans.
const TRACES_PATH: &str = "/v1/traces";
/// Spans that wait, how many go at once, and how long one waits at most.
const WAITING_MAX: usize = 8_192;
const BATCH_MAX: usize = 512;
const SEND_EVERY: Duration = Duration::from_secs(2);
/// How long the last batch may take when the house stops.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of a collector's answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Attributes and events one span may have; ratings are events, one a module.
const ATTRIBUTES_MAX: u32 = 32;
const EVENTS_MAX: u32 = 128;

/// A way out that is open, or none.
#[derive(Debug, Default)]
pub(crate) struct Otlp(Option<Out>);

#[derive(Debug)]
struct Out {
    provider: SdkTracerProvider,
    sending: TaskTracker,
}

impl Otlp {
    /// Opens the way to the collector that is configured, if one is. Nothing is sent yet.
    ///
    /// # Errors
    /// [`CommandError::Usage`] for an address or headers that cannot be meant.
    pub(crate) fn open(config: &Config) -> Result<Self, CommandError> {
        let Some(endpoint) = endpoint(config) else {
            return Ok(Self::default());
        };
        let unusable = |error: String| CommandError::Usage(format!("otlp_endpoint: {error}"));
        let timeout = Duration::from_millis(config.otlp_timeout_ms);
        let sending = TaskTracker::new();
        let client = Client::new(timeout, sending.clone()).map_err(|error| unusable(error.to_string()))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(timeout)
            .with_headers(headers(config).map_err(unusable)?)
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(SEND_EVERY)
            .build();
        let about_us = Resource::builder_empty()
            .with_service_name(config.otlp_service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let kept = Sampler::TraceIdRatioBased(config.otlp_sampled);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(
                BatchSpanProcessor::builder(exporter)
                    .with_batch_config(batches)
                    .build(),
            )
            .with_sampler(Sampler::ParentBased(Box::new(kept)))
            .with_max_attributes_per_span(ATTRIBUTES_MAX)
            .with_max_events_per_span(EVENTS_MAX)
            .with_resource(about_us)
            .build();
        Ok(Self(Some(Out { provider, sending })))
    }

    /// Where rooms hand their spans to.
    pub(crate) fn spans(&self) -> Spans {
        let Some(out) = &self.0 else {
            return Spans::default();
        };
        let tracer = out.provider.tracer("dramatis");
        tracing::info!(conventions = names::CONVENTIONS, "spans go to a collector");
        Spans::to(BoxedTracer::new(Box::new(tracer)))
    }

    /// Sends what waits, within a bound.
    pub(crate) async fn stop(self) {
        let Some(Out { provider, sending }) = self.0 else {
            return;
        };
        let flush = sending.spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_WITHIN));
        // The flush has its own limit; this one is for the thread it waits on.
        match tokio::time::timeout(FLUSH_WITHIN * 2, flush).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last spans were not sent"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the last spans were not sent in time"),
        }
    }
}

/// The whole address spans are sent to.
fn endpoint(config: &Config) -> Option<String> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    given(&config.otlp_traces_endpoint).or_else(|| {
        let base = given(&config.otlp_endpoint)?;
        Some(format!("{}{TRACES_PATH}", base.trim_end_matches('/')))
    })
}

/// `NAME=VALUE,NAME=VALUE`, values with `%` and two digits for what they may not have as it is.
fn headers(config: &Config) -> Result<HashMap<String, String>, String> {
    let Some(text) = &config.otlp_headers else {
        return Ok(HashMap::new());
    };
    let pairs = text
        .expose_secret()
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let name = http::HeaderName::try_from(name.trim()).ok()?;
            let value = unescaped(value.trim())?;
            http::HeaderValue::try_from(&value).ok()?;
            Some((name.as_str().to_owned(), value))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| "otlp_headers has to be NAME=VALUE, with commas between".to_owned())
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// What may not stand as it is, by key.
pub(crate) fn faults(config: &Config) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    for (key, value) in [
        ("otlp_endpoint", &config.otlp_endpoint),
        ("otlp_traces_endpoint", &config.otlp_traces_endpoint),
    ] {
        let url = value
            .as_deref()
            .filter(|url| !url.is_empty())
            .map(reqwest::Url::parse);
        let is_http = |url: &reqwest::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        if url.is_some_and(|url| !url.as_ref().is_ok_and(is_http)) {
            faults.push((key, "must be an http:// or https:// address".to_owned()));
        }
    }
    if config.otlp_protocol != PROTOCOL {
        faults.push(("otlp_protocol", format!("only {PROTOCOL} is spoken")));
    }
    if let Err(reason) = headers(config) {
        faults.push(("otlp_headers", reason));
    }
    if config.otlp_timeout_ms == 0 {
        faults.push(("otlp_timeout_ms", "at least 1".to_owned()));
    }
    if !(0.0..=1.0).contains(&config.otlp_sampled) {
        faults.push(("otlp_sampled", "a share from 0 to 1".to_owned()));
    }
    faults
}

/// Sends on the runtime's own threads what a thread of the library's waits for.
struct Client {
    http: reqwest::Client,
    runtime: Handle,
    sending: TaskTracker,
    /// So that it is told once that the collector is away, and once that it is back.
    is_away: AtomicBool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    fn new(timeout: Duration, sending: TaskTracker) -> Result<Self, reqwest::Error> {
        metrics::describe_counter!(
            "otlp_batches_total",
            "batches of spans sent to the collector, by outcome"
        );
        for outcome in ["sent", "failed"] {
            metrics::counter!("otlp_batches_total", "outcome" => outcome).increment(0);
        }
        let http = reqwest::Client::builder()
            .timeout(timeout)
            // Headers with a key in them go where the operator said, or nowhere.
            .redirect(reqwest::redirect::Policy::none());
        Ok(Self {
            http: http.build()?,
            runtime: Handle::current(),
            sending,
            is_away: AtomicBool::new(false),
        })
    }

    fn note(&self, problem: Option<&str>) {
        let outcome = if problem.is_none() { "sent" } else { "failed" };
        metrics::counter!("otlp_batches_total", "outcome" => outcome).increment(1);
        let was_away = self.is_away.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !was_away => {
                tracing::warn!(problem, "the collector does not take spans; they are lost");
            }
            None if was_away => tracing::info!("the collector takes spans again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sent = self.sending.spawn_on(send(http, request), &self.runtime).await;
        let answered = sent.map_err(|_| "the runtime has ended".to_owned()).flatten();
        let problem = match &answered {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answered {}", response.status())),
            Err(problem) => Some(problem.clone()),
        };
        self.note(problem.as_deref());
        answered.map_err(Into::into)
    }
}

async fn send(http: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
    let told = |error: reqwest::Error| error.without_url().to_string();
    let request = reqwest::Request::try_from(request).map_err(told)?;
    let mut response = http.execute(request).await.map_err(told)?;
    let mut answer = Response::builder().status(response.status());
    if let Some(headers) = answer.headers_mut() {
        *headers = std::mem::take(response.headers_mut());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("it answered more than {ANSWER_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    answer.body(body.into()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
