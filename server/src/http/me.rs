//! What belongs to the caller: its spaces.

use axum::Json;
use axum::extract::State;
use events::SpaceId;
use identity::{Membership, SpaceRole, SpaceType};
use schemars::JsonSchema;
use serde::Serialize;

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
) -> Result<Json<Vec<Organization>>, Problem> {
    let memberships = app.identity.spaces_of(&caller.user_id).await?;
    Ok(Json(memberships.into_iter().map(Organization::from).collect()))
}

/// A space, in the words of clients of the system before this one.
#[derive(Debug, Serialize, JsonSchema)]
struct Organization {
    id: SpaceId,
    name: String,
    slug: String,
    metadata: OrganizationMetadata,
    role: SpaceRole,
}

#[derive(Debug, Serialize, JsonSchema)]
struct OrganizationMetadata {
    #[serde(rename = "type")]
    space_type: SpaceType,
}

impl From<Membership> for Organization {
    fn from(membership: Membership) -> Self {
        Self {
            id: membership.space_id,
            name: membership.name,
            slug: membership.slug,
            metadata: OrganizationMetadata {
                space_type: membership.space_type,
            },
            role: membership.role,
        }
    }
}
