//! A call's own span: that it was asked for, as part of what, and how it ended. What it said is not in it.

use events::spans::{Span, names};
use rmcp::model::{CallToolResponse, RequestMetaObject};

use super::Answer;
use crate::call::Principal;
use crate::gateway::Inner;
use crate::registry::Registered;
use crate::telemetry::Outcome;
use crate::tool::Scope;
use crate::trace;

impl Inner {
    /// The span of a call that has come in. A tool that is not there or not shown is not named: what a caller calls it
    /// may be anything.
    pub(super) fn call_span(
        &self,
        meta: &RequestMetaObject,
        principal: &Principal,
        tool: Option<&Registered>,
    ) -> Span {
        let about = tool.map(|tool| tool.spec.about);
        let shown = about
            .filter(|about| about.scope != Scope::Admin)
            .map(|about| about.name);
        let mut span = self.settings.spans.server(trace::span(meta), || match shown {
            Some(name) => format!("{} {name}", names::TOOLS_CALL),
            None => names::TOOLS_CALL.to_owned(),
        });
        if !span.is_watched() {
            return span;
        }
        span.set(names::MCP_METHOD, names::TOOLS_CALL);
        span.set(names::OPERATION, names::EXECUTE_TOOL);
        span.set(names::TRANSPORT, "tcp");
        span.set_some(names::TOOL_NAME, shown);
        if let Some(session) = &principal.session {
            span.set(names::MCP_VERSION, session.protocol().to_owned());
            span.set(names::MCP_SESSION, session.id.as_str().to_owned());
        }
        span
    }
}

/// Says in `span` how the call ended.
pub(super) fn end(span: &mut Span, outcome: Outcome, answer: &Answer) {
    span.set(names::OUTCOME, outcome.as_str());
    match answer {
        _ if outcome == Outcome::Cancelled => span.failed(outcome.as_str()),
        Err(error) => {
            let code = error.code.0.to_string();
            span.set(names::RPC_STATUS, code.clone());
            span.failed(code);
        }
        Ok(CallToolResponse::Complete(result)) if result.is_error == Some(true) => {
            span.failed(names::TOOL_ERROR);
        }
        Ok(_) => {}
    }
}
