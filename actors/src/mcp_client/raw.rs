//! One call whose arguments go out as text, which may be what no JSON value can hold: half characters, the same field
//! twice.
//!
//! It goes out in the revision without sessions, on the same endpoint and with the same token, as any client might send
//! it: an answer that ends the exchange ends no session.

use events::CallId;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{Answer, CALL_ID_META, CALL_WITHIN, CLIENT_NAME, McpSession, SPACE_HEADER, answer};
use crate::login::causes;
use crate::stage::Stage;

/// The revision that knows no sessions.
const REVISION: &str = "2026-07-28";
/// JSON-RPC's code for a server that broke.
const INTERNAL_ERROR: i64 = -32_603;

impl McpSession {
    /// Sends one call with `arguments` as they stand, and waits for its answer.
    pub(crate) async fn call_raw(
        &self,
        stage: &Stage,
        call_id: &CallId,
        tool: &str,
        arguments: &str,
    ) -> Answer {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": CLIENT_NAME, "version": env!("CARGO_PKG_VERSION")},
            CALL_ID_META: call_id,
        });
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{},"arguments":{arguments},"_meta":{meta}}}}}"#,
            json!(tool)
        );
        let request = stage
            .http
            .post(format!("{}/mcp", stage.settings.base_url))
            .bearer_auth(self.token.expose_secret())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .header("mcp-protocol-version", REVISION)
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool);
        let request = match &self.space {
            Some(space) => request.header(SPACE_HEADER, space.as_str()),
            None => request,
        };
        let exchange = async {
            let response = request.body(body).send().await?;
            Ok::<_, reqwest::Error>((response.status(), response.text().await?))
        };
        match stage.within(CALL_WITHIN, exchange).await {
            None => Answer::Unanswered {
                message: format!("no answer within {} s", CALL_WITHIN.as_secs()),
            },
            Some(Err(error)) => Answer::Unanswered {
                message: causes(&error),
            },
            Some(Ok((status, _))) if status.is_server_error() => Answer::ProtocolError {
                message: format!("answered with {status}"),
                is_internal: true,
            },
            Some(Ok((status, _))) if !status.is_success() => Answer::ProtocolError {
                message: format!("answered with {status}"),
                is_internal: false,
            },
            Some(Ok((_, body))) => message_of(&body).map_or_else(
                || Answer::ProtocolError {
                    message: "answered with something that is no message".to_owned(),
                    is_internal: true,
                },
                |message| answered(&message),
            ),
        }
    }
}

/// The message of a body, which is one or a stream of them of which the last is the answer.
fn message_of(body: &str) -> Option<Value> {
    if let Ok(message) = serde_json::from_str(body) {
        return Some(message);
    }
    let data = body.lines().rev().find_map(|line| line.strip_prefix("data:"));
    serde_json::from_str(data?.trim()).ok()
}

fn answered(message: &Value) -> Answer {
    if let Some(error) = message.get("error") {
        let code = error
            .get("code")
            .and_then(Value::as_i64)
            .unwrap_or(INTERNAL_ERROR);
        let text = error.get("message").and_then(Value::as_str).unwrap_or_default();
        return Answer::ProtocolError {
            message: format!("{text} ({code})"),
            is_internal: code == INTERNAL_ERROR,
        };
    }
    let result = message.get("result").cloned().unwrap_or_default();
    match serde_json::from_value(result) {
        Ok(result) => answer(result),
        Err(_) => Answer::ProtocolError {
            message: "answered with no result of a call".to_owned(),
            is_internal: true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whether_it_comes_alone_or_in_a_stream() {
        let fine = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"structuredContent":{"ok":true}}}"#;
        for body in [fine.to_owned(), format!("event: message\ndata: {fine}\n\n")] {
            let Answer::Result { structured, .. } = answered(&message_of(&body).unwrap()) else {
                panic!("{body}");
            };
            assert_eq!(structured, json!({"ok": true}));
        }
        assert_eq!(message_of("<html>"), None);
    }

    #[test]
    fn only_an_internal_error_is_a_server_that_broke() {
        for (code, is_broken) in [(-32_603, true), (-32_602, false), (-32_700, false)] {
            let message = json!({"error": {"code": code, "message": "no"}});
            let Answer::ProtocolError { is_internal, .. } = answered(&message) else {
                panic!("{message}");
            };
            assert_eq!(is_internal, is_broken, "{code}");
        }
    }
}
