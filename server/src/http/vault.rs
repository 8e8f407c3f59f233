//! The caller's vault: its master key, and what its owner may do with it.

mod elsewhere;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;
use identity::{MasterKey, RecoveryWrap, VaultAccess};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::body::JsonObject;
use super::caller::{Authenticated, BearerToken};
use super::endpoint::{Access, Endpoint};
use super::fields::{Faults, Fields};
use super::problem::Problem;
use super::{App, iso};

/// Bytes of a body: a key or a wrap.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Characters a wrapped key and its nonce may have.
const WRAPPED_CHARS: std::ops::RangeInclusive<usize> = 1..=1_024;
const IV_CHARS: std::ops::RangeInclusive<usize> = 1..=64;

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    const WRAP: &[&str] = &["/api/v1/me/encryption-vault/recovery-wrap"];
    let wrap = json!({
        "type": "object",
        "required": ["recoveryWrappedMk", "recoveryIv"],
        "properties": {
            "recoveryWrappedMk": { "type": "string", "contentEncoding": "base64", "maxLength": 1024 },
            "recoveryIv": { "type": "string", "contentEncoding": "base64", "maxLength": 64 },
        },
    });
    let zero_knowledge = json!({
        "type": "object",
        "required": ["enable"],
        "properties": {
            "enable": { "type": "boolean" },
            "masterKey": { "type": "string", "contentEncoding": "base64", "description": "when it is turned off" },
        },
    });
    vec![
        Endpoint::get(&["/api/v1/me/encryption-vault/key"], key)
            .about(
                Access::Token,
                "The caller's master key, or what its recovery code opens",
            )
            .refuses(&[404]),
        Endpoint::get(&["/api/v1/me/encryption-vault/status"], status).about(
            Access::Token,
            "Whether the caller has a master key, without the key",
        ),
        Endpoint::post(&["/api/v1/me/encryption-vault/init"], init).about(
            Access::Token,
            "Makes the caller's master key, or gives the one it has",
        ),
        Endpoint::post(&["/api/v1/me/encryption-vault/rotate"], rotate)
            .about(Access::Token, "Gives the caller a new master key")
            .refuses(&[404, 409]),
        Endpoint::post(WRAP, set_wrap)
            .about(
                Access::Token,
                "Keeps a copy of the master key that only the caller's recovery code opens",
            )
            .takes(wrap)
            .refuses(&[404])
            .body_bytes_max(BODY_BYTES_MAX),
        Endpoint::delete(WRAP, remove_wrap)
            .about(Access::Token, "Takes that copy away")
            .refuses(&[404, 409]),
        Endpoint::post(
            &["/api/v1/me/encryption-vault/zero-knowledge"],
            zero_knowledge_switch,
        )
        .about(
            Access::Token,
            "Destroys the server's copy of the master key, or takes one again",
        )
        .takes(zero_knowledge)
        .refuses(&[404])
        .body_bytes_max(BODY_BYTES_MAX),
    ]
}

async fn key(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
) -> Result<Json<Value>, Problem> {
    if let Some(answer) = elsewhere::asked(&app, Method::GET, "key", &token, None).await {
        return answer;
    }
    Ok(Json(access_json(
        &app.identity.vault_access(&caller.user_id).await?,
    )))
}

async fn init(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
) -> Result<Json<Value>, Problem> {
    if let Some(answer) = elsewhere::asked(&app, Method::POST, "init", &token, None).await {
        return answer;
    }
    Ok(Json(access_json(
        &app.identity.vault_init(&caller.user_id).await?,
    )))
}

async fn rotate(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
) -> Result<Json<Value>, Problem> {
    if let Some(answer) = elsewhere::asked(&app, Method::POST, "rotate", &token, None).await {
        return answer;
    }
    Ok(Json(key_json(&app.identity.vault_rotate(&caller.user_id).await?)))
}

async fn status(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
) -> Result<Json<Value>, Problem> {
    if let Some(answer) = elsewhere::asked(&app, Method::GET, "status", &token, None).await {
        return answer;
    }
    let status = app.identity.vault_status(&caller.user_id).await?;
    Ok(Json(match status {
        None => json!({ "vaultExists": false, "hasRecoveryWrap": false, "zeroKnowledge": false }),
        Some(status) => json!({
            "vaultExists": true,
            "hasRecoveryWrap": status.has_recovery_wrap,
            "zeroKnowledge": status.is_zero_knowledge,
            "formatVersion": status.format_version,
            "kekId": status.kek_id,
            "createdAt": iso(status.created_at),
        }),
    }))
}

async fn set_wrap(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
    JsonObject(body): JsonObject,
) -> Result<Json<Value>, Problem> {
    let given = Value::Object(body.clone());
    if let Some(answer) = elsewhere::asked(&app, Method::POST, "recovery-wrap", &token, Some(&given)).await {
        return answer;
    }
    let mut faults = Faults::default();
    let mut fields = Fields::new(body, &mut faults);
    let wrap = RecoveryWrap {
        wrapped_key: base64_text(&mut fields, "recoveryWrappedMk", WRAPPED_CHARS),
        iv: base64_text(&mut fields, "recoveryIv", IV_CHARS),
    };
    faults.finish()?;
    app.identity.set_recovery_wrap(&caller.user_id, &wrap).await?;
    Ok(Json(json!({ "ok": true, "hasRecoveryWrap": true })))
}

async fn remove_wrap(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
) -> Result<Json<Value>, Problem> {
    if let Some(answer) = elsewhere::asked(&app, Method::DELETE, "recovery-wrap", &token, None).await {
        return answer;
    }
    app.identity.remove_recovery_wrap(&caller.user_id).await?;
    Ok(Json(json!({ "ok": true, "hasRecoveryWrap": false })))
}

async fn zero_knowledge_switch(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
    JsonObject(mut body): JsonObject,
) -> Result<Json<Value>, Problem> {
    if app.external.is_some() {
        let given = Value::Object(std::mem::take(&mut body));
        let answer = elsewhere::asked(&app, Method::POST, "zero-knowledge", &token, Some(&given)).await;
        return answer.unwrap_or_else(|| Err(Problem::of_status(http::StatusCode::NOT_FOUND)));
    }
    let Some(enable) = body.remove("enable").as_ref().and_then(Value::as_bool) else {
        let detail = "enable: must be true or false";
        return Err(Problem::bad_request("INVALID_FIELDS", detail).with(
            "faults",
            json!([{ "field": "enable", "reason": "must be true or false" }]),
        ));
    };
    if enable {
        app.identity.zero_knowledge_on(&caller.user_id).await?;
    } else {
        let key = given_key(body)?;
        app.identity.zero_knowledge_off(&caller.user_id, key).await?;
    }
    Ok(Json(json!({ "ok": true, "zeroKnowledge": enable })))
}

/// The 32 bytes of a master key out of a body. They are in no error.
fn given_key(body: serde_json::Map<String, Value>) -> Result<Zeroizing<[u8; 32]>, Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::new(body, &mut faults);
    let text = fields.secret("masterKey", 1..=100);
    let decoded = Zeroizing::new(BASE64.decode(text.expose_secret().as_bytes()).unwrap_or_default());
    let mut key = Zeroizing::new([0; 32]);
    if decoded.len() == key.len() {
        key.copy_from_slice(&decoded);
    } else {
        fields.fault("masterKey", "must be 32 bytes in base64");
    }
    faults.finish()?;
    Ok(key)
}

fn base64_text(fields: &mut Fields<'_>, name: &str, chars: std::ops::RangeInclusive<usize>) -> String {
    let text = fields.text(name, chars);
    if !text.is_empty() && BASE64.decode(&text).is_err() {
        fields.fault(name, "must be base64");
    }
    text
}

fn access_json(access: &VaultAccess) -> Value {
    match access {
        VaultAccess::Key(key) => key_json(key),
        VaultAccess::Recovery { wrap, format_version } => json!({
            "requiresRecoveryCode": true,
            "recoveryWrappedMk": wrap.wrapped_key,
            "recoveryIv": wrap.iv,
            "formatVersion": format_version,
        }),
    }
}

/// The one place where a master key leaves the house, to its owner; the answer is marked `no-store`.
fn key_json(key: &MasterKey) -> Value {
    json!({
        "masterKey": BASE64.encode(key.key.as_slice()),
        "formatVersion": key.format_version,
        "kekId": key.kek_id,
    })
}
