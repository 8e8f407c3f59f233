//! What belongs to the caller: its spaces and its vault.

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use identity::{MasterKey, Membership};
use serde_json::{Value, json};

use super::caller::Authenticated;
use super::endpoint::{Access, Endpoint};
use super::problem::Problem;
use super::{App, iso};

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(&["/api/auth/organization/list"], spaces)
            .about(Access::Token, "The caller's spaces, the personal one first"),
        Endpoint::get(&["/api/v1/me/encryption-vault/key"], vault_key)
            .about(Access::Token, "The caller's master key")
            .refuses(&[404]),
        Endpoint::get(&["/api/v1/me/encryption-vault/status"], vault_status).about(
            Access::Token,
            "Whether the caller has a master key, without the key",
        ),
        Endpoint::post(&["/api/v1/me/encryption-vault/init"], vault_init).about(
            Access::Token,
            "Makes the caller's master key, or gives the one it has",
        ),
    ]
}

async fn spaces(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
) -> Result<Json<Value>, Problem> {
    let memberships = app.identity.spaces_of(&caller.user_id).await?;
    Ok(Json(memberships.iter().map(space_json).collect()))
}

fn space_json(membership: &Membership) -> Value {
    json!({
        "id": membership.space_id,
        "name": membership.name,
        "slug": membership.slug,
        "metadata": { "type": membership.space_type },
        "role": membership.role,
    })
}

async fn vault_key(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
) -> Result<Json<Value>, Problem> {
    Ok(Json(key_json(&app.identity.vault_key(&caller.user_id).await?)))
}

async fn vault_init(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
) -> Result<Json<Value>, Problem> {
    Ok(Json(key_json(&app.identity.vault_init(&caller.user_id).await?)))
}

/// The one place where a master key leaves the house, to its owner; the answer is marked `no-store`.
fn key_json(key: &MasterKey) -> Value {
    json!({
        "masterKey": BASE64.encode(key.key.as_slice()),
        "formatVersion": key.format_version,
        "kekId": key.kek_id,
    })
}

async fn vault_status(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
) -> Result<Json<Value>, Problem> {
    let status = app.identity.vault_status(&caller.user_id).await?;
    Ok(Json(match status {
        None => json!({ "vaultExists": false, "hasRecoveryWrap": false, "zeroKnowledge": false }),
        Some(status) => json!({
            "vaultExists": true,
            "hasRecoveryWrap": false,
            "zeroKnowledge": false,
            "formatVersion": status.format_version,
            "kekId": status.kek_id,
            "createdAt": iso(status.created_at),
        }),
    }))
}
