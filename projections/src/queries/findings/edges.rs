//! Edge input that a tool did not stand, within the report's own time.

use super::Span;
use crate::column;
use crate::database::{Db, query};
use crate::findings::Evidence;
use crate::findings::history::BadEdge;

/// Those that are looked at one by one, latest first.
const BAD_MAX: i64 = 500;

pub(super) async fn bad(db: &mut Db<'_>, span: Span) -> Result<Vec<BadEdge>, sqlx::Error> {
    let rows = query(
        "-- name: findings_bad_edges
         SELECT edge_coverage.tool_name,
                edge_coverage.field,
                edge_coverage.class,
                edge_coverage.bad_verdict,
                edge_coverage.bad_detail,
                edge_coverage.bad_at,
                actions.id,
                actions.call_id,
                actions.persona_id,
                actions.module,
                actions.stream_seq
         FROM edge_coverage
         JOIN persona_actions AS actions
           ON actions.tick_id = edge_coverage.bad_tick_id
          AND actions.call_id = edge_coverage.bad_call_id
         WHERE edge_coverage.bad_at > $1
           AND edge_coverage.bad_at <= $2
         ORDER BY edge_coverage.bad_at DESC,
                  actions.id
         LIMIT $3",
    )
    .bind(span.from)
    .bind(span.to)
    .bind(BAD_MAX)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(BadEdge {
                tool: row.try_get("tool_name")?,
                module: row.try_get("module")?,
                field: row.try_get("field")?,
                class: row.try_get("class")?,
                verdict: row.try_get("bad_verdict")?,
                detail: row.try_get("bad_detail")?,
                at: column::time(row, "bad_at")?,
                evidence: Evidence {
                    kind: "call",
                    id: row.try_get("id")?,
                    call_id: Some(row.try_get("call_id")?),
                    persona_id: row.try_get("persona_id")?,
                    stream_seq: column::seq(row, "stream_seq")?,
                },
            })
        })
        .collect()
}
