//! People with stock MCP clients: each call makes one record, and is never sent twice.

use benches::mcp::{Session, open};
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, json};

use super::{ANSWER_WITHIN, Batch, Writer};

/// Makes records until told that it is enough.
pub(super) async fn work(mut writer: Writer, person: usize) -> Vec<Batch> {
    let mut session = None;
    while !writer.enough.is_cancelled() {
        let Some(open) = &session else {
            session = connect(&writer, person).await;
            if session.is_none() {
                writer.pause().await;
            }
            continue;
        };
        let title = writer.next_name();
        writer.town.ledger.asked(&title);
        let (tool, record) = [("habits.create", "habit"), ("todo.create", "task")][writer.pick(2)];
        match make(open, tool, &title).await {
            Some(made) => match made[record]["id"].as_str() {
                Some(id) => writer.town.ledger.acknowledged_record(&title, id),
                None => writer.town.ledger.refused(format!("{tool} answered {made}")),
            },
            // Whether it was made is in doubt; the session may be gone with the process it was in.
            None => session = None,
        }
    }
    if let Some(session) = session {
        // A session that cannot be closed any more is closed.
        drop(tokio::time::timeout(ANSWER_WITHIN, session.cancel()).await);
    }
    Vec::new()
}

async fn connect(writer: &Writer, person: usize) -> Option<Session> {
    let token = writer.town.people.get(person)?.clone();
    let url = format!("{}/mcp", writer.town.api);
    let opened = tokio::time::timeout(ANSWER_WITHIN, open(&url, Some(token)));
    opened.await.ok()?.ok()
}

/// The structured result; `None` when there was no answer, or one that says that nobody knows.
async fn make(session: &Session, tool: &str, title: &str) -> Option<Value> {
    let Value::Object(arguments) = json!({ "title": title }) else {
        return None;
    };
    let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
    let answer = tokio::time::timeout(ANSWER_WITHIN, session.call_tool(params)).await;
    let result = answer.ok()?.ok()?;
    if result.is_error == Some(true) {
        return None;
    }
    Some(result.structured_content.unwrap_or_default())
}
