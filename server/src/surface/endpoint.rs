//! What can be asked, in one table: routing, discovery, permissions and the description of the surface come from it.

use events::{CONTROL_PREFIX, QUERY_PREFIX};
use schemars::{JsonSchema, Schema, schema_for};

use super::parameters::{AboutPersona, ActionsOf, Nothing, Page, Since, WhoTicks};
use super::queries::{
    ActionsRecent, AlarmsList, FeedSince, FeedbackSummary, PersonaShown, PersonasList, ProjectionsStatus,
    RunnerState, Ticked, ToolsStats,
};

/// The micro service's name.
pub(crate) const SERVICE_NAME: &str = "dramatis";
/// What it is, as `nats micro info` shows it.
pub(crate) const SERVICE_DESCRIPTION: &str =
    "A cast of personas: who they are, what they did, how they rated it, and how the house is";
/// The queue that instances of the service share their questions in.
pub(crate) const QUEUE: &str = "q";

/// Whether an endpoint changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It reads. Viewers may ask.
    Query,
    /// It steers the cast. Viewers may not.
    Control,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// What follows the prefix in its subject.
    pub(crate) name: &'static str,
    /// Whether it changes anything.
    pub(crate) kind: Kind,
    /// One line for people.
    pub(crate) summary: &'static str,
    /// JSON Schema of the question.
    pub(crate) takes: fn() -> Schema,
    /// JSON Schema of the answer.
    pub(crate) gives: fn() -> Schema,
}

impl Endpoint {
    const fn query<Takes: JsonSchema, Gives: JsonSchema>(name: &'static str, summary: &'static str) -> Self {
        Self::new::<Takes, Gives>(Kind::Query, name, summary)
    }

    const fn control<Takes: JsonSchema, Gives: JsonSchema>(
        name: &'static str,
        summary: &'static str,
    ) -> Self {
        Self::new::<Takes, Gives>(Kind::Control, name, summary)
    }

    const fn new<Takes: JsonSchema, Gives: JsonSchema>(
        kind: Kind,
        name: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            summary,
            takes: schema_of::<Takes>,
            gives: schema_of::<Gives>,
        }
    }

    /// Where it is asked.
    pub(crate) fn subject(&self) -> String {
        let prefix = match self.kind {
            Kind::Query => QUERY_PREFIX,
            Kind::Control => CONTROL_PREFIX,
        };
        format!("{prefix}.{}", self.name)
    }

    /// Its name where a name may have no dots.
    pub(crate) fn plain_name(&self) -> String {
        self.name.replace('.', "-")
    }

    /// The endpoint that is asked at `subject`.
    pub(super) fn at(subject: &str) -> Option<&'static Self> {
        ENDPOINTS.iter().find(|endpoint| endpoint.subject() == subject)
    }
}

fn schema_of<T: JsonSchema>() -> Schema {
    schema_for!(T)
}

/// Every endpoint, in the order of the documentation.
pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::query::<Page, PersonasList>("personas.list", "All personas, in the order of enrolment"),
    Endpoint::query::<AboutPersona, PersonaShown>(
        "personas.get",
        "One persona with its latest calls and how it rates the modules",
    ),
    Endpoint::query::<Nothing, FeedbackSummary>("feedback.summary", "How each module is used and rated"),
    Endpoint::query::<ActionsOf, ActionsRecent>(
        "actions.recent",
        "The latest tool calls, of one persona or of all",
    ),
    Endpoint::query::<Nothing, ToolsStats>("tools.stats", "Calls, errors and latency of each tool"),
    Endpoint::query::<Nothing, ProjectionsStatus>("projections.status", "How far the tables are"),
    Endpoint::query::<Since, FeedSince>(
        "feed.since",
        "What the live feed said after a sequence, for those who missed some of it",
    ),
    Endpoint::query::<Nothing, AlarmsList>("alarms.list", "The alarms that stand now"),
    Endpoint::control::<Nothing, RunnerState>("runner.pause", "Holds scheduled ticks back"),
    Endpoint::control::<Nothing, RunnerState>("runner.resume", "Lets scheduled ticks go on"),
    Endpoint::control::<WhoTicks, Ticked>(
        "runner.tick",
        "Lets personas act now and answers when all are done",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_endpoint_has_a_subject_and_a_plain_name_of_its_own() {
        let subjects: BTreeSet<String> = ENDPOINTS.iter().map(Endpoint::subject).collect();
        assert_eq!(subjects.len(), ENDPOINTS.len());
        for endpoint in ENDPOINTS {
            assert_eq!(Endpoint::at(&endpoint.subject()).unwrap().name, endpoint.name);
            assert!(
                endpoint
                    .plain_name()
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-'),
                "{}",
                endpoint.name
            );
        }
        assert!(Endpoint::at("dramatis.query.no.such").is_none());
    }
}
