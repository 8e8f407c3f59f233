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
use serde_json::{Value, json};

use super::auth::EMAIL_CHARS;
use super::body::JsonObject;
use super::caller::Authenticated;
use super::endpoint::{Access, Endpoint};
use super::fields::{Faults, Fields};
use super::personas::ERASED_WITHIN;
use super::problem::Problem;
use super::{App, iso};

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
            .about(Access::Token, "Makes a space that the caller owns")
            .takes(new_space_schema())
            .succeeds_with(StatusCode::CREATED)
            .refuses(&[409])
            .body_bytes_max(BODY_BYTES_MAX),
        Endpoint::get(SPACE, show)
            .about(Access::Token, "A space of the caller's with its members")
            .refuses(&[404]),
        Endpoint::post(&["/api/v1/spaces/{id}/leave"], leave)
            .about(Access::Token, "Leaves a space; its owner hands it over first")
            .refuses(&[404, 409]),
        Endpoint::post(&["/api/v1/spaces/{id}/hand-over"], ends::hand_over)
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
            .about(Access::Token, "Invites whoever has an email into a space")
            .takes(invitation_schema())
            .succeeds_with(StatusCode::CREATED)
            .refuses(&[403, 404, 409])
            .body_bytes_max(BODY_BYTES_MAX),
        Endpoint::delete(&["/api/v1/spaces/{id}/invitations/{invitation}"], withdraw)
            .about(Access::Token, "Takes an invitation back")
            .refuses(&[403, 404]),
        Endpoint::post(MEMBER, set_role)
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
            .about(Access::Token, "Joins the space of an invitation")
            .refuses(&[404, 409]),
        Endpoint::post(&["/api/v1/me/invitations/{id}/decline"], decline)
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

async fn list(State(app): State<App>, Authenticated(caller): Authenticated) -> Result<Json<Value>, Problem> {
    let spaces = app.identity.spaces_of(&caller.user_id).await?;
    let spaces: Vec<Value> = spaces.iter().map(space_json).collect();
    Ok(Json(json!({ "spaces": spaces })))
}

async fn create(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    JsonObject(body): JsonObject,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::new(body, &mut faults);
    let space = NewSpace {
        name: fields.text("name", 1..=200),
        space_type: fields.word("type", &TYPES, SpaceType::Team),
    };
    faults.finish()?;
    let made = app.identity.create_space(&caller.user_id, space).await?;
    Ok((StatusCode::CREATED, Json(json!({ "space": space_json(&made) }))))
}

async fn show(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let space = space_id(id)?;
    let members = app.identity.members(&caller.user_id, &space).await?;
    let place = app.identity.membership(&space, &caller.user_id).await?;
    let place = place.ok_or(IdentityError::NotFound)?;
    let may_manage = place.role != SpaceRole::Member;
    let members: Vec<Value> = members
        .iter()
        .map(|member| member_json(member, may_manage || member.user_id == caller.user_id))
        .collect();
    Ok(Json(json!({ "space": space_json(&place), "members": members })))
}

async fn leave(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let user = &caller.user_id;
    app.identity.remove_member(user, &space_id(id)?, user).await?;
    Ok(done())
}

async fn invitations(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let open = app
        .identity
        .invitations_of_space(&caller.user_id, &space_id(id)?)
        .await?;
    let open: Vec<Value> = open.iter().map(invitation_json).collect();
    Ok(Json(json!({ "invitations": open })))
}

async fn invite(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    JsonObject(body): JsonObject,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::new(body, &mut faults);
    let email = fields.text("email", EMAIL_CHARS);
    let role = fields.optional_word("role", &ROLES).unwrap_or(SpaceRole::Member);
    faults.finish()?;
    let invitation = app
        .identity
        .invite(&caller.user_id, &space_id(id)?, &email, role)
        .await?;
    let body = json!({ "invitation": invitation_json(&invitation) });
    Ok((StatusCode::CREATED, Json(body)))
}

async fn withdraw(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((id, invitation)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
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
) -> Result<Json<Value>, Problem> {
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
) -> Result<Json<Value>, Problem> {
    let (space, member) = (space_id(id)?, user_id(member)?);
    app.identity
        .remove_member(&caller.user_id, &space, &member)
        .await?;
    Ok(done())
}

async fn to_me(State(app): State<App>, Authenticated(caller): Authenticated) -> Result<Json<Value>, Problem> {
    let invitations = app.identity.invitations_to(&caller.user_id).await?;
    let invitations: Vec<Value> = invitations.iter().map(invitation_to_me_json).collect();
    Ok(Json(json!({ "invitations": invitations })))
}

async fn accept(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let joined = app
        .identity
        .accept_invitation(&caller.user_id, &invitation_id(id)?)
        .await?;
    Ok(Json(json!({ "space": space_json(&joined) })))
}

async fn decline(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    app.identity
        .decline_invitation(&caller.user_id, &invitation_id(id)?)
        .await?;
    Ok(done())
}

fn done() -> Json<Value> {
    Json(json!({ "ok": true }))
}

fn space_json(place: &Membership) -> Value {
    json!({
        "id": place.space_id,
        "name": place.name,
        "slug": place.slug,
        "type": place.space_type,
        "role": place.role,
    })
}

/// Emails are for those who manage the space, and one's own.
fn member_json(member: &Member, with_email: bool) -> Value {
    let mut json = json!({
        "userId": member.user_id,
        "name": member.name,
        "role": member.role,
        "joinedAt": iso(member.joined_at),
    });
    if with_email {
        json["email"] = member.email.as_str().into();
    }
    json
}

fn invitation_json(invitation: &Invitation) -> Value {
    json!({
        "id": invitation.id,
        "spaceId": invitation.space_id,
        "email": invitation.email,
        "role": invitation.role,
        "createdAt": iso(invitation.created_at),
        "expiresAt": iso(invitation.expires_at),
    })
}

fn invitation_to_me_json(to_me: &InvitationToMe) -> Value {
    json!({
        "id": to_me.invitation.id,
        "space": {
            "id": to_me.invitation.space_id,
            "name": to_me.space_name,
            "type": to_me.space_type,
        },
        "role": to_me.invitation.role,
        "invitedBy": to_me.invited_by,
        "expiresAt": iso(to_me.invitation.expires_at),
    })
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
