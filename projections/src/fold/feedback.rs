//! Ratings, and the ratings that did not come about. Of two about the same module in the same tick the later stands.

use events::{Rated, RatingFailed, TickId};

use super::Place;
use crate::column::{bigint, json_text};
use crate::database::DbConnection;
use crate::error::{FoldError, Stage};

pub(super) async fn rated(db: &mut DbConnection, place: &Place<'_>, rated: &Rated) -> Result<(), FoldError> {
    let feedback = Feedback {
        state: "rated",
        rating: Some(i64::from(rated.rating)),
        notes: &rated.notes,
        source: Some(rated.source.as_str()),
        evidence: json_text(&rated.evidence)?,
        friction: rated.friction,
        rubric_version: Some(i64::from(rated.rubric_version)),
    };
    feedback.write(db, place, &rated.tick_id, &rated.module).await
}

pub(super) async fn failed(
    db: &mut DbConnection,
    place: &Place<'_>,
    failed: &RatingFailed,
) -> Result<(), FoldError> {
    let feedback = Feedback {
        state: "failed",
        rating: None,
        notes: &failed.reason,
        source: None,
        evidence: "[]".to_owned(),
        friction: None,
        rubric_version: None,
    };
    feedback.write(db, place, &failed.tick_id, &failed.module).await
}

struct Feedback<'a> {
    state: &'static str,
    rating: Option<i64>,
    notes: &'a str,
    source: Option<&'static str>,
    evidence: String,
    friction: Option<f64>,
    rubric_version: Option<i64>,
}

impl Feedback<'_> {
    async fn write(
        &self,
        db: &mut DbConnection,
        place: &Place<'_>,
        tick: &TickId,
        module: &str,
    ) -> Result<(), FoldError> {
        let id = format!("{tick}-{module}");
        let persona = place.persona()?;
        let written = sqlx::query(
            "-- name: module_rated
             INSERT INTO persona_feedback (id, persona_id, tick_id, module, rating, state, notes, source, evidence,
                                           friction, rubric_version, created_at, stream_seq)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
             ON CONFLICT (id) DO UPDATE
             SET rating = excluded.rating,
                 state = excluded.state,
                 notes = excluded.notes,
                 source = excluded.source,
                 evidence = excluded.evidence,
                 friction = excluded.friction,
                 rubric_version = excluded.rubric_version,
                 created_at = excluded.created_at,
                 stream_seq = excluded.stream_seq
             WHERE persona_feedback.persona_id = excluded.persona_id",
        )
        .bind(&id)
        .bind(persona.as_str())
        .bind(tick.as_str())
        .bind(module)
        .bind(self.rating)
        .bind(self.state)
        .bind(self.notes)
        .bind(self.source)
        .bind(&self.evidence)
        .bind(self.friction)
        .bind(self.rubric_version)
        .bind(place.time.as_microsecond())
        .bind(bigint(place.seq.0))
        .execute(db)
        .await?;
        if written.rows_affected() == 1 {
            Ok(())
        } else {
            Err(FoldError::Park {
                stage: Stage::Fold,
                reason: format!("row {id} is another persona's"),
            })
        }
    }
}
