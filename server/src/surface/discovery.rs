//! How others find the service: `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, as `nats micro` asks them (ADR-32 of NATS).

use std::collections::BTreeMap;
use std::time::Duration;

use events::Clock as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Surface;
use super::endpoint::{ENDPOINTS, Endpoint, Kind, QUEUE, SERVICE_DESCRIPTION, SERVICE_NAME};

/// What can be asked, and what the type of its answer calls it.
pub(super) const VERBS: [(&str, &str); 3] = [("PING", "ping"), ("INFO", "info"), ("STATS", "stats")];

/// What was asked of one endpoint since the start.
#[derive(Debug, Clone, Default)]
pub(super) struct EndpointNumbers {
    requests: u64,
    errors: u64,
    last_error: String,
    took: Duration,
}

impl EndpointNumbers {
    pub(super) fn count(&mut self, took: Duration, error: Option<String>) {
        self.requests += 1;
        self.took += took;
        if let Some(error) = error {
            self.errors += 1;
            self.last_error = error;
        }
    }
}

/// Who this instance is.
#[derive(Debug)]
pub(super) struct Discovery {
    id: String,
    started: Timestamp,
}

impl Discovery {
    pub(super) fn new(surface: &Surface) -> Self {
        Self {
            id: surface.app.ids.uuid().simple().to_string(),
            started: surface.app.clock.now(),
        }
    }

    /// Where it is asked: every service, those of our name, this instance.
    pub(super) fn subjects(&self) -> [String; 3] {
        [
            "$SRV.*".to_owned(),
            format!("$SRV.*.{SERVICE_NAME}"),
            format!("$SRV.*.{SERVICE_NAME}.{}", self.id),
        ]
    }

    /// The answer to a question at `subject`; `None` for a verb that is none.
    pub(super) fn answer(
        &self,
        subject: &str,
        numbers: &BTreeMap<&'static str, EndpointNumbers>,
    ) -> Option<Value> {
        let verb = subject.strip_prefix("$SRV.")?.split('.').next()?;
        let (_, kind) = VERBS.iter().find(|(known, _)| *known == verb)?;
        let mut answer = json!({
            "type": format!("io.nats.micro.v1.{kind}_response"),
            "name": SERVICE_NAME,
            "id": self.id,
            "version": env!("CARGO_PKG_VERSION"),
            "metadata": {},
        });
        match verb {
            "INFO" => {
                answer["description"] = SERVICE_DESCRIPTION.into();
                answer["endpoints"] = ENDPOINTS.iter().map(info).collect();
            }
            "STATS" => {
                answer["started"] = self.started.to_string().into();
                let stats = |endpoint: &Endpoint| stats(endpoint, numbers.get(endpoint.name));
                answer["endpoints"] = ENDPOINTS.iter().map(stats).collect();
            }
            _ => {}
        }
        Some(answer)
    }
}

fn info(endpoint: &Endpoint) -> Value {
    let changes = endpoint.kind == Kind::Control;
    json!({
        "name": endpoint.plain_name(),
        "subject": endpoint.subject(),
        "queue_group": QUEUE,
        "metadata": { "summary": endpoint.summary, "changes": changes.to_string() },
    })
}

fn stats(endpoint: &Endpoint, numbers: Option<&EndpointNumbers>) -> Value {
    let numbers = numbers.cloned().unwrap_or_default();
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "name": endpoint.plain_name(),
        "subject": endpoint.subject(),
        "queue_group": QUEUE,
        "num_requests": numbers.requests,
        "num_errors": numbers.errors,
        "last_error": numbers.last_error,
        "processing_time": nanos(numbers.took),
        "average_processing_time": nanos(numbers.took) / numbers.requests.max(1),
    })
}
