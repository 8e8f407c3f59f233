//! Habits: what somebody wants to do again and again. Nothing in them is sealed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{COLOR_PATTERN, Done, order_at_end};
use crate::call::CallContext;
use crate::records::{Record, flag};
use crate::tool::{About, Hint, Scope, ToolError, ToolSpec};

const TABLE: &str = "habits";

pub(super) fn tools() -> Vec<ToolSpec> {
    let about = |name, title, description, hint, idempotent| About {
        name,
        title,
        description,
        scope: Scope::UserSpace,
        hint,
        idempotent,
        encrypted: None,
    };
    vec![
        ToolSpec::new(
            about(
                "habits.create",
                "Create a habit",
                "Creates a habit to keep up, such as drinking water or reading. Answers with the new habit and its id.",
                Hint::Write,
                false,
            ),
            create,
        ),
        ToolSpec::new(
            about(
                "habits.list",
                "List habits",
                "Lists the habits of the current space in their order. Archived ones are left out unless asked for.",
                Hint::Read,
                true,
            ),
            list,
        ),
        ToolSpec::new(
            about(
                "habits.update",
                "Update a habit",
                "Changes the given fields of a habit and leaves the others as they are.",
                Hint::Write,
                true,
            ),
            update,
        ),
        ToolSpec::new(
            about(
                "habits.archive",
                "Archive a habit",
                "Puts a habit away, or brings it back with archived set to false. Nothing is deleted.",
                Hint::Write,
                true,
            ),
            archive,
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Create {
    /// What the habit is called.
    #[schemars(length(min = 1, max = 120))]
    title: String,
    /// Name of an icon.
    #[serde(default = "default_icon")]
    #[schemars(length(min = 1, max = 40))]
    icon: String,
    /// Color as #rrggbb.
    #[serde(default = "default_color")]
    #[schemars(regex(pattern = COLOR_PATTERN))]
    color: String,
    /// How often a day it is to be done; null for no target.
    #[serde(default)]
    #[schemars(range(min = 1))]
    target_per_day: Option<u64>,
    /// Usual length in minutes; null for none.
    #[serde(default)]
    #[schemars(range(min = 1))]
    default_duration: Option<u64>,
}

fn default_icon() -> String {
    "star".to_owned()
}

fn default_color() -> String {
    "#6366f1".to_owned()
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct List {
    /// Whether archived habits are listed too.
    #[serde(default)]
    include_archived: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Update {
    /// The habit's id.
    id: Uuid,
    /// A new title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 120))]
    title: Option<String>,
    /// A new icon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 40))]
    icon: Option<String>,
    /// A new color as #rrggbb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = COLOR_PATTERN))]
    color: Option<String>,
    /// A new target; null removes it.
    #[serde(default)]
    #[schemars(with = "Option<u64>", range(min = 1))]
    target_per_day: Change,
    /// A new usual length in minutes; null removes it.
    #[serde(default)]
    #[schemars(with = "Option<u64>", range(min = 1))]
    default_duration: Change,
}

/// What is to become of a number that may be null: a field left out is not the same as one that is null.
#[derive(Debug, Default)]
enum Change {
    #[default]
    Keep,
    To(Option<u64>),
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::To)
    }
}

impl Change {
    fn into_value(self) -> Option<Value> {
        match self {
            Self::Keep => None,
            Self::To(number) => Some(json!(number)),
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Archive {
    /// The habit's id.
    id: Uuid,
    /// Whether it is to be archived; false brings it back.
    #[serde(default = "yes")]
    archived: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Serialize, JsonSchema)]
struct Created {
    /// The new habit.
    habit: Habit,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Listed {
    /// The habits, in their order.
    habits: Vec<Habit>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Habit {
    id: String,
    title: String,
    icon: String,
    color: String,
    target_per_day: Option<i64>,
    default_duration: Option<i64>,
    order: i64,
    is_archived: bool,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    #[schemars(extend("format" = "date-time"))]
    updated_at: String,
}

impl From<Record> for Habit {
    fn from(record: Record) -> Self {
        Self {
            title: record.text("title"),
            icon: record.text("icon"),
            color: record.text("color"),
            target_per_day: record.number("targetPerDay"),
            default_duration: record.number("defaultDuration"),
            order: record.number("order").unwrap_or_default(),
            is_archived: record.flag("isArchived"),
            created_at: record.created_at.to_string(),
            updated_at: record.updated_at.to_string(),
            id: record.id.into(),
        }
    }
}

async fn create(context: CallContext, input: Create) -> Result<Created, ToolError> {
    let fields = vec![
        ("title", json!(input.title)),
        ("icon", json!(input.icon)),
        ("color", json!(input.color)),
        ("targetPerDay", json!(input.target_per_day)),
        ("defaultDuration", json!(input.default_duration)),
        ("order", json!(order_at_end(context.clock.now()))),
        ("isArchived", json!(false)),
    ];
    let habit = context.create(TABLE, fields).await?.into();
    Ok(Created { habit })
}

async fn list(context: CallContext, input: List) -> Result<Listed, ToolError> {
    let mut rows = context.rows(TABLE).await?;
    rows.retain(|row| input.include_archived || !flag(&row.fields, "isArchived"));
    rows.sort_by_key(|row| {
        row.fields
            .get("order")
            .and_then(Value::as_i64)
            .unwrap_or_default()
    });
    let habits = context
        .open_all(TABLE, rows)
        .await?
        .into_iter()
        .map(Habit::from)
        .collect();
    Ok(Listed { habits })
}

async fn update(context: CallContext, input: Update) -> Result<Done, ToolError> {
    let fields: Vec<(&str, Value)> = [
        ("title", input.title.map(Value::from)),
        ("icon", input.icon.map(Value::from)),
        ("color", input.color.map(Value::from)),
        ("targetPerDay", input.target_per_day.into_value()),
        ("defaultDuration", input.default_duration.into_value()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    if fields.is_empty() {
        context.existing(TABLE, "habit", input.id).await?;
        let nothing =
            "nothing to change: give at least one of title, icon, color, targetPerDay, defaultDuration";
        return Err(ToolError::Rejected(nothing.to_owned()));
    }
    context.update(TABLE, "habit", input.id, fields).await?;
    Ok(Done::DONE)
}

async fn archive(context: CallContext, input: Archive) -> Result<Done, ToolError> {
    context
        .update(
            TABLE,
            "habit",
            input.id,
            vec![("isArchived", json!(input.archived))],
        )
        .await?;
    Ok(Done::DONE)
}
