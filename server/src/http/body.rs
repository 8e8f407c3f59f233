//! Request bodies: a JSON object, read with every fault named.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use super::App;
use super::problem::Problem;

/// A body that must be a JSON object.
#[derive(Debug)]
pub(crate) struct JsonObject(pub(crate) Map<String, Value>);

/// A body that may be missing, and is then an empty object.
#[derive(Debug)]
pub(crate) struct OptionalJsonObject(pub(crate) Map<String, Value>);

impl FromRequest<App> for JsonObject {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let body = read(request, app).await?;
        parse(&headers, &body).map(Self)
    }
}

impl FromRequest<App> for OptionalJsonObject {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let body = read(request, app).await?;
        if body.is_empty() {
            Ok(Self(Map::new()))
        } else {
            parse(&headers, &body).map(Self)
        }
    }
}

/// The whole body, within the limit the endpoint's layer sets.
async fn read(request: Request, app: &App) -> Result<Bytes, Problem> {
    Bytes::from_request(request, app)
        .await
        .map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE),
            _ => Problem::bad_request("BODY_INCOMPLETE", "the body did not arrive whole"),
        })
}

fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if !is_json(headers) {
        return Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => {
            let kind = kind_of(&other);
            Err(Problem::bad_request(
                "NOT_AN_OBJECT",
                format!("the body must be a JSON object, not {kind}"),
            ))
        }
        // What the reader says names the line and column and quotes nothing of the body.
        Err(error) => Err(Problem::bad_request(
            "MALFORMED_JSON",
            format!("the body is not JSON: {error}"),
        )),
    }
}

/// `application/json` or anything `+json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let media_type = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// A JSON value's kind, in words for a person.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
