//! How personas rated what they used.

use events::PersonaId;
use schemars::JsonSchema;
use serde::Serialize;

use crate::column;
use crate::database::{query, query_per};
use crate::tables::{Tables, TablesError};

/// One persona's ratings of one module.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ModuleFeedback {
    /// The module.
    pub module: String,
    /// Mean stars, 1 to 5. Failed ratings count nowhere.
    pub avg_rating: f64,
    /// How many ratings.
    pub count: u64,
}

impl Tables {
    /// Mean rating and count per module that `persona` has rated, by module name.
    pub async fn feedback_by_module(&self, persona: &PersonaId) -> Result<Vec<ModuleFeedback>, TablesError> {
        let rows = query(
            "-- name: feedback_by_module
             SELECT module,
                    CAST(AVG(rating) AS DOUBLE PRECISION) AS avg_rating,
                    COUNT(*) AS ratings
             FROM persona_feedback
             WHERE persona_id = $1
               AND state = 'rated'
             GROUP BY module
             ORDER BY module",
        )
        .bind(persona.as_str())
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ModuleFeedback {
                    module: row.try_get("module")?,
                    avg_rating: row.try_get("avg_rating")?,
                    count: column::count(row, "ratings")?,
                })
            })
            .collect()
    }

    /// Those of `ids` that are rows already, so that a batch reported twice is written once.
    pub async fn existing_feedback_ids(&self, ids: &[String]) -> Result<Vec<String>, TablesError> {
        let rows = query_per(|among| {
            format!(
                "-- name: existing_feedback_ids
                 SELECT id
                 FROM persona_feedback
                 WHERE id {}",
                among.placeholder(1)
            )
        })
        .bind(ids.to_vec())
        .fetch_all(self.readers())
        .await?;
        Ok(rows
            .iter()
            .map(|row| row.try_get("id"))
            .collect::<Result<_, _>>()?)
    }
}
