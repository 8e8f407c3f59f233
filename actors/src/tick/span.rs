//! A tick's span and those within it: which persona acts, which tools it calls, which models it asks. What anybody
//! says is in none of them.

use events::spans::{Parent, Span, names};
use events::{Event, ModelCalled, PersonaDescription, TickId};

use crate::brain::BrainIdentity;
use crate::mcp_client::Answer;
use crate::model::ModelRequest;
use crate::stage::Stage;

/// The span of a tick. Its name has the archetype in it, so that names stay few, and no persona's.
pub(super) fn of(
    stage: &Stage,
    who: &PersonaDescription,
    brain: &BrainIdentity,
    tick_id: &TickId,
    number: u64,
) -> Span {
    let name = || format!("{} {}", names::INVOKE_AGENT, who.archetype);
    let mut span = stage.settings.spans.internal(None, name);
    if span.is_watched() {
        span.set(names::OPERATION, names::INVOKE_AGENT);
        span.set(names::AGENT_ID, who.persona_id.as_str().to_owned());
        span.set(names::AGENT_NAME, who.archetype.clone());
        span.set(names::PROVIDER, brain.name);
        span.set_some(names::REQUEST_MODEL, brain.model.clone());
        span.set(names::TICK_ID, tick_id.as_str().to_owned());
        span.set(names::TICK_NUMBER, i64::try_from(number).unwrap_or(i64::MAX));
    }
    span
}

/// Says in `span` how the tick ended.
pub(super) fn end(span: &mut Span, outcome: &str) {
    span.set(names::TICK_OUTCOME, outcome.to_owned());
    if matches!(outcome, "failed" | "cut" | "stood-down") {
        span.failed(outcome.to_owned());
    }
}

/// A rating, or that there is none, as an event of the tick.
pub(super) fn rated(span: &mut Span, event: &Event) {
    let name = |module: &str| format!("rating.{module}").into();
    match event {
        Event::Rated(rated) => span.happened(names::EVALUATION, || {
            [
                (names::EVALUATION_NAME, name(&rated.module)),
                (names::EVALUATION_SCORE, f64::from(rated.rating).into()),
            ]
        }),
        Event::RatingFailed(failed) => span.happened(names::EVALUATION, || {
            [
                (names::EVALUATION_NAME, name(&failed.module)),
                (names::ERROR_TYPE, "rating_failed".into()),
            ]
        }),
        _ => {}
    }
}

/// The span of a tool call, as part of the tick whose `traceparent` that is. A tool that is not on offer is not named:
/// a model may call it anything.
pub(super) fn of_call(stage: &Stage, traceparent: Option<&str>, tool: Option<&str>) -> Span {
    let name = || match tool {
        Some(tool) => format!("{} {tool}", names::EXECUTE_TOOL),
        None => names::EXECUTE_TOOL.to_owned(),
    };
    let mut span = stage.settings.spans.internal(traceparent.map(Parent::new), name);
    if span.is_watched() {
        span.set(names::OPERATION, names::EXECUTE_TOOL);
        span.set_some(names::TOOL_NAME, tool.map(str::to_owned));
        span.set(names::MCP_METHOD, names::TOOLS_CALL);
    }
    span
}

/// Says in `span` how the call was answered.
pub(super) fn answered(span: &mut Span, answer: &Answer) {
    match answer {
        Answer::Result { .. } => {}
        Answer::ToolError { .. } => span.failed(names::TOOL_ERROR),
        Answer::ProtocolError { .. } => span.failed("protocol_error"),
        Answer::Unanswered { .. } => span.failed("unanswered"),
    }
}

/// The span of asking a model, as part of the tick of `span`.
pub(super) fn of_model(stage: &Stage, tick: &Span, request: &ModelRequest) -> Span {
    let name = || format!("{} {}", names::CHAT, request.model);
    let tick = tick.traceparent();
    let parent = tick.as_deref().map(Parent::new);
    let mut span = stage.settings.spans.client(parent, name);
    if span.is_watched() {
        span.set(names::OPERATION, names::CHAT);
        span.set(names::PROVIDER, request.endpoint.api().as_str());
        span.set(names::REQUEST_MODEL, request.model.clone());
        let purpose = match request.purpose {
            events::Purpose::Act => "act",
            events::Purpose::Rate => "rate",
        };
        span.set(names::PURPOSE, purpose);
    }
    span
}

/// Says in `span` what the request took, and that it failed if it did.
pub(super) fn model_answered(span: &mut Span, called: &ModelCalled) {
    let count = |count: Option<u64>| count.and_then(|count| i64::try_from(count).ok());
    // By the conventions those from a cache are among them; with us they are apart.
    let read = called.input_tokens.map(|input| {
        let kept = [called.cached_tokens, called.cache_write_tokens];
        kept.into_iter().flatten().fold(input, u64::saturating_add)
    });
    span.set_some(names::INPUT_TOKENS, count(read));
    span.set_some(names::CACHED_TOKENS, count(called.cached_tokens));
    span.set_some(names::OUTPUT_TOKENS, count(called.output_tokens));
    span.set_some(names::COST, count(called.cost_micro_usd));
    if called.error.is_some() {
        span.failed("model_error");
    }
}
