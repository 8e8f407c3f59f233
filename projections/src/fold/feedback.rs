//! Ratings, and the ratings that did not come about. Of two about the same module in the same tick the later stands.

use events::{Rated, RatingFailed, TickId};

use super::{Place, feedback_id, must_fit_key};
use crate::column::{bigint, json_text};
use crate::error::FoldError;
use crate::schema::Feedback;
use crate::working_set::WorkingSet;

/// The stars there are.
const STARS: std::ops::RangeInclusive<u8> = 1..=5;

pub(super) fn rated(set: &mut WorkingSet, place: &Place<'_>, rated: &Rated) -> Result<(), FoldError> {
    if !STARS.contains(&rated.rating) {
        return Err(FoldError::park(format!("{} stars are not 1 to 5", rated.rating)));
    }
    if rated
        .friction
        .is_some_and(|friction| !(0.0..=1.0).contains(&friction))
    {
        return Err(FoldError::park("friction is not between 0 and 1"));
    }
    let stars = Some(i64::from(rated.rating));
    // Stars without support stand in a column of their own, so that no mean can count them by mistake.
    let (state, rating, claimed_rating, notes) = match &rated.unsupported {
        None => ("rated", stars, None, rated.notes.clone()),
        Some(reason) => ("unsupported", None, stars, format!("{reason}: {}", rated.notes)),
    };
    let feedback = Feedback {
        rating,
        claimed_rating,
        state: state.to_owned(),
        notes,
        source: Some(rated.source.as_str().to_owned()),
        evidence: json_text(&rated.evidence)?,
        friction: rated.friction,
        rubric_version: Some(i64::from(rated.rubric_version)),
        brain: rated.brain.clone(),
        model: rated.model.clone(),
        prompt_version: rated.prompt_version.map(i64::from),
        ..blank(place, &rated.tick_id, &rated.module)?
    };
    write(set, feedback)
}

pub(super) fn failed(
    set: &mut WorkingSet,
    place: &Place<'_>,
    failed: &RatingFailed,
) -> Result<(), FoldError> {
    let feedback = Feedback {
        state: "failed".to_owned(),
        notes: failed.reason.clone(),
        ..blank(place, &failed.tick_id, &failed.module)?
    };
    write(set, feedback)
}

/// A row that says nothing yet.
fn blank(place: &Place<'_>, tick: &TickId, module: &str) -> Result<Feedback, FoldError> {
    must_fit_key("module's name", module)?;
    Ok(Feedback {
        id: feedback_id(tick, module),
        persona_id: place.persona()?.to_string(),
        tick_id: tick.to_string(),
        module: module.to_owned(),
        rating: None,
        claimed_rating: None,
        state: String::new(),
        notes: String::new(),
        source: None,
        evidence: "[]".to_owned(),
        friction: None,
        rubric_version: None,
        brain: None,
        model: None,
        prompt_version: None,
        created_at: place.time.as_microsecond(),
        stream_seq: bigint(place.seq.0),
    })
}

fn write(set: &mut WorkingSet, feedback: Feedback) -> Result<(), FoldError> {
    if let Some(earlier) = set.feedback.get(feedback.id.as_str())? {
        if earlier.persona_id != feedback.persona_id {
            return Err(FoldError::park(format!(
                "row {} is another persona's",
                feedback.id
            )));
        }
        // Two ticks and modules may spell the same row id; then it is not the same rating.
        if earlier.tick_id != feedback.tick_id {
            return Err(FoldError::park(format!("row {} is of another tick", feedback.id)));
        }
    }
    set.feedback.put(feedback);
    Ok(())
}
