//! Holds every answer of every test here against `/openapi.json`: its status, its media type, and its body against the
//! schema, to which nothing may be missing and nothing added.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::StatusCode;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::Answer;
use crate::http::{endpoints, openapi};

/// What any address may say, whatever it is: the layers around handlers do, which know no address.
const OF_ANY_ADDRESS: [&str; 4] = ["HOST_NOT_ALLOWED", "METHOD_NOT_ALLOWED", "INTERNAL", "TIMEOUT"];

/// Which addresses were answered with success, by method and described path.
#[derive(Debug, Default)]
pub(super) struct Succeeded(Mutex<BTreeSet<String>>);

impl Succeeded {
    pub(super) fn note(&self, operation: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(operation);
    }

    /// Described operations that are not among those.
    pub(super) fn missing(&self) -> Vec<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = document()["paths"].as_object().unwrap().iter();
        all.flat_map(|(path, operations)| {
            let methods = operations.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .filter(|operation| !seen.contains(operation))
        .collect()
    }
}

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| openapi::document(&endpoints(false), "http://127.0.0.1:3069"))
}

/// The described path that `path` is one of; one without a part to fill in comes first.
fn described(path: &str) -> Option<&'static str> {
    let paths = document()["paths"].as_object().unwrap().keys();
    let fits = |template: &&String| {
        let (mut parts, mut wanted) = (path.split('/'), template.split('/'));
        loop {
            match (parts.next(), wanted.next()) {
                (None, None) => return true,
                (Some(part), Some(wanted)) if part == wanted || wanted.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    let found: Vec<&String> = paths.filter(fits).collect();
    let exact = found.iter().find(|template| !template.contains('{'));
    exact.or(found.first()).map(|template| template.as_str())
}

/// Fails unless the answer is what the description says.
#[track_caller]
pub(super) fn check(succeeded: &Succeeded, method: &str, path: &str, answer: &Answer) {
    let Some((template, operation)) = operation(method, path) else {
        return;
    };
    let (status, name) = (answer.status, format!("{method} {template}"));
    let responses = &operation["responses"];
    let described = responses.get(status.as_str()).unwrap_or_else(|| {
        let code = answer.json["code"].as_str().unwrap_or_default();
        assert!(
            OF_ANY_ADDRESS.contains(&code),
            "{name} answers {status} undescribed: {}",
            answer.text
        );
        &responses["default"]
    });
    let described = match described["$ref"].as_str() {
        Some(reference) => document().pointer(reference.trim_start_matches('#')).unwrap(),
        None => described,
    };
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        succeeded.note(name.clone());
    }
    let Some(content) = described["content"].as_object() else {
        return;
    };
    let media_type = answer
        .headers
        .get("content-type")
        .map_or("", |value| value.to_str().unwrap());
    let media_type = media_type.split(';').next().unwrap_or_default();
    let body = content.get(media_type).or_else(|| content.get("text/javascript"));
    let body = body.unwrap_or_else(|| panic!("{name} answers with {media_type}, described are {content:?}"));
    if let Some(schema) = body.get("schema").filter(|_| media_type.ends_with("json")) {
        validate(&format!("{name} {status}"), schema, &answer.json);
    }
}

/// Fails unless the data of an event of a stream is what the description says.
#[track_caller]
pub(super) fn check_event(succeeded: &Succeeded, method: &str, path: &str, data: &Value) {
    let (template, operation) = operation(method, path).unwrap();
    let name = format!("{method} {template}");
    let schema = &operation["responses"]["200"]["content"]["text/event-stream"]["schema"]["contentSchema"];
    assert!(schema.is_object(), "{name} says nothing of its events");
    validate(&name, schema, data);
    succeeded.note(name);
}

fn operation(method: &str, path: &str) -> Option<(&'static str, &'static Value)> {
    let path = path.split('?').next().unwrap();
    let template = described(path)?;
    let operation = document()["paths"][template].get(method.to_lowercase())?;
    Some((template, operation))
}

#[track_caller]
fn validate(name: &str, schema: &Value, body: &Value) {
    let faults: Vec<String> = validator(schema)
        .iter_errors(body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(
        faults.is_empty(),
        "{name} is not as described: {faults:#?}\n{body:#}"
    );
}

/// Compiled once for each schema of this process.
fn validator(schema: &Value) -> Arc<Validator> {
    static COMPILED: OnceLock<Mutex<HashMap<String, Arc<Validator>>>> = OnceLock::new();
    let compiled = COMPILED.get_or_init(Mutex::default);
    let mut compiled = compiled.lock().unwrap_or_else(PoisonError::into_inner);
    let made = || {
        let mut root = json!({ "allOf": [schema], "components": document()["components"] });
        root["allOf"][0] = closed(schema);
        root["components"]["schemas"] = closed(&root["components"]["schemas"]);
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        Arc::new(options.build(&root).unwrap())
    };
    compiled.entry(schema.to_string()).or_insert_with(made).clone()
}

/// The same schema, to which an object may have no member that it does not name: a client may be told more one day,
/// but a description that leaves a member out is wrong today.
fn closed(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            let mut members: Map<String, Value> = members
                .iter()
                .map(|(name, value)| (name.clone(), closed(value)))
                .collect();
            let names_members = members.get("properties").is_some_and(Value::is_object)
                && members.contains_key("type")
                && !["$ref", "allOf"]
                    .iter()
                    .any(|of_others| members.contains_key(*of_others));
            if names_members && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            Value::Object(members)
        }
        Value::Array(items) => items.iter().map(closed).collect(),
        value => value.clone(),
    }
}

#[test]
fn an_answer_that_lacks_a_member_or_has_one_more_is_noticed() {
    let done = json!({ "$ref": "#/components/schemas/Done" });
    let validator = validator(&done);
    assert!(validator.is_valid(&json!({ "ok": true })));
    for wrong in [
        json!({}),
        json!({ "ok": 1 }),
        json!({ "ok": true, "more": 1 }),
        json!([]),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn every_json_answer_has_a_schema_that_says_something() {
    let mut named = 0;
    for (path, operations) in document()["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let Some(content) = response["content"].as_object() else {
                    continue;
                };
                for media_type in ["application/json", "text/event-stream"] {
                    let Some(body) = content.get(media_type).filter(|_| path != "/mcp") else {
                        continue;
                    };
                    let schema = body["schema"].as_object();
                    assert!(
                        schema.is_some_and(|schema| !schema.is_empty()),
                        "{method} {path} {status} says nothing of its {media_type}"
                    );
                    named += 1;
                }
            }
        }
    }
    assert!(named > 70, "{named}");
}
