//! The caller's vault where another system keeps it: asked there, as the caller, and answered as it answers.

use std::borrow::Cow;

use axum::Json;
use http::Method;
use identity::ExternalError;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;

use crate::http::App;
use crate::http::problem::Problem;

/// The codes with which that system says no, as this one does.
const CODES: [&str; 6] = [
    "VAULT_NOT_INITIALISED",
    "ZK_ROTATE_FORBIDDEN",
    "ZK_ACTIVE",
    "RECOVERY_WRAP_MISSING",
    "INVALID_FIELDS",
    "TOKEN_INVALID",
];
/// Characters of its words that are passed on.
const DETAIL_CHARS_MAX: usize = 300;

/// An answer of this house, or the other system's in its stead, which is described like this house's own.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Answered<T> {
    Here(T),
    There(Value),
}

impl<T: JsonSchema> JsonSchema for Answered<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// This house's answer.
pub(super) fn here<T>(answer: T) -> Json<Answered<T>> {
    Json(Answered::Here(answer))
}

/// The other system's answer; `None` where vaults are kept here. After anything but a look keys are asked for anew.
pub(super) async fn asked<T>(
    app: &App,
    method: Method,
    path: &str,
    token: &SecretString,
    body: Option<&Value>,
) -> Option<Result<Json<Answered<T>>, Problem>> {
    let external = app.external.as_ref()?;
    let is_look = method == Method::GET;
    let answered = external
        .forward(
            method,
            &format!("/api/v1/me/encryption-vault/{path}"),
            token,
            body,
        )
        .await;
    if !is_look {
        app.identity.external_keys_changed();
    }
    Some(match answered {
        Ok((status, body)) if status.is_success() => Ok(Json(Answered::There(body))),
        Ok((status, body)) => {
            let code = CODES.into_iter().find(|code| body["code"] == *code);
            let said = body["detail"]
                .as_str()
                .or(body["error"].as_str())
                .unwrap_or("it says no");
            let said = events::capped(said, DETAIL_CHARS_MAX);
            Err(Problem::new(status, code.unwrap_or("EXTERNAL_REFUSED"), said))
        }
        Err(error) => Err(unavailable(&error)),
    })
}

fn unavailable(error: &ExternalError) -> Problem {
    tracing::warn!(error = %error, "the system that keeps accounts does not answer");
    Problem::unavailable(
        "EXTERNAL_IDENTITY_UNAVAILABLE",
        "the system that keeps accounts does not answer as it should now; try again",
    )
}
