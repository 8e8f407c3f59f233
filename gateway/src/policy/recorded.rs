//! What rules would have decided over calls that were made: for trying a file before it is in force.

use std::time::Duration;

use events::UserId;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{PolicyRules, PolicySubject, PolicyTool, RefusalAnswer, Ruling, Windows};

/// A call as the record has it.
#[derive(Debug, Clone)]
pub struct RecordedCall<'a> {
    /// The gateway's own name of it.
    pub call_id: &'a str,
    /// Who called.
    pub subject: PolicySubject<'a>,
    /// What was called.
    pub tool: PolicyTool<'a>,
    /// When.
    pub at: Timestamp,
    /// Whether it was refused then.
    pub was_refused: bool,
}

/// What the new rules say of one recorded call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// The gateway's own name of it.
    pub call_id: String,
    /// Who called.
    pub user_id: UserId,
    /// What was called.
    pub tool: String,
    /// When.
    pub at: Timestamp,
    /// `refused` or `allowed` then.
    pub then: &'static str,
    /// `refused`, `allowed`, or `open`: it depends on arguments, which are not on record.
    pub now: &'static str,
    /// The rule that says no now.
    pub rule: Option<String>,
}

impl Replayed {
    /// Whether the new rules decide otherwise.
    pub fn is_different(&self) -> bool {
        self.now != "open" && self.now != self.then
    }
}

/// Rules that are tried on calls, in the order in which they were made: rates count as they would have.
#[derive(Debug)]
pub struct Replay {
    rules: PolicyRules,
    windows: Windows,
    began: Option<Timestamp>,
}

impl Replay {
    /// Of these rules.
    pub fn new(rules: PolicyRules) -> Self {
        Self {
            rules,
            windows: Windows::default(),
            began: None,
        }
    }

    /// What the rules say of `call`. Times of calls that come out of order count as the latest so far.
    pub fn next(&mut self, call: &RecordedCall<'_>) -> Replayed {
        let (now, rule) = self.decide(call);
        Replayed {
            call_id: call.call_id.to_owned(),
            user_id: call.subject.user_id.clone(),
            tool: call.tool.name.to_owned(),
            at: call.at,
            then: if call.was_refused { "refused" } else { "allowed" },
            now,
            rule,
        }
    }

    fn decide(&mut self, call: &RecordedCall<'_>) -> (&'static str, Option<String>) {
        let RecordedCall {
            subject, tool, at, ..
        } = call;
        if self.rules.depends_on_arguments(subject, tool) {
            return ("open", None);
        }
        match self.rules.judge(subject, tool, &Value::Null) {
            Ruling::Refuse { rule, .. } => ("refused", Some(rule.to_string())),
            Ruling::Allow => {
                let began = *self.began.get_or_insert(*at);
                let since = Duration::try_from(at.duration_since(began)).unwrap_or_default();
                match self.windows.take(&self.rules, subject, tool, since, false) {
                    Some(full) => ("refused", Some(full.rule.to_string())),
                    None => ("allowed", None),
                }
            }
        }
    }
}

impl PolicyRules {
    /// Whether what is decided about a call of `tool` depends on its arguments.
    fn depends_on_arguments(&self, subject: &PolicySubject<'_>, tool: &PolicyTool<'_>) -> bool {
        match self.judge(subject, tool, &Value::Null) {
            Ruling::Refuse { rule, answer, .. } if &*rule != "arguments" => {
                // What is told for a rule with conditions depends on them; everything else does not.
                matches!(answer, RefusalAnswer::Told(_)) && &*rule != "destructive"
            }
            _ => {
                let has_free_grant = self
                    .grants_of(subject, tool)
                    .any(|grant| grant.conditions.is_empty());
                let has_conditional_refusal = self.refusals_of(subject, tool).next().is_some();
                !has_free_grant || has_conditional_refusal
            }
        }
    }
}
