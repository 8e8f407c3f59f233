//! The house itself: versions, how its parts are, every setting with its source.

use events::{Clock as _, StreamSeq};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::config::Setting;
use crate::http::App;
use crate::http::health::{Check, check_all};
use crate::http::problem::Problem;

/// The protocol revisions the gateway speaks.
const MCP_REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// The house itself.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SystemStatus {
    #[schemars(with = "events::Moment")]
    now: Timestamp,
    uptime_seconds: u64,
    /// `production` or `development`.
    environment: &'static str,
    public_url: String,
    versions: Versions,
    log: LogSeen,
    /// How each part is.
    checks: Vec<Check>,
    settings: Vec<SettingSeen>,
    as_of_seq: StreamSeq,
}

/// What this program is and speaks.
#[derive(Debug, Serialize, JsonSchema)]
struct Versions {
    dramatis: &'static str,
    nats_server_at_least: (u64, u64, u64),
    mcp: [&'static str; 2],
    events: Vec<EventVersion>,
}

/// A type of event and the version that is written now.
#[derive(Debug, Serialize, JsonSchema)]
struct EventVersion {
    #[serde(rename = "type")]
    event_type: &'static str,
    v: u32,
}

/// Which log, and how much it holds.
#[derive(Debug, Serialize, JsonSchema)]
struct LogSeen {
    name: String,
    #[schemars(with = "events::Moment")]
    created: Timestamp,
    messages: u64,
    bytes: u64,
    last_seq: StreamSeq,
}

/// A setting as it is shown; an address without who logs in there.
#[derive(Debug, Serialize, JsonSchema)]
struct SettingSeen {
    key: String,
    value: Value,
    /// Where the value came from.
    source: String,
}

/// The answer of `system.status`.
pub(super) async fn show(app: &App) -> Result<SystemStatus, Problem> {
    let log = app.log.state().await?;
    let types = events::Event::TYPES.iter();
    Ok(SystemStatus {
        now: app.clock.now(),
        uptime_seconds: app.clock.monotonic().as_secs(),
        environment: app.settings.environment(),
        public_url: app.settings.public_url.clone(),
        versions: Versions {
            dramatis: env!("CARGO_PKG_VERSION"),
            nats_server_at_least: events::VERSION_FLOOR,
            mcp: MCP_REVISIONS,
            events: types
                .map(|&(event_type, v)| EventVersion { event_type, v })
                .collect(),
        },
        log: LogSeen {
            name: log.identity.name,
            created: log.identity.created,
            messages: log.messages,
            bytes: log.bytes,
            last_seq: log.last_seq,
        },
        checks: check_all(app).await.into(),
        settings: app.operators.settings.iter().map(SettingSeen::from).collect(),
        as_of_seq: app.projector.seq(),
    })
}

impl From<&Setting> for SettingSeen {
    fn from(setting: &Setting) -> Self {
        let value = match &setting.value {
            Value::String(text) => without_login(text).into(),
            value => value.clone(),
        };
        Self {
            key: setting.key.clone(),
            value,
            source: setting.source.clone(),
        }
    }
}

fn without_login(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    host.rsplit_once('@').map_or_else(
        || text.to_owned(),
        |(_, host)| format!("{scheme}://********@{host}{path}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        assert_eq!(without_login("nats://u:hush@h:4222"), "nats://********@h:4222");
        assert_eq!(without_login("http://h/a@b"), "http://h/a@b");
        assert_eq!(without_login("plain@text"), "plain@text");
    }
}
