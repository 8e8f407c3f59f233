//! The policy gate: rules as data, and a pure function from what is known about a call to a decision.
//!
//! Asked in this order, and the first that says no decides:
//!
//! 1. The tool is for the house alone (`admin-scope`). A boundary, not a preference: it holds in every mode.
//! 2. A `[[refuse]]` without conditions names it, or no `[[grant]]` does (`not-granted`). Then the tool is not listed,
//!    and a call of it is answered like one of a tool that does not exist.
//! 3. It destroys, and no `[[destructive]]` entry names caller and tool (`destructive`).
//! 4. The arguments fit no grant's conditions (`arguments`), or fit those of a `[[refuse]]`.
//! 5. A window of a `[[rate]]` is full.
//!
//! Marks of prompt injection in free text are flagged and let through, because a note *about* injection is a note.
//! `docs/operations.md` shows the file's form.

mod condition;
mod explain;
mod file;
mod injection;
mod live;
mod pattern;
mod recorded;
#[cfg(test)]
mod tests;
mod windows;

use std::sync::Arc;

use events::UserId;
use serde_json::Value;

use crate::settings::PolicyMode;
use crate::tool::{Hint, Scope};

pub use explain::Explanation;
pub use file::{PolicyFault, PolicyRules};
pub(crate) use injection::has_injection_marks;
pub(crate) use live::{LivePolicy, Looked, watch};
pub use recorded::{RecordedCall, Replay, Replayed};
pub(crate) use windows::Windows;

use file::{Grant, Refuse};

/// What the gate knows about who calls.
#[derive(Debug, Clone, Copy)]
pub struct PolicySubject<'a> {
    /// The account.
    pub user_id: &'a UserId,
    /// Its email, in lower case.
    pub email: &'a str,
    /// `user` or `admin`.
    pub role: &'a str,
    /// `free` or `pro`.
    pub tier: &'a str,
    /// `human`, `persona` or `system`.
    pub kind: &'a str,
}

/// What the gate knows about a tool.
#[derive(Debug, Clone, Copy)]
pub struct PolicyTool<'a> {
    /// Its name.
    pub name: &'a str,
    /// Who may see it.
    pub scope: Scope,
    /// What it does to the data.
    pub hint: Hint,
}

/// What the rules say of a call, rates aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Nothing against it.
    Allow,
    /// A rule says no.
    Refuse {
        /// Which: the rule's own id, or one of the words in the module's description.
        rule: Arc<str>,
        /// How the caller is told.
        answer: RefusalAnswer,
        /// Whether it holds whatever the mode.
        is_boundary: bool,
    },
}

/// How a refused caller is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusalAnswer {
    /// As if there were no such tool.
    LikeUnknown,
    /// With the reason, and what would help.
    Told(String),
}

impl PolicyRules {
    /// Whether `subject` is shown `tool`. True exactly when no arguments at all would make a call of it be answered
    /// like one of an unknown tool.
    pub fn is_visible(&self, mode: PolicyMode, subject: &PolicySubject<'_>, tool: &PolicyTool<'_>) -> bool {
        if tool.scope == Scope::Admin {
            return false;
        }
        mode != PolicyMode::Enforce || self.hides(subject, tool).is_none()
    }

    /// What the rules say of a call with `arguments`, whatever the mode.
    pub fn judge(&self, subject: &PolicySubject<'_>, tool: &PolicyTool<'_>, arguments: &Value) -> Ruling {
        if tool.scope == Scope::Admin {
            return Ruling::Refuse {
                rule: "admin-scope".into(),
                answer: RefusalAnswer::LikeUnknown,
                is_boundary: true,
            };
        }
        if let Some(rule) = self.hides(subject, tool) {
            return Ruling::Refuse {
                rule,
                answer: RefusalAnswer::LikeUnknown,
                is_boundary: false,
            };
        }
        let told = |rule: &str, reason: String| Ruling::Refuse {
            rule: rule.into(),
            answer: RefusalAnswer::Told(reason),
            is_boundary: false,
        };
        let name = tool.name;
        if tool.hint == Hint::Destructive && !self.may_destroy(subject, tool) {
            let reason = format!(
                "{name} removes data for good and is not on your list of allowed destructive tools; ask the operator to \
                 add it, or use a tool that archives instead"
            );
            return told("destructive", reason);
        }
        if !self
            .grants_of(subject, tool)
            .any(|grant| condition::all_hold(&grant.conditions, arguments))
        {
            let reason = format!(
                "{name} is not granted to you with these arguments; {}",
                self.ranges(subject, tool)
            );
            return told("arguments", reason);
        }
        let refuse = self
            .refusals_of(subject, tool)
            .filter(|refuse| !refuse.conditions.is_empty())
            .find(|refuse| condition::all_hold(&refuse.conditions, arguments));
        match refuse {
            Some(refuse) => {
                let reason = refuse.reason.clone();
                told(
                    &refuse.id,
                    reason.unwrap_or_else(|| format!("{name} is refused with these arguments")),
                )
            }
            None => Ruling::Allow,
        }
    }

    /// The rule that hides `tool` from `subject`; `None` when it is shown.
    fn hides(&self, subject: &PolicySubject<'_>, tool: &PolicyTool<'_>) -> Option<Arc<str>> {
        let refuse = self
            .refusals_of(subject, tool)
            .find(|refuse| refuse.conditions.is_empty());
        if let Some(refuse) = refuse {
            return Some(refuse.id.clone());
        }
        self.grants_of(subject, tool)
            .next()
            .is_none()
            .then(|| "not-granted".into())
    }

    fn grants_of(&self, subject: &PolicySubject<'_>, tool: &PolicyTool<'_>) -> impl Iterator<Item = &Grant> {
        self.grants
            .iter()
            .filter(|grant| grant.target.fits(subject, tool))
    }

    fn refusals_of(
        &self,
        subject: &PolicySubject<'_>,
        tool: &PolicyTool<'_>,
    ) -> impl Iterator<Item = &Refuse> {
        self.refusals
            .iter()
            .filter(|refuse| refuse.target.fits(subject, tool))
    }

    fn may_destroy(&self, subject: &PolicySubject<'_>, tool: &PolicyTool<'_>) -> bool {
        self.destructive.iter().any(|allowed| allowed.fits(subject, tool))
    }

    /// What the grants of a tool ask of its arguments, for whoever did not meet it.
    fn ranges(&self, subject: &PolicySubject<'_>, tool: &PolicyTool<'_>) -> String {
        let ranges: Vec<String> = self
            .grants_of(subject, tool)
            .map(|grant| condition::spelled(&grant.conditions))
            .collect();
        format!("allowed is {}", ranges.join(", or "))
    }
}
