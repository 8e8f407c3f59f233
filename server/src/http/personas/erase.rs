//! Deletes a persona for good: the event first, then the account.
//!
//! In this order a try that broke off in between can be made again: the account still names the persona, and
//! the history says that the event stands. The other way round the persona would be left in the tables with
//! nobody to name it.

use axum::Json;
use axum::extract::{Path, State};
use events::{PersonaErased, SpaceId};
use identity::{AccountKind, IdentityError};
use serde_json::{Value, json};

use super::{persona_id, unknown_persona};
use crate::http::App;
use crate::http::caller::Admin;
use crate::http::persona_log::{Draft, write};
use crate::http::problem::Problem;

pub(super) async fn delete(
    _: Admin,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let persona = persona_id(id)?;
    let account_id = persona.clone().into();
    let account = app
        .identity
        .account(&account_id)
        .await?
        .ok_or_else(unknown_persona)?;
    if account.kind != AccountKind::Persona {
        let detail = "that account is not a persona; it was left as it is";
        return Err(Problem::bad_request("NOT_A_PERSONA", detail));
    }
    let spaces: Vec<SpaceId> = app.identity.sole_spaces(&account_id).await?;
    let written = write(&app, &persona, |history| {
        let is_done = history.is_erased;
        let event = PersonaErased {
            persona_id: persona.clone(),
            spaces: spaces.clone(),
        }
        .into();
        let erased = Draft {
            what: "persona-erased",
            key: Vec::new(),
            tick: None,
            events: vec![event],
            rows: 1,
        };
        Ok(if is_done { Vec::new() } else { vec![erased] })
    })
    .await?;
    if !written.is_visible {
        let detail = "the persona is being erased, but the tables are behind; try again to finish";
        return Err(Problem::unavailable("TABLES_BEHIND", detail));
    }
    match app.identity.delete_account(&account_id).await {
        // Gone in between: somebody else's try finished first.
        Ok(_) | Err(IdentityError::NotFound) => Ok(Json(json!({ "ok": true, "deleted": account_id }))),
        Err(error) => Err(error.into()),
    }
}
