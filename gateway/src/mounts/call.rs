//! A tool call put through to a mounted server.

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResponse, ClientRequest, ErrorData, GetExtensions as _,
    InputRequest, InputRequiredResult, InputResponses, ResultType, ServerRequest, ServerResult,
};
use rmcp::service::RequestContext;
use serde_json::Value;

use super::forward::Unanswered;
use super::mount::{AskError, Asked, Mount};
use super::span;
use crate::call::{CallContext, OnlyAnswer};
use crate::tool::{Reply, ToolError};
use crate::trace::SentFrom;

/// Rounds in which a server may ask for more before it answers.
const ROUNDS_MAX: usize = 10;

/// Calls `own`, as the server names it. One that `repeats_in_headers` what stands in its arguments leaves those to the
/// library.
pub(super) async fn through(
    mount: &Mount,
    own: &str,
    repeats_in_headers: bool,
    context: CallContext,
    arguments: Value,
) -> Result<Reply, ToolError> {
    let asked = &context.request.context;
    let put = Asked {
        context: asked,
        is_plain: asked.extensions.get::<OnlyAnswer>().is_some() && !repeats_in_headers,
    };
    let mut params = context.request.params.clone();
    params.meta = None;
    params.name = own.to_owned().into();
    params.arguments = match arguments {
        Value::Object(arguments) => Some(arguments),
        _ => None,
    };
    let may_repeat = mount.settings.is_idempotent(own);
    for _ in 0..ROUNDS_MAX {
        let mut request = ClientRequest::CallToolRequest(CallToolRequest::new(params.clone()));
        let mut span = span::of(mount, own, &context);
        if let Some(from) = span.traceparent() {
            request.extensions_mut().insert(SentFrom(from));
        }
        let answer = mount.ask(request, &context.principal, put, may_repeat).await;
        span::end(&mut span, &answer);
        drop(span);
        let answer = match answer {
            // Nobody's fault, and nobody reads it.
            Err(error @ AskError::Unanswered(Unanswered::Cancelled)) => {
                return Ok(Reply::AsIs(Err(ErrorData::internal_error(
                    error.to_string(),
                    None,
                ))));
            }
            answer => answer.map_err(|error| failed(mount, error))?,
        };
        let needed = match answer {
            Ok(ServerResult::CallToolResult(mut result)) => {
                // A server of the earlier era does not say so, and clients of the later one insist on it.
                result.result_type.get_or_insert(ResultType::COMPLETE);
                return Ok(done(CallToolResponse::Complete(result)));
            }
            Ok(ServerResult::CreateTaskResult(task)) => return Ok(done(CallToolResponse::Task(task))),
            Ok(ServerResult::InputRequiredResult(needed)) => needed,
            Ok(_) => {
                return Err(failed(mount, AskError::Unanswered(Unanswered::Nonsense)));
            }
            Err(error) => return Ok(Reply::AsIs(Err(error))),
        };
        if context.principal.session.is_none() {
            // The client speaks the server's era and comes back with what is needed.
            return Ok(done(CallToolResponse::InputRequired(needed)));
        }
        match Box::pin(bring(&mut params, needed, asked)).await {
            Ok(()) => {}
            Err(error) => return Ok(Reply::AsIs(Err(error))),
        }
    }
    let reason = format!("the server asked {ROUNDS_MAX} times for more and never answered");
    Ok(Reply::AsIs(Err(ErrorData::internal_error(reason, None))))
}

fn done(response: CallToolResponse) -> Reply {
    Reply::AsIs(Ok(response))
}

/// Asks a client of the earlier era, one request each, for what the server wants brought along.
async fn bring(
    params: &mut CallToolRequestParams,
    needed: InputRequiredResult,
    asked: &RequestContext<RoleServer>,
) -> Result<(), ErrorData> {
    let mut brought = InputResponses::new();
    for (name, request) in needed.input_requests.unwrap_or_default() {
        let request = match request {
            InputRequest::CreateMessage(request) => ServerRequest::CreateMessageRequest(request),
            InputRequest::Elicitation(request) => ServerRequest::ElicitRequest(request),
            InputRequest::ListRoots(request) => ServerRequest::ListRootsRequest(request),
            _ => {
                return Err(ErrorData::internal_error(
                    "the server asks for something unknown",
                    None,
                ));
            }
        };
        let answer = asked.peer.send_request(request).await;
        let answer =
            answer.map_err(|_| ErrorData::internal_error("the client did not answer the server", None))?;
        let answer = serde_json::to_value(answer).unwrap_or_default();
        brought.insert(name, answer);
    }
    params.input_responses = Some(brought);
    params.request_state = needed.request_state;
    Ok(())
}

fn failed(mount: &Mount, error: AskError) -> ToolError {
    let name = &mount.settings.name;
    ToolError::failed(format!("{name}: {error}"), error)
}
