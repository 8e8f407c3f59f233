//! What models cost, as far as the ticks say.

use events::StreamSeq;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::page::as_of;
use crate::column;
use crate::database::query;
use crate::tables::{Tables, TablesError};

const DAY_MICROS: i64 = 86_400_000_000;

/// The cost of ticks that have ended. What a running tick has put aside is not in it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Spend {
    /// Millionths of a dollar of the ticks that began today; days are those of UTC.
    pub today_micro_usd: u64,
    /// Of those that began since.
    pub total_micro_usd: u64,
    /// Ticks since whose cost nobody knows.
    pub ticks_unknown: u64,
    /// By day and brain, oldest first.
    pub days: Vec<SpendDay>,
    /// By persona, dearest first.
    pub personas: Vec<SpendPersona>,
    /// The last commit folded.
    pub as_of_seq: StreamSeq,
}

/// A day of one brain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SpendDay {
    /// The day's first instant.
    #[schemars(with = "events::Moment")]
    pub day: Timestamp,
    /// The brain.
    pub brain: String,
    /// Its model, where it has one.
    pub model: Option<String>,
    /// Ticks that began.
    pub ticks: u64,
    /// Millionths of a dollar, as far as known.
    pub cost_micro_usd: u64,
}

/// One persona's cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SpendPersona {
    /// The persona.
    pub persona_id: String,
    /// Its name.
    pub name: String,
    /// Ticks that began.
    pub ticks: u64,
    /// Millionths of a dollar, as far as known.
    pub cost_micro_usd: u64,
}

impl Tables {
    /// What the ticks that began at or after `since` cost.
    pub async fn spend(&self, since: Timestamp, now: Timestamp) -> Result<Spend, TablesError> {
        let today = now.as_microsecond().div_euclid(DAY_MICROS) * DAY_MICROS;
        let mut snapshot = self.readers().snapshot().await?;
        let totals = query(
            "-- name: spend_totals
             SELECT CAST(COALESCE(SUM(CASE WHEN started_at >= $2 THEN cost_micro_usd END), 0) AS BIGINT) AS today,
                    CAST(COALESCE(SUM(cost_micro_usd), 0) AS BIGINT) AS total,
                    COUNT(CASE WHEN outcome IS NOT NULL AND cost_micro_usd IS NULL THEN 1 END) AS ticks_unknown
             FROM ticks
             WHERE started_at >= $1",
        )
        .bind(since.as_microsecond())
        .bind(today)
        .fetch_one(&mut snapshot.db())
        .await?;
        let days = query(
            "-- name: spend_by_day
             SELECT started_at / 86400000000 AS day,
                    brain,
                    model,
                    COUNT(*) AS ticks,
                    CAST(COALESCE(SUM(cost_micro_usd), 0) AS BIGINT) AS cost
             FROM ticks
             WHERE started_at >= $1
             GROUP BY day,
                      brain,
                      model
             ORDER BY day,
                      brain,
                      model",
        )
        .bind(since.as_microsecond())
        .fetch_all(&mut snapshot.db())
        .await?;
        let days = days
            .iter()
            .map(|row| {
                let day = row.try_get::<i64, _>("day")? * DAY_MICROS;
                Ok(SpendDay {
                    day: Timestamp::from_microsecond(day).unwrap_or_default(),
                    brain: row.try_get("brain")?,
                    model: row.try_get("model")?,
                    ticks: column::count(row, "ticks")?,
                    cost_micro_usd: column::count(row, "cost")?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()?;
        let personas = query(
            "-- name: spend_by_persona
             SELECT personas.id,
                    personas.name,
                    COUNT(*) AS ticks,
                    CAST(COALESCE(SUM(ticks.cost_micro_usd), 0) AS BIGINT) AS cost
             FROM ticks
             JOIN personas ON personas.id = ticks.persona_id
             WHERE ticks.started_at >= $1
             GROUP BY personas.id,
                      personas.name
             ORDER BY cost DESC,
                      personas.name,
                      personas.id",
        )
        .bind(since.as_microsecond())
        .fetch_all(&mut snapshot.db())
        .await?;
        let personas = personas
            .iter()
            .map(|row| {
                Ok(SpendPersona {
                    persona_id: row.try_get("id")?,
                    name: row.try_get("name")?,
                    ticks: column::count(row, "ticks")?,
                    cost_micro_usd: column::count(row, "cost")?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()?;
        Ok(Spend {
            today_micro_usd: column::count(&totals, "today")?,
            total_micro_usd: column::count(&totals, "total")?,
            ticks_unknown: column::count(&totals, "ticks_unknown")?,
            days,
            personas,
            as_of_seq: as_of(&mut snapshot.db()).await?,
        })
    }
}
