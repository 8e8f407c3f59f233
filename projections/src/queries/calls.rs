//! What the gateway saw of calls, and whether personas tell the same of theirs.

use events::{CallId, CallOutcome, StreamSeq, UserId};
use jiff::Timestamp;
use serde::Serialize;

use crate::column;
use crate::database::{DbRow, query, query_per};
use crate::fold::PENDING;
use crate::tables::{Tables, TablesError};

/// Differences that are named; beyond it they are only counted.
const DIFFERENCES_MAX: i64 = 100;

/// A call without an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedCall {
    /// Who called.
    pub user_id: UserId,
    /// The gateway's own name of it.
    pub call_id: CallId,
}

/// A call the gateway took, as far as rules go by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenCall {
    /// The gateway's own name of it.
    pub call_id: CallId,
    /// Who called.
    pub user_id: UserId,
    /// The name that was called.
    pub tool: String,
    /// Whether it was refused.
    pub was_refused: bool,
    /// When.
    pub started_at: Timestamp,
    /// Place of the commit that holds its start.
    pub stream_seq: StreamSeq,
}

/// How what personas say of their calls compares with what the gateway saw of them.
///
/// Compared are the calls of ticks this program ran, from when the gateway began to keep a record. A call that nobody
/// knows the outcome of on one side agrees with whatever the other side says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CallAgreement {
    /// Calls of personas that were compared.
    pub compared: u64,
    /// Those that differ, and calls the gateway took from a persona that it does not know of.
    pub differing: u64,
    /// The first of them, in the order of the log.
    pub differences: Vec<CallDifference>,
}

impl CallAgreement {
    /// Whether both sides tell the same.
    pub fn agrees(&self) -> bool {
        self.differing == 0
    }

    /// What of it was different at an `earlier` look too. Answers of calls go out a moment before their record is in the
    /// tables, so beside a server that runs a call may differ that will not in a moment. Differences beyond those that
    /// are named are all taken for old ones.
    #[must_use]
    pub fn still(mut self, earlier: &Self) -> Self {
        if earlier.differing > earlier.differences.len() as u64 {
            return self;
        }
        let named = self.differences.len();
        self.differences.retain(|one| {
            let call = (&one.persona_id, &one.call_id);
            let mut before = earlier.differences.iter();
            before.any(|other| (&other.persona_id, &other.call_id) == call)
        });
        self.differing -= (named - self.differences.len()) as u64;
        self
    }
}

/// One call that the two sides tell differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallDifference {
    /// The persona.
    pub persona_id: String,
    /// The id the persona gave the call.
    pub call_id: String,
    /// In what: `missing` at the gateway, `unknown` to the persona, `tool`, `arguments` or `outcome`.
    pub what: String,
    /// As the persona tells it.
    pub persona: Option<String>,
    /// As the gateway tells it.
    pub gateway: Option<String>,
}

/// Both sides of every call that is compared, with what differs. A name the gateway did not keep says nothing.
///
/// Calls find each other by their ids. `|| ''` keeps the accounts out of it: there are indexes on those, and by them each
/// call would be held against all others of its persona.
const COMPARED: &str = "
    WITH compared AS (
        SELECT persona_actions.persona_id,
               persona_actions.call_id,
               persona_actions.stream_seq,
               CASE
                   WHEN gateway_calls.id IS NULL
                       THEN CASE WHEN persona_actions.result = 'ok'
                                   OR (persona_actions.result = 'error' AND persona_actions.cause <> 'infra')
                                 THEN 'missing' END
                   WHEN gateway_calls.tool NOT IN (persona_actions.tool_name, '(malformed)') THEN 'tool'
                   WHEN gateway_calls.input_hash <> persona_actions.input_hash THEN 'arguments'
                   WHEN persona_actions.result = 'ok'
                        AND gateway_calls.outcome IN ('error', 'refused', 'cancelled') THEN 'outcome'
                   WHEN persona_actions.result = 'error'
                        AND persona_actions.cause <> 'infra'
                        AND gateway_calls.outcome = 'ok' THEN 'outcome'
               END AS what,
               persona_actions.tool_name || ' ' || persona_actions.result AS persona,
               gateway_calls.tool || ' ' || gateway_calls.outcome AS gateway
        FROM persona_actions
        JOIN ticks ON ticks.id = persona_actions.tick_id
        LEFT JOIN gateway_calls
            ON gateway_calls.client_call_id = persona_actions.call_id
            AND gateway_calls.user_id || '' = persona_actions.persona_id
        WHERE ticks.trigger_kind <> 'external'
          AND ticks.started_at >= (SELECT MIN(started_at) FROM gateway_calls) - 60000000
        UNION ALL
        SELECT gateway_calls.user_id,
               gateway_calls.client_call_id,
               gateway_calls.stream_seq,
               'unknown',
               NULL,
               gateway_calls.tool || ' ' || gateway_calls.outcome
        FROM gateway_calls
        JOIN personas ON personas.id = gateway_calls.user_id
        LEFT JOIN persona_actions
            ON persona_actions.call_id = gateway_calls.client_call_id
            AND persona_actions.persona_id || '' = gateway_calls.user_id
        WHERE gateway_calls.client_call_id IS NOT NULL
          AND persona_actions.id IS NULL
    )";

impl Tables {
    /// Calls without an outcome that began in a commit up to `until`, in the order of the log.
    pub async fn unfinished_calls(&self, until: StreamSeq) -> Result<Vec<UnfinishedCall>, TablesError> {
        let rows = query(
            "-- name: unfinished_calls
             SELECT user_id,
                    id
             FROM gateway_calls
             WHERE outcome = 'pending'
               AND stream_seq <= $1
             ORDER BY stream_seq,
                      id",
        )
        .bind(column::bigint(until.0))
        .fetch_all(self.readers())
        .await?;
        let unfinished = |row: &DbRow| {
            Ok(UnfinishedCall {
                user_id: column::parsed(row, "user_id")?,
                call_id: column::parsed(row, "id")?,
            })
        };
        Ok(rows.iter().map(unfinished).collect::<Result<_, sqlx::Error>>()?)
    }

    /// Those of `calls` that have a start here, with whether they have an end. No order is promised.
    pub async fn calls_told(&self, calls: &[CallId]) -> Result<Vec<(CallId, bool)>, TablesError> {
        let calls: Vec<String> = calls.iter().map(CallId::to_string).collect();
        let rows = query_per(|among| {
            format!(
                "-- name: calls_told
                 SELECT id,
                        outcome
                 FROM gateway_calls
                 WHERE id {}",
                among.placeholder(1)
            )
        })
        .bind(calls)
        .fetch_all(self.readers())
        .await?;
        let told = |row: &DbRow| {
            let has_ended = row.try_get::<String, _>("outcome")? != PENDING;
            Ok((column::parsed(row, "id")?, has_ended))
        };
        Ok(rows.iter().map(told).collect::<Result<_, sqlx::Error>>()?)
    }

    /// At most `limit` calls after `after`, a place and a call there, in the order of the log.
    pub async fn calls_after(
        &self,
        after: Option<&TakenCall>,
        limit: u32,
    ) -> Result<Vec<TakenCall>, TablesError> {
        let (seq, id) = after.map_or((0, ""), |call| (call.stream_seq.0, call.call_id.as_str()));
        let rows = query(
            "-- name: calls_after
             SELECT id,
                    user_id,
                    tool,
                    outcome,
                    started_at,
                    stream_seq
             FROM gateway_calls
             WHERE stream_seq > $1
                OR (stream_seq = $1 AND id > $2)
             ORDER BY stream_seq,
                      id
             LIMIT $3",
        )
        .bind(column::bigint(seq))
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        let taken = |row: &DbRow| {
            Ok(TakenCall {
                call_id: column::parsed(row, "id")?,
                user_id: column::parsed(row, "user_id")?,
                tool: row.try_get("tool")?,
                was_refused: row.try_get::<String, _>("outcome")? == CallOutcome::Refused.as_str(),
                started_at: column::time(row, "started_at")?,
                stream_seq: column::seq(row, "stream_seq")?,
            })
        };
        Ok(rows.iter().map(taken).collect::<Result<_, sqlx::Error>>()?)
    }

    /// Holds what personas say of their calls against what the gateway saw, in one snapshot.
    pub async fn call_agreement(&self) -> Result<CallAgreement, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        let counted = crate::database::query_text(format!(
            "-- name: call_agreement
             {COMPARED}
             SELECT COUNT(CASE WHEN what IS NULL OR what <> 'unknown' THEN 1 END) AS compared,
                    COUNT(what) AS differing
             FROM compared"
        ))
        .fetch_one(&mut snapshot.db())
        .await?;
        let (compared, differing) = (
            column::count(&counted, "compared")?,
            column::count(&counted, "differing")?,
        );
        if differing == 0 {
            // On most days; there is nothing to compare all of it once more for.
            return Ok(CallAgreement {
                compared,
                ..CallAgreement::default()
            });
        }
        let rows = crate::database::query_text(format!(
            "-- name: call_differences
             {COMPARED}
             SELECT persona_id,
                    call_id,
                    what,
                    persona,
                    gateway
             FROM compared
             WHERE what IS NOT NULL
             ORDER BY stream_seq,
                      call_id
             LIMIT {DIFFERENCES_MAX}"
        ))
        .fetch_all(&mut snapshot.db())
        .await?;
        Ok(CallAgreement {
            compared,
            differing,
            differences: rows.iter().map(difference_of).collect::<Result<_, _>>()?,
        })
    }
}

fn difference_of(row: &DbRow) -> Result<CallDifference, sqlx::Error> {
    Ok(CallDifference {
        persona_id: row.try_get("persona_id")?,
        call_id: row.try_get("call_id")?,
        what: row.try_get("what")?,
        persona: row.try_get("persona")?,
        gateway: row.try_get("gateway")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A year of an hourly persona is a hundred thousand calls: none may be held against all others.
    #[tokio::test]
    async fn calls_find_each_other_by_their_ids_and_not_by_going_through_all_of_an_account() {
        let dir = tempfile::tempdir().unwrap();
        let tables = Tables::open(&dir.path().join("tables.db")).await.unwrap();
        let plan = crate::database::query_text(format!(
            "EXPLAIN QUERY PLAN {COMPARED} SELECT COUNT(*) FROM compared"
        ))
        .fetch_all(tables.readers())
        .await
        .unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.try_get("detail").unwrap()).collect();
        for other_side in [
            "SEARCH gateway_calls USING AUTOMATIC COVERING INDEX (client_call_id=?)",
            "SEARCH persona_actions USING AUTOMATIC COVERING INDEX (call_id=?)",
        ] {
            assert!(plan.iter().any(|step| step.starts_with(other_side)), "{plan:#?}");
        }
    }
}
