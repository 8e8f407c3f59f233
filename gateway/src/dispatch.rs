//! One call's way: policy gate, its start on the record, input check, tool, output check, its end on the record.
//! Whatever happens is answered and counted.

mod record;
mod span;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use events::CallId;
use futures::FutureExt as _;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorCode, ErrorData,
    RequestMetaObject, Tool,
};
use rmcp::service::RequestContext;
use serde_json::Value;

use crate::call::{AsAsked, CallContext, Principal};
use crate::call_log::{NotRecorded, UnderWay};
use crate::gateway::Inner;
use crate::policy::{self, PolicyRules, RefusalAnswer, Ruling};
use crate::registry::Registered;
use crate::settings::PolicyMode;
use crate::telemetry::{self, Outcome};
use crate::tool::{Reply, Scope, ToolError};
use crate::trace;

/// Where a caller names its call, so that the same call sent again is the same write.
const CALL_ID: &str = "dramatis/callId";
/// The `_meta` member of an error that programs can go by.
const ERROR_CODE: &str = "dramatis/errorCode";
const NAME_CHARS_MAX: usize = 80;

type Answer = Result<CallToolResponse, ErrorData>;

/// A call as it came in.
#[derive(Debug)]
struct Incoming {
    principal: Arc<Principal>,
    arguments: Value,
    client_call_id: Option<CallId>,
    traceparent: Option<String>,
    request: Arc<AsAsked>,
    under_way: Arc<UnderWay>,
    /// The rules it is judged by, also when new ones come meanwhile.
    rules: Arc<PolicyRules>,
    /// When, on the monotonic clock.
    taken: Duration,
}

/// What the policy gate said no to.
#[derive(Debug)]
struct Refused {
    rule: Arc<str>,
    answer: RefusalAnswer,
    is_enforced: bool,
}

impl Inner {
    /// Carries out one call for `principal`.
    pub(crate) async fn dispatch(
        &self,
        principal: Arc<Principal>,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
        under_way: Arc<UnderWay>,
    ) -> Answer {
        let (arguments, request) = AsAsked::part(params, context);
        let meta = &request.context.meta;
        let client_call_id = call_id(meta)?;
        let tool = self.registry.get(&request.params.name);
        let mut span = self.call_span(meta, &principal, tool.as_deref());
        let traceparent = span
            .traceparent()
            .or_else(|| trace::parent(meta).map(str::to_owned));
        let incoming = Incoming {
            principal,
            arguments: Value::Object(arguments),
            client_call_id,
            traceparent,
            request: request.clone(),
            under_way,
            rules: self.policy.rules(),
            taken: self.clock.monotonic(),
        };
        let name = &request.params.name;
        let kind = incoming.principal.kind;
        let Some(tool) = tool else {
            telemetry::unknown_tool(kind);
            self.record_refused(&incoming, name, None).await;
            let answer = Err(unknown_tool(name));
            span::end(&mut span, Outcome::Refused, &answer);
            return answer;
        };
        let about = &tool.spec.about;
        let user_id = incoming.principal.user_id.clone();
        let taken = incoming.taken;
        let trace = incoming.traceparent.clone();
        let (outcome, answer) = self.judge_and_carry_out(&tool, incoming).await;
        span::end(&mut span, outcome, &answer);
        let elapsed = self.clock.monotonic().saturating_sub(taken);
        // What is not shown is not named in metrics either.
        if about.scope == Scope::Admin {
            telemetry::unknown_tool(kind);
        } else {
            telemetry::tool_call(about.name, outcome, kind, elapsed.as_secs_f64());
        }
        let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(user.id = %user_id, tool = about.name, outcome = outcome.as_str(), duration_ms, trace, "tool call answered");
        answer
    }

    async fn judge_and_carry_out(&self, tool: &Registered, incoming: Incoming) -> (Outcome, Answer) {
        let name = tool.spec.about.name;
        let refused = self.gate(tool, &incoming);
        if let Some(Refused { answer, .. }) = refused.as_ref().filter(|refused| refused.is_enforced) {
            self.record_refused(&incoming, name, refused.as_ref()).await;
            let answer = match answer {
                // Not even its existence is admitted.
                RefusalAnswer::LikeUnknown => Err(unknown_tool(name)),
                RefusalAnswer::Told(reason) => Ok(told(reason.clone())),
            };
            return (Outcome::Refused, answer);
        }
        let open = match self.record_start(&incoming, name, refused.as_ref()).await {
            Ok(open) => open,
            Err(error) => return (Outcome::Failed, Err(unrecorded(error))),
        };
        let Incoming {
            principal,
            arguments,
            client_call_id,
            traceparent,
            request,
            under_way,
            ..
        } = incoming;
        let context = CallContext {
            principal,
            tool: name,
            call_id: client_call_id,
            traceparent,
            records: self.records.clone(),
            identity: self.identity.clone(),
            clock: self.clock.clone(),
            spans: self.settings.spans.clone(),
            request,
        };
        let given_up = context.request.context.ct.clone();
        let carried_out = carry_out(tool, context, arguments);
        let (outcome, answer) = if tool.spec.is_mounted() {
            // Its own to give up, because its upstream has to be told.
            let (outcome, answer) = carried_out.await;
            let outcome = if given_up.is_cancelled() {
                Outcome::Cancelled
            } else {
                outcome
            };
            (outcome, answer)
        } else {
            // What is given up stops where it is; a write that was on its way may be stored, as with a lost connection.
            tokio::select! {
                biased;
                done = carried_out => done,
                () = given_up.cancelled() => (Outcome::Cancelled, Err(cancelled())),
            }
        };
        if let Some(open) = open {
            let (ended, fault) = outcome.on_record();
            open.end(ended, fault);
        }
        drop(under_way);
        (outcome, answer)
    }

    /// The tools `principal` is shown.
    pub(crate) fn listed_for(&self, principal: &Principal) -> Vec<Tool> {
        let (rules, subject, mode) = (
            self.policy.rules(),
            principal.subject(),
            self.settings.policy.mode,
        );
        self.registry
            .listed_where(|about| rules.is_visible(mode, &subject, &about.for_policy()))
    }

    /// Asks the policy gate.
    fn gate(&self, tool: &Registered, incoming: &Incoming) -> Option<Refused> {
        let mode = self.settings.policy.mode;
        let about = &tool.spec.about;
        let (subject, named) = (incoming.principal.subject(), about.for_policy());
        let refused = match incoming.rules.judge(&subject, &named, &incoming.arguments) {
            Ruling::Refuse {
                rule,
                answer,
                is_boundary,
            } if is_boundary || mode != PolicyMode::Off => Some(Refused {
                rule,
                answer,
                is_enforced: is_boundary || mode == PolicyMode::Enforce,
            }),
            _ if mode == PolicyMode::Off => None,
            _ => {
                let (now, takes_anyway) = (self.clock.monotonic(), mode != PolicyMode::Enforce);
                let full = self
                    .rates
                    .take(&incoming.rules, &subject, &named, now, takes_anyway);
                full.map(|full| Refused {
                    rule: full.rule,
                    answer: RefusalAnswer::Told(full.reason),
                    is_enforced: mode == PolicyMode::Enforce,
                })
            }
        };
        let user_id = subject.user_id;
        if let Some(Refused { rule, .. }) = &refused {
            telemetry::policy_decision("refuse", rule, mode.as_str());
            tracing::info!(user.id = %user_id, tool = about.name, policy.rule = %rule, "policy refuses a call");
        } else if mode != PolicyMode::Off && policy::has_injection_marks(&incoming.arguments) {
            telemetry::policy_decision("flag", "injection-marks", mode.as_str());
            tracing::warn!(user.id = %user_id, tool = about.name, policy.flag = "injection-marks", "a call's text speaks to a model");
        } else {
            telemetry::policy_decision("allow", "none", mode.as_str());
        }
        refused
    }
}

/// Checks the arguments, runs the tool and checks its answer.
async fn carry_out(tool: &Registered, context: CallContext, mut arguments: Value) -> (Outcome, Answer) {
    // What goes to an upstream goes as it came: how it takes what does not fit is part of what it is asked for.
    if let Some(input) = &tool.input {
        let faults = input.faults(&arguments);
        if !faults.is_empty() {
            return (Outcome::Invalid, Ok(told(faults.join("; "))));
        }
        wholes(&mut arguments);
    }
    let name = tool.spec.about.name;
    // A panic would otherwise leave the client waiting for ever: rmcp answers only what returns.
    let answered = AssertUnwindSafe(async { tool.spec.call(context, arguments).await })
        .catch_unwind()
        .await;
    match answered {
        Ok(Ok(Reply::AsIs(answer))) => (outcome_of(&answer), answer),
        Ok(Ok(Reply::Data(output))) if tool.output.as_ref().is_none_or(|check| check.fits(&output)) => {
            (Outcome::Ok, Ok(structured(output)))
        }
        Ok(Ok(Reply::Data(_))) => {
            tracing::error!(tool = name, "a tool's answer does not fit its own schema");
            (
                Outcome::Failed,
                Err(ErrorData::internal_error(
                    "the tool's answer was not as promised",
                    None,
                )),
            )
        }
        Ok(Err(ToolError::Rejected(reason))) => (Outcome::Rejected, Ok(told(reason))),
        Ok(Err(ToolError::Refused { code, reason })) => (Outcome::Rejected, Ok(told_with_code(code, reason))),
        Ok(Err(ToolError::Failed { what, cause })) => {
            tracing::error!(tool = name, error = %cause, "a tool call failed: {what}");
            (Outcome::Failed, Err(ErrorData::internal_error(what, None)))
        }
        Err(_) => {
            tracing::error!(tool = name, "a tool panicked");
            (
                Outcome::Panicked,
                Err(ErrorData::internal_error(
                    "the tool broke down; this is a fault of the server",
                    None,
                )),
            )
        }
    }
}

/// How an upstream's own answer counts.
fn outcome_of(answer: &Answer) -> Outcome {
    match answer {
        Ok(CallToolResponse::Complete(result)) if result.is_error == Some(true) => Outcome::Rejected,
        Ok(_) => Outcome::Ok,
        Err(error) if error.code == ErrorCode::INVALID_PARAMS => Outcome::Rejected,
        Err(_) => Outcome::Failed,
    }
}

fn unknown_tool(name: &str) -> ErrorData {
    let name = events::capped(name, NAME_CHARS_MAX);
    ErrorData::invalid_params(
        format!("unknown tool: {name}; tools/list shows what there is"),
        None,
    )
}

/// A call that could not be written down is not carried out.
fn unrecorded(error: NotRecorded) -> ErrorData {
    ErrorData::internal_error(
        format!("the call could not be recorded and was not carried out: {error}; try again in a moment"),
        None,
    )
}

/// Nobody reads it: whoever gives a call up gets no answer.
fn cancelled() -> ErrorData {
    ErrorData::internal_error("the call was cancelled", None)
}

/// What a caller is told instead of an answer.
fn told(text: String) -> CallToolResponse {
    CallToolResult::error(vec![ContentBlock::text(text)]).into()
}

/// The same, with a word that programs can go by.
fn told_with_code(code: &'static str, text: String) -> CallToolResponse {
    let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
    result
        .meta
        .get_or_insert_default()
        .0
        .insert(ERROR_CODE.to_owned(), code.into());
    result.into()
}

/// The answer as data, and as the same data in text for clients that read only that.
fn structured(output: Value) -> CallToolResponse {
    let mut result = CallToolResult::success(vec![ContentBlock::text(output.to_string())]);
    result.structured_content = Some(output);
    result.into()
}

fn call_id(meta: &RequestMetaObject) -> Result<Option<CallId>, ErrorData> {
    let invalid = || {
        ErrorData::invalid_params(
            format!("_meta[\"{CALL_ID}\"] must be a text of 1 to 200 bytes"),
            None,
        )
    };
    let Some(id) = meta.get(CALL_ID) else {
        return Ok(None);
    };
    id.as_str()
        .and_then(|id| CallId::try_new(id).ok())
        .map(Some)
        .ok_or_else(invalid)
}

/// `3.0` is a whole number to JSON Schema but not to serde: writes such numbers without their point.
fn wholes(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|_| number.is_f64())
                .filter(|float| float.fract() == 0.0);
            // Beyond 2^53 a float no longer names one whole number, so it stays as it is and is refused as too large.
            if let Some(float) = whole.filter(|float| float.abs() < 9_007_199_254_740_992.0) {
                #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
                let whole = float as i64;
                *number = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(wholes),
        Value::Object(fields) => fields.values_mut().for_each(wholes),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_floats_become_whole_numbers_and_others_stay() {
        let mut value = json!({"a": 3.0, "b": [2.5, -1.0], "c": 1e300, "d": "4.0"});
        wholes(&mut value);
        assert_eq!(value, json!({"a": 3, "b": [2.5, -1], "c": 1e300, "d": "4.0"}));
    }
}
