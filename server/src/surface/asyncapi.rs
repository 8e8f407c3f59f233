//! What this house says and answers over NATS, for programs: an `AsyncAPI` 3 document made from the tables that routing,
//! alarms and jobs are made from. A test compares it with what is on the wire, both ways.

use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value, json};

use super::alarms::{Alarm, Rule};
use super::discovery::VERBS;
use super::endpoint::{ENDPOINTS, Endpoint, Kind, SERVICE_NAME};
use super::feed::FeedMessage;
use super::jobs::{Job, JobProgress};

/// The document.
pub(crate) fn document() -> Value {
    let mut parts = Parts::default();
    parts.log();
    parts.live();
    for rule in Rule::ALL {
        let name = format!("alarm.{}", rule.as_str());
        parts.told::<Alarm>(&name, &rule.subject(), "An alarm is raised or cleared");
    }
    for job in Job::ALL {
        let name = format!("job.{}", job.as_str());
        parts.told::<JobProgress>(&name, &job.subject(), "How far the job is");
    }
    for endpoint in ENDPOINTS {
        parts.asked(endpoint);
    }
    parts.discovery();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Dramatis over NATS",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Live feed, alarms, jobs and the micro service. NATS's own subjects ($JS, _INBOX) are not \
                            described here. `x-viewer` says whether a viewer's credential may hear or ask it.",
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": parts.channels,
        "operations": parts.operations,
        "components": { "schemas": parts.schemas },
    })
}

#[derive(Default)]
struct Parts {
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Parts {
    fn schema<T: JsonSchema>(&mut self) -> Value {
        self.keep(&T::schema_name(), schema_for!(T).to_value())
    }

    /// Puts a schema among the others under its name, and gives a reference to it.
    fn keep(&mut self, name: &str, schema: Value) -> Value {
        self.schemas.insert(name.to_owned(), schema);
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// What this house publishes.
    fn told<T: JsonSchema>(&mut self, name: &str, address: &str, summary: &str) {
        let payload = self.schema::<T>();
        self.channel(name, address, &json!({ "message": { "payload": payload } }), true);
        self.operation(name, "send", summary);
    }

    /// The log's own subjects, which the house alone writes and reads.
    fn log(&mut self) {
        let commit = json!({
            "type": "object",
            "required": ["events"],
            "properties": { "events": { "type": "array", "items": { "type": "object" } } },
        });
        let payload = self.keep("Commit", commit);
        for (name, address) in [
            ("log.persona", "dramatis.persona.{id}"),
            ("log.record", "dramatis.record.{id}"),
            ("log.session", "dramatis.session.{id}"),
            ("log.deploy", "dramatis.deploy.{id}"),
        ] {
            let messages = json!({ "message": { "payload": payload } });
            self.channel(name, address, &messages, false);
            self.operation(name, "send", "A commit is appended to the log, by this house");
        }
    }

    fn live(&mut self) {
        for (name, address) in [
            ("live.persona", "dramatis.live.persona.{id}"),
            ("live.session", "dramatis.live.session.{id}"),
            ("live.deploy", "dramatis.live.deploy.{id}"),
        ] {
            self.told::<FeedMessage>(name, address, "A commit, redacted, once the tables hold it");
            self.channels[name]["messages"]["message"]["headers"] = json!({
                "type": "object",
                "required": ["Nats-Stream", "Nats-Subject", "Nats-Sequence"],
                "properties": {
                    "Nats-Stream": { "type": "string" },
                    "Nats-Subject": { "type": "string" },
                    "Nats-Sequence": { "type": "string" },
                    "Nats-Last-Sequence": { "type": "string", "description": "of the same subject" },
                },
            });
        }
    }

    fn asked(&mut self, endpoint: &Endpoint) {
        let is_query = endpoint.kind == Kind::Query;
        let type_name = |schema: &schemars::Schema, otherwise: String| {
            schema
                .get("title")
                .and_then(Value::as_str)
                .map_or(otherwise, str::to_owned)
        };
        let (takes, gives) = ((endpoint.takes)(), (endpoint.gives)());
        let takes_name = type_name(&takes, format!("{}-question", endpoint.plain_name()));
        let gives_name = type_name(&gives, format!("{}-answer", endpoint.plain_name()));
        let (takes, gives) = (
            self.keep(&takes_name, takes.to_value()),
            self.keep(&gives_name, gives.to_value()),
        );
        let refusal = json!({
            "type": "object",
            "required": ["code", "detail"],
            "properties": { "code": { "type": "string" }, "detail": { "type": "string" } },
        });
        let refusal = self.keep("Refusal", refusal);
        let messages = json!({
            "question": { "payload": takes },
            "answer": { "payload": gives },
            "refusal": {
                "payload": refusal,
                "headers": {
                    "type": "object",
                    "required": ["Nats-Service-Error", "Nats-Service-Error-Code"],
                    "properties": {
                        "Nats-Service-Error": { "type": "string" },
                        "Nats-Service-Error-Code": { "type": "string" },
                    },
                },
            },
        });
        self.channel(endpoint.name, &endpoint.subject(), &messages, is_query);
        self.operation(endpoint.name, "receive", endpoint.summary);
        let reply = format!("#/channels/{}/messages", endpoint.name);
        self.operations[endpoint.name]["reply"] = json!({
            "address": { "location": "$message.header#/reply" },
            "messages": [{ "$ref": format!("{reply}/answer") }, { "$ref": format!("{reply}/refusal") }],
        });
    }

    fn discovery(&mut self) {
        let payload = self.keep(
            "Discovery",
            json!({ "type": "object", "required": ["type", "name", "id", "version"] }),
        );
        for (verb, _) in VERBS {
            for (whose, address) in [
                ("any", format!("$SRV.{verb}")),
                ("named", format!("$SRV.{verb}.{SERVICE_NAME}")),
                ("instance", format!("$SRV.{verb}.{SERVICE_NAME}.{{id}}")),
            ] {
                let name = format!("discovery.{}.{whose}", verb.to_lowercase());
                let messages = json!({ "question": {}, "answer": { "payload": payload } });
                self.channel(&name, &address, &messages, true);
                self.operation(&name, "receive", "As `nats micro` asks it");
            }
        }
    }

    fn channel(&mut self, name: &str, address: &str, messages: &Value, is_for_viewers: bool) {
        let mut channel = json!({ "address": address, "messages": messages, "x-viewer": is_for_viewers });
        if address.contains("{id}") {
            channel["parameters"] = json!({ "id": {} });
        }
        self.channels.insert(name.to_owned(), channel);
    }

    fn operation(&mut self, name: &str, action: &str, summary: &str) {
        self.operations.insert(
            name.to_owned(),
            json!({
                "action": action,
                "channel": { "$ref": format!("#/channels/{name}") },
                "summary": summary,
            }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` of the document, with whether it leads somewhere.
    fn references<'a>(value: &'a Value, all: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match member.as_str() {
                        Some(target) if name == "$ref" => all.push(target),
                        _ => references(member, all),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, all)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut all = Vec::new();
        references(&document, &mut all);
        assert!(all.len() > 40, "{}", all.len());
        for target in all {
            // A schema's own definitions are its own business.
            if let Some(path) = target.strip_prefix('#')
                && !path.starts_with("/$defs/")
            {
                assert!(document.pointer(path).is_some(), "{target}");
            }
        }
    }

    #[test]
    fn viewers_are_told_nothing_of_the_log_itself_and_may_not_steer() {
        let document = document();
        for (name, channel) in document["channels"].as_object().unwrap() {
            let is_closed = name.starts_with("log.") || name.starts_with("runner.");
            assert_eq!(channel["x-viewer"], !is_closed, "{name}");
        }
    }

    #[test]
    fn the_description_changes_only_on_purpose() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&document()).unwrap());
    }
}
