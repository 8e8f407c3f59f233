//! What this house answers over HTTP, for programs: made from the table that routing is made from.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::App;
use super::endpoint::{Access, Endpoint};

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::get(&["/openapi.json"], show).about(Access::Open, "This description")]
}

async fn show(State(app): State<App>) -> Json<Value> {
    Json(document(
        &super::endpoints(app.settings.production),
        &app.settings.public_url,
    ))
}

/// The description of all that is answered over HTTP.
pub(crate) fn openapi(production: bool, public_url: &str) -> Value {
    document(&super::endpoints(production), public_url)
}

/// The description of `endpoints`.
pub(crate) fn document(endpoints: &[Endpoint], public_url: &str) -> Value {
    let mut paths = Map::new();
    for endpoint in endpoints {
        for (index, path) in endpoint.paths.iter().enumerate() {
            let operations = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
            let mut operation = operation(endpoint);
            if !parameters(path).is_empty() {
                operation["parameters"] = parameters(path).into_iter().chain(queries(endpoint)).collect();
            }
            if index > 0 {
                operation["summary"] = format!("{} (for older clients)", endpoint.summary).into();
            }
            operations[endpoint.method.to_lowercase()] = operation;
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Dramatis",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Accounts, vault, administration and health. Tools are called over MCP at /mcp, which \
                            describes itself; every error is a problem (RFC 9457).",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": public_url }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "serviceKey": { "type": "apiKey", "in": "header", "name": "X-Service-Key" },
            },
            "schemas": { "Problem": problem_schema() },
            "responses": {
                "Problem": {
                    "description": "It was refused, or could not be done",
                    "content": {
                        "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
                    },
                },
            },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut responses = Map::new();
    for success in [Some(endpoint.success), endpoint.partial_success]
        .into_iter()
        .flatten()
    {
        let what = if success == StatusCode::ACCEPTED {
            "Stored, and not yet to be read back"
        } else {
            "Done"
        };
        let answer = json!({ "description": what, "content": { endpoint.answers: {} } });
        responses.insert(success.as_str().to_owned(), answer);
    }
    for status in refusals(endpoint) {
        responses.insert(status.to_string(), problem());
    }
    // A host name that is not ours, a part that is down: what any address may answer.
    responses.insert("default".to_owned(), problem());
    let mut operation = json!({ "summary": endpoint.summary, "responses": responses });
    let queries = queries(endpoint);
    if !queries.is_empty() {
        operation["parameters"] = queries.into();
    }
    if let Some(schema) = &endpoint.body {
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
    }
    match endpoint.access {
        Access::Open => {}
        Access::Token => operation["security"] = json!([{ "token": [] }]),
        Access::Admin => {
            operation["security"] = json!([{ "token": [] }]);
            operation["description"] = "For accounts with the role admin.".into();
        }
        Access::ServiceKey => operation["security"] = json!([{ "serviceKey": [] }]),
    }
    operation
}

fn problem() -> Value {
    json!({ "$ref": "#/components/responses/Problem" })
}

/// What it can say no with: its own, and what its access and body bring with them.
fn refusals(endpoint: &Endpoint) -> Vec<u16> {
    let by_access: &[u16] = match endpoint.access {
        Access::Open => &[],
        Access::Token | Access::ServiceKey => &[401, 503],
        Access::Admin => &[401, 403, 503],
    };
    let by_body: &[u16] = if endpoint.body.is_some() {
        &[400, 413, 415]
    } else {
        &[]
    };
    let mut all: Vec<u16> = [endpoint.refusals, by_access, by_body].concat();
    all.sort_unstable();
    all.dedup();
    all
}

fn parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect()
}

fn queries(endpoint: &Endpoint) -> Vec<Value> {
    let query = |name: &&str| json!({ "name": name, "in": "query", "schema": { "type": "string" } });
    endpoint.query.iter().map(query).collect()
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "error"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "for people" },
            "code": { "type": "string", "description": "for programs; does not change" },
            "error": { "type": "string", "description": "the detail again, where older clients look for it" },
            "faults": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": { "field": { "type": "string" }, "reason": { "type": "string" } },
                },
            },
        },
    })
}
