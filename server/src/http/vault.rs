//! The caller's vault: its master key, and what its owner may do with it.

mod elsewhere;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;
use identity::{MasterKey, RecoveryWrap, VaultAccess};
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::App;
use super::answer::Iso;
use super::body::JsonObject;
use super::caller::{Authenticated, BearerToken};
use super::endpoint::{Access, Endpoint};
use super::fields::{Faults, Fields};
use super::problem::Problem;
use elsewhere::{Answered, here};

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
        .refuses(&[404, 409])
        .body_bytes_max(BODY_BYTES_MAX),
    ]
}

async fn key(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
) -> Result<Json<Answered<VaultOpened>>, Problem> {
    if let Some(answer) = elsewhere::asked(&app, Method::GET, "key", &token, None).await {
        return answer;
    }
    Ok(here(app.identity.vault_access(&caller.user_id).await?.into()))
}

async fn init(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
) -> Result<Json<Answered<VaultOpened>>, Problem> {
    if let Some(answer) = elsewhere::asked(&app, Method::POST, "init", &token, None).await {
        return answer;
    }
    Ok(here(app.identity.vault_init(&caller.user_id).await?.into()))
}

async fn rotate(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
) -> Result<Json<Answered<KeyShown>>, Problem> {
    if let Some(answer) = elsewhere::asked(&app, Method::POST, "rotate", &token, None).await {
        return answer;
    }
    Ok(here(app.identity.vault_rotate(&caller.user_id).await?.into()))
}

async fn status(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
) -> Result<Json<Answered<VaultSeen>>, Problem> {
    if let Some(answer) = elsewhere::asked(&app, Method::GET, "status", &token, None).await {
        return answer;
    }
    let status = app.identity.vault_status(&caller.user_id).await?;
    Ok(here(status.map_or_else(VaultSeen::default, |status| VaultSeen {
        vault_exists: true,
        has_recovery_wrap: status.has_recovery_wrap,
        zero_knowledge: status.is_zero_knowledge,
        format_version: Some(status.format_version),
        kek_id: Some(status.kek_id),
        created_at: Some(status.created_at.into()),
    })))
}

async fn set_wrap(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
    JsonObject(body): JsonObject,
) -> Result<Json<Answered<WrapKept>>, Problem> {
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
    Ok(here(WrapKept {
        ok: true,
        has_recovery_wrap: true,
    }))
}

async fn remove_wrap(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
) -> Result<Json<Answered<WrapKept>>, Problem> {
    if let Some(answer) = elsewhere::asked(&app, Method::DELETE, "recovery-wrap", &token, None).await {
        return answer;
    }
    app.identity.remove_recovery_wrap(&caller.user_id).await?;
    Ok(here(WrapKept {
        ok: true,
        has_recovery_wrap: false,
    }))
}

async fn zero_knowledge_switch(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    BearerToken(token): BearerToken,
    JsonObject(mut body): JsonObject,
) -> Result<Json<Answered<ZeroKnowledge>>, Problem> {
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
    Ok(here(ZeroKnowledge {
        ok: true,
        zero_knowledge: enable,
    }))
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

/// What opens the caller's values: the key, or what only its recovery code opens.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum VaultOpened {
    Key(KeyShown),
    Recovery(RecoveryShown),
}

/// The one place where a master key leaves the house, to its owner; the answer is marked `no-store`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct KeyShown {
    /// 32 bytes in base64.
    master_key: String,
    format_version: u32,
    kek_id: String,
}

/// What a zero-knowledge owner gets: the server has no key to give.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RecoveryShown {
    requires_recovery_code: bool,
    recovery_wrapped_mk: String,
    recovery_iv: String,
    format_version: u32,
}

/// Whether there is a vault and what kind it is.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct VaultSeen {
    vault_exists: bool,
    has_recovery_wrap: bool,
    zero_knowledge: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    format_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kek_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Iso>,
}

/// Whether a copy is kept that only the recovery code opens.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WrapKept {
    ok: bool,
    has_recovery_wrap: bool,
}

/// Whether the server is without a key now.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ZeroKnowledge {
    ok: bool,
    zero_knowledge: bool,
}

impl From<VaultAccess> for VaultOpened {
    fn from(access: VaultAccess) -> Self {
        match access {
            VaultAccess::Key(key) => Self::Key(key.into()),
            VaultAccess::Recovery { wrap, format_version } => Self::Recovery(RecoveryShown {
                requires_recovery_code: true,
                recovery_wrapped_mk: wrap.wrapped_key,
                recovery_iv: wrap.iv,
                format_version,
            }),
        }
    }
}

impl From<MasterKey> for KeyShown {
    fn from(key: MasterKey) -> Self {
        Self {
            master_key: BASE64.encode(key.key.as_slice()),
            format_version: key.format_version,
            kek_id: key.kek_id,
        }
    }
}
