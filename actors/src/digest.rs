//! What a tick did to each module, in counts: the evidence every rating starts from.

use std::collections::BTreeMap;

use events::{CallId, Cause, Intent};

use crate::brain::{CallOutcome, PastCall};

/// Error texts kept per module.
const FIRST_ERRORS_MAX: usize = 3;

/// One module's share of a tick.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModuleDigest {
    /// The module.
    pub module: String,
    /// Calls made.
    pub calls: u32,
    /// Calls that failed, for whatever reason.
    pub errors: u32,
    /// Of the errors: deliberate mistakes that were refused with a message good enough for the persona to send
    /// a corrected call next. The app working, not failing.
    pub helped: u32,
    /// Of the errors: calls that got no answer from the app.
    pub unanswered: u32,
    /// Deliberate mistakes that the app took without a word.
    pub accepted_mistakes: u32,
    /// Calls that tried a failed one of this module again, changed or not.
    pub retries: u32,
    /// Calls that sent again, unchanged, what had already failed.
    pub repeats: u32,
    /// The last call failed, and the persona left it there: it was not even tried again in another module.
    pub gave_up: bool,
    /// The longest wait for an answer, in milliseconds.
    pub slowest_ms: u64,
    /// The first three different error texts.
    pub first_errors: Vec<String>,
    /// All calls, in order.
    pub call_ids: Vec<CallId>,
    /// Those of them that failed.
    pub failed_ids: Vec<CallId>,
}

/// Counts per module, for every module `past` used, by name. A call that was never sent used none.
pub fn digest(past: &[PastCall]) -> Vec<ModuleDigest> {
    let tried_again: BTreeMap<&CallId, &PastCall> = past
        .iter()
        .filter_map(|call| Some((call.retry_of.as_ref()?, call)))
        .collect();
    let is_retry = |call: &PastCall| {
        let failed = past
            .iter()
            .find(|earlier| call.retry_of.as_ref() == Some(&earlier.call_id));
        failed.is_some_and(|failed| failed.module == call.module)
    };
    let mut modules: BTreeMap<&str, ModuleDigest> = BTreeMap::new();
    for (at, call) in past.iter().enumerate().filter(|(_, call)| call.was_sent) {
        let entry = modules.entry(&call.module).or_insert_with(|| ModuleDigest {
            module: call.module.clone(),
            ..ModuleDigest::default()
        });
        let is_repeat = past[..at].iter().any(|earlier| {
            earlier.outcome.error().is_some()
                && earlier.tool == call.tool
                && earlier.arguments == call.arguments
        });
        entry.retries += u32::from(is_retry(call));
        entry.repeats += u32::from(is_repeat);
        entry.count(call, tried_again.get(&call.call_id).copied());
    }
    modules.into_values().collect()
}

impl ModuleDigest {
    fn count(&mut self, call: &PastCall, tried_again: Option<&PastCall>) {
        self.calls += 1;
        self.call_ids.push(call.call_id.clone());
        self.slowest_ms = self.slowest_ms.max(call.outcome.latency_ms());
        let is_mistake = call.intent == Intent::Mistake;
        match &call.outcome {
            CallOutcome::Ok { .. } => {
                self.gave_up = false;
                self.accepted_mistakes += u32::from(is_mistake);
            }
            CallOutcome::Error { message, cause, .. } => {
                let was_corrected = tried_again.is_some_and(|again| again.intent == Intent::Valid);
                self.gave_up = tried_again.is_none();
                self.errors += 1;
                self.failed_ids.push(call.call_id.clone());
                self.helped += u32::from(is_mistake && was_corrected);
                self.unanswered += u32::from(*cause == Cause::Infra);
                if self.first_errors.len() < FIRST_ERRORS_MAX && !self.first_errors.contains(message) {
                    self.first_errors.push(message.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    struct History(Vec<PastCall>);

    impl History {
        fn call(mut self, tool: &str, arguments: Value, intent: Intent, retry_of: Option<usize>) -> Self {
            self.0.push(PastCall {
                call_id: CallId::derived(&[&self.0.len().to_string()]),
                tool: tool.to_owned(),
                module: tool.split('.').next().expect("a module").to_owned(),
                arguments,
                intent,
                mistake: (intent == Intent::Mistake).then(|| "missing-required".to_owned()),
                retry_of: retry_of.map(|at| self.0[at].call_id.clone()),
                was_sent: true,
                outcome: CallOutcome::Ok {
                    structured: json!({}),
                    latency_ms: 5,
                },
            });
            self
        }

        fn failing(mut self, message: &str, latency_ms: u64, cause: Cause) -> Self {
            let last = self.0.last_mut().expect("a call");
            last.outcome = CallOutcome::Error {
                message: message.to_owned(),
                latency_ms,
                cause,
            };
            self
        }
    }

    #[test]
    fn calls_are_counted_by_module_in_order() {
        let past = History(Vec::new())
            .call("todo.create", json!({"title": "a"}), Intent::Valid, None)
            .call("notes.search", json!({}), Intent::Valid, None)
            .call("todo.create", json!({"title": "b"}), Intent::Valid, None)
            .failing("disk full", 900, Cause::App);
        let digests = digest(&past.0);
        assert_eq!(
            digests
                .iter()
                .map(|digest| digest.module.as_str())
                .collect::<Vec<_>>(),
            ["notes", "todo"]
        );
        let todo = &digests[1];
        assert_eq!(
            (todo.calls, todo.errors, todo.slowest_ms, todo.gave_up),
            (2, 1, 900, true)
        );
        assert_eq!(
            todo.call_ids,
            [past.0[0].call_id.clone(), past.0[2].call_id.clone()]
        );
        assert_eq!(todo.first_errors, ["disk full"]);
        assert_eq!((digests[0].errors, digests[0].gave_up), (0, false));
    }

    #[test]
    fn a_refused_mistake_counts_as_helped_only_when_a_corrected_call_follows() {
        let refused = |history: History| {
            history
                .call("todo.create", json!({}), Intent::Mistake, None)
                .failing("title: required", 3, Cause::Persona)
        };
        let corrected =
            refused(History(Vec::new())).call("todo.create", json!({"title": "a"}), Intent::Valid, Some(0));
        let todo = digest(&corrected.0).remove(0);
        assert_eq!(
            (todo.errors, todo.helped, todo.retries, todo.repeats, todo.gave_up),
            (1, 1, 1, 0, false)
        );

        let stubborn = refused(History(Vec::new()))
            .call("todo.create", json!({}), Intent::Mistake, Some(0))
            .failing("no", 3, Cause::Persona);
        let todo = digest(&stubborn.0).remove(0);
        assert_eq!(
            (todo.errors, todo.helped, todo.retries, todo.repeats, todo.gave_up),
            (2, 0, 1, 1, true)
        );
    }

    #[test]
    fn a_call_to_the_wrong_module_that_is_corrected_in_the_right_one_leaves_neither_given_up() {
        let past = History(Vec::new())
            .call("journal.add", json!({"title": "a"}), Intent::Mistake, None)
            .failing("content: required", 3, Cause::Persona)
            .call("notes.create", json!({"title": "a"}), Intent::Valid, Some(0));
        let digests = digest(&past.0);
        assert_eq!(
            (digests[0].errors, digests[0].helped, digests[0].gave_up),
            (1, 1, false)
        );
        assert_eq!(
            (digests[1].errors, digests[1].retries, digests[1].gave_up),
            (0, 0, false)
        );
    }

    #[test]
    fn looking_twice_is_no_repeat_and_an_accepted_mistake_is_seen() {
        let past = History(Vec::new())
            .call("todo.list", json!({}), Intent::Valid, None)
            .call("todo.list", json!({}), Intent::Valid, None)
            .call("todo.create", json!({}), Intent::Mistake, None);
        let todo = digest(&past.0).remove(0);
        assert_eq!((todo.repeats, todo.accepted_mistakes), (0, 1));
    }

    #[test]
    fn the_first_three_different_errors_are_kept() {
        let past = ["a", "a", "b", "c", "d"]
            .into_iter()
            .fold(History(Vec::new()), |history, message| {
                history
                    .call("todo.list", json!({}), Intent::Valid, None)
                    .failing(message, 1, Cause::Infra)
            });
        let todo = digest(&past.0).remove(0);
        assert_eq!(todo.first_errors, ["a", "b", "c"]);
        assert_eq!(todo.unanswered, 5);
    }

    #[test]
    fn nothing_used_is_nothing_to_rate() {
        assert_eq!(digest(&[]), []);
    }
}
