//! Ratings one by one, with what was said.

use events::{PersonaId, RatingSource, StreamSeq, TickId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::page::{Cursor, Page, PageRequest};
use crate::column;
use crate::database::{DbRow, query};
use crate::tables::{Tables, TablesError};

/// Which ratings are wanted; all without a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RatingFilter {
    /// By this persona.
    pub persona: Option<PersonaId>,
    /// Of this module.
    pub module: Option<String>,
    /// By personas of this archetype.
    pub archetype: Option<String>,
}

/// One rating, one that failed, or one that rests on nothing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RatingRow {
    /// `{tick_id}-{module}`.
    pub id: String,
    /// Who rated.
    pub persona_id: PersonaId,
    /// Its name.
    pub persona_name: String,
    /// Its archetype.
    pub archetype: String,
    /// In which tick.
    pub tick_id: TickId,
    /// What.
    pub module: String,
    /// Stars, 1 to 5; `None` unless the state is `rated`.
    pub rating: Option<u8>,
    /// `rated`, `unsupported` or `failed`.
    pub state: String,
    /// Why; for a failed rating, why there is none.
    pub notes: String,
    /// Where it came from.
    pub source: Option<RatingSource>,
    /// Ids of the calls it rests on.
    pub evidence: Vec<String>,
    /// Our own friction score, 0 (smooth) to 1 (hopeless).
    pub friction: Option<f64>,
    /// When.
    #[schemars(with = "events::Moment")]
    pub created_at: Timestamp,
    /// Place of its commit.
    pub stream_seq: StreamSeq,
}

impl Tables {
    /// Ratings that pass `filter`, newest first.
    pub async fn recent_ratings(
        &self,
        filter: &RatingFilter,
        page: &PageRequest,
    ) -> Result<Page<RatingRow>, TablesError> {
        let mut snapshot = self.readers().snapshot().await?;
        let (seq, id) = page.before();
        let rows = query(
            "-- name: recent_ratings
             SELECT persona_feedback.*,
                    personas.name AS persona_name,
                    personas.archetype
             FROM persona_feedback
             JOIN personas ON personas.id = persona_feedback.persona_id
             WHERE (persona_feedback.stream_seq < $1
                    OR (persona_feedback.stream_seq = $1 AND persona_feedback.id < $2))
               AND (persona_feedback.persona_id = $3 OR $3 IS NULL)
               AND (persona_feedback.module = $4 OR $4 IS NULL)
               AND (personas.archetype = $5 OR $5 IS NULL)
             ORDER BY persona_feedback.stream_seq DESC,
                      persona_feedback.id DESC
             LIMIT $6",
        )
        .bind(seq)
        .bind(id)
        .bind(filter.persona.as_ref().map(ToString::to_string))
        .bind(filter.module.clone())
        .bind(filter.archetype.clone())
        .bind(page.fetched())
        .fetch_all(&mut snapshot.db())
        .await?;
        let ratings = rows.iter().map(rating_of).collect::<Result<_, _>>()?;
        let place = |rating: &RatingRow| Cursor {
            seq: rating.stream_seq,
            id: rating.id.clone(),
        };
        Ok(page.page(ratings, place, &mut snapshot.db()).await?)
    }
}

/// A rating joined with its persona's name and archetype.
pub(super) fn rating_of(row: &DbRow) -> Result<RatingRow, sqlx::Error> {
    Ok(RatingRow {
        id: row.try_get("id")?,
        persona_id: column::parsed(row, "persona_id")?,
        persona_name: row.try_get("persona_name")?,
        archetype: row.try_get("archetype")?,
        tick_id: column::parsed(row, "tick_id")?,
        module: row.try_get("module")?,
        rating: row
            .try_get::<Option<i64>, _>("rating")?
            .and_then(|stars| u8::try_from(stars).ok()),
        state: row.try_get("state")?,
        notes: row.try_get("notes")?,
        source: column::word_option(row, "source")?,
        evidence: column::json(row, "evidence")?,
        friction: row.try_get("friction")?,
        created_at: column::time(row, "created_at")?,
        stream_seq: column::seq(row, "stream_seq")?,
    })
}
