//! Ratings of the calibration twins, in a table of their own: no query of the app's ratings can take one in by mistake.

use events::TwinRated;

use super::Place;
use crate::column::bigint;
use crate::error::FoldError;
use crate::schema::TwinRating;
use crate::working_set::WorkingSet;

/// The first rating of a twin in a tick stands.
pub(super) fn rated(set: &mut WorkingSet, place: &Place<'_>, rated: &TwinRated) -> Result<(), FoldError> {
    let persona = place.persona()?;
    if rated.rating.is_some_and(|stars| !(1..=5).contains(&stars)) {
        return Err(FoldError::park("stars are not 1 to 5"));
    }
    if !(0.0..=1.0).contains(&rated.friction) {
        return Err(FoldError::park("friction is not between 0 and 1"));
    }
    let key = (rated.tick_id.to_string(), rated.twin.as_str().to_owned());
    if set.twins.get(&key)?.is_some() {
        return Ok(());
    }
    set.twins.put(TwinRating {
        tick_id: key.0,
        twin: key.1,
        persona_id: persona.to_string(),
        rating: rated.rating.map(i64::from),
        failed: rated.failed.clone(),
        calls: i64::from(rated.calls),
        errors: i64::from(rated.errors),
        friction: rated.friction,
        source: rated.source.as_str().to_owned(),
        brain: rated.brain.clone(),
        model: rated.model.clone(),
        prompt_version: i64::from(rated.prompt_version),
        rubric_version: i64::from(rated.rubric_version),
        rated_at: rated.rated_at.as_microsecond(),
        stream_seq: bigint(place.seq.0),
    });
    Ok(())
}
