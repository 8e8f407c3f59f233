//! What this house answers over HTTP, for programs: made from the table that routing is made from, and from the types
//! that handlers return. MCP describes itself; its addresses are named here, so that nobody misses them.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::App;
use super::endpoint::{Access, Endpoint};
use super::problem::ProblemBody;

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(&["/openapi.json"], show)
            .about(Access::Open, "This description")
            .gives::<Map<String, Value>>(),
    ]
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
    let mut generator = generator();
    let mut paths = Map::new();
    for endpoint in endpoints {
        for (index, path) in endpoint.paths.iter().enumerate() {
            let operations = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
            let mut operation = operation(endpoint, &mut generator);
            let parameters: Vec<Value> = parameters(path)
                .into_iter()
                .chain(queries(endpoint))
                .chain(key(endpoint))
                .collect();
            if !parameters.is_empty() {
                operation["parameters"] = parameters.into();
            }
            if index > 0 {
                operation["summary"] = format!("{} (for older clients)", endpoint.summary).into();
            }
            operations[endpoint.method.to_lowercase()] = operation;
        }
    }
    paths.extend(of_the_gateway());
    let problem = generator.subschema_for::<ProblemBody<'static>>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Dramatis",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Accounts, vault, spaces, sync, administration and health. Tools are called over MCP at \
                            /mcp, which describes itself; every error is a problem (RFC 9457) with a stable code.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{ "url": public_url }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "serviceKey": { "type": "apiKey", "in": "header", "name": "X-Service-Key" },
            },
            "schemas": generator.take_definitions(true),
            "responses": {
                "Problem": {
                    "description": "It was refused, or could not be done",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
        },
    })
}

/// Gathers the types of bodies under their names, as they are written and not as they are read.
fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator()
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for success in [Some(endpoint.success), endpoint.partial_success]
        .into_iter()
        .flatten()
    {
        responses.insert(success.as_str().to_owned(), answer(endpoint, success, generator));
    }
    for status in refusals(endpoint) {
        responses.insert(status.to_string(), problem());
    }
    // A host name that is not ours, a part that is down: what any address may answer.
    responses.insert("default".to_owned(), problem());
    let mut operation = json!({ "summary": endpoint.summary, "responses": responses });
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

fn answer(endpoint: &Endpoint, status: StatusCode, generator: &mut SchemaGenerator) -> Value {
    if status == StatusCode::NOT_MODIFIED {
        return json!({ "description": "It is as the caller has it" });
    }
    let what = if status == StatusCode::ACCEPTED {
        "Stored or begun, and not yet to be read back"
    } else {
        "Done"
    };
    let body = match ((endpoint.gives)(generator), endpoint.answers) {
        (None, _) => json!({}),
        // The data of each event, which is JSON in a stream that is not.
        (Some(schema), "text/event-stream") => json!({ "schema": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": schema,
        } }),
        (Some(schema), _) => json!({ "schema": schema }),
    };
    json!({ "description": what, "content": { endpoint.answers: body } })
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
    let by_key: &[u16] = if endpoint.is_once_per_key {
        &[400, 409, 413, 422, 429]
    } else {
        &[]
    };
    let mut all: Vec<u16> = [endpoint.refusals, by_access, by_body, by_key].concat();
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

fn key(endpoint: &Endpoint) -> Option<Value> {
    endpoint.is_once_per_key.then(|| {
        json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Names the request: sent again with the same key and body within a day, it is answered the \
                            same and not done again. With another body it is refused (422, IDEMPOTENCY_KEY_REUSED).",
            "schema": { "type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$" },
        })
    })
}

/// The gateway's own addresses.
fn of_the_gateway() -> Map<String, Value> {
    let json_rpc = json!({ "type": "object", "required": ["jsonrpc"], "properties": { "jsonrpc": { "const": "2.0" } }, "additionalProperties": true });
    let message = json!({ "schema": json_rpc });
    let mcp = |summary: &str, status: &str, success: &Value| {
        let mut operation = json!({
            "summary": summary,
            "description": "MCP Streamable HTTP, revisions 2025-11-25 and 2026-07-28: `initialize` or \
                            `server/discover`, then `tools/list` and `tools/call`.",
            "security": [{ "token": [] }],
            "responses": { "default": problem() },
        });
        operation["responses"][status] = success.clone();
        for status in [
            "400", "401", "403", "404", "405", "406", "413", "415", "429", "503",
        ] {
            operation["responses"][status] = problem();
        }
        operation
    };
    let said = json!({ "description": "Answers and notifications", "content": { "text/event-stream": {} } });
    let answered = json!({ "description": "The answer, at once or at the end of a stream", "content": {
        "application/json": message, "text/event-stream": {},
    } });
    let mut post = mcp("Sends an MCP message", "200", &answered);
    post["requestBody"] = json!({ "content": { "application/json": message } });
    post["responses"]["202"] = json!({ "description": "A notification was taken" });
    let metadata = json!({
        "type": "object",
        "required": ["resource", "authorization_servers", "bearer_methods_supported", "resource_name"],
        "properties": {
            "resource": { "type": "string" },
            "authorization_servers": { "type": "array", "items": { "type": "string" } },
            "bearer_methods_supported": { "type": "array", "items": { "const": "header" } },
            "resource_name": { "type": "string" },
        },
    });
    let metadata = json!({ "get": {
        "summary": "What the MCP endpoint is to an OAuth client (RFC 9728)",
        "responses": {
            "200": { "description": "Done", "content": { "application/json": { "schema": metadata } } },
            "default": problem(),
        },
    } });
    let paths = json!({
        "/mcp": {
            "post": post,
            "get": mcp("Listens for what the server says by itself", "200", &said),
            "delete": mcp("Ends the session", "204", &json!({ "description": "Done" })),
        },
        "/.well-known/oauth-protected-resource": metadata,
        "/.well-known/oauth-protected-resource/mcp": metadata,
    });
    match paths {
        Value::Object(paths) => paths,
        _ => Map::new(),
    }
}
