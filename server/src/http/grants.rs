//! Key grants: what an owner lets a runner work on while nobody is logged in, and what the runner gets.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use events::{RecordId, SpaceId};
use http::StatusCode;
use identity::{DERIVATION_VERSION, GrantError, GrantRequest, KeyGrant, Minter};
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::App;
use super::answer::{Done, Iso, done};
use super::body::JsonObject;
use super::caller::{Authenticated, ExternalRunner};
use super::endpoint::{Access, Endpoint};
use super::fields::{Faults, Fields};
use super::problem::Problem;

/// Bytes of a request: 500 ids and 20 names.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Names in one list.
const NAMES_MAX: usize = 500;
const NAME_CHARS: std::ops::RangeInclusive<usize> = 1..=200;
/// 31 days.
const TTL_MS_MAX: u64 = 31 * 24 * 60 * 60 * 1_000;

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    const ALL: &[&str] = &["/api/v1/me/key-grants", "/api/v1/me/ai-mission-grant"];
    let names = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
    let body = json!({
        "type": "object",
        "required": ["missionId", "tables", "recordIds"],
        "properties": {
            "missionId": { "type": "string", "maxLength": 200 },
            "spaceId": { "type": "string", "description": "one the caller owns; absent: the personal one" },
            "tables": names,
            "recordIds": names,
            "ttlMs": { "type": "integer", "minimum": 1, "maximum": TTL_MS_MAX },
            "wrappedKey": { "type": "string", "description": "of a data key that the caller's own client made" },
        },
    });
    vec![
        Endpoint::post(ALL, grant)
            .once_per_key()
            .about(
                Access::Token,
                "Hands a runner a data key for some records until a date",
            )
            .takes(body)
            .refuses(&[404, 409, 503])
            .body_bytes_max(BODY_BYTES_MAX),
        Endpoint::get(ALL, list).about(Access::Token, "The caller's grants, the latest first"),
        Endpoint::delete(&["/api/v1/me/key-grants/{id}"], revoke)
            .about(Access::Token, "Takes a grant back at once")
            .refuses(&[404]),
        Endpoint::get(
            &["/api/v1/internal/key-grants/{id}/records/{table}/{record}"],
            record,
        )
        .about(
            Access::ServiceKey,
            "One granted record, sealed with the grant's data key",
        )
        .refuses(&[403, 404, 409, 410]),
    ]
}

async fn grant(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    JsonObject(body): JsonObject,
) -> Result<Json<GrantSeen>, Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::new(body, &mut faults);
    let request = GrantRequest {
        mission_id: fields.text("missionId", NAME_CHARS),
        space_id: fields
            .optional_text("spaceId", NAME_CHARS)
            .and_then(|id| SpaceId::try_new(id).ok()),
        tables: names(&mut fields, "tables"),
        record_ids: names(&mut fields, "recordIds"),
        holds: fields
            .optional_integer("ttlMs", 1..=TTL_MS_MAX)
            .map(|ms| SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))),
    };
    let wrapped = fields.optional_text("wrappedKey", 1..=2_048);
    faults.finish()?;
    let user = &caller.user_id;
    let grant = match (wrapped, &app.settings.runner_key) {
        (Some(wrapped), _) => app.identity.keep_client_grant(user, request, wrapped).await?,
        (None, Some(runner)) => app.identity.mint_grant(user, request, runner).await?,
        (None, None) => {
            let detail =
                "no runner's public key is configured here (runner_key_file), so no grant can be made";
            return Err(Problem::unavailable("GRANT_NOT_CONFIGURED", detail));
        }
    };
    Ok(Json(grant.into()))
}

fn names(fields: &mut Fields<'_>, name: &str) -> Vec<String> {
    let mut names = Vec::new();
    for item in fields.list(name, NAMES_MAX) {
        match item {
            Value::String(text) => names.push(text),
            _ => fields.fault(name, "must be a list of texts"),
        }
    }
    names
}

/// The caller's grants.
#[derive(Debug, Serialize, JsonSchema)]
struct Grants {
    grants: Vec<GrantSeen>,
}

/// A grant.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GrantSeen {
    id: String,
    /// The data key wrapped to the runner's public key, base64.
    wrapped_key: String,
    derivation: Derivation,
    space_id: SpaceId,
    minted_by: Minter,
    issued_at: Iso,
    expires_at: Iso,
    /// When it was taken back.
    revoked_at: Option<Iso>,
}

/// What a data key is derived from, beside the master key.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Derivation {
    version: u32,
    mission_id: String,
    tables: Vec<String>,
    record_ids: Vec<String>,
}

impl From<KeyGrant> for GrantSeen {
    fn from(grant: KeyGrant) -> Self {
        Self {
            id: grant.id,
            wrapped_key: grant.wrapped_key,
            derivation: Derivation {
                version: DERIVATION_VERSION,
                mission_id: grant.mission_id,
                tables: grant.tables,
                record_ids: grant.record_ids,
            },
            space_id: grant.space_id,
            minted_by: grant.minted_by,
            issued_at: grant.issued_at.into(),
            expires_at: grant.expires_at.into(),
            revoked_at: grant.revoked_at.map(Iso::from),
        }
    }
}

async fn list(State(app): State<App>, Authenticated(caller): Authenticated) -> Result<Json<Grants>, Problem> {
    let grants = app.identity.grants_of(&caller.user_id).await?;
    let grants = grants.into_iter().map(GrantSeen::from).collect();
    Ok(Json(Grants { grants }))
}

async fn revoke(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<Done>, Problem> {
    app.identity.revoke_grant(&caller.user_id, &id).await?;
    Ok(done())
}

async fn record(
    _: ExternalRunner,
    State(app): State<App>,
    Path((id, table, record)): Path<(String, String, String)>,
) -> Result<Json<GrantedRecord>, Problem> {
    let used = app.identity.use_grant(&id, &table, &record).await?;
    let unknown = || Problem::not_found("RECORD_NOT_FOUND", "there is no such record (any more)");
    let record_id = RecordId::try_new(record).map_err(|_| unknown())?;
    let granted = app
        .gateway
        .granted_record(&used.grant.space_id, &table, &record_id, used.data_key.as_deref())
        .await
        .map_err(|error| Problem::new(StatusCode::CONFLICT, "RECORD_UNREADABLE", error.to_string()))?;
    let fields = granted.ok_or_else(unknown)?;
    Ok(Json(GrantedRecord {
        space_id: used.grant.space_id,
        table,
        id: record_id,
        fields,
        wrapped_key: used.grant.wrapped_key,
        expires_at: used.grant.expires_at.into(),
    }))
}

/// One record that a grant opens.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GrantedRecord {
    space_id: SpaceId,
    table: String,
    id: RecordId,
    /// Field to value; what is encrypted is sealed with the grant's data key.
    fields: BTreeMap<String, Value>,
    wrapped_key: String,
    expires_at: Iso,
}

impl From<GrantError> for Problem {
    fn from(error: GrantError) -> Self {
        let said = error.to_string();
        match error {
            GrantError::Unknown => Self::not_found("GRANT_NOT_FOUND", said),
            GrantError::OutOfScope => Self::new(StatusCode::FORBIDDEN, "GRANT_SCOPE", said),
            GrantError::Expired => Self::new(StatusCode::GONE, "GRANT_EXPIRED", said),
            GrantError::Revoked => Self::new(StatusCode::GONE, "GRANT_REVOKED", said),
            GrantError::KeyReplaced => Self::new(StatusCode::GONE, "GRANT_KEY_REPLACED", said),
            GrantError::Unavailable(error) => error.into(),
        }
    }
}
