//! The cast, as an admin works it: let them act now, pause, resume, look; and what came of it.

use std::time::Duration;

use actors::{CastError, CastSnapshot, TickReport, Who};
use axum::Json;
use axum::extract::State;
use events::{Clock as _, StreamSeq};
use http::StatusCode;
use projections::{DayReport, TableCounts};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::App;
use super::auth::EMAIL_CHARS;
use super::body::OptionalJsonObject;
use super::endpoint::{Access, Endpoint};
use super::fields::{Faults, Fields};
use super::operators::Operator;
use super::problem::Problem;
use crate::house::HouseRole;

/// How long a request to let them act may take. Each tick has its own deadline; this is for a whole cast.
pub(crate) const TICK_TIME_LIMIT: Duration = Duration::from_hours(3);

/// The endpoints of this file.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(&["/api/v1/admin/runner/tick"], tick)
            .once_per_key()
            .about(
                Access::Admin,
                "Lets personas act now and answers when all are done",
            )
            .takes(tick_schema())
            .refuses(&[404, 503])
            .time_limit(TICK_TIME_LIMIT),
        Endpoint::post(&["/api/v1/admin/runner/pause"], pause)
            .once_per_key()
            .about(Access::Admin, "Holds scheduled ticks back")
            .refuses(&[409]),
        Endpoint::post(&["/api/v1/admin/runner/resume"], resume)
            .once_per_key()
            .about(Access::Admin, "Lets scheduled ticks go on")
            .refuses(&[409]),
        Endpoint::get(&["/api/v1/admin/runner"], observe)
            .about(Access::Admin, "Who acts, who waits, who is due when"),
        Endpoint::get(&["/api/v1/admin/report"], report)
            .about(Access::Admin, "What everybody did and how they rated it"),
    ]
}

/// JSON Schema of [`let_act`]'s body.
pub(crate) fn tick_schema() -> Value {
    json!({
        "type": "object",
        "description": "nobody named: those whose cadence says so",
        "properties": {
            "persona": { "type": "string", "format": "email" },
            "all": { "type": "boolean", "default": false },
        },
    })
}

async fn tick(
    _: Operator,
    State(app): State<App>,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<Json<ActReport>, Problem> {
    let_act(&app, body).await
}

async fn pause(_: Operator, State(app): State<App>) -> Result<Json<Paused>, Problem> {
    hold_back(&app, true).await?;
    Ok(Json(Paused {
        ok: true,
        paused: true,
    }))
}

async fn resume(_: Operator, State(app): State<App>) -> Result<Json<Paused>, Problem> {
    hold_back(&app, false).await?;
    Ok(Json(Paused {
        ok: true,
        paused: false,
    }))
}

/// Holds scheduled ticks back, or lets them go on, where they are lived by this process.
pub(crate) async fn hold_back(app: &App, is_paused: bool) -> Result<(), Problem> {
    if app.settings.role == HouseRole::Gateway {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "RUNNER_ELSEWHERE",
            "what is due is lived by runners of their own (`dramatis runner`): stop or start those",
        ));
    }
    if is_paused {
        app.cast.pause().await;
    } else {
        app.cast.resume().await;
    }
    Ok(())
}

async fn observe(_: Operator, State(app): State<App>) -> Json<CastSnapshot> {
    Json(app.cast.observe().await)
}

async fn report(_: Operator, State(app): State<App>) -> Result<Json<Reported>, Problem> {
    let (report, counts) = (
        app.tables.report(StreamSeq::ZERO).await?,
        app.tables.counts().await?,
    );
    Ok(Json(Reported { report, counts }))
}

/// Whether scheduled ticks are held back.
#[derive(Debug, Serialize, JsonSchema)]
struct Paused {
    ok: bool,
    paused: bool,
}

/// What everybody did, and how many rows say so.
#[derive(Debug, Serialize, JsonSchema)]
struct Reported {
    report: DayReport,
    counts: TableCounts,
}

/// How those that were to act did.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActReport {
    /// Personas that were to act.
    due: usize,
    /// Ticks that ended in their own right.
    succeeded: usize,
    failed: usize,
    /// Personas that were acting already.
    skipped: usize,
    duration_ms: u64,
    ticks: Vec<TickReport>,
}

/// Lets those the body names act now, and answers when all are done.
pub(crate) async fn let_act(app: &App, body: Map<String, Value>) -> Result<Json<ActReport>, Problem> {
    let who = read_who(app, body).await?;
    let begin = app.clock.monotonic();
    let ticks = app.cast.tick(who).await?;
    let took = app.clock.monotonic().saturating_sub(begin);
    Ok(Json(ActReport::new(ticks, took)))
}

async fn read_who(app: &App, body: Map<String, Value>) -> Result<Who, Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::new(body, &mut faults);
    let (email, all) = (fields.optional_text("persona", EMAIL_CHARS), fields.flag("all"));
    if email.is_some() && all {
        fields.fault("all", "cannot be true when a persona is named");
    }
    faults.finish()?;
    let Some(email) = email else {
        return Ok(if all { Who::All } else { Who::Due });
    };
    let persona = app.tables.persona_by_email(&email.to_lowercase()).await?;
    let unknown = || Problem::not_found("PERSONA_NOT_FOUND", format!("no persona has the email {email}"));
    Ok(Who::Persona(persona.ok_or_else(unknown)?.persona_id))
}

impl ActReport {
    fn new(ticks: Vec<TickReport>, took: Duration) -> Self {
        let succeeded = ticks.iter().filter(|tick| tick.succeeded()).count();
        let skipped = ticks
            .iter()
            .filter(|tick| matches!(tick.outcome.as_str(), "busy" | "stood-down"))
            .count();
        Self {
            due: ticks.len(),
            succeeded,
            failed: ticks.len() - succeeded - skipped,
            skipped,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            ticks,
        }
    }
}

impl From<CastError> for Problem {
    fn from(error: CastError) -> Self {
        match error {
            CastError::Log(error) => error.into(),
            CastError::UnknownPersona(_) => Self::new(
                StatusCode::NOT_FOUND,
                "PERSONA_NOT_FOUND",
                "there is no persona of that id",
            ),
            error => {
                tracing::warn!(error = %error, "the cast does not do what was asked");
                Self::unavailable("RUNNER_UNAVAILABLE", "the personas cannot act now; try again")
            }
        }
    }
}
