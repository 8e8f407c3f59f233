//! What became of what personas expected of one another in shared spaces.

use super::Span;
use crate::column;
use crate::database::{Db, DbRow, query};
use crate::findings::history::BrokenExpectation;
use crate::findings::{Evidence, ExpectationFigures};

/// Broken ones that are looked at one by one, latest first.
const BROKEN_MAX: i64 = 500;

pub(super) async fn figures(db: &mut Db<'_>, span: Span) -> Result<Vec<ExpectationFigures>, sqlx::Error> {
    let rows = query(
        "-- name: findings_expectations
         SELECT module,
                COUNT(CASE WHEN state = 'kept' THEN 1 END) AS kept,
                COUNT(CASE WHEN state = 'broken' THEN 1 END) AS broken,
                COUNT(CASE WHEN state = 'void' THEN 1 END) AS void
         FROM expectations
         WHERE looked_at > $1
           AND looked_at <= $2
         GROUP BY module
         ORDER BY module",
    )
    .bind(span.from)
    .bind(span.to)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ExpectationFigures {
                module: row.try_get("module")?,
                kept: column::count(row, "kept")?,
                broken: column::count(row, "broken")?,
                void: column::count(row, "void")?,
            })
        })
        .collect()
}

/// The latest that were broken, each with the call that made the thing and the one that did not find it.
pub(super) async fn broken(db: &mut Db<'_>, span: Span) -> Result<Vec<BrokenExpectation>, sqlx::Error> {
    let rows = query(
        "-- name: findings_broken_expectations
         SELECT expectations.module,
                expectations.kind,
                expectations.looked_at,
                made.id AS made_id,
                made.call_id AS made_call_id,
                made.persona_id AS made_persona_id,
                made.stream_seq AS made_seq,
                looked.id AS looked_id,
                looked.call_id AS looked_call_id,
                looked.persona_id AS looked_persona_id,
                looked.stream_seq AS looked_seq
         FROM expectations
         JOIN persona_actions AS made
           ON made.tick_id = expectations.made_tick_id
          AND made.call_id = expectations.made_call_id
         JOIN persona_actions AS looked
           ON looked.tick_id = expectations.looked_tick_id
          AND looked.call_id = expectations.looked_call_id
         WHERE expectations.state = 'broken'
           AND expectations.looked_at > $1
           AND expectations.looked_at <= $2
         ORDER BY expectations.looked_at DESC,
                  expectations.thing_id
         LIMIT $3",
    )
    .bind(span.from)
    .bind(span.to)
    .bind(BROKEN_MAX)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(BrokenExpectation {
                module: row.try_get("module")?,
                kind: row.try_get("kind")?,
                looked_at: column::time(row, "looked_at")?,
                made: call(row, ["made_id", "made_call_id", "made_persona_id", "made_seq"])?,
                looked: call(
                    row,
                    ["looked_id", "looked_call_id", "looked_persona_id", "looked_seq"],
                )?,
            })
        })
        .collect()
}

/// A call as evidence, from its columns.
fn call(row: &DbRow, [id, call_id, persona_id, seq]: [&'static str; 4]) -> Result<Evidence, sqlx::Error> {
    Ok(Evidence {
        kind: "call",
        id: row.try_get(id)?,
        call_id: Some(row.try_get(call_id)?),
        persona_id: row.try_get(persona_id)?,
        stream_seq: column::seq(row, seq)?,
    })
}
