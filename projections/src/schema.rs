//! The folded tables: what a fold writes, rebuild replaces and verify compares. The checkpoint is not among them.
//! What the columns mean stands in the migrations.

use crate::database::{Cell, DbRow};
use crate::queries::CallResult;
use crate::row::{Column, Field, FoldedTable, RecordFields, Row, folded_tables};

folded_tables! {
    Persona in "personas", key (id): String {
        id: String,
        email: String,
        name: String,
        archetype: String,
        system_prompt: String,
        module_mix: String,
        cadence: String,
        time_zone: String,
        partners: String,
        last_active_at: Option<i64>,
        halted: Option<String>,
        created_at: i64,
        updated_at: i64,
        stream_seq: i64,
    }
    Tick in "ticks", key (id): String {
        id: String,
        persona_id: String,
        number: i64,
        due_at: i64,
        started_at: i64,
        trigger_kind: String,
        brain: String,
        model: Option<String>,
        prompt_version: i64,
        seed: String,
        outcome: Option<String>,
        reason: Option<String>,
        calls: Option<i64>,
        errors: Option<i64>,
        retries: Option<i64>,
        cost_micro_usd: Option<i64>,
        finished_at: Option<i64>,
        stream_seq: i64,
        space_id: Option<String>,
        space_type: Option<String>,
    }
    Action in "persona_actions", key (id): String {
        id: String,
        persona_id: String,
        tick_id: String,
        call_id: String,
        tool_name: String,
        module: String,
        input_hash: String,
        intent: String,
        mistake: Option<String>,
        retry_of: Option<String>,
        result: CallResult,
        error_message: Option<String>,
        cause: Option<String>,
        latency_ms: Option<i64>,
        created_at: i64,
        stream_seq: i64,
    }
    Feedback in "persona_feedback", key (id): String {
        id: String,
        persona_id: String,
        tick_id: String,
        module: String,
        rating: Option<i64>,
        claimed_rating: Option<i64>,
        state: String,
        notes: String,
        source: Option<String>,
        evidence: String,
        friction: Option<f64>,
        rubric_version: Option<i64>,
        brain: Option<String>,
        model: Option<String>,
        prompt_version: Option<i64>,
        created_at: i64,
        stream_seq: i64,
    }
    Expectation in "expectations", key (space_id, thing_id, partner_id): (String, String, String) {
        space_id: String,
        thing_id: String,
        partner_id: String,
        module: String,
        kind: String,
        maker_id: String,
        made_tick_id: String,
        made_call_id: String,
        made_at: i64,
        state: String,
        looked_tick_id: Option<String>,
        looked_call_id: Option<String>,
        looked_at: Option<i64>,
        looked_seq: Option<i64>,
        stream_seq: i64,
    }
    TwinRating in "twin_ratings", key (tick_id, twin): (String, String) {
        tick_id: String,
        twin: String,
        persona_id: String,
        rating: Option<i64>,
        failed: Option<String>,
        calls: i64,
        errors: i64,
        friction: f64,
        source: String,
        brain: String,
        model: Option<String>,
        prompt_version: i64,
        rubric_version: i64,
        rated_at: i64,
        stream_seq: i64,
    }
    Edge in "edge_coverage", key (persona_id, tool_name, field, class): (String, String, String, String) {
        persona_id: String,
        tool_name: String,
        field: String,
        class: String,
        accepted: i64,
        refused: i64,
        altered: i64,
        broke: i64,
        unanswered: i64,
        last_at: i64,
        bad_verdict: Option<String>,
        bad_detail: Option<String>,
        bad_tick_id: Option<String>,
        bad_call_id: Option<String>,
        bad_at: Option<i64>,
        stream_seq: i64,
    }
    Record in "records", key (space_id, table_name, record_id): (String, String, String) {
        space_id: String,
        table_name: String,
        record_id: String,
        fields: RecordFields,
        actor: String,
        created_at: i64,
        updated_at: i64,
        deleted_at: Option<i64>,
        first_seq: i64,
        last_seq: i64,
        app: String,
    }
    Session in "sessions", key (id): String {
        id: String,
        user_id: String,
        space_id: String,
        client: String,
        protocol: String,
        opened_at: i64,
        closed_at: Option<i64>,
        close_reason: Option<String>,
        stream_seq: i64,
    }
    Refusal in "refusals", key (id): String {
        id: String,
        user_id: String,
        space_id: String,
        tool: String,
        call_id: Option<String>,
        rule: String,
        policy_version: i64,
        mode: String,
        refused_at: i64,
        stream_seq: i64,
    }
    GatewayCall in "gateway_calls", key (id): String {
        id: String,
        user_id: String,
        space_id: String,
        session_id: Option<String>,
        client_call_id: Option<String>,
        tool: String,
        input_hash: String,
        arguments: Option<String>,
        policy_version: i64,
        outcome: String,
        fault: Option<String>,
        duration_ms: Option<i64>,
        started_at: i64,
        ended_at: Option<i64>,
        stream_seq: i64,
    }
    Parked in "parked_events", key (seq): i64 {
        seq: i64,
        commit_id: Option<String>,
        subject: String,
        stage: String,
        reason: String,
    }
    ErasedSubject in "erased_subjects", key (subject): String {
        subject: String,
        seq: i64,
    }
    ChainHead in "chain_heads", key (subject): String {
        subject: String,
        seq: i64,
        hash: String,
    }
    Deploy in "deploys", key (name): String {
        name: String,
        note: Option<String>,
        deployed_at: i64,
        stream_seq: i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::query;
    use crate::tables::Tables;

    #[tokio::test]
    async fn every_table_and_column_of_the_database_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        let tables = Tables::open(&dir.path().join("tables.db")).await.unwrap();
        let stored = query(
            "SELECT tables.name AS table_name, columns.name AS column_name, columns.pk AS place_in_key
             FROM sqlite_schema AS tables
             JOIN pragma_table_info(tables.name) AS columns
             WHERE tables.type = 'table'
               AND tables.name NOT IN ('_sqlx_migrations', 'projection_checkpoints', 'log_seals')
             ORDER BY tables.name, columns.cid",
        )
        .fetch_all(tables.readers())
        .await
        .unwrap();
        let stored: Vec<(String, String, bool)> = stored
            .iter()
            .map(|row| {
                (
                    row.try_get(0).unwrap(),
                    row.try_get(1).unwrap(),
                    row.try_get::<i64, _>(2).unwrap() > 0,
                )
            })
            .collect();
        let mut listed: Vec<&FoldedTable> = FOLDED_TABLES.iter().collect();
        listed.sort_by_key(|table| table.name);
        let listed: Vec<(String, String, bool)> = listed
            .iter()
            .flat_map(|table| {
                table.columns.iter().map(|column| {
                    (
                        table.name.to_owned(),
                        column.name.to_owned(),
                        table.key.contains(&column.name),
                    )
                })
            })
            .collect();
        assert_eq!(listed, stored);
    }
}
