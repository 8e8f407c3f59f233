//! Personas as an admin sees them: create or update by email, list, look at one, delete for good.

mod describe;
mod enrol;
mod erase;
mod share;

pub(crate) use erase::{erase_account, finish_begun};

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use events::{Cadence, CallId, Cause, Clock as _, Intent, PersonaId, StreamSeq, TickId};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use projections::{ActionRow, CallResult, ModuleFeedback, PersonaRow};
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::answer::Iso;
use super::caller::Admin;
use super::endpoint::{Access, Endpoint};
use super::problem::Problem;

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
            .once_per_key()
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

async fn list(_: Admin, State(app): State<App>) -> Result<Json<Personas>, Problem> {
    let since = app.clock.now().saturating_sub(WEEK).unwrap_or(Timestamp::MIN);
    let mut personas = Vec::new();
    for row in app.tables.personas().await? {
        let actions = app.tables.actions_since(&row.persona_id, since).await?;
        personas.push(PersonaLine {
            user_id: row.persona_id,
            email: row.email,
            name: row.name,
            archetype: row.archetype,
            tick_cadence: row.cadence,
            last_active_at: row.last_active_at.map(Iso::from),
            created_at: row.created_at.into(),
            actions_7d: actions,
        });
    }
    Ok(Json(Personas { personas }))
}

async fn detail(
    _: Admin,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<PersonaDetail>, Problem> {
    let id = persona_id(id)?;
    let row = app.tables.persona(&id).await?.ok_or_else(unknown_persona)?;
    let actions = app.tables.recent_actions(&id, RECENT_ACTIONS).await?;
    let feedback = app.tables.feedback_by_module(&id).await?;
    Ok(Json(PersonaDetail {
        persona: row.into(),
        recent_actions: actions.into_iter().map(ActionShown::from).collect(),
        feedback_by_module: feedback.into_iter().map(ModuleRated::from).collect(),
    }))
}

/// Every live persona.
#[derive(Debug, Serialize, JsonSchema)]
struct Personas {
    personas: Vec<PersonaLine>,
}

/// A persona on a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PersonaLine {
    user_id: PersonaId,
    email: String,
    name: String,
    archetype: String,
    tick_cadence: Cadence,
    last_active_at: Option<Iso>,
    created_at: Iso,
    /// Calls of the last seven days.
    #[serde(rename = "actions7d")]
    actions_7d: u64,
}

/// One persona with what it did lately.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PersonaDetail {
    persona: PersonaShown,
    /// The latest calls, newest first.
    recent_actions: Vec<ActionShown>,
    feedback_by_module: Vec<ModuleRated>,
}

/// A persona, whole.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AdminPersona")]
struct PersonaShown {
    user_id: PersonaId,
    email: String,
    name: String,
    archetype: String,
    system_prompt: String,
    /// Module to weight.
    module_mix: BTreeMap<String, f64>,
    tick_cadence: Cadence,
    time_zone: String,
    /// Emails of those it shares a space with.
    partners: Vec<String>,
    last_active_at: Option<Iso>,
    created_at: Iso,
    /// Ticks it began.
    ticks: u64,
    /// Why its actor stays down, when it does.
    halted: Option<String>,
}

/// One tool call.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AdminAction")]
struct ActionShown {
    id: String,
    persona_id: PersonaId,
    tick_id: TickId,
    call_id: CallId,
    tool_name: String,
    module: String,
    input_hash: String,
    intent: Intent,
    mistake: Option<String>,
    result: CallResult,
    error_message: Option<String>,
    cause: Option<Cause>,
    latency_ms: Option<u64>,
    created_at: Iso,
    /// Place of its commit in the log.
    stream_seq: StreamSeq,
}

/// How a persona rates a module.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ModuleRated {
    module: String,
    /// Mean stars, 1 to 5.
    avg_rating: f64,
    count: u64,
}

impl From<PersonaRow> for PersonaShown {
    fn from(row: PersonaRow) -> Self {
        Self {
            user_id: row.persona_id,
            email: row.email,
            name: row.name,
            archetype: row.archetype,
            system_prompt: row.system_prompt,
            module_mix: row.module_mix,
            tick_cadence: row.cadence,
            time_zone: row.time_zone,
            partners: row.partners,
            last_active_at: row.last_active_at.map(Iso::from),
            created_at: row.created_at.into(),
            ticks: row.ticks,
            halted: row.halted,
        }
    }
}

impl From<ActionRow> for ActionShown {
    fn from(row: ActionRow) -> Self {
        Self {
            id: row.id,
            persona_id: row.persona_id,
            tick_id: row.tick_id,
            call_id: row.call_id,
            tool_name: row.tool_name,
            module: row.module,
            input_hash: row.input_hash,
            intent: row.intent,
            mistake: row.mistake,
            result: row.result,
            error_message: row.error_message,
            cause: row.cause,
            latency_ms: row.latency_ms,
            created_at: row.created_at.into(),
            stream_seq: row.stream_seq,
        }
    }
}

impl From<ModuleFeedback> for ModuleRated {
    fn from(module: ModuleFeedback) -> Self {
        Self {
            module: module.module,
            avg_rating: module.avg_rating,
            count: module.count,
        }
    }
}

/// An id from a path. One that cannot be an id names nobody.
pub(crate) fn persona_id(id: String) -> Result<PersonaId, Problem> {
    PersonaId::try_new(id).map_err(|_| unknown_persona())
}

/// There is no persona of that id (any more).
pub(crate) fn unknown_persona() -> Problem {
    Problem::not_found("PERSONA_NOT_FOUND", "there is no persona of that id")
}
