//! What people find when they look for what they made.

use anyhow::Context as _;
use benches::mcp::open;
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, json};

use crate::load::Town;

/// Tasks one list holds at most.
const LIST_MAX: usize = 500;

/// Whether people see their own tasks in the clear, under the ids that were acknowledged; one line for each who does not.
///
/// # Errors
/// When somebody cannot look.
pub(crate) async fn faults(town: &Town) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for token in town.people.clone() {
        let session = open(&format!("{}/mcp", town.api), Some(token)).await?;
        let Value::Object(arguments) = json!({ "includeCompleted": true, "limit": LIST_MAX }) else {
            continue;
        };
        let list = CallToolRequestParams::new("todo.list").with_arguments(arguments);
        let listed = session
            .call_tool(list)
            .await?
            .structured_content
            .unwrap_or_default();
        session.cancel().await?;
        let tasks = listed["tasks"].as_array().context("a list of tasks")?;
        let pages = town.ledger.pages();
        let is_known = |task: &&Value| {
            let known = task["title"].as_str().and_then(|title| pages.titles.get(title));
            known.is_some_and(|id| id.as_deref().is_none_or(|id| task["id"] == id))
        };
        let strange: Vec<String> = tasks
            .iter()
            .filter(|task| !is_known(task))
            .map(Value::to_string)
            .collect();
        if let Some(one) = strange.first() {
            faults.push(format!("{} tasks nobody made so, such as {one}", strange.len()));
        }
    }
    Ok(faults)
}
