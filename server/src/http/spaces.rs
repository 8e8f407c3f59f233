//! Spaces: making one, inviting others into it, and going again.
//!
//! A space that does not exist and one the caller is no member of are the same 404. Which space a caller acts in is
//! not kept here: every request says so itself, so that a switch, a new place and a lost one all count from the next
//! request on.

mod ends;

use axum::Json;
use axum::extract::{Path, State};
use events::{InvitationId, SpaceId, UserId};
use http::StatusCode;
use identity::{
    IdentityError, Invitation, InvitationToMe, Member, Membership, NewSpace, SpaceRole, SpaceType,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::App;
use super::answer::{Done, Iso, done};
use super::auth::EMAIL_CHARS;
use super::body::JsonObject;
use super::caller::Authenticated;
use super::endpoint::{Access, Endpoint};
use super::fields::{Faults, Fields};
use super::personas::ERASED_WITHIN;
use super::problem::Problem;

pub(crate) use ends::finish;

/// Bytes of a request here: a handful of short fields.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// What a space may be for; registration makes the personal one.
const TYPES: [(&str, SpaceType); 5] = [
    ("brand", SpaceType::Brand),
    ("club", SpaceType::Club),
    ("family", SpaceType::Family),
    ("team", SpaceType::Team),
    ("practice", SpaceType::Practice),
];

/// What somebody else may be in a space.
const ROLES: [(&str, SpaceRole); 2] = [("admin", SpaceRole::Admin), ("member", SpaceRole::Member)];

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = of_spaces();
    endpoints.extend(of_the_invited());
    endpoints
}

fn of_spaces() -> Vec<Endpoint> {
    const SPACE: &[&str] = &["/api/v1/spaces/{id}"];
    const INVITATIONS: &[&str] = &["/api/v1/spaces/{id}/invitations"];
    const MEMBER: &[&str] = &["/api/v1/spaces/{id}/members/{member}"];
    vec![
        Endpoint::get(&["/api/v1/spaces"], list)
            .about(Access::Token, "The caller's spaces, the personal one first"),
        Endpoint::post(&["/api/v1/spaces"], create)
            .once_per_key()
            .about(Access::Token, "Makes a space that the caller owns")
            .takes(new_space_schema())
            .succeeds_with(StatusCode::CREATED)
            .refuses(&[409])
            .body_bytes_max(BODY_BYTES_MAX),
        Endpoint::get(SPACE, show)
            .about(Access::Token, "A space of the caller's with its members")
            .refuses(&[404]),
        Endpoint::post(&["/api/v1/spaces/{id}/leave"], leave)
            .once_per_key()
            .about(Access::Token, "Leaves a space; its owner hands it over first")
            .refuses(&[404, 409]),
        Endpoint::post(&["/api/v1/spaces/{id}/hand-over"], ends::hand_over)
            .once_per_key()
            .about(
                Access::Token,
                "Makes a member the owner of a space, whose key seals it from then on; for the owner",
            )
            .takes(member_schema())
            .refuses(&[403, 404, 409, 503])
            .body_bytes_max(BODY_BYTES_MAX),
        Endpoint::delete(SPACE, ends::delete)
            .about(
                Access::Token,
                "Deletes a space and everything in it for good; for the owner",
            )
            .refuses(&[403, 404, 409])
            .time_limit(ERASED_WITHIN),
        Endpoint::get(INVITATIONS, invitations)
            .about(
                Access::Token,
                "A space's open invitations, for its owner and admins",
            )
            .refuses(&[403, 404]),
        Endpoint::post(INVITATIONS, invite)
            .once_per_key()
            .about(Access::Token, "Invites whoever has an email into a space")
            .takes(invitation_schema())
            .succeeds_with(StatusCode::CREATED)
            .refuses(&[403, 404, 409])
            .body_bytes_max(BODY_BYTES_MAX),
        Endpoint::delete(&["/api/v1/spaces/{id}/invitations/{invitation}"], withdraw)
            .about(Access::Token, "Takes an invitation back")
            .refuses(&[403, 404]),
        Endpoint::post(MEMBER, set_role)
            .once_per_key()
            .about(Access::Token, "Gives a member another role, for the owner")
            .takes(role_schema())
            .refuses(&[403, 404, 409])
            .body_bytes_max(BODY_BYTES_MAX),
        Endpoint::delete(MEMBER, remove)
            .about(Access::Token, "Takes a member out of a space")
            .refuses(&[403, 404, 409]),
    ]
}

fn of_the_invited() -> Vec<Endpoint> {
    vec![
        Endpoint::get(&["/api/v1/me/invitations"], to_me)
            .about(Access::Token, "What the caller is invited to"),
        Endpoint::post(&["/api/v1/me/invitations/{id}/accept"], accept)
            .once_per_key()
            .about(Access::Token, "Joins the space of an invitation")
            .refuses(&[404, 409]),
        Endpoint::post(&["/api/v1/me/invitations/{id}/decline"], decline)
            .once_per_key()
            .about(Access::Token, "Declines an invitation")
            .refuses(&[404]),
    ]
}

fn new_space_schema() -> Value {
    json!({
        "type": "object",
        "required": ["name", "type"],
        "properties": {
            "name": { "type": "string", "minLength": 1, "maxLength": 200 },
            "type": { "enum": TYPES.map(|(word, _)| word) },
        },
    })
}

fn member_schema() -> Value {
    json!({
        "type": "object",
        "required": ["userId"],
        "properties": { "userId": { "type": "string", "description": "a member of the space" } },
    })
}

fn role_schema() -> Value {
    json!({
        "type": "object",
        "required": ["role"],
        "properties": { "role": { "enum": ROLES.map(|(word, _)| word) } },
    })
}

fn invitation_schema() -> Value {
    json!({
        "type": "object",
        "required": ["email"],
        "properties": {
            "email": { "type": "string", "format": "email" },
            "role": { "enum": ROLES.map(|(word, _)| word), "default": "member" },
        },
    })
}

async fn list(State(app): State<App>, Authenticated(caller): Authenticated) -> Result<Json<Spaces>, Problem> {
    let spaces = app.identity.spaces_of(&caller.user_id).await?;
    let spaces = spaces.into_iter().map(SpaceSeen::from).collect();
    Ok(Json(Spaces { spaces }))
}

async fn create(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    JsonObject(body): JsonObject,
) -> Result<(StatusCode, Json<OneSpace>), Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::new(body, &mut faults);
    let space = NewSpace {
        name: fields.text("name", 1..=200),
        space_type: fields.word("type", &TYPES, SpaceType::Team),
    };
    faults.finish()?;
    let made = app.identity.create_space(&caller.user_id, space).await?;
    let space = made.into();
    Ok((StatusCode::CREATED, Json(OneSpace { space })))
}

async fn show(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<SpaceWithMembers>, Problem> {
    let space = space_id(id)?;
    let members = app.identity.members(&caller.user_id, &space).await?;
    let place = app.identity.membership(&space, &caller.user_id).await?;
    let place = place.ok_or(IdentityError::NotFound)?;
    let may_manage = place.role != SpaceRole::Member;
    let shown = |member: Member| {
        let with_email = may_manage || member.user_id == caller.user_id;
        MemberSeen::new(member, with_email)
    };
    Ok(Json(SpaceWithMembers {
        space: place.into(),
        members: members.into_iter().map(shown).collect(),
    }))
}

async fn leave(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<Done>, Problem> {
    let user = &caller.user_id;
    app.identity.remove_member(user, &space_id(id)?, user).await?;
    Ok(done())
}

async fn invitations(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<Invitations>, Problem> {
    let open = app
        .identity
        .invitations_of_space(&caller.user_id, &space_id(id)?)
        .await?;
    let invitations = open.into_iter().map(InvitationSeen::from).collect();
    Ok(Json(Invitations { invitations }))
}

async fn invite(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    JsonObject(body): JsonObject,
) -> Result<(StatusCode, Json<OneInvitation>), Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::new(body, &mut faults);
    let email = fields.text("email", EMAIL_CHARS);
    let role = fields.optional_word("role", &ROLES).unwrap_or(SpaceRole::Member);
    faults.finish()?;
    let invitation = app
        .identity
        .invite(&caller.user_id, &space_id(id)?, &email, role)
        .await?;
    let invitation = invitation.into();
    Ok((StatusCode::CREATED, Json(OneInvitation { invitation })))
}

async fn withdraw(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((id, invitation)): Path<(String, String)>,
) -> Result<Json<Done>, Problem> {
    let invitation = invitation_id(invitation)?;
    app.identity
        .withdraw_invitation(&caller.user_id, &space_id(id)?, &invitation)
        .await?;
    Ok(done())
}

async fn set_role(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((id, member)): Path<(String, String)>,
    JsonObject(body): JsonObject,
) -> Result<Json<Done>, Problem> {
    let mut faults = Faults::default();
    let role = Fields::new(body, &mut faults).word("role", &ROLES, SpaceRole::Member);
    faults.finish()?;
    let (space, member) = (space_id(id)?, user_id(member)?);
    app.identity
        .set_member_role(&caller.user_id, &space, &member, role)
        .await?;
    Ok(done())
}

async fn remove(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((id, member)): Path<(String, String)>,
) -> Result<Json<Done>, Problem> {
    let (space, member) = (space_id(id)?, user_id(member)?);
    app.identity
        .remove_member(&caller.user_id, &space, &member)
        .await?;
    Ok(done())
}

async fn to_me(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
) -> Result<Json<InvitationsToMe>, Problem> {
    let invitations = app.identity.invitations_to(&caller.user_id).await?;
    let invitations = invitations.into_iter().map(InvitationToMeSeen::from).collect();
    Ok(Json(InvitationsToMe { invitations }))
}

async fn accept(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<OneSpace>, Problem> {
    let joined = app
        .identity
        .accept_invitation(&caller.user_id, &invitation_id(id)?)
        .await?;
    let space = joined.into();
    Ok(Json(OneSpace { space }))
}

async fn decline(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<Done>, Problem> {
    app.identity
        .decline_invitation(&caller.user_id, &invitation_id(id)?)
        .await?;
    Ok(done())
}

/// The caller's spaces.
#[derive(Debug, Serialize, JsonSchema)]
struct Spaces {
    spaces: Vec<SpaceSeen>,
}

/// One space.
#[derive(Debug, Serialize, JsonSchema)]
struct OneSpace {
    space: SpaceSeen,
}

/// One space with who is in it.
#[derive(Debug, Serialize, JsonSchema)]
struct SpaceWithMembers {
    space: SpaceSeen,
    members: Vec<MemberSeen>,
}

/// A space with the caller's place in it.
#[derive(Debug, Serialize, JsonSchema)]
struct SpaceSeen {
    id: SpaceId,
    name: String,
    slug: String,
    #[serde(rename = "type")]
    space_type: SpaceType,
    role: SpaceRole,
}

/// A member. Emails are for those who manage the space, and one's own.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MemberSeen {
    user_id: UserId,
    name: String,
    role: SpaceRole,
    joined_at: Iso,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

/// A space's open invitations.
#[derive(Debug, Serialize, JsonSchema)]
struct Invitations {
    invitations: Vec<InvitationSeen>,
}

/// One invitation.
#[derive(Debug, Serialize, JsonSchema)]
struct OneInvitation {
    invitation: InvitationSeen,
}

/// An invitation, as the space's owner and admins see it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct InvitationSeen {
    id: InvitationId,
    space_id: SpaceId,
    email: String,
    role: SpaceRole,
    created_at: Iso,
    expires_at: Iso,
}

/// What the caller is invited to.
#[derive(Debug, Serialize, JsonSchema)]
struct InvitationsToMe {
    invitations: Vec<InvitationToMeSeen>,
}

/// An invitation, as the invited sees it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct InvitationToMeSeen {
    id: InvitationId,
    space: SpaceOfInvitation,
    role: SpaceRole,
    /// The name of who invited.
    invited_by: String,
    expires_at: Iso,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SpaceOfInvitation {
    id: SpaceId,
    name: String,
    #[serde(rename = "type")]
    space_type: SpaceType,
}

impl From<Membership> for SpaceSeen {
    fn from(place: Membership) -> Self {
        Self {
            id: place.space_id,
            name: place.name,
            slug: place.slug,
            space_type: place.space_type,
            role: place.role,
        }
    }
}

impl MemberSeen {
    fn new(member: Member, with_email: bool) -> Self {
        Self {
            user_id: member.user_id,
            name: member.name,
            role: member.role,
            joined_at: member.joined_at.into(),
            email: with_email.then_some(member.email),
        }
    }
}

impl From<Invitation> for InvitationSeen {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id,
            space_id: invitation.space_id,
            email: invitation.email,
            role: invitation.role,
            created_at: invitation.created_at.into(),
            expires_at: invitation.expires_at.into(),
        }
    }
}

impl From<InvitationToMe> for InvitationToMeSeen {
    fn from(to_me: InvitationToMe) -> Self {
        Self {
            id: to_me.invitation.id,
            space: SpaceOfInvitation {
                id: to_me.invitation.space_id,
                name: to_me.space_name,
                space_type: to_me.space_type,
            },
            role: to_me.invitation.role,
            invited_by: to_me.invited_by,
            expires_at: to_me.invitation.expires_at.into(),
        }
    }
}

/// An id that cannot be one is an id of nothing.
fn space_id(id: String) -> Result<SpaceId, Problem> {
    SpaceId::try_new(id).map_err(|_| IdentityError::NotFound.into())
}

fn user_id(id: String) -> Result<UserId, Problem> {
    UserId::try_new(id).map_err(|_| IdentityError::NotFound.into())
}

fn invitation_id(id: String) -> Result<InvitationId, Problem> {
    InvitationId::try_new(id).map_err(|_| IdentityError::NotFound.into())
}
