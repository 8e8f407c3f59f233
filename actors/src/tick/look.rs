//! Looking, for every brain alike, whether what others put into a shared space is there: by id, before the brain acts.
//!
//! Nobody's opinion is asked. A list that fails, or is too full to tell, or of a thing that its maker has in hand at this
//! very moment, is no outcome: what cannot be told now is looked for at the next tick here.

use std::collections::BTreeMap;
use std::time::Duration;

use events::{
    CallId, DiaryWritten, Event, ExpectationChecked, ExpectationOutcome, ExpectationRaised, PersonaId,
};
use serde_json::Value;

use super::Tick;
use super::record::RecordError;
use crate::attribution::Whose;
use crate::brain::{self, CallOutcome, PastCall};
use crate::expectations::Expected;
use crate::mcp_client::McpSession;

/// How long the roster may take to have read the log.
const READ_WITHIN: Duration = Duration::from_secs(30);

impl Tick<'_> {
    /// Looks for what is expected in the space of this tick, and holds what came of it for the next commit.
    pub(super) async fn look(&mut self, session: &McpSession) -> Result<(), RecordError> {
        let expected = self.expected().await;
        if expected.is_empty() {
            return Ok(());
        }
        self.tell_status("looking");
        let mut looks: BTreeMap<String, brain::Look> = BTreeMap::new();
        for open in expected.iter().filter(|open| !open.is_changed) {
            let module = &open.thing.module;
            if let Some(look) = brain::look(session.tools(), module) {
                looks.insert(module.clone(), look);
            }
        }
        let calls: Vec<_> = looks.values().map(|look| look.call.clone()).collect();
        if !calls.is_empty() {
            self.send(session, calls, Whose::Ours).await?;
        }
        let seen = self.ledger.asides();
        // Once more, as of now: its maker may have changed it while we looked.
        let now = self.expected().await;
        for open in expected {
            let Some(present) = now.iter().find(|other| other.thing.id == open.thing.id) else {
                continue;
            };
            let (outcome, call_id) = match looks.get(&open.thing.module) {
                _ if present.is_changed => (ExpectationOutcome::Void, None),
                Some(look) => match judge(&open, present, look, &seen) {
                    Some((outcome, call_id)) => (outcome, Some(call_id)),
                    None => continue,
                },
                None => continue,
            };
            metrics::counter!("cast_expectations_total", "outcome" => outcome.as_str()).increment(1);
            self.recorder.hold([Event::from(ExpectationChecked {
                tick_id: self.id.clone(),
                space_id: open.space_id,
                thing: open.thing,
                outcome,
                call_id,
            })]);
        }
        Ok(())
    }

    /// What is expected of this tick, as the log has it now; nothing in a space of one's own.
    async fn expected(&self) -> Vec<Expected> {
        let Some(space) = &self.facts.space else {
            return Vec::new();
        };
        if let Err(error) = self.stage.read.the_end(self.stage, READ_WITHIN).await {
            tracing::warn!(%error, "nobody knows what is expected in a shared space; the next tick there looks");
            return Vec::new();
        }
        let persona_id = &self.facts.persona.persona_id;
        self.stage.expectations.of(persona_id, &space.id)
    }

    /// What the partners of this space ought to find from now on.
    pub(super) fn raised(&self, session: &McpSession, written: &DiaryWritten) -> Vec<Event> {
        let Some(space) = &self.facts.space else {
            return Vec::new();
        };
        let partners: Vec<PersonaId> = self.stage.expectations.who_looks(&space.others);
        if partners.is_empty() {
            return Vec::new();
        }
        let past = self.ledger.past();
        let can_be_found = |module: &str| brain::look(session.tools(), module).is_some();
        let things = written.made.iter().filter(|thing| can_be_found(&thing.module));
        things
            .filter_map(|thing| {
                let made = past.iter().find(|call| {
                    call.module == thing.module
                        && matches!(&call.outcome, CallOutcome::Ok { structured, .. } if holds(structured, &thing.id))
                })?;
                Some(
                    ExpectationRaised {
                        tick_id: self.id.clone(),
                        space_id: space.id.clone(),
                        thing: thing.clone(),
                        call_id: made.call_id.clone(),
                        partners: partners.clone(),
                    }
                    .into(),
                )
            })
            .collect()
    }
}

/// What the look says of one thing; `None` where it cannot tell.
fn judge(
    open: &Expected,
    present: &Expected,
    look: &brain::Look,
    seen: &[PastCall],
) -> Option<(ExpectationOutcome, CallId)> {
    let call = seen.iter().find(|call| call.tool == look.call.tool)?;
    let CallOutcome::Ok { structured, .. } = &call.outcome else {
        return None;
    };
    let outcome = if holds(structured, &open.thing.id) {
        ExpectationOutcome::Kept
    } else if open.is_in_hand || present.is_in_hand || look.is_full(structured) {
        return None;
    } else {
        ExpectationOutcome::Broken
    };
    Some((outcome, call.call_id.clone()))
}

/// Whether a result shows the thing of that id.
fn holds(result: &Value, id: &str) -> bool {
    match result {
        Value::Object(members) => members
            .iter()
            .any(|(name, member)| (brain::is_id(name) && member.as_str() == Some(id)) || holds(member, id)),
        Value::Array(items) => items.iter().any(|item| holds(item, id)),
        _ => false,
    }
}
