//! The journal. Title and content are sealed.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::CallContext;
use crate::records::Record;
use crate::tool::{About, EncryptedFields, Hint, Scope, ToolError, ToolSpec};

const TABLE: &str = "journalEntries";
const SEALED: EncryptedFields = EncryptedFields {
    table: TABLE,
    fields: &["title", "content"],
};

pub(super) fn tools() -> Vec<ToolSpec> {
    let about = About {
        name: "journal.add",
        title: "Add a journal entry",
        description: "Adds an entry to the journal, for today unless another day is given. The text is stored encrypted.",
        scope: Scope::UserSpace,
        hint: Hint::Write,
        idempotent: false,
        encrypted: Some(SEALED),
    };
    vec![ToolSpec::new(about, add)]
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mood {
    Dankbar,
    #[serde(rename = "glücklich")]
    Gluecklich,
    Zufrieden,
    Neutral,
    Nachdenklich,
    Traurig,
    Gestresst,
    #[serde(rename = "wütend")]
    Wuetend,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Add {
    /// A heading; null for none.
    #[serde(default)]
    #[schemars(length(max = 500))]
    title: Option<String>,
    /// The text.
    #[schemars(length(min = 1, max = 200_000))]
    content: String,
    /// The day it is about, yyyy-mm-dd; today in your own time zone when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date"))]
    entry_date: Option<Date>,
    /// How it felt; null for nothing.
    #[serde(default)]
    mood: Option<Mood>,
    /// Words to find it by.
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Added {
    /// The new entry.
    entry: Entry,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names clients know")]
struct Entry {
    id: String,
    title: Option<String>,
    content: String,
    #[schemars(extend("format" = "date"))]
    entry_date: String,
    mood: Option<String>,
    tags: Vec<String>,
    word_count: i64,
    is_pinned: bool,
    is_favorite: bool,
    is_archived: bool,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    #[schemars(extend("format" = "date-time"))]
    updated_at: String,
}

impl From<Record> for Entry {
    fn from(record: Record) -> Self {
        let tags = record.value("tags");
        let tags = tags
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        Self {
            title: record.optional_text("title"),
            content: record.text("content"),
            entry_date: record.text("entryDate"),
            mood: record.optional_text("mood"),
            tags,
            word_count: record.number("wordCount").unwrap_or_default(),
            is_pinned: record.flag("isPinned"),
            is_favorite: record.flag("isFavorite"),
            is_archived: record.flag("isArchived"),
            created_at: record.created_at.to_string(),
            updated_at: record.updated_at.to_string(),
            id: record.id.into(),
        }
    }
}

async fn add(context: CallContext, input: Add) -> Result<Added, ToolError> {
    let entry_date = input.entry_date.unwrap_or_else(|| context.today());
    let fields = vec![
        ("title", json!(input.title)),
        ("wordCount", json!(input.content.split_whitespace().count())),
        ("content", json!(input.content)),
        ("entryDate", json!(entry_date.to_string())),
        ("mood", json!(input.mood)),
        ("tags", json!(input.tags)),
        ("isPinned", json!(false)),
        ("isFavorite", json!(false)),
        ("isArchived", json!(false)),
    ];
    let entry = context.create(TABLE, fields).await?.into();
    Ok(Added { entry })
}
