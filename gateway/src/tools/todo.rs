//! Tasks. Title, description, subtasks and metadata are sealed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Done, order_at_end};
use crate::call::CallContext;
use crate::records::{Record, flag};
use crate::tool::{About, EncryptedFields, Hint, Scope, ToolError, ToolSpec};

const TABLE: &str = "tasks";
const SEALED: EncryptedFields = EncryptedFields {
    table: TABLE,
    fields: &["title", "description", "subtasks", "metadata"],
};

pub(super) fn tools() -> Vec<ToolSpec> {
    let about = |name, title, description, hint, idempotent| About {
        name,
        title,
        description,
        scope: Scope::UserSpace,
        hint,
        idempotent,
        encrypted: Some(SEALED),
    };
    vec![
        ToolSpec::new(
            about(
                "todo.create",
                "Create a task",
                "Creates a task. Only a title is needed; the text is stored encrypted. Answers with the new task and its id.",
                Hint::Write,
                false,
            ),
            create,
        ),
        ToolSpec::new(
            about(
                "todo.list",
                "List tasks",
                "Lists the tasks of the current space in their order. Completed ones are left out unless asked for.",
                Hint::Read,
                true,
            ),
            list,
        ),
        ToolSpec::new(
            about(
                "todo.complete",
                "Complete a task",
                "Marks a task as completed. Completing it again changes nothing.",
                Hint::Write,
                true,
            ),
            complete,
        ),
    ]
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Priority {
    Low,
    #[default]
    Medium,
    High,
    Urgent,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Create {
    /// What is to be done.
    #[schemars(length(min = 1, max = 500))]
    title: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 10_000))]
    description: Option<String>,
    /// How pressing it is.
    #[serde(default)]
    priority: Priority,
    /// When it is due, with time zone; null for never.
    #[serde(default)]
    #[schemars(extend("format" = "date-time"))]
    due_date: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct List {
    /// Whether completed tasks are listed too.
    #[serde(default)]
    include_completed: bool,
    /// How many at most.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 500))]
    limit: u32,
}

fn default_limit() -> u32 {
    50
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Complete {
    /// The task's id.
    id: Uuid,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Created {
    /// The new task.
    task: Task,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Listed {
    /// The tasks, in their order.
    tasks: Vec<Task>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Task {
    id: String,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    priority: String,
    is_completed: bool,
    completed_at: Option<String>,
    due_date: Option<String>,
    order: i64,
    /// Whatever the app keeps here; null for none.
    subtasks: Value,
    /// Whatever the app keeps here; null for none.
    metadata: Value,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    #[schemars(extend("format" = "date-time"))]
    updated_at: String,
}

impl From<Record> for Task {
    fn from(record: Record) -> Self {
        Self {
            title: record.text("title"),
            description: record.optional_text("description"),
            priority: record.text("priority"),
            is_completed: record.flag("isCompleted"),
            completed_at: record.optional_text("completedAt"),
            due_date: record.optional_text("dueDate"),
            order: record.number("order").unwrap_or_default(),
            subtasks: record.value("subtasks"),
            metadata: record.value("metadata"),
            created_at: record.created_at.to_string(),
            updated_at: record.updated_at.to_string(),
            id: record.id.into(),
        }
    }
}

async fn create(context: CallContext, input: Create) -> Result<Created, ToolError> {
    let mut fields = vec![
        ("title", json!(input.title)),
        ("priority", json!(input.priority)),
        ("isCompleted", json!(false)),
        ("completedAt", Value::Null),
        ("dueDate", json!(input.due_date)),
        ("order", json!(order_at_end(context.clock.now()))),
        ("subtasks", Value::Null),
        ("metadata", Value::Null),
    ];
    fields.extend(
        input
            .description
            .map(|description| ("description", json!(description))),
    );
    let task = context.create(TABLE, fields).await?.into();
    Ok(Created { task })
}

async fn list(context: CallContext, input: List) -> Result<Listed, ToolError> {
    let mut rows = context.rows(TABLE).await?;
    rows.retain(|row| input.include_completed || !flag(&row.fields, "isCompleted"));
    rows.sort_by_key(|row| {
        row.fields
            .get("order")
            .and_then(Value::as_i64)
            .unwrap_or_default()
    });
    rows.truncate(usize::try_from(input.limit).unwrap_or(usize::MAX));
    let tasks = context
        .open_all(TABLE, rows)
        .await?
        .into_iter()
        .map(Task::from)
        .collect();
    Ok(Listed { tasks })
}

async fn complete(context: CallContext, input: Complete) -> Result<Done, ToolError> {
    let task = context.existing(TABLE, "task", input.id).await?;
    if flag(&task.fields, "isCompleted") {
        return Ok(Done::DONE);
    }
    let completed = vec![
        ("isCompleted", json!(true)),
        ("completedAt", json!(context.clock.now().to_string())),
    ];
    context.update(TABLE, "task", input.id, completed).await?;
    Ok(Done::DONE)
}
