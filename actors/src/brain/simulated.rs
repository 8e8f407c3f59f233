//! The brain that needs no key: rules and seeded chance.
//!
//! It finds tools that are broken, slow, lie about their schema, or refuse without saying why. It cannot tell
//! whether a text is well worded or a plausible result is true; `docs/ratings.md` says so to operators.

use async_trait::async_trait;
use events::{NOTES_CHARS_MAX, RatingSource, capped};

use super::{Brain, BrainError, BrainIdentity, RateStep, RatingDraft, Stars, Step, TickView, machine};
use crate::digest::ModuleDigest;
use crate::friction::{friction, stars_for};
use crate::model::Conversation;

/// Version of the rules: habits, temper, words, mistakes. Raised when the same seed would live another day.
const RULES_VERSION: u32 = 4;

/// Acts and rates by rules. A pure function of the [`TickView`]: the same view gives the same answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SimulatedBrain;

impl SimulatedBrain {
    /// The one there is; it has no settings and no state.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Brain for SimulatedBrain {
    fn identity(&self) -> BrainIdentity {
        BrainIdentity {
            name: "simulated",
            model: None,
            prompt_version: RULES_VERSION,
        }
    }

    async fn step(&self, tick: &TickView<'_>, _: &mut Conversation) -> Result<Step, BrainError> {
        Ok(machine::decide(tick))
    }

    async fn rate(
        &self,
        _tick: &TickView<'_>,
        used: &[ModuleDigest],
        _: &mut Conversation,
    ) -> Result<RateStep, BrainError> {
        Ok(RateStep::Drafts(used.iter().map(rated).collect()))
    }

    fn source(&self) -> RatingSource {
        RatingSource::Simulated
    }
}

fn rated(digest: &ModuleDigest) -> RatingDraft {
    let verdict = if digest.unanswered == digest.calls {
        // Nothing was seen of the module itself, so there is nothing to rate.
        Err(format!("none of {} was answered", counted(digest.calls, "call")))
    } else {
        Ok(Stars {
            rating: stars_for(friction(digest)),
            notes: capped(&notes(digest), NOTES_CHARS_MAX),
            evidence: digest.call_ids.clone(),
            claims: None,
        })
    };
    RatingDraft {
        module: digest.module.clone(),
        verdict,
    }
}

/// The digest in words, made from counts alone.
fn notes(digest: &ModuleDigest) -> String {
    let failed = if digest.errors == 0 {
        format!("{}, none failed", counted(digest.calls, "call"))
    } else {
        format!("{} of {} failed", digest.errors, counted(digest.calls, "call"))
    };
    let quoted = digest
        .first_errors
        .first()
        .map(|error| format!(": {error}"))
        .unwrap_or_default();
    let mut notes = vec![format!("{failed}{quoted}")];
    let mut note = |count: u32, text: String| {
        if count > 0 {
            notes.push(text);
        }
    };
    note(
        digest.helped,
        format!(
            "{} refused with a message that helped",
            counted(digest.helped, "mistake")
        ),
    );
    note(
        digest.accepted_mistakes,
        format!(
            "{} accepted without a word",
            counted(digest.accepted_mistakes, "mistake")
        ),
    );
    note(digest.unanswered, format!("{} unanswered", digest.unanswered));
    note(digest.retries, format!("tried again {}", times(digest.retries)));
    note(digest.repeats, format!("unchanged {}", times(digest.repeats)));
    note(u32::from(digest.gave_up), "left on an error".to_owned());
    notes.push(format!("slowest {} ms", digest.slowest_ms));
    notes.join("; ")
}

fn counted(count: u32, thing: &str) -> String {
    if count == 1 {
        format!("1 {thing}")
    } else {
        format!("{count} {thing}s")
    }
}

fn times(count: u32) -> String {
    if count == 1 {
        "once".to_owned()
    } else {
        format!("{count} times")
    }
}
