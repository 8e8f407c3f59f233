//! Creates a persona or updates it, by its email: the account, the spaces it shares, then the event.
//!
//! Each step may be tried again. An account without its event is nobody yet: the next try finds the account
//! and appends the event.

use axum::Json;
use axum::extract::State;
use events::{Event, PersonaDescription, PersonaEnrolled, PersonaId, PersonaRevised, UserId};
use http::StatusCode;
use identity::{Account, IdentityError, PersonaAccount};
use schemars::JsonSchema;
use serde::Serialize;

use super::describe::Described;
use super::share;
use crate::http::App;
use crate::http::body::JsonObject;
use crate::http::caller::Admin;
use crate::http::persona_log::{Draft, History, write};
use crate::http::problem::Problem;

/// Answers 200 once the persona can be read back, 202 when it is stored but the tables are behind.
pub(super) async fn create_or_update(
    _: Admin,
    State(app): State<App>,
    JsonObject(body): JsonObject,
) -> Result<(StatusCode, Json<Enrolled>), Problem> {
    let described = Described::read(body)?;
    let existing = app.identity.account_by_email(&described.email).await?;
    let name = described.name.clone();
    let name = name
        .or_else(|| existing.map(|account| account.name))
        .unwrap_or_else(|| local_part(&described.email));
    let account = PersonaAccount {
        email: described.email.clone(),
        name,
        password: described.password.clone(),
        time_zone: described.time_zone.clone(),
    };
    let account = app.identity.upsert_persona(account).await?.account;
    share::with_partners(&app, &account, described.partners.as_deref().unwrap_or_default()).await?;
    let persona: PersonaId = account.id.clone().into();
    let written = write(&app, &persona, |history| decide(history, &described, &account)).await?;
    let status = if written.is_visible {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let enrolled = Enrolled {
        ok: true,
        user_id: account.id,
        email: account.email,
    };
    Ok((status, Json(enrolled)))
}

/// Answer of a persona's creation or update.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Enrolled {
    ok: bool,
    user_id: UserId,
    email: String,
}

/// Nothing when the description is what it was. What the request leaves out stays as it was.
fn decide(history: &History, described: &Described, account: &Account) -> Result<Vec<Draft>, Problem> {
    if history.erased.is_some() {
        // The request was under way when the erasure began.
        return Err(IdentityError::Suspended.into());
    }
    let before = history.description.as_ref();
    let kept_zone = before.map(|before| before.time_zone.clone());
    let kept_partners = before.map(|before| before.partners.clone());
    let description = PersonaDescription {
        persona_id: account.id.clone().into(),
        email: account.email.clone(),
        name: account.name.clone(),
        archetype: described.archetype.clone(),
        system_prompt: described.system_prompt.clone(),
        module_mix: described.module_mix.clone(),
        cadence: described.cadence,
        time_zone: described
            .time_zone
            .clone()
            .or(kept_zone)
            .unwrap_or_else(|| account.time_zone.clone()),
        partners: described.partners.clone().or(kept_partners).unwrap_or_default(),
    };
    if before == Some(&description) {
        return Ok(Vec::new());
    }
    let key = serde_json::to_string(&description)
        .map_err(|error| Problem::internal("a description cannot be written as JSON", &error))?;
    let (what, event): (_, Event) = match before {
        None => ("persona-enrolled", PersonaEnrolled(description).into()),
        Some(_) => ("persona-revised", PersonaRevised(description).into()),
    };
    Ok(vec![Draft {
        what,
        key: vec![key],
        tick: None,
        events: vec![event],
        rows: 1,
    }])
}

fn local_part(email: &str) -> String {
    email.split('@').next().unwrap_or(email).to_owned()
}
