//! What a brain says of the modules it used, checked before it is recorded: a failed rating is a failed rating,
//! never a number.

use std::collections::BTreeMap;

use events::{
    CallId, ERROR_CHARS_MAX, Event, NOTES_CHARS_MAX, Rated, RatingFailed, RatingSource, TickId, capped,
};

use crate::brain::{BrainIdentity, RatingDraft, Stars};
use crate::digest::ModuleDigest;
use crate::friction::{RUBRIC_VERSION, friction, stars_for};

/// Characters kept of the name of a module that was rated and not used.
const FOREIGN_MODULE_CHARS_MAX: usize = 60;
/// Stars by which an opinion may be above what friction alone would give.
const STARS_ABOVE_FRICTION_MAX: u8 = 2;

/// Who rates.
#[derive(Debug)]
pub(crate) struct Rater {
    pub(crate) identity: BrainIdentity,
    pub(crate) source: RatingSource,
}

/// One event per used module, in the order of `used`: `Rated` where the draft holds, marked where it rests on nothing,
/// and `RatingFailed` where there is none. A rating of what was not used is a failed one; second ones are dropped.
pub(crate) fn verdicts(
    tick_id: &TickId,
    rater: &Rater,
    used: &[ModuleDigest],
    drafts: Result<Vec<RatingDraft>, String>,
) -> Vec<Event> {
    let (mut by_module, reason) = match drafts {
        Ok(drafts) => (
            first_of_each(drafts),
            "the brain said nothing of this module".to_owned(),
        ),
        Err(reason) => (BTreeMap::new(), reason),
    };
    let failed = |module: String, reason: &str| -> Event {
        RatingFailed {
            tick_id: tick_id.clone(),
            module,
            reason: capped(reason, ERROR_CHARS_MAX),
        }
        .into()
    };
    let mut events: Vec<Event> = Vec::new();
    for digest in used {
        let verdict = by_module
            .remove(&digest.module)
            .unwrap_or_else(|| Err(reason.clone()));
        events.push(match verdict.and_then(in_range) {
            Ok(stars) => rated(tick_id, rater, digest, stars).into(),
            Err(reason) => failed(digest.module.clone(), &reason),
        });
    }
    let not_used = by_module.into_keys().filter(|module| !module.trim().is_empty());
    events.extend(not_used.map(|module| {
        let module = capped(&module, FOREIGN_MODULE_CHARS_MAX);
        failed(module, "it was rated and not used in this tick")
    }));
    events
}

fn first_of_each(drafts: Vec<RatingDraft>) -> BTreeMap<String, Result<Stars, String>> {
    let mut by_module = BTreeMap::new();
    for draft in drafts {
        by_module.entry(draft.module).or_insert(draft.verdict);
    }
    by_module
}

fn in_range(stars: Stars) -> Result<Stars, String> {
    if (1..=5).contains(&stars.rating) {
        Ok(stars)
    } else {
        Err(format!("{} is not a rating from 1 to 5", stars.rating))
    }
}

fn rated(tick_id: &TickId, rater: &Rater, digest: &ModuleDigest, stars: Stars) -> Rated {
    let unsupported = lacks_support(&stars, digest).map(|reason| capped(&reason, ERROR_CHARS_MAX));
    let evidence = stars.evidence.into_iter();
    Rated {
        tick_id: tick_id.clone(),
        module: digest.module.clone(),
        rating: stars.rating,
        notes: capped(&stars.notes, NOTES_CHARS_MAX),
        evidence: evidence
            .filter(|call_id| digest.call_ids.contains(call_id))
            .collect(),
        source: rater.source,
        friction: Some(friction(digest)),
        rubric_version: RUBRIC_VERSION,
        unsupported,
        brain: Some(rater.identity.name.to_owned()),
        model: rater.identity.model.clone(),
        prompt_version: Some(rater.identity.prompt_version),
        answers: stars.claims.map(|claims| claims.answers),
    }
}

/// Why these stars do not rest on what happened to this module in this tick, if they do not.
fn lacks_support(stars: &Stars, digest: &ModuleDigest) -> Option<String> {
    if let Some(foreign) = stars
        .evidence
        .iter()
        .find(|call_id| !digest.call_ids.contains(call_id))
    {
        return Some(format!(
            "call {foreign} is no call of {} in this tick",
            digest.module
        ));
    }
    let claims = stars.claims.as_ref()?;
    if let Some(unknown) = claims.unknown.first() {
        return Some(format!("{unknown:?} names no call of this tick"));
    }
    let went_well = |call_id: &CallId| !digest.failed_ids.contains(call_id);
    if stars.rating == 5 && !claims.went_well.iter().any(went_well) {
        return Some("5 stars, and no call that succeeded is named for them".to_owned());
    }
    if stars.rating <= 2 && claims.friction.is_empty() {
        return Some(format!(
            "{} stars, and no call is named that was in the way",
            stars.rating
        ));
    }
    let index = stars_for(friction(digest));
    (stars.rating > index + STARS_ABOVE_FRICTION_MAX).then(|| {
        let (errors, calls) = (digest.errors, digest.calls);
        format!("{} stars although {errors} of {calls} calls failed", stars.rating)
    })
}

#[cfg(test)]
mod tests;
