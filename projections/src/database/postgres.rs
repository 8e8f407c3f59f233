//! What is Postgres's own.

/// Begins a transaction whose statements all see the same moment.
pub(crate) const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
