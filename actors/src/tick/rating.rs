//! What a brain says of the modules it used, checked before it is recorded: a failed rating is a failed rating,
//! never a number.

use std::collections::BTreeMap;

use events::{ERROR_CHARS_MAX, Event, NOTES_CHARS_MAX, Rated, RatingFailed, RatingSource, TickId, capped};

use crate::brain::{RatingDraft, Stars};
use crate::digest::ModuleDigest;
use crate::friction::{RUBRIC_VERSION, friction};

/// One event per used module, in the order of `used`: `Rated` where the draft holds, `RatingFailed` where it does
/// not or there is none. Drafts for modules that were not used, and second ones, are dropped.
pub(crate) fn verdicts(
    tick_id: &TickId,
    source: RatingSource,
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
    used.iter()
        .map(|digest| {
            let verdict = by_module
                .remove(&digest.module)
                .unwrap_or_else(|| Err(reason.clone()));
            match verdict.and_then(|stars| checked(stars, digest)) {
                Ok(stars) => Rated {
                    tick_id: tick_id.clone(),
                    module: digest.module.clone(),
                    rating: stars.rating,
                    notes: capped(&stars.notes, NOTES_CHARS_MAX),
                    evidence: stars.evidence,
                    source,
                    friction: Some(friction(digest)),
                    rubric_version: RUBRIC_VERSION,
                }
                .into(),
                Err(reason) => RatingFailed {
                    tick_id: tick_id.clone(),
                    module: digest.module.clone(),
                    reason: capped(&reason, ERROR_CHARS_MAX),
                }
                .into(),
            }
        })
        .collect()
}

fn first_of_each(drafts: Vec<RatingDraft>) -> BTreeMap<String, Result<Stars, String>> {
    let mut by_module = BTreeMap::new();
    for draft in drafts {
        by_module.entry(draft.module).or_insert(draft.verdict);
    }
    by_module
}

/// Stars within range that rest on calls of this very tick and module, or why not.
fn checked(stars: Stars, digest: &ModuleDigest) -> Result<Stars, String> {
    if !(1..=5).contains(&stars.rating) {
        return Err(format!("{} is not a rating from 1 to 5", stars.rating));
    }
    if let Some(foreign) = stars
        .evidence
        .iter()
        .find(|call_id| !digest.call_ids.contains(call_id))
    {
        return Err(format!(
            "call {foreign} is no call of {} in this tick",
            digest.module
        ));
    }
    Ok(stars)
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::testing::id;

    fn used() -> Vec<ModuleDigest> {
        let call_ids = vec![id("call-1"), id("call-2")];
        vec![ModuleDigest {
            module: "todo".to_owned(),
            calls: 2,
            call_ids,
            ..ModuleDigest::default()
        }]
    }

    fn draft(module: &str, rating: u8, evidence: &str) -> RatingDraft {
        let stars = Stars {
            rating,
            notes: "fine".to_owned(),
            evidence: vec![id(evidence)],
        };
        RatingDraft {
            module: module.to_owned(),
            verdict: Ok(stars),
        }
    }

    fn outcome(drafts: Result<Vec<RatingDraft>, String>) -> Result<u8, String> {
        match &verdicts(&id("tick"), RatingSource::Simulated, &used(), drafts)[..] {
            [Event::Rated(rated)] => Ok(rated.rating),
            [Event::RatingFailed(failed)] => Err(failed.reason.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rating_within_range_on_calls_of_its_module_is_recorded() {
        assert_eq!(outcome(Ok(vec![draft("todo", 4, "call-2")])), Ok(4));
    }

    #[test]
    fn a_number_out_of_range_is_a_failed_rating_not_a_clamped_one() {
        assert_eq!(
            outcome(Ok(vec![draft("todo", 0, "call-1")])),
            Err("0 is not a rating from 1 to 5".to_owned())
        );
        assert_eq!(
            outcome(Ok(vec![draft("todo", 6, "call-1")])),
            Err("6 is not a rating from 1 to 5".to_owned())
        );
    }

    #[test]
    fn evidence_from_elsewhere_fails_the_rating() {
        let failed = outcome(Ok(vec![draft("todo", 4, "call-9")]));
        assert_eq!(
            failed,
            Err("call call-9 is no call of todo in this tick".to_owned())
        );
    }

    #[test]
    fn a_used_module_without_a_word_is_a_failed_rating() {
        assert_eq!(
            outcome(Ok(Vec::new())),
            Err("the brain said nothing of this module".to_owned())
        );
        assert_eq!(
            outcome(Err("answer was prose".to_owned())),
            Err("answer was prose".to_owned())
        );
    }

    #[test]
    fn a_rating_of_what_was_not_used_and_a_second_one_are_dropped() {
        let drafts = vec![
            draft("notes", 5, "call-1"),
            draft("todo", 2, "call-1"),
            draft("todo", 5, "call-1"),
        ];
        assert_eq!(outcome(Ok(drafts)), Ok(2));
    }
}
