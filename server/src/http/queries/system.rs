//! The house itself: versions, how its parts are, every setting with its source.

use events::Clock as _;
use serde_json::{Value, json};

use crate::config::Setting;
use crate::http::App;
use crate::http::health::checks_json;
use crate::http::problem::Problem;

/// The protocol revisions the gateway speaks.
const MCP_REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// The answer of `system.status`.
pub(super) async fn show(app: &App) -> Result<Value, Problem> {
    let log = app.log.state().await?;
    Ok(json!({
        "now": app.clock.now(),
        "uptime_seconds": app.clock.monotonic().as_secs(),
        "environment": if app.settings.production { "production" } else { "development" },
        "public_url": app.settings.public_url,
        "versions": {
            "dramatis": env!("CARGO_PKG_VERSION"),
            "nats_server_at_least": events::VERSION_FLOOR,
            "mcp": MCP_REVISIONS,
            "events": events::Event::TYPES.iter().map(|(name, version)| json!({ "type": name, "v": version })).collect::<Vec<_>>(),
        },
        "log": { "name": log.identity.name, "created": log.identity.created, "messages": log.messages, "bytes": log.bytes, "last_seq": log.last_seq },
        "checks": checks_json(app).await,
        "settings": app.operators.settings.iter().map(setting).collect::<Vec<_>>(),
        "as_of_seq": app.projector.seq(),
    }))
}

/// A setting as it is shown; an address without who logs in there.
fn setting(setting: &Setting) -> Value {
    let value = match &setting.value {
        Value::String(text) => without_login(text).into(),
        value => value.clone(),
    };
    json!({ "key": setting.key, "value": value, "source": setting.source })
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
