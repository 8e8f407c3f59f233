//! Answers as JSON.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};
use rmcp::model::{
    CallToolResponse, CallToolResult, ContentBlock, ErrorData, JsonRpcMessage, RequestId, ResultType,
    ServerJsonRpcMessage, ServerResult,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Answer;

/// An answer as a message of its own, for a stream.
pub(super) fn message(id: RequestId, answer: Answer, is_legacy: bool) -> ServerJsonRpcMessage {
    match answer {
        Ok(CallToolResponse::Complete(result)) => {
            JsonRpcMessage::response(ServerResult::CallToolResult(of_era(result, is_legacy)), id)
        }
        Ok(other) => JsonRpcMessage::response(other.into(), id),
        Err(error) => JsonRpcMessage::error(error, Some(id)),
    }
}

/// A result whose data is written once: the text beside it is the same JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Called<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<ResultType>,
    content: &'a [ContentBlock],
    structured_content: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_error: Option<bool>,
}

/// A built-in tool's answer: its text is its data, which is written once.
pub(super) fn called(id: &RequestId, answer: Answer, is_legacy: bool) -> Response {
    let result = match answer {
        Ok(CallToolResponse::Complete(result)) => of_era(result, is_legacy),
        other => return as_is(id, other, is_legacy),
    };
    let [ContentBlock::Text(text)] = result.content.as_slice() else {
        return json(id, &result);
    };
    match serde_json::from_str::<&RawValue>(&text.text) {
        Ok(data) if result.structured_content.is_some() && result.meta.is_none() => {
            let called = Called {
                result_type: result.result_type.clone(),
                content: &result.content,
                structured_content: data,
                is_error: result.is_error,
            };
            json(id, &called)
        }
        _ => json(id, &result),
    }
}

/// A mounted server's answer, which is passed on as it is.
pub(super) fn as_is(id: &RequestId, answer: Answer, is_legacy: bool) -> Response {
    match answer {
        Ok(CallToolResponse::Complete(result)) => json(id, &of_era(result, is_legacy)),
        Ok(other) => json(id, &ServerResult::from(other)),
        Err(error) => failed(id, error),
    }
}

/// What only the revision without sessions knows is left out for the others.
fn of_era(mut result: CallToolResult, is_legacy: bool) -> CallToolResult {
    result.result_type = (!is_legacy).then_some(ResultType::COMPLETE);
    result
}

#[derive(Serialize)]
struct Answered<'a, T> {
    jsonrpc: &'static str,
    id: &'a RequestId,
    result: &'a T,
}

pub(super) fn json<T: Serialize>(id: &RequestId, result: &T) -> Response {
    let jsonrpc = "2.0";
    with_body(serde_json::to_vec(&Answered { jsonrpc, id, result }))
}

pub(super) fn failed(id: &RequestId, error: ErrorData) -> Response {
    with_body(serde_json::to_vec(&ServerJsonRpcMessage::error(
        error,
        Some(id.clone()),
    )))
}

fn with_body(body: serde_json::Result<Vec<u8>>) -> Response {
    let mut response = Response::new(Body::from(body.unwrap_or_default()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    async fn read(response: Response) -> Value {
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        serde_json::from_slice(&body.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_mounted_servers_text_is_not_taken_for_its_data() {
        let mut result = CallToolResult::success(vec![ContentBlock::text("{\"said\":1}")]);
        result.structured_content = Some(json!({"meant": 2}));
        let answer = || Ok(CallToolResponse::Complete(result.clone()));
        let id = RequestId::Number(7);
        let passed_on = read(as_is(&id, answer(), true)).await;
        assert_eq!(passed_on["result"]["structuredContent"], json!({"meant": 2}));
        assert_eq!(passed_on["result"]["content"][0]["text"], "{\"said\":1}");
        assert_eq!(passed_on["result"].get("resultType"), None);
        let of_the_later_era = read(as_is(&id, answer(), false)).await;
        assert_eq!(of_the_later_era["result"]["resultType"], "complete");
    }
}
