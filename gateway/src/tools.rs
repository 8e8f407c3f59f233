//! The modules of tools. One file a module; each says which tools it has in `tools()`.

mod habits;
mod journal;
mod notes;
mod spaces;
mod todo;

use jiff::Timestamp;

use crate::tool::ToolSpec;

/// What a color looks like.
pub(crate) const COLOR_PATTERN: &str = "^#[0-9a-fA-F]{6}$";

/// Every tool this program brings along.
pub(crate) fn all() -> Vec<ToolSpec> {
    [
        habits::tools(),
        journal::tools(),
        notes::tools(),
        spaces::tools(),
        todo::tools(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The sort key of a new record: behind all earlier ones, without having to look at them.
fn order_at_end(now: Timestamp) -> i64 {
    now.as_millisecond()
}

/// That it is done.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
struct Done {
    /// Always true; what cannot be done is an error.
    ok: Okay,
}

/// The value `true`.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
#[serde(transparent)]
struct Okay(#[schemars(extend("const" = true))] bool);

impl Done {
    const DONE: Self = Self { ok: Okay(true) };
}
