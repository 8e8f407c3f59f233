//! Whose call an outcome is, and whose fault a failure: by the call's id and by what the call was meant to be.
//!
//! Models run tools in parallel, and answers come back in any order. An outcome therefore belongs to the call whose
//! id it carries, never to the last call or the first one without an outcome.

use std::collections::BTreeMap;

use events::{
    CallId, Cause, ERROR_CHARS_MAX, Event, Intent, TickId, ToolCalled, ToolFailed, ToolReturned, capped,
};
use jiff::Timestamp;

use crate::brain::{CallOutcome, PastCall, PlannedCall};
use crate::mcp_client::{Answer, module_of};
use crate::sights::Sights;

/// The calls of one tick with their outcomes, as they come to be known.
#[derive(Debug)]
pub(crate) struct Ledger {
    tick_id: TickId,
    calls: Vec<Entry>,
    by_id: BTreeMap<CallId, usize>,
    /// Ids the persona knew before its first call.
    known: Vec<String>,
}

/// Who decided on a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The brain. It sees the outcome, and rates by it.
    Brains,
    /// Our own code, for every brain alike. It is on the record, and no part of the brain's day.
    Ours,
}

#[derive(Debug)]
struct Entry {
    call_id: CallId,
    whose: Whose,
    plan: PlannedCall,
    outcome: Option<CallOutcome>,
}

/// An outcome that was put down: what to record and what to tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settled {
    pub(crate) event: Event,
    pub(crate) tool: String,
    pub(crate) outcome: CallOutcome,
}

impl Ledger {
    pub(crate) fn new(tick_id: TickId, known: impl IntoIterator<Item = String>) -> Self {
        Self {
            tick_id,
            calls: Vec::new(),
            by_id: BTreeMap::new(),
            known: known.into_iter().collect(),
        }
    }

    /// What the persona has seen by now.
    pub(crate) fn sights(&self) -> Sights {
        let mut sights = Sights::of(&self.known);
        for entry in &self.calls {
            if let Some(CallOutcome::Ok { structured, .. }) = &entry.outcome {
                sights.see(structured);
            }
        }
        sights
    }

    /// Enters a call that is about to be sent. Its id follows from tick and index.
    pub(crate) fn plan(
        &mut self,
        mut plan: PlannedCall,
        whose: Whose,
        sights: &Sights,
        now: Timestamp,
    ) -> (CallId, Event) {
        let index = self.made();
        let call_id = CallId::derived(&[self.tick_id.as_str(), &index.to_string()]);
        // A retry of what is not in this tick is no retry.
        plan.retry_of = plan.retry_of.filter(|earlier| self.by_id.contains_key(earlier));
        let called = ToolCalled {
            tick_id: self.tick_id.clone(),
            call_id: call_id.clone(),
            index,
            tool: plan.tool.clone(),
            module: module_of(&plan.tool).to_owned(),
            input_hash: events::input_hash(&plan.arguments),
            act_hash: Some(events::input_hash(&sights.without_ids(&plan.arguments))),
            intent: plan.intent,
            mistake: plan.mistake.clone(),
            retry_of: plan.retry_of.clone(),
            called_at: now,
        };
        self.by_id.insert(call_id.clone(), self.calls.len());
        self.calls.push(Entry {
            call_id: call_id.clone(),
            whose,
            plan,
            outcome: None,
        });
        (call_id, called.into())
    }

    /// Puts down the outcome of the call of that id. `None` for an id that was not planned or has its outcome
    /// already: the first one stands.
    pub(crate) fn settle(&mut self, call_id: &CallId, answer: Answer, latency_ms: u64) -> Option<Settled> {
        let at = *self.by_id.get(call_id)?;
        let entry = self.calls.get_mut(at)?;
        if entry.outcome.is_some() {
            return None;
        }
        let (tick_id, call_id) = (self.tick_id.clone(), entry.call_id.clone());
        let cause = match &entry.plan.unsent {
            Some(unsent) => unsent.cause,
            None => cause(entry.plan.intent, &answer),
        };
        let (event, outcome) = match answer {
            Answer::Result { structured, bytes } => (
                ToolReturned {
                    tick_id,
                    call_id,
                    latency_ms: Some(latency_ms),
                    result_bytes: bytes,
                }
                .into(),
                CallOutcome::Ok {
                    structured,
                    latency_ms,
                },
            ),
            Answer::ToolError { message }
            | Answer::ProtocolError { message, .. }
            | Answer::Unanswered { message } => {
                let error = capped(&message, ERROR_CHARS_MAX);
                (
                    ToolFailed {
                        tick_id,
                        call_id,
                        error,
                        latency_ms: Some(latency_ms),
                        cause,
                    }
                    .into(),
                    CallOutcome::Error {
                        message,
                        latency_ms,
                        cause,
                    },
                )
            }
        };
        entry.outcome = Some(outcome.clone());
        Some(Settled {
            event,
            tool: entry.plan.tool.clone(),
            outcome,
        })
    }

    /// The brain's calls that have their outcome, in the order they were planned.
    pub(crate) fn past(&self) -> Vec<PastCall> {
        self.settled(Whose::Brains)
    }

    /// The same of our own.
    pub(crate) fn asides(&self) -> Vec<PastCall> {
        self.settled(Whose::Ours)
    }

    fn settled(&self, whose: Whose) -> Vec<PastCall> {
        let of_whose = self.calls.iter().filter(|entry| entry.whose == whose);
        of_whose
            .filter_map(|entry| {
                Some(PastCall {
                    call_id: entry.call_id.clone(),
                    tool: entry.plan.tool.clone(),
                    module: module_of(&entry.plan.tool).to_owned(),
                    arguments: entry.plan.arguments.clone(),
                    intent: entry.plan.intent,
                    mistake: entry.plan.mistake.clone(),
                    retry_of: entry.plan.retry_of.clone(),
                    was_sent: entry.plan.unsent.is_none(),
                    outcome: entry.outcome.clone()?,
                })
            })
            .collect()
    }

    /// Calls made.
    pub(crate) fn made(&self) -> u32 {
        u32::try_from(self.calls.len()).unwrap_or(u32::MAX)
    }

    /// Calls that failed.
    pub(crate) fn errors(&self) -> u32 {
        self.count(|entry| matches!(entry.outcome, Some(CallOutcome::Error { .. })))
    }

    /// Calls that tried an earlier one again.
    pub(crate) fn retries(&self) -> u32 {
        self.count(|entry| entry.plan.retry_of.is_some())
    }

    /// The calls without an outcome.
    pub(crate) fn open(&self) -> Vec<CallId> {
        self.calls
            .iter()
            .filter(|entry| entry.outcome.is_none())
            .map(|entry| entry.call_id.clone())
            .collect()
    }

    fn count(&self, counts: impl Fn(&Entry) -> bool) -> u32 {
        u32::try_from(self.calls.iter().filter(|entry| counts(entry)).count()).unwrap_or(u32::MAX)
    }
}

/// Whose fault it is that a call with this intent was answered so.
///
/// A deliberate mistake that is refused is the persona's; one that breaks the server inside is not. A call that
/// ought to have worked and was refused is the app's.
pub(crate) fn cause(intent: Intent, answer: &Answer) -> Cause {
    match (answer, intent) {
        (Answer::Unanswered { .. }, _) => Cause::Infra,
        (
            Answer::ProtocolError {
                is_internal: true, ..
            },
            _,
        )
        | (_, Intent::Valid) => Cause::App,
        (_, Intent::Mistake | Intent::Chaos) => Cause::Persona,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::testing::{id, sample_time};
    use serde_json::json;

    fn planned(tool: &str) -> PlannedCall {
        let (tool, arguments) = (tool.to_owned(), json!({}));
        PlannedCall {
            tool,
            arguments,
            intent: Intent::Valid,
            mistake: None,
            retry_of: None,
            unsent: None,
        }
    }

    fn fine() -> Answer {
        Answer::Result {
            structured: json!({"ok": true}),
            bytes: 11,
        }
    }

    fn refused() -> Answer {
        Answer::ToolError {
            message: "title: required".to_owned(),
        }
    }

    #[test]
    fn an_outcome_belongs_to_the_call_whose_id_it_carries() {
        let mut ledger = Ledger::new(id("tick"), []);
        let ids: Vec<CallId> = ["todo.create", "todo.list", "notes.create"]
            .map(|tool| {
                ledger
                    .plan(planned(tool), Whose::Brains, &Sights::default(), sample_time())
                    .0
            })
            .into();
        ledger.settle(&ids[2], fine(), 1).unwrap();
        ledger.settle(&ids[0], refused(), 2).unwrap();
        ledger.settle(&ids[1], fine(), 3).unwrap();
        let errors: Vec<bool> = ledger
            .past()
            .iter()
            .map(|call| call.outcome.error().is_some())
            .collect();
        assert_eq!(errors, [true, false, false]);
        assert_eq!(ledger.errors(), 1);
    }

    #[test]
    fn a_second_outcome_and_one_for_an_unknown_call_are_not_taken() {
        let mut ledger = Ledger::new(id("tick"), []);
        let (call_id, _) = ledger.plan(
            planned("todo.create"),
            Whose::Brains,
            &Sights::default(),
            sample_time(),
        );
        assert!(ledger.settle(&call_id, fine(), 1).is_some());
        assert_eq!(ledger.settle(&call_id, refused(), 1), None);
        assert_eq!(ledger.settle(&id("elsewhere"), refused(), 1), None);
        assert_eq!((ledger.errors(), ledger.open()), (0, Vec::new()));
    }

    #[test]
    fn ids_follow_from_tick_and_index_alone() {
        let ids = |tick: &str| {
            let mut ledger = Ledger::new(id(tick), []);
            [(); 2].map(|()| {
                ledger
                    .plan(
                        planned("todo.list"),
                        Whose::Brains,
                        &Sights::default(),
                        sample_time(),
                    )
                    .0
            })
        };
        assert_eq!(ids("one"), ids("one"));
        assert_ne!(ids("one")[0], ids("one")[1]);
        assert_ne!(ids("one")[0], ids("two")[0]);
    }

    #[test]
    fn a_retry_of_a_call_of_another_tick_is_no_retry() {
        let mut ledger = Ledger::new(id("tick"), []);
        let retry = PlannedCall {
            retry_of: Some(id("elsewhere")),
            ..planned("todo.create")
        };
        ledger.plan(retry, Whose::Brains, &Sights::default(), sample_time());
        assert_eq!(ledger.retries(), 0);
    }

    #[test]
    fn the_cause_follows_from_the_intent_and_the_kind_of_answer() {
        let internal = Answer::ProtocolError {
            message: String::new(),
            is_internal: true,
        };
        let invalid = Answer::ProtocolError {
            message: String::new(),
            is_internal: false,
        };
        let nothing = Answer::Unanswered {
            message: String::new(),
        };
        for (intent, answer, expected) in [
            (Intent::Valid, refused(), Cause::App),
            (Intent::Valid, invalid.clone(), Cause::App),
            (Intent::Valid, nothing.clone(), Cause::Infra),
            (Intent::Mistake, refused(), Cause::Persona),
            (Intent::Chaos, invalid, Cause::Persona),
            (Intent::Mistake, nothing, Cause::Infra),
            (Intent::Chaos, internal, Cause::App),
        ] {
            assert_eq!(cause(intent, &answer), expected, "{intent:?} {answer:?}");
        }
    }

    #[test]
    fn long_errors_are_cut_in_the_event_and_whole_for_the_brain() {
        let mut ledger = Ledger::new(id("tick"), []);
        let (call_id, _) = ledger.plan(
            planned("todo.create"),
            Whose::Brains,
            &Sights::default(),
            sample_time(),
        );
        let settled = ledger
            .settle(
                &call_id,
                Answer::ToolError {
                    message: "x".repeat(2_000),
                },
                1,
            )
            .unwrap();
        let Event::ToolFailed(failed) = settled.event else {
            panic!("{:?}", settled.event)
        };
        assert_eq!(failed.error.chars().count(), ERROR_CHARS_MAX);
        assert_eq!(ledger.past()[0].outcome.error().unwrap().len(), 2_000);
    }
}
