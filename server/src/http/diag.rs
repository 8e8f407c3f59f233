//! Shortcuts for development. In production these addresses do not exist.
//!
//! They need no token, so a page of another site must not be able to have a browser use them.

use axum::Json;
use axum::extract::{Query, State};
use http::{HeaderMap, StatusCode};
use identity::AccountKind;
use serde::Deserialize;

use super::App;
use super::auth::LoggedIn;
use super::body::OptionalJsonObject;
use super::endpoint::{Access, Endpoint};
use super::problem::Problem;
use super::runner::{ActReport, TICK_TIME_LIMIT, let_act, tick_schema};
use super::shield::refuse_cross_site;

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(&["/diag/login"], login)
            .about(Access::Open, "Development only: a token for a persona")
            .reads(&["email"])
            .refuses(&[400, 403, 404]),
        Endpoint::post(&["/diag/tick"], tick)
            .about(Access::Open, "Development only: lets personas act now")
            .takes(tick_schema())
            .refuses(&[403, 404, 503])
            .time_limit(TICK_TIME_LIMIT),
    ]
}

#[derive(Debug, Deserialize)]
struct LoginQuery {
    email: Option<String>,
}

async fn login(
    State(app): State<App>,
    headers: HeaderMap,
    Query(query): Query<LoginQuery>,
) -> Result<Json<LoggedIn>, Problem> {
    refuse_cross_site(&headers)?;
    let email = query
        .email
        .ok_or_else(|| Problem::bad_request("EMAIL_MISSING", "say whom: ?email=…"))?;
    let account = app.identity.account_by_email(&email).await?;
    let unknown = || Problem::not_found("PERSONA_NOT_FOUND", "there is no persona of that email");
    let account = account.ok_or_else(unknown)?;
    if account.kind != AccountKind::Persona {
        let detail = "this address gives tokens for personas only";
        return Err(Problem::new(StatusCode::FORBIDDEN, "NOT_A_PERSONA", detail));
    }
    Ok(Json(app.identity.mint(&account.id).await?.into()))
}

async fn tick(
    State(app): State<App>,
    headers: HeaderMap,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<Json<ActReport>, Problem> {
    refuse_cross_site(&headers)?;
    let_act(&app, body).await
}
