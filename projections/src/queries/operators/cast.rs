//! The cast at a glance: who there is, how their last tick went, what they think.

use events::{Cadence, PersonaId, StreamSeq};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::page::{Cursor, Page, PageRequest};
use crate::column;
use crate::database::{DbRow, query};
use crate::tables::{Tables, TablesError};

/// One persona with what it did since some time.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CastLine {
    /// The persona.
    pub persona_id: PersonaId,
    /// Its email.
    pub email: String,
    /// Its name.
    pub name: String,
    /// Its archetype.
    pub archetype: String,
    /// How often it acts.
    pub cadence: Cadence,
    /// IANA time zone its days are counted in.
    pub time_zone: String,
    /// When its latest tick began.
    #[schemars(with = "Option<events::Moment>")]
    pub last_active_at: Option<Timestamp>,
    /// Why its actor stays down, if it does.
    pub halted: Option<String>,
    /// Ticks it ever began.
    pub ticks: u64,
    /// How its latest tick ended; `None` while it runs or before the first.
    pub last_outcome: Option<String>,
    /// Calls since then.
    pub calls: u64,
    /// Those that failed.
    pub errors: u64,
    /// Mean stars since then; `None` without ratings.
    pub stars_mean: Option<f64>,
    /// Ratings since then.
    pub ratings: u64,
    /// Millionths of a dollar its ticks cost since then, as far as known.
    pub cost_micro_usd: u64,
    /// Sequence of the commit that enrolled it.
    pub stream_seq: StreamSeq,
}

impl Tables {
    /// The cast in the order of enrolment, with what each did at or after `since`.
    pub async fn cast(&self, since: Timestamp, page: &PageRequest) -> Result<Page<CastLine>, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        let (seq, id) = page.after();
        let rows = query(
            "-- name: cast_lines
             SELECT personas.*,
                    (SELECT COUNT(*)
                     FROM ticks
                     WHERE ticks.persona_id = personas.id) AS ticks,
                    (SELECT ticks.outcome
                     FROM ticks
                     WHERE ticks.persona_id = personas.id
                     ORDER BY ticks.stream_seq DESC
                     LIMIT 1) AS last_outcome,
                    (SELECT COUNT(*)
                     FROM persona_actions
                     WHERE persona_actions.persona_id = personas.id
                       AND persona_actions.created_at >= $1) AS calls,
                    (SELECT COUNT(*)
                     FROM persona_actions
                     WHERE persona_actions.persona_id = personas.id
                       AND persona_actions.created_at >= $1
                       AND persona_actions.result = 'error') AS errors,
                    (SELECT CAST(AVG(persona_feedback.rating) AS DOUBLE PRECISION)
                     FROM persona_feedback
                     WHERE persona_feedback.persona_id = personas.id
                       AND persona_feedback.created_at >= $1) AS stars_mean,
                    (SELECT COUNT(persona_feedback.rating)
                     FROM persona_feedback
                     WHERE persona_feedback.persona_id = personas.id
                       AND persona_feedback.created_at >= $1) AS ratings,
                    (SELECT CAST(COALESCE(SUM(ticks.cost_micro_usd), 0) AS BIGINT)
                     FROM ticks
                     WHERE ticks.persona_id = personas.id
                       AND ticks.started_at >= $1) AS cost_micro_usd
             FROM personas
             WHERE personas.stream_seq > $2
                OR (personas.stream_seq = $2 AND personas.id > $3)
             ORDER BY personas.stream_seq,
                      personas.id
             LIMIT $4",
        )
        .bind(since.as_microsecond())
        .bind(seq)
        .bind(id)
        .bind(page.fetched())
        .fetch_all(&mut snapshot.db())
        .await?;
        let lines = rows.iter().map(line_of).collect::<Result<_, _>>()?;
        let place = |line: &CastLine| Cursor {
            seq: line.stream_seq,
            id: line.persona_id.to_string(),
        };
        Ok(page.page(lines, place, &mut snapshot.db()).await?)
    }
}

fn line_of(row: &DbRow) -> Result<CastLine, sqlx::Error> {
    Ok(CastLine {
        persona_id: column::parsed(row, "id")?,
        email: row.try_get("email")?,
        name: row.try_get("name")?,
        archetype: row.try_get("archetype")?,
        cadence: column::word(row, "cadence")?,
        time_zone: row.try_get("time_zone")?,
        last_active_at: column::time_option(row, "last_active_at")?,
        halted: row.try_get("halted")?,
        ticks: column::count(row, "ticks")?,
        last_outcome: row.try_get("last_outcome")?,
        calls: column::count(row, "calls")?,
        errors: column::count(row, "errors")?,
        stars_mean: row.try_get("stars_mean")?,
        ratings: column::count(row, "ratings")?,
        cost_micro_usd: column::count(row, "cost_micro_usd")?,
        stream_seq: column::seq(row, "stream_seq")?,
    })
}
