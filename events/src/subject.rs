//! Subjects, spelled here and nowhere else.
//!
//! A subject names the entity, never the event type: filters over many subjects are slow, and the append guard
//! is per subject.

use std::fmt;
use std::str::FromStr;

use crate::ids::{DeployName, PersonaId, SpaceId, UserId};

/// The subjects the stream listens on.
pub(crate) const STREAM_SUBJECTS: [&str; 4] = [
    "dramatis.persona.*",
    "dramatis.record.*",
    "dramatis.session.*",
    "dramatis.deploy.*",
];

/// Where commits are told to live dashboards, redacted. Those about records are not.
pub const LIVE_PREFIX: &str = "dramatis.live";
/// Where questions about the tables are answered: `dramatis.query.personas.list`.
pub const QUERY_PREFIX: &str = "dramatis.query";
/// Where those who may steer do: `dramatis.control.runner.pause`.
pub const CONTROL_PREFIX: &str = "dramatis.control";
/// Where alarms are raised and cleared: `dramatis.alarm.<severity>.<rule>`.
pub const ALARM_PREFIX: &str = "dramatis.alarm";
/// Where long work says how far it is: `dramatis.job.<job>.progress`.
pub const JOB_PREFIX: &str = "dramatis.job";

/// The subjects of the work queue.
pub(crate) const TICK_SUBJECTS: &str = "dramatis.tick.*";

/// Where a persona's due tick is offered.
pub(crate) fn tick_subject(persona_id: &PersonaId) -> String {
    format!("dramatis.tick.{}", encode_token(persona_id.as_str()))
}

/// What a commit is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// Everything one persona did; written by its actor alone while it runs, and by the admin API.
    Persona(PersonaId),
    /// App data of one space; written by the gateway.
    Record(SpaceId),
    /// MCP sessions and refusals of one user; written by the gateway.
    Session(UserId),
    /// One deployment of the app; written by its operator, once.
    Deploy(DeployName),
}

impl Subject {
    /// Where its commits are told to live dashboards; `None` for records, which are told to nobody.
    pub fn live(&self) -> Option<String> {
        let own = self.to_string();
        let rest = own.strip_prefix("dramatis.")?;
        (!matches!(self, Self::Record(_))).then(|| format!("{LIVE_PREFIX}.{rest}"))
    }
}

/// What the text of every chained subject begins with.
const CHAINED_PREFIX: &str = "dramatis.persona.";

/// Whether commits on this subject are chained: on those with one writer at a time they are.
pub(crate) fn is_chained(subject: &str) -> bool {
    subject.starts_with(CHAINED_PREFIX)
}

/// A subject that is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("subject {0:?} is not dramatis.(persona|record|session|deploy).<id>")]
pub struct SubjectError(pub String);

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id) = match self {
            Self::Persona(id) => ("persona", id.as_str()),
            Self::Record(id) => ("record", id.as_str()),
            Self::Session(id) => ("session", id.as_str()),
            Self::Deploy(name) => ("deploy", name.as_str()),
        };
        write!(f, "dramatis.{kind}.{}", encode_token(id))
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(subject: &str) -> Result<Self, SubjectError> {
        let refused = || SubjectError(subject.to_owned());
        let (kind, token) = subject
            .strip_prefix("dramatis.")
            .and_then(|rest| rest.split_once('.'))
            .ok_or_else(refused)?;
        let id = decode_token(token).ok_or_else(refused)?;
        match kind {
            "persona" => PersonaId::try_new(id).map(Self::Persona),
            "record" => SpaceId::try_new(id).map(Self::Record),
            "session" => UserId::try_new(id).map(Self::Session),
            "deploy" => DeployName::try_new(id).map(Self::Deploy),
            _ => return Err(refused()),
        }
        .map_err(|_| refused())
    }
}

/// Letters, digits, `-` and `_` stand for themselves; every other byte is `%` and two hexadecimal digits.
fn encode_token(id: &str) -> String {
    let mut token = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            token.push(char::from(byte));
        } else {
            token.push('%');
            token.push_str(&hex::encode_upper([byte]));
        }
    }
    token
}

/// Undoes [`encode_token`]; `None` for text it cannot have made.
fn decode_token(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            bytes.push(*hex::decode(tail.get(..2)?).ok()?.first()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    let id = String::from_utf8(bytes).ok()?;
    (encode_token(&id) == token).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_id_survives_the_way_to_a_subject_and_back(id in "\\PC{1,50}") {
            let subject = Subject::Session(UserId::try_new(id).unwrap());
            let text = subject.to_string();
            prop_assert_eq!(text.matches('.').count(), 2);
            prop_assert!(!text.contains(['*', '>', ' ']));
            prop_assert_eq!(text.parse::<Subject>().unwrap(), subject);
        }
    }

    #[test]
    fn personas_and_sessions_are_told_live_and_records_are_not() {
        let live = |subject: &str| subject.parse::<Subject>().unwrap().live();
        assert_eq!(live("dramatis.persona.p").unwrap(), "dramatis.live.persona.p");
        assert_eq!(
            live("dramatis.session.a%2Eb").unwrap(),
            "dramatis.live.session.a%2Eb"
        );
        assert_eq!(live("dramatis.record.r"), None);
    }

    #[test]
    fn foreign_subjects_are_refused_by_name() {
        for foreign in [
            "",
            "dramatis.persona",
            "dramatis.persona.",
            "dramatis.other.x",
            "x.persona.y",
            "dramatis.persona.a.b",
            "dramatis.persona.%zz",
            "dramatis.persona.%61",
        ] {
            assert_eq!(
                foreign.parse::<Subject>(),
                Err(SubjectError(foreign.to_owned())),
                "{foreign}"
            );
        }
    }
}
