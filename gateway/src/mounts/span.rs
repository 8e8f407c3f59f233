//! The span of a call at a mounted server: where it goes and how it was answered.

use events::spans::{Parent, Span, names};
use rmcp::model::ServerResult;

use super::forward::{Answer, Unanswered};
use super::mount::{AskError, Mount};
use super::settings::Upstream;
use crate::call::CallContext;

/// The span of asking `mount` for `own`, as part of the call of `context`.
pub(super) fn of(mount: &Mount, own: &str, context: &CallContext) -> Span {
    let parent = context.traceparent.as_deref().map(Parent::new);
    let mut span = context
        .spans
        .client(parent, || format!("{} {own}", names::TOOLS_CALL));
    if span.is_watched() {
        span.set(names::MCP_METHOD, names::TOOLS_CALL);
        span.set(names::OPERATION, names::EXECUTE_TOOL);
        span.set(names::TOOL_NAME, own.to_owned());
        span.set(names::MOUNT, mount.settings.name.clone());
        place(&mut span, &mount.settings.upstream);
    }
    span
}

fn place(span: &mut Span, upstream: &Upstream) {
    let Upstream::Http { url } = upstream else {
        span.set(names::TRANSPORT, "pipe");
        return;
    };
    span.set(names::TRANSPORT, "tcp");
    let url = reqwest::Url::parse(url).ok();
    let host = url.as_ref().and_then(reqwest::Url::host_str);
    span.set_some(names::SERVER_ADDRESS, host.map(str::to_owned));
    let port = url.as_ref().and_then(reqwest::Url::port_or_known_default);
    span.set_some(names::SERVER_PORT, port.map(i64::from));
}

/// Says in `span` what came of it.
pub(super) fn end(span: &mut Span, answer: &Result<Answer, AskError>) {
    match answer {
        Ok(Ok(ServerResult::CallToolResult(result))) if result.is_error == Some(true) => {
            span.failed(names::TOOL_ERROR);
        }
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            let code = error.code.0.to_string();
            span.set(names::RPC_STATUS, code.clone());
            span.failed(code);
        }
        Err(error) => span.failed(match error {
            AskError::Resting(_) => "resting",
            AskError::Open(_) => "unreachable",
            AskError::Unanswered(Unanswered::Lost(_)) => "lost",
            AskError::Unanswered(Unanswered::TooSlow { .. }) => "timeout",
            AskError::Unanswered(Unanswered::Cancelled) => "cancelled",
            AskError::Unanswered(Unanswered::Nonsense) => "nonsense",
        }),
    }
}
