//! Why a tool may or may not be called by somebody.

use serde::Serialize;
use serde_json::Value;

use super::file::Per;
use super::{PolicyRules, PolicySubject, PolicyTool, RefusalAnswer, Ruling, condition};
use crate::settings::PolicyMode;

/// What the rules say of one caller and one tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Number of the rules.
    pub policy_version: u32,
    /// `enforce`, `log-only` or `off`.
    pub mode: &'static str,
    /// Whether the tool is on the caller's list.
    pub is_listed: bool,
    /// Whether a call goes through, rates aside.
    pub is_allowed: bool,
    /// The rule that says no, in whatever mode.
    pub rule: Option<String>,
    /// What the caller would read.
    pub answer: Option<String>,
    /// Ids of the grants that name caller and tool, with what they ask of the arguments.
    pub grants: Vec<String>,
    /// Ids of the rates that hold for the call, with their limits.
    pub rates: Vec<String>,
}

impl PolicyRules {
    /// Says why `subject` may or may not call `tool` with `arguments`.
    pub fn explain(
        &self,
        mode: PolicyMode,
        subject: &PolicySubject<'_>,
        tool: &PolicyTool<'_>,
        arguments: &Value,
    ) -> Explanation {
        let (rule, answer, is_boundary) = match self.judge(subject, tool, arguments) {
            Ruling::Allow => (None, None, false),
            Ruling::Refuse {
                rule,
                answer,
                is_boundary,
            } => {
                let told = match answer {
                    RefusalAnswer::LikeUnknown => "as if there were no such tool".to_owned(),
                    RefusalAnswer::Told(reason) => reason,
                };
                (Some(rule.to_string()), Some(told), is_boundary)
            }
        };
        let grants = self
            .grants_of(subject, tool)
            .map(|grant| match &grant.conditions[..] {
                [] => grant.id.to_string(),
                conditions => format!("{} ({})", grant.id, condition::spelled(conditions)),
            });
        let rates = self.rates.iter().filter(|rate| rate.target.fits(subject, tool));
        let rates = rates.map(|rate| {
            let of = match rate.per {
                Per::Tool => "of this tool",
                Per::User => "of all tools it is about",
            };
            format!(
                "{}: {} calls {of} in {} s",
                rate.id,
                rate.calls,
                rate.window.as_secs()
            )
        });
        let is_refused = rule.is_some() && (is_boundary || mode == PolicyMode::Enforce);
        Explanation {
            policy_version: self.version,
            mode: mode.as_str(),
            is_listed: self.is_visible(mode, subject, tool),
            is_allowed: !is_refused,
            rule,
            answer,
            grants: grants.collect(),
            rates: rates.collect(),
        }
    }
}
