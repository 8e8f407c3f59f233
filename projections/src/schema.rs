//! The folded tables: what rebuild replaces and verify compares. The checkpoint is not among them.

/// One folded table.
#[derive(Debug)]
pub(crate) struct FoldedTable {
    pub(crate) name: &'static str,
    /// Columns that name a row, in the order of the primary key.
    pub(crate) key: &'static [&'static str],
    /// All columns in the order of the canonical row. Appending one changes every checksum of its table.
    pub(crate) columns: &'static [&'static str],
}

/// All of them, in the order of reports.
pub(crate) const FOLDED_TABLES: &[FoldedTable] = &[
    FoldedTable {
        name: "personas",
        key: &["id"],
        columns: &[
            "id",
            "email",
            "name",
            "archetype",
            "system_prompt",
            "module_mix",
            "cadence",
            "time_zone",
            "partners",
            "last_active_at",
            "halted",
            "created_at",
            "updated_at",
            "stream_seq",
        ],
    },
    FoldedTable {
        name: "ticks",
        key: &["id"],
        columns: &[
            "id",
            "persona_id",
            "number",
            "due_at",
            "started_at",
            "trigger_kind",
            "brain",
            "model",
            "prompt_version",
            "seed",
            "outcome",
            "reason",
            "calls",
            "errors",
            "retries",
            "cost_micro_usd",
            "finished_at",
            "stream_seq",
        ],
    },
    FoldedTable {
        name: "persona_actions",
        key: &["id"],
        columns: &[
            "id",
            "persona_id",
            "tick_id",
            "call_id",
            "tool_name",
            "module",
            "input_hash",
            "intent",
            "mistake",
            "retry_of",
            "result",
            "error_message",
            "cause",
            "latency_ms",
            "created_at",
            "stream_seq",
        ],
    },
    FoldedTable {
        name: "persona_feedback",
        key: &["id"],
        columns: &[
            "id",
            "persona_id",
            "tick_id",
            "module",
            "rating",
            "state",
            "notes",
            "source",
            "evidence",
            "friction",
            "rubric_version",
            "created_at",
            "stream_seq",
        ],
    },
    FoldedTable {
        name: "records",
        key: &["space_id", "table_name", "record_id"],
        columns: &[
            "space_id",
            "table_name",
            "record_id",
            "fields",
            "actor",
            "created_at",
            "updated_at",
            "deleted_at",
            "first_seq",
            "last_seq",
        ],
    },
    FoldedTable {
        name: "sessions",
        key: &["id"],
        columns: &[
            "id",
            "user_id",
            "space_id",
            "client",
            "protocol",
            "opened_at",
            "closed_at",
            "close_reason",
            "stream_seq",
        ],
    },
    FoldedTable {
        name: "refusals",
        key: &["id"],
        columns: &[
            "id",
            "user_id",
            "space_id",
            "tool",
            "call_id",
            "rule",
            "policy_version",
            "mode",
            "refused_at",
            "stream_seq",
        ],
    },
    FoldedTable {
        name: "parked_events",
        key: &["seq"],
        columns: &["seq", "commit_id", "subject", "stage", "reason"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Tables;
    use sqlx::Row as _;

    #[tokio::test]
    async fn every_table_and_column_of_the_database_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        let tables = Tables::open(&dir.path().join("tables.db")).await.unwrap();
        let stored = sqlx::query(
            "SELECT tables.name AS table_name, columns.name AS column_name, columns.pk AS place_in_key
             FROM sqlite_schema AS tables
             JOIN pragma_table_info(tables.name) AS columns
             WHERE tables.type = 'table'
               AND tables.name NOT IN ('_sqlx_migrations', 'projection_checkpoints')
             ORDER BY tables.name, columns.cid",
        )
        .fetch_all(tables.readers())
        .await
        .unwrap();
        let stored: Vec<(String, String, bool)> = stored
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get::<i64, _>(2) > 0))
            .collect();
        let mut listed: Vec<&FoldedTable> = FOLDED_TABLES.iter().collect();
        listed.sort_by_key(|table| table.name);
        let listed: Vec<(String, String, bool)> = listed
            .iter()
            .flat_map(|table| {
                table.columns.iter().map(|column| {
                    (
                        table.name.to_owned(),
                        (*column).to_owned(),
                        table.key.contains(column),
                    )
                })
            })
            .collect();
        assert_eq!(listed, stored);
    }
}
