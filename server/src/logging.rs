//! Logs on stderr: for people on a terminal, one JSON object a line elsewhere.

use std::io::{self, IsTerminal as _};

use tracing::Level;
use tracing_subscriber::filter::{Directive, EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Libraries that write what passes through them, and the lowest level at which they do not: rmcp warns with the text of
/// every error a client is told, and that may repeat what the client sent. No `RUST_LOG` gets them lower, not even by
/// the name of one of their modules.
const PINNED: [(&str, Level); 7] = [
    ("rmcp", Level::ERROR),
    ("async_nats", Level::WARN),
    ("sqlx", Level::WARN),
    ("hyper", Level::WARN),
    ("hyper_util", Level::WARN),
    ("h2", Level::WARN),
    ("rustls", Level::WARN),
];

/// Installs the subscriber. `RUST_LOG` overrides `level`.
pub(crate) fn install(level: &str) {
    let mut filter = EnvFilter::builder()
        .with_default_directive(directive(level))
        .from_env_lossy();
    for (library, level) in PINNED {
        filter = filter.add_directive(directive(&format!("{library}={level}")));
    }
    // A directive for one of their modules would win over those; this asks last.
    let quiet = filter_fn(|metadata| *metadata.level() <= lowest(metadata.target()));
    let registry = tracing_subscriber::registry().with(filter).with(quiet);
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    if io::stderr().is_terminal() {
        registry.with(layer.compact().with_target(false)).init();
    } else {
        registry.with(layer.json().flatten_event(true)).init();
    }
}

/// The lowest level of `target` that is ever written: that of its library where it is pinned.
fn lowest(target: &str) -> Level {
    let library = target.split("::").next().unwrap_or(target);
    let pinned = PINNED.iter().find(|(pinned, _)| *pinned == library);
    pinned.map_or(Level::TRACE, |(_, level)| *level)
}

/// A directive of our own text; one that were not readable would fall back to `info`.
fn directive(text: &str) -> Directive {
    text.parse().unwrap_or_else(|_| tracing::Level::INFO.into())
}
