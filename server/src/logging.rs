//! Logs on stderr: for people on a terminal, one JSON object a line elsewhere.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::filter::{Directive, EnvFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Below this level rmcp writes tool arguments and results, so no `RUST_LOG` gets it lower.
const PINNED: &str = "rmcp=warn";

/// Installs the subscriber. `RUST_LOG` overrides `level`.
pub(crate) fn install(level: &str) {
    let mut filter = EnvFilter::builder()
        .with_default_directive(directive(level))
        .from_env_lossy();
    for quiet in [
        PINNED,
        "async_nats=warn",
        "sqlx=warn",
        "hyper=warn",
        "h2=warn",
        "rustls=warn",
    ] {
        filter = filter.add_directive(directive(quiet));
    }
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    if io::stderr().is_terminal() {
        registry.with(layer.compact().with_target(false)).init();
    } else {
        registry.with(layer.json().flatten_event(true)).init();
    }
}

/// A directive of our own text; one that were not readable would fall back to `info`.
fn directive(text: &str) -> Directive {
    text.parse().unwrap_or_else(|_| tracing::Level::INFO.into())
}
