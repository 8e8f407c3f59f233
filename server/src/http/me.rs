//! What belongs to the caller: its spaces.

use axum::Json;
use axum::extract::State;
use identity::Membership;
use serde_json::{Value, json};

use super::App;
use super::caller::Authenticated;
use super::endpoint::{Access, Endpoint};
use super::problem::Problem;

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(&["/api/auth/organization/list"], spaces)
            .about(Access::Token, "The caller's spaces, the personal one first"),
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
