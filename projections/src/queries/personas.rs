//! Who the personas are and how they are.

use std::collections::BTreeMap;

use events::{Cadence, PersonaId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::column;
use crate::database::{DbRow, query};
use crate::tables::{Tables, TablesError};

/// A persona as of its latest revision.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PersonaRow {
    /// The persona; also its account's id.
    pub persona_id: PersonaId,
    /// The email of its account.
    pub email: String,
    /// Its name.
    pub name: String,
    /// One of the catalog's archetypes.
    pub archetype: String,
    /// What a model is told to be.
    pub system_prompt: String,
    /// Module name to weight.
    pub module_mix: BTreeMap<String, f64>,
    /// How often it acts.
    pub cadence: Cadence,
    /// IANA time zone its days are counted in.
    pub time_zone: String,
    /// Emails of the personas it shares a space with.
    pub partners: Vec<String>,
    /// When its latest tick began; `None` before the first.
    #[schemars(with = "Option<events::Moment>")]
    pub last_active_at: Option<Timestamp>,
    /// When it was enrolled.
    #[schemars(with = "events::Moment")]
    pub created_at: Timestamp,
    /// Ticks it began.
    pub ticks: u64,
    /// Why its actor stays down, if it does.
    pub halted: Option<String>,
}

impl Tables {
    /// All personas in the order of their enrolment.
    pub async fn personas(&self) -> Result<Vec<PersonaRow>, TablesError> {
        let rows = query(
            "-- name: personas
             SELECT personas.*,
                    (SELECT COUNT(*) FROM ticks WHERE ticks.persona_id = personas.id) AS ticks
             FROM personas
             ORDER BY personas.stream_seq,
                      personas.id",
        )
        .fetch_all(self.readers())
        .await?;
        Ok(rows.iter().map(persona_of).collect::<Result<_, _>>()?)
    }

    /// The persona `id`.
    pub async fn persona(&self, id: &PersonaId) -> Result<Option<PersonaRow>, TablesError> {
        let row = query(
            "-- name: persona
             SELECT personas.*,
                    (SELECT COUNT(*) FROM ticks WHERE ticks.persona_id = personas.id) AS ticks
             FROM personas
             WHERE personas.id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(self.readers())
        .await?;
        Ok(row.as_ref().map(persona_of).transpose()?)
    }

    /// The persona with that email; of several, which only a mistake in the log can make, the latest enrolled.
    pub async fn persona_by_email(&self, email: &str) -> Result<Option<PersonaRow>, TablesError> {
        let row = query(
            "-- name: persona_by_email
             SELECT personas.*,
                    (SELECT COUNT(*) FROM ticks WHERE ticks.persona_id = personas.id) AS ticks
             FROM personas
             WHERE personas.email = $1
             ORDER BY personas.stream_seq DESC
             LIMIT 1",
        )
        .bind(email)
        .fetch_optional(self.readers())
        .await?;
        Ok(row.as_ref().map(persona_of).transpose()?)
    }
}

fn persona_of(row: &DbRow) -> Result<PersonaRow, sqlx::Error> {
    Ok(PersonaRow {
        persona_id: column::parsed(row, "id")?,
        email: row.try_get("email")?,
        name: row.try_get("name")?,
        archetype: row.try_get("archetype")?,
        system_prompt: row.try_get("system_prompt")?,
        module_mix: column::json(row, "module_mix")?,
        cadence: column::word(row, "cadence")?,
        time_zone: row.try_get("time_zone")?,
        partners: column::json(row, "partners")?,
        last_active_at: column::time_option(row, "last_active_at")?,
        created_at: column::time(row, "created_at")?,
        ticks: column::count(row, "ticks")?,
        halted: row.try_get("halted")?,
    })
}
