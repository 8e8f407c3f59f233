//! Calibration: once a week a persona uses the twins as well, and rates them like anything else.
//!
//! The twins are no part of the app, so nothing of this is among its calls and ratings: what is kept is one `TwinRated`
//! for each. What a model is asked on the way is asked, paid for and recorded as ever.

use std::collections::BTreeMap;

use events::{ERROR_CHARS_MAX, Event, Twin, TwinRated, capped};
use jiff::SignedDuration;

use super::Tick;
use super::rating::{self, Rater};
use super::record::RecordError;
use crate::attribution::Ledger;
use crate::brain::PersonaView;
use crate::diary::Diary;
use crate::digest::digest;
use crate::friction::{RUBRIC_VERSION, friction};
use crate::mcp_client::{McpSession, Place};
use crate::model::Conversation;
use crate::spaces::SharedSpace;

/// From one calibration to the next. Less than a week, so that a daily persona's comes on the same day of each.
const EVERY: SignedDuration = SignedDuration::from_hours(6 * 24 + 12);
/// Calls in one visit to a twin.
const CALLS_MAX: u32 = 12;
/// The module the twins' tools belong to.
const MODULE: &str = "shelf";

/// What belongs to the persona's own day, put aside while it visits the twins.
struct Day {
    persona: PersonaView,
    diary: Diary,
    space: Option<SharedSpace>,
    ledger: Ledger,
    conversation: Conversation,
}

impl Tick<'_> {
    /// Visits both twins, where they are switched on and due, and returns what came of it. A twin that cannot be visited
    /// says nothing.
    pub(super) async fn calibrate(&mut self, session: &McpSession) -> Result<Vec<Event>, RecordError> {
        if !self.is_calibration_due() {
            return Ok(Vec::new());
        }
        self.tell_status("calibrating");
        let persona = PersonaView {
            module_mix: BTreeMap::from([(MODULE.to_owned(), 1.0)]),
            ..self.facts.persona.clone()
        };
        let mut day = Day {
            persona,
            diary: Diary::default(),
            space: None,
            ledger: self.visit_ledger(),
            conversation: Conversation::default(),
        };
        self.change_places(&mut day);
        self.visiting = true;
        let mut events = Vec::new();
        let mut result = Ok(());
        for twin in self.order() {
            self.ledger = self.visit_ledger();
            self.conversation = Conversation::default();
            self.spending.begin_visit();
            match self.visit(session, twin).await {
                Ok(rated) => events.extend(rated.map(Event::from)),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.visiting = false;
        self.change_places(&mut day);
        result.map(|()| events)
    }

    fn is_calibration_due(&self) -> bool {
        let last = self.facts.diary.calibrated_at();
        let is_due = last.is_none_or(|last| self.facts.present.duration_since(last) >= EVERY);
        // The first visits are to get to know the app.
        self.stage.settings.calibrates && self.facts.number > 1 && is_due
    }

    /// Which comes first changes, so that neither is always the fresh one.
    fn order(&self) -> [Twin; 2] {
        if (self.facts.number ^ self.facts.seed) & 1 == 0 {
            [Twin::Good, Twin::Bad]
        } else {
            [Twin::Bad, Twin::Good]
        }
    }

    fn visit_ledger(&self) -> Ledger {
        Ledger::new(self.id.clone(), [])
    }

    fn change_places(&mut self, day: &mut Day) {
        std::mem::swap(&mut self.facts.persona, &mut day.persona);
        std::mem::swap(&mut self.facts.diary, &mut day.diary);
        std::mem::swap(&mut self.facts.space, &mut day.space);
        std::mem::swap(&mut self.ledger, &mut day.ledger);
        std::mem::swap(&mut self.conversation, &mut day.conversation);
    }

    async fn visit(&mut self, session: &McpSession, twin: Twin) -> Result<Option<TwinRated>, RecordError> {
        let visit = match session.open_beside(self.stage, Place::Twin(twin)).await {
            Ok(visit) => visit,
            Err(error) => {
                tracing::warn!(%error, "a calibration twin could not be visited; the next tick tries again");
                return Ok(None);
            }
        };
        let rated = Box::pin(self.use_and_rate(&visit, twin)).await;
        visit.close().await;
        rated
    }

    async fn use_and_rate(
        &mut self,
        visit: &McpSession,
        twin: Twin,
    ) -> Result<Option<TwinRated>, RecordError> {
        let ending = self.live(visit).await?;
        let past = self.past_as_rated();
        let used = digest(&past);
        let Some(module) = used.iter().find(|digest| digest.module == MODULE) else {
            return Ok(None);
        };
        let drafts = if ending.can_be_rated() {
            self.drafts(visit, &past, &used).await?
        } else {
            Err(ending.reason.clone().unwrap_or_default())
        };
        let rater = Rater {
            identity: self.identity.clone(),
            source: self.brain.source(),
        };
        let blank = TwinRated {
            tick_id: self.id.clone(),
            twin,
            rating: None,
            failed: None,
            calls: self.ledger.made(),
            errors: self.ledger.errors(),
            friction: friction(module),
            source: self.brain.source(),
            rubric_version: RUBRIC_VERSION,
            brain: self.identity.name.to_owned(),
            model: self.identity.model.clone(),
            prompt_version: self.identity.prompt_version,
            rated_at: self.facts.present,
        };
        let verdict = rating::verdicts(&self.id, &rater, &used, drafts)
            .into_iter()
            .next();
        let failed = |reason: &str| TwinRated {
            failed: Some(capped(reason, ERROR_CHARS_MAX)),
            ..blank.clone()
        };
        Ok(Some(match verdict {
            Some(Event::Rated(given)) => match &given.unsupported {
                None => TwinRated {
                    rating: Some(given.rating),
                    ..blank
                },
                // Stars that rest on nothing are as good as none here: they would be kind to both.
                Some(reason) => failed(reason),
            },
            Some(Event::RatingFailed(unusable)) => failed(&unusable.reason),
            _ => failed("it was not rated"),
        }))
    }

    pub(super) fn calls_of_tick_max(&self) -> u32 {
        if self.visiting {
            CALLS_MAX
        } else {
            self.stage.settings.calls_per_tick_max
        }
    }
}
