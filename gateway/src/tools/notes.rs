//! Notes. Title and content are sealed, so searching opens them here and matches in memory.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::CallContext;
use crate::records::{Record, flag};
use crate::tool::{About, EncryptedFields, Hint, Scope, ToolError, ToolSpec};

const TABLE: &str = "notes";
const SEALED: EncryptedFields = EncryptedFields {
    table: TABLE,
    fields: &["title", "content"],
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
                "notes.create",
                "Create a note",
                "Creates a note. Only a title is needed; the text is stored encrypted. Answers with the new note and its id.",
                Hint::Write,
                false,
            ),
            create,
        ),
        ToolSpec::new(
            about(
                "notes.search",
                "Search notes",
                "Finds notes whose title or content holds the query, whatever the case. Without a query the most recent come first.",
                Hint::Read,
                true,
            ),
            search,
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Create {
    /// What the note is called.
    #[schemars(length(min = 1, max = 500))]
    title: String,
    /// The text.
    #[serde(default)]
    #[schemars(length(max = 200_000))]
    content: String,
    /// A color for the note; null for none.
    #[serde(default)]
    color: Option<String>,
    /// Whether it stays on top.
    #[serde(default)]
    is_pinned: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Search {
    /// Text to look for in title and content; empty for the most recent notes.
    #[serde(default)]
    #[schemars(length(max = 500))]
    query: String,
    /// Whether archived notes are searched too.
    #[serde(default)]
    include_archived: bool,
    /// How many at most.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

fn default_limit() -> u32 {
    20
}

#[derive(Debug, Serialize, JsonSchema)]
struct Created {
    /// The new note.
    note: Note,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Found {
    /// The notes, most recently changed first.
    notes: Vec<Note>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Note {
    id: String,
    title: String,
    content: String,
    color: Option<String>,
    is_pinned: bool,
    is_archived: bool,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    #[schemars(extend("format" = "date-time"))]
    updated_at: String,
}

impl From<Record> for Note {
    fn from(record: Record) -> Self {
        Self {
            title: record.text("title"),
            content: record.text("content"),
            color: record.optional_text("color"),
            is_pinned: record.flag("isPinned"),
            is_archived: record.flag("isArchived"),
            created_at: record.created_at.to_string(),
            updated_at: record.updated_at.to_string(),
            id: record.id.into(),
        }
    }
}

impl Note {
    fn holds(&self, needle: &str) -> bool {
        self.title.to_lowercase().contains(needle) || self.content.to_lowercase().contains(needle)
    }
}

async fn create(context: CallContext, input: Create) -> Result<Created, ToolError> {
    let fields = vec![
        ("title", json!(input.title)),
        ("content", json!(input.content)),
        ("color", json!(input.color)),
        ("isPinned", json!(input.is_pinned)),
        ("isArchived", json!(false)),
    ];
    let note = context.create(TABLE, fields).await?.into();
    Ok(Created { note })
}

async fn search(context: CallContext, input: Search) -> Result<Found, ToolError> {
    let mut rows = context.rows(TABLE).await?;
    rows.retain(|row| input.include_archived || !flag(&row.fields, "isArchived"));
    rows.sort_by_key(|row| Reverse((row.updated_at, row.last_seq)));
    let limit = usize::try_from(input.limit).unwrap_or(usize::MAX);
    let needle = input.query.to_lowercase();
    if needle.is_empty() {
        rows.truncate(limit);
    }
    let opened = context.open_all(TABLE, rows).await?.into_iter().map(Note::from);
    let notes = opened.filter(|note| note.holds(&needle)).take(limit).collect();
    Ok(Found { notes })
}
