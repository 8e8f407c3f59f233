//! One call's way: policy gate, input check, tool, output check. Whatever happens is answered and counted.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};

use events::{CallId, CallRefused, Commit, Subject};
use futures::FutureExt as _;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, RequestMetaObject,
};
use rmcp::service::RequestContext;
use serde_json::Value;

use crate::call::{AsAsked, CallContext, Principal};
use crate::gateway::Inner;
use crate::policy::{self, POLICY_VERSION, PolicyDecision, PolicyInput, Rule};
use crate::registry::Registered;
use crate::telemetry::{self, Outcome};
use crate::tool::{Reply, Scope, ToolError};

/// Where a caller names its call, so that the same call sent again is the same write.
const CALL_ID: &str = "dramatis/callId";
const TRACEPARENT: &str = "traceparent";
const NAME_CHARS_MAX: usize = 80;

type Answer = Result<CallToolResponse, ErrorData>;

impl Inner {
    /// Carries out one call for `principal`.
    pub(crate) async fn dispatch(
        &self,
        principal: Arc<Principal>,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Answer {
        let Some(tool) = self.registry.get(&params.name) else {
            telemetry::unknown_tool();
            return Err(unknown_tool(&params.name));
        };
        let (arguments, request) = AsAsked::part(params, context);
        let meta = &request.context.meta;
        let call_id = call_id(meta)?;
        let about = &tool.spec.about;
        let context = CallContext {
            principal,
            tool: about.name,
            call_id,
            traceparent: meta
                .get(TRACEPARENT)
                .and_then(Value::as_str)
                .filter(|text| is_traceparent(text))
                .map(str::to_owned),
            records: self.records.clone(),
            identity: self.identity.clone(),
            clock: self.clock.clone(),
            request: request.clone(),
        };
        let user_id = context.principal.user_id.clone();
        let started = self.clock.monotonic();
        let (outcome, answer) = self.carry_out(&tool, context, Value::Object(arguments)).await;
        let elapsed = self.clock.monotonic().saturating_sub(started);
        // What is not shown is not named in metrics either.
        if about.scope == Scope::Admin {
            telemetry::unknown_tool();
        } else {
            telemetry::tool_call(about.name, outcome, elapsed.as_secs_f64());
        }
        let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(user.id = %user_id, tool = about.name, outcome = outcome.as_str(), duration_ms, "tool call answered");
        answer
    }

    async fn carry_out(
        &self,
        tool: &Registered,
        context: CallContext,
        mut arguments: Value,
    ) -> (Outcome, Answer) {
        if let Some(refused) = self.gate(tool, &context, &arguments).await {
            return (Outcome::Refused, refused);
        }
        let faults = tool.input.faults(&arguments);
        if !faults.is_empty() {
            return (Outcome::Invalid, Ok(told(faults.join("; "))));
        }
        // What goes to an upstream goes as it came.
        if !tool.spec.is_mounted() {
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

    /// Asks the policy gate. `Some` is the answer to a refused call.
    async fn gate(&self, tool: &Registered, context: &CallContext, arguments: &Value) -> Option<Answer> {
        let settings = &self.settings.policy;
        let about = &tool.spec.about;
        let user_id = &context.principal.user_id;
        let decision = {
            let window = self.rate_window(user_id, about.name);
            let mut calls = window.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.monotonic();
            calls.retain(|at| now.saturating_sub(*at) < settings.window);
            let decision = policy::decide(
                &PolicyInput {
                    tool: about.name,
                    scope: about.scope,
                    hint: about.hint,
                    is_destructive_allowed: settings
                        .destructive_allowed
                        .get(user_id)
                        .is_some_and(|tools| tools.contains(about.name)),
                    earlier: &calls,
                    now,
                    arguments,
                },
                settings,
            );
            // Refused calls do not count, or a caller that keeps trying would never get out.
            if !matches!(
                decision,
                PolicyDecision::Refuse {
                    is_enforced: true,
                    ..
                }
            ) {
                calls.push_back(now);
            }
            decision
        };
        let mode = settings.mode.as_str();
        match decision {
            PolicyDecision::Allow { is_flagged: false } => {
                telemetry::policy_decision("allow", "none", mode);
                None
            }
            PolicyDecision::Allow { is_flagged: true } => {
                telemetry::policy_decision("flag", "injection-marks", mode);
                tracing::warn!(user.id = %user_id, tool = about.name, policy.flag = "injection-marks", "a call's text speaks to a model");
                None
            }
            PolicyDecision::Refuse {
                rule,
                is_enforced,
                reason,
                ..
            } => {
                telemetry::policy_decision("refuse", rule.as_str(), mode);
                self.record_refusal(context, rule).await;
                is_enforced.then(|| match rule {
                    // Not even its existence is admitted.
                    Rule::AdminScope => Err(unknown_tool(about.name)),
                    Rule::Destructive | Rule::Rate => Ok(told(reason)),
                })
            }
        }
    }

    /// The refusal stands whether or not it could be written down.
    async fn record_refusal(&self, context: &CallContext, rule: Rule) {
        let principal = &context.principal;
        let refused_at = self.clock.now();
        let event = CallRefused {
            user_id: principal.user_id.clone(),
            space_id: principal.space_id.clone(),
            tool: context.tool.to_owned(),
            call_id: context.call_id.clone(),
            rule: rule.as_str().to_owned(),
            policy_version: POLICY_VERSION,
            mode: self.settings.policy.mode.as_str().to_owned(),
            refused_at,
        };
        let subject = Subject::Session(principal.user_id.clone());
        let mut commit = Commit::new(self.ids.uuid().into(), subject, refused_at, vec![event.into()]);
        commit.traceparent.clone_from(&context.traceparent);
        if let Some(session) = &principal.session {
            commit.correlation = session.id.to_string();
        }
        commit.causation = context.call_id.as_ref().map(ToString::to_string);
        tracing::info!(user.id = %principal.user_id, tool = context.tool, policy.rule = rule.as_str(), "policy refuses a call");
        if let Err(error) = self.append_unguarded(&commit).await {
            tracing::error!(tool = context.tool, error = %error, "a refusal could not be recorded");
        }
    }
}

/// How an upstream's own answer counts.
fn outcome_of(answer: &Answer) -> Outcome {
    match answer {
        Ok(CallToolResponse::Complete(result)) if result.is_error == Some(true) => Outcome::Rejected,
        Ok(_) => Outcome::Ok,
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

/// What a caller is told instead of an answer.
fn told(text: String) -> CallToolResponse {
    CallToolResult::error(vec![ContentBlock::text(text)]).into()
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

/// Whether `text` is a W3C trace context of version 00 with ids that are not all zero.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let is_hex = |part: &str, chars| {
        part.len() == chars && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |part: &str, chars| is_hex(part, chars) && part.bytes().any(|b| b != b'0');
    matches!(parts.as_slice(), ["00", trace, span, flags] if is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2))
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
    fn only_a_well_formed_trace_context_is_passed_on() {
        assert!(is_traceparent(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        ));
        for broken in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nx: y",
        ] {
            assert!(!is_traceparent(broken), "{broken}");
        }
    }

    #[test]
    fn whole_floats_become_whole_numbers_and_others_stay() {
        let mut value = json!({"a": 3.0, "b": [2.5, -1.0], "c": 1e300, "d": "4.0"});
        wholes(&mut value);
        assert_eq!(value, json!({"a": 3, "b": [2.5, -1], "c": 1e300, "d": "4.0"}));
    }
}
