//! Personas as an admin sees them: create or update by email, list, look at one, delete for good.

mod describe;
mod enrol;
mod erase;
mod share;

pub(crate) use erase::{erase_account, finish_begun};

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use events::PersonaId;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use projections::{ActionRow, PersonaRow};
use serde_json::{Value, json};

use events::Clock as _;

use super::caller::Admin;
use super::endpoint::{Access, Endpoint};
use super::problem::Problem;
use super::{App, iso};

/// Actions shown with one persona.
const RECENT_ACTIONS: u32 = 20;
/// How long an erasure may take in one request: the log overwrites a long life's commits one by one, some 80 a
/// second. What is not done by then is done without the request.
pub(crate) const ERASED_WITHIN: Duration = Duration::from_mins(10);
/// What `actions7d` counts.
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The endpoints of this file and those below it.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    const ALL: &[&str] = &["/api/v1/admin/personas", "/api/v1/personas/admin"];
    const ONE: &[&str] = &["/api/v1/admin/personas/{id}", "/api/v1/personas/admin/{id}"];
    vec![
        Endpoint::post(ALL, enrol::create_or_update)
            .about(
                Access::Admin,
                "Creates the persona with that email, or updates it",
            )
            .takes(describe::schema())
            .or_with(StatusCode::ACCEPTED)
            .refuses(&[409, 503]),
        Endpoint::get(ALL, list).about(Access::Admin, "Every live persona"),
        Endpoint::get(ONE, detail)
            .about(Access::Admin, "One persona with its latest actions and ratings")
            .refuses(&[404]),
        Endpoint::delete(ONE, erase::delete)
            .about(
                Access::Admin,
                "Deletes a persona, its account and the spaces that were its alone, for good",
            )
            .time_limit(ERASED_WITHIN)
            .refuses(&[400, 404, 503]),
    ]
}

async fn list(_: Admin, State(app): State<App>) -> Result<Json<Value>, Problem> {
    let since = app.clock.now().saturating_sub(WEEK).unwrap_or(Timestamp::MIN);
    let mut personas = Vec::new();
    for row in app.tables.personas().await? {
        let actions = app.tables.actions_since(&row.persona_id, since).await?;
        personas.push(json!({
            "userId": row.persona_id,
            "email": row.email,
            "name": row.name,
            "archetype": row.archetype,
            "tickCadence": row.cadence,
            "lastActiveAt": row.last_active_at.map(iso),
            "createdAt": iso(row.created_at),
            "actions7d": actions,
        }));
    }
    Ok(Json(json!({ "personas": personas })))
}

async fn detail(_: Admin, State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let id = persona_id(id)?;
    let row = app.tables.persona(&id).await?.ok_or_else(unknown_persona)?;
    let actions = app.tables.recent_actions(&id, RECENT_ACTIONS).await?;
    let feedback = app.tables.feedback_by_module(&id).await?;
    let feedback: Vec<Value> = feedback
        .iter()
        .map(|module| json!({ "module": module.module, "avgRating": module.avg_rating, "count": module.count }))
        .collect();
    Ok(Json(json!({
        "persona": persona_json(&row),
        "recentActions": actions.iter().map(action_json).collect::<Vec<_>>(),
        "feedbackByModule": feedback,
    })))
}

fn persona_json(row: &PersonaRow) -> Value {
    json!({
        "userId": row.persona_id,
        "email": row.email,
        "name": row.name,
        "archetype": row.archetype,
        "systemPrompt": row.system_prompt,
        "moduleMix": row.module_mix,
        "tickCadence": row.cadence,
        "timeZone": row.time_zone,
        "partners": row.partners,
        "lastActiveAt": row.last_active_at.map(iso),
        "createdAt": iso(row.created_at),
        "ticks": row.ticks,
        "halted": row.halted,
    })
}

fn action_json(row: &ActionRow) -> Value {
    json!({
        "id": row.id,
        "personaId": row.persona_id,
        "tickId": row.tick_id,
        "callId": row.call_id,
        "toolName": row.tool_name,
        "module": row.module,
        "inputHash": row.input_hash,
        "intent": row.intent,
        "mistake": row.mistake,
        "result": row.result,
        "errorMessage": row.error_message,
        "cause": row.cause,
        "latencyMs": row.latency_ms,
        "createdAt": iso(row.created_at),
        "streamSeq": row.stream_seq,
    })
}

/// An id from a path. One that cannot be an id names nobody.
pub(crate) fn persona_id(id: String) -> Result<PersonaId, Problem> {
    PersonaId::try_new(id).map_err(|_| unknown_persona())
}

/// There is no persona of that id (any more).
pub(crate) fn unknown_persona() -> Problem {
    Problem::not_found("PERSONA_NOT_FOUND", "there is no persona of that id")
}
