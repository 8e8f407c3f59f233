//! The rules as they stand in a file, checked as a whole: a file with a fault is no rules at all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use events::UserId;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::condition::Condition;
use super::pattern::Pattern;
use super::{PolicySubject, PolicyTool};
use crate::tool::Hint;

/// The rules of a gateway without a file.
const BUILT_IN: &str = include_str!("built_in.toml");
/// Words that decisions without a rule of the file carry.
const RESERVED: [&str; 4] = ["admin-scope", "not-granted", "destructive", "arguments"];
/// Characters of a rule's id, which stands in events and metrics.
const ID_CHARS_MAX: usize = 40;
const WINDOW_MAX_S: u64 = 24 * 60 * 60;

/// Rules that were read and can be meant.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyRules {
    /// Their number, kept with every call and refusal.
    pub version: u32,
    /// SHA-256 of the file they stand in, lower-case hexadecimal.
    pub hash: String,
    pub(super) grants: Vec<Grant>,
    pub(super) refusals: Vec<Refuse>,
    pub(super) destructive: Vec<Target>,
    pub(super) rates: Vec<Rate>,
}

/// Why there are no rules in a file. The text names the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyFault(pub String);

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grant {
    pub(super) id: Arc<str>,
    pub(super) target: Target,
    pub(super) conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refuse {
    pub(super) id: Arc<str>,
    pub(super) target: Target,
    pub(super) conditions: Vec<Condition>,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rate {
    pub(super) id: Arc<str>,
    pub(super) target: Target,
    pub(super) per: Per,
    pub(super) calls: u32,
    pub(super) window: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Per {
    /// Each tool has a window of its own.
    Tool,
    /// All tools that fit share one.
    User,
}

/// Whom and what a rule is about; an empty part asks nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Target {
    pub(super) tools: Vec<Pattern>,
    pub(super) hints: Vec<Hint>,
    roles: Vec<String>,
    tiers: Vec<String>,
    kinds: Vec<String>,
    users: BTreeSet<String>,
}

impl Target {
    pub(super) fn fits(&self, subject: &PolicySubject<'_>, tool: &PolicyTool<'_>) -> bool {
        let is_in = |words: &[String], word: &str| words.is_empty() || words.iter().any(|one| one == word);
        (self.tools.is_empty() || self.tools.iter().any(|pattern| pattern.fits(tool.name)))
            && (self.hints.is_empty() || self.hints.contains(&tool.hint))
            && is_in(&self.roles, subject.role)
            && is_in(&self.tiers, subject.tier)
            && is_in(&self.kinds, subject.kind)
            && (self.users.is_empty()
                || self.users.contains(subject.email)
                || self.users.contains(subject.user_id.as_str()))
    }
}

impl PolicyRules {
    /// The rules of a gateway without a file.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "part of the program, and read by its tests"
    )]
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the built-in rules can be meant")
    }

    /// The built-in rules as a file would have them, to begin one with.
    pub fn built_in_text() -> &'static str {
        BUILT_IN
    }

    /// Reads rules.
    ///
    /// # Errors
    /// [`PolicyFault`] with every fault, one a line.
    pub fn parse(text: &str) -> Result<Self, PolicyFault> {
        let file: File = toml::from_str(text).map_err(|error| PolicyFault(error.to_string()))?;
        let mut faults = Vec::new();
        let rules = file.check(text, &mut faults);
        if faults.is_empty() {
            return Ok(rules);
        }
        Err(PolicyFault(faults.join("\n")))
    }

    /// The same rules with `calls` in place of every rate's own.
    #[must_use]
    pub fn with_calls_per_window(mut self, calls: u32) -> Self {
        for rate in &mut self.rates {
            rate.calls = calls;
        }
        self
    }

    /// The same rules, and one who may use one destructive tool.
    #[must_use]
    pub fn with_destructive(mut self, user_id: &UserId, tool: &str) -> Self {
        self.destructive.push(Target {
            tools: Pattern::try_new(tool).into_iter().collect(),
            users: [user_id.to_string()].into(),
            ..Target::default()
        });
        self
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    grant: Vec<RuleForm>,
    #[serde(default)]
    refuse: Vec<RuleForm>,
    #[serde(default)]
    destructive: Vec<DestructiveForm>,
    #[serde(default)]
    rate: Vec<RateForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleForm {
    id: String,
    tools: Option<Vec<String>>,
    hints: Option<Vec<HintForm>>,
    roles: Option<Vec<String>>,
    tiers: Option<Vec<String>>,
    kinds: Option<Vec<String>>,
    users: Option<Vec<String>>,
    #[serde(default, rename = "where")]
    conditions: Vec<Condition>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DestructiveForm {
    users: Vec<String>,
    tools: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateForm {
    id: String,
    per: Per,
    calls: u32,
    window_s: u64,
    tools: Option<Vec<String>>,
    hints: Option<Vec<HintForm>>,
    roles: Option<Vec<String>>,
    tiers: Option<Vec<String>>,
    kinds: Option<Vec<String>>,
    users: Option<Vec<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum HintForm {
    Read,
    Write,
    Destructive,
}

impl From<HintForm> for Hint {
    fn from(form: HintForm) -> Self {
        match form {
            HintForm::Read => Self::Read,
            HintForm::Write => Self::Write,
            HintForm::Destructive => Self::Destructive,
        }
    }
}

/// The parts of a rule that say whom and what it is about.
struct TargetForm {
    tools: Option<Vec<String>>,
    hints: Option<Vec<HintForm>>,
    roles: Option<Vec<String>>,
    tiers: Option<Vec<String>>,
    kinds: Option<Vec<String>>,
    users: Option<Vec<String>>,
}

impl File {
    fn check(self, text: &str, faults: &mut Vec<String>) -> PolicyRules {
        if self.version == 0 {
            faults.push("version: from 1 on".to_owned());
        }
        let ids = (self.grant.iter().chain(&self.refuse).map(|rule| &rule.id))
            .chain(self.rate.iter().map(|rate| &rate.id));
        let mut seen = BTreeSet::new();
        for id in ids {
            let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if id.is_empty() || id.len() > ID_CHARS_MAX || !id.bytes().all(is_word) {
                faults.push(format!("id {id:?}: 1 to {ID_CHARS_MAX} of a-z, 0-9 and -"));
            }
            if RESERVED.contains(&id.as_str()) {
                faults.push(format!("id {id:?}: stands for a decision without a rule"));
            }
            if !seen.insert(id.clone()) {
                faults.push(format!("id {id:?}: used twice"));
            }
        }
        PolicyRules {
            version: self.version,
            hash: hex::encode(Sha256::digest(text)),
            grants: self
                .grant
                .into_iter()
                .map(|rule| rule.into_grant(faults))
                .collect(),
            refusals: self
                .refuse
                .into_iter()
                .map(|rule| rule.into_refuse(faults))
                .collect(),
            destructive: self
                .destructive
                .into_iter()
                .map(|form| form.check(faults))
                .collect(),
            rates: self.rate.into_iter().map(|rate| rate.check(faults)).collect(),
        }
    }
}

impl RuleForm {
    fn into_refuse(self, faults: &mut Vec<String>) -> Refuse {
        let found = self.conditions.iter().filter_map(Condition::fault);
        faults.extend(found.map(|fault| format!("{}: {fault}", self.id)));
        let target = TargetForm {
            tools: self.tools,
            hints: self.hints,
            roles: self.roles,
            tiers: self.tiers,
            kinds: self.kinds,
            users: self.users,
        };
        Refuse {
            target: target.check(&self.id, faults),
            id: self.id.into(),
            conditions: self.conditions,
            reason: self.reason,
        }
    }

    fn into_grant(self, faults: &mut Vec<String>) -> Grant {
        if self.reason.is_some() {
            faults.push(format!("{}: a grant gives no reason", self.id));
        }
        let Refuse {
            id,
            target,
            conditions,
            ..
        } = self.into_refuse(faults);
        Grant {
            id,
            target,
            conditions,
        }
    }
}

impl DestructiveForm {
    fn check(self, faults: &mut Vec<String>) -> Target {
        let target = TargetForm {
            tools: Some(self.tools),
            hints: None,
            roles: None,
            tiers: None,
            kinds: None,
            users: Some(self.users),
        };
        target.check("destructive", faults)
    }
}

impl RateForm {
    fn check(self, faults: &mut Vec<String>) -> Rate {
        if self.calls == 0 {
            faults.push(format!(
                "{}: calls: from 1 on; to refuse them all, use [[refuse]]",
                self.id
            ));
        }
        if !(1..=WINDOW_MAX_S).contains(&self.window_s) {
            faults.push(format!("{}: window_s: 1 to {WINDOW_MAX_S}", self.id));
        }
        let target = TargetForm {
            tools: self.tools,
            hints: self.hints,
            roles: self.roles,
            tiers: self.tiers,
            kinds: self.kinds,
            users: self.users,
        };
        Rate {
            target: target.check(&self.id, faults),
            id: self.id.into(),
            per: self.per,
            calls: self.calls,
            window: Duration::from_secs(self.window_s),
        }
    }
}

impl TargetForm {
    /// A part that is there and empty would fit nothing, or be read as asking nothing: neither can be meant.
    fn check(self, id: &str, faults: &mut Vec<String>) -> Target {
        let mut words = |part: &str, words: Option<Vec<String>>, known: &[&str]| {
            if words.as_ref().is_some_and(Vec::is_empty) {
                faults.push(format!("{id}: {part}: empty; leave it out to ask nothing"));
            }
            let words = words.unwrap_or_default();
            for word in words
                .iter()
                .filter(|word| !known.is_empty() && !known.contains(&word.as_str()))
            {
                faults.push(format!("{id}: {part}: {word:?} is none of {}", known.join(", ")));
            }
            words
        };
        let roles = words("roles", self.roles, &["user", "admin"]);
        let tiers = words("tiers", self.tiers, &["free", "pro"]);
        let kinds = words("kinds", self.kinds, &["human", "persona", "system"]);
        let users = words("users", self.users, &[]);
        let tools = words("tools", self.tools, &[]);
        let mut patterns = Vec::new();
        for tool in tools {
            match Pattern::try_new(&tool) {
                Some(pattern) => patterns.push(pattern),
                None => faults.push(format!("{id}: tools: {tool:?} can fit no tool's name")),
            }
        }
        if self.hints.as_ref().is_some_and(Vec::is_empty) {
            faults.push(format!("{id}: hints: empty; leave it out to ask nothing"));
        }
        Target {
            tools: patterns,
            hints: self
                .hints
                .unwrap_or_default()
                .into_iter()
                .map(Hint::from)
                .collect(),
            roles,
            tiers,
            kinds,
            users: users.into_iter().map(|user| user.to_lowercase()).collect(),
        }
    }
}
