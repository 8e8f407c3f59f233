//! The tools and the prompt that ask back: their first answer names what is missing, and the client calls again.

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, InputRequiredResult, InputResponses,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};

use crate::fixtures::{Fixtures, of};

fn question(message: &str, field: &str, kind: &str) -> Value {
    let schema = json!({"type": "object", "properties": {field: {"type": kind}}, "required": [field]});
    json!({"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}})
}

fn sampling(text: &str) -> Value {
    let message = json!({"role": "user", "content": {"type": "text", "text": text}});
    json!({"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 100}})
}

fn roots() -> Value {
    json!({"method": "roots/list", "params": {}})
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the requests in place"
)]
fn asked(requests: Value, state: Option<String>) -> Result<InputRequiredResult, ErrorData> {
    let mut result = json!({"resultType": "input_required", "inputRequests": requests});
    if let Some(state) = state {
        result["requestState"] = json!(state);
    }
    of(result)
}

#[expect(clippy::unnecessary_wraps, reason = "what a tool answers")]
fn done(text: String) -> Result<CallToolResponse, ErrorData> {
    Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
}

/// The answer under `key`, if it is one at all.
fn answer<'a>(responses: Option<&'a InputResponses>, key: &str) -> Option<&'a Value> {
    responses?.get(key).filter(|answer| answer.is_object())
}

/// Carries out a call.
pub(crate) fn call(
    fixtures: &Fixtures,
    call: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let responses = call.input_responses.as_ref();
    // A state that comes back must be one that was given out, whatever else is asked.
    let label = call
        .request_state
        .as_deref()
        .map(|state| fixtures.check_state(state));
    let label = label.transpose()?;
    let name = call
        .name
        .strip_prefix("test_input_required_result_")
        .unwrap_or_default();
    let asked = |requests: Value, state: Option<&str>| {
        asked(requests, state.map(|label| fixtures.give_state(label))).map(CallToolResponse::from)
    };
    match name {
        "elicitation" => match answer(responses, "user_name") {
            Some(answer) => done(format!(
                "Hello, {}!",
                answer["content"]["name"].as_str().unwrap_or_default()
            )),
            None => asked(
                json!({"user_name": question("What is your name?", "name", "string")}),
                None,
            ),
        },
        "sampling" => match answer(responses, "capital_question") {
            Some(answer) => done(answer["content"]["text"].as_str().unwrap_or_default().to_owned()),
            None => asked(
                json!({"capital_question": sampling("What is the capital of France?")}),
                None,
            ),
        },
        "list_roots" => match answer(responses, "client_roots") {
            Some(answer) => done(answer["roots"].to_string()),
            None => asked(json!({"client_roots": roots()}), None),
        },
        "request_state" | "tampered_state" => match (answer(responses, "confirm"), label) {
            (Some(_), Some("confirm")) => done("state-ok".to_owned()),
            _ => asked(
                json!({"confirm": question("Please confirm", "ok", "boolean")}),
                Some("confirm"),
            ),
        },
        "multiple_inputs" => {
            let all = ["user_name", "greeting", "client_roots"];
            if label.is_some() && all.iter().all(|key| answer(responses, key).is_some()) {
                return done("all three are there".to_owned());
            }
            let requests = json!({
                "user_name": question("What is your name?", "name", "string"),
                "greeting": sampling("Generate a greeting"),
                "client_roots": roots(),
            });
            asked(requests, Some("several"))
        }
        "multi_round" => match (label, answer(responses, "step1"), answer(responses, "step2")) {
            (Some("round-2"), _, Some(_)) => done("both rounds are done".to_owned()),
            (Some("round-1"), Some(_), _) => asked(
                json!({"step2": question("Step 2: What is your favorite color?", "color", "string")}),
                Some("round-2"),
            ),
            _ => asked(
                json!({"step1": question("Step 1: What is your name?", "name", "string")}),
                Some("round-1"),
            ),
        },
        "capabilities" => {
            let declared = context.client_capabilities().unwrap_or_default();
            let mut requests = json!({});
            if declared.elicitation.is_some() {
                requests["ask"] = question("What is your name?", "name", "string");
            }
            if declared.sampling.is_some() {
                requests["sample"] = sampling("Say something");
            }
            asked(requests, None)
        }
        _ => Err(ErrorData::invalid_params("there is no such tool", None)),
    }
}

/// Fills in the prompt that asks back.
pub(crate) fn prompt(what: &GetPromptRequestParams) -> Result<GetPromptResponse, ErrorData> {
    let Some(answer) = answer(what.input_responses.as_ref(), "user_context") else {
        let question = question("What context should the prompt use?", "context", "string");
        return asked(json!({"user_context": question}), None).map(GetPromptResponse::from);
    };
    let text = format!("Use this context: {}", answer["content"]["context"]);
    let message = json!({"role": "user", "content": {"type": "text", "text": text}});
    let result: GetPromptResult = of(json!({"resultType": "complete", "messages": [message]}))?;
    Ok(result.into())
}
