//! The answers. Each says with `as_of_seq` up to which commit the tables it was read from are folded at least.

use std::collections::BTreeMap;

use events::{Delivery, PersonaId, StreamSeq};
use jiff::Timestamp;
use projections::{ActionRow, PersonaRow};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::alarms::Alarm;
use super::endpoint::Endpoint;
use super::feed::{FeedMessage, seen_by_others};
use super::parameters::{AboutPersona, ActionsOf, Nothing, Page, Since, WhoTicks, limit, read};
use super::refusal::Refusal;
use super::{Surface, parameters};
use crate::http::{ActReport, App, hold_back, let_act};

/// Messages of the log that one answer looks at, whoever they are about.
const LOOKED_AT_MAX: u32 = 2_000;
/// Bytes of messages in one answer of `feed.since`.
const FEED_BYTES_MAX: usize = 384 * 1024;
/// Calls shown with a persona.
const CALLS_WITH_PERSONA: u32 = 20;

/// A persona, without what it is told to be and how to write to it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PersonaSeen {
    persona_id: String,
    name: String,
    archetype: String,
    /// `daily`, `weekdays` or `hourly`.
    #[schemars(with = "String")]
    cadence: events::Cadence,
    time_zone: String,
    /// Module to weight.
    module_mix: BTreeMap<String, f64>,
    /// Ticks it began.
    ticks: u64,
    /// When its latest tick began.
    #[schemars(with = "Option<String>")]
    last_active_at: Option<Timestamp>,
    #[schemars(with = "String")]
    created_at: Timestamp,
    /// Whether its actor stays down.
    halted: bool,
}

/// One tool call, without what the caller was told.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ActionSeen {
    id: String,
    persona_id: String,
    tick_id: String,
    call_id: String,
    tool_name: String,
    module: String,
    /// `valid`, `mistake` or `chaos`.
    #[schemars(with = "String")]
    intent: events::Intent,
    /// `pending`, `ok`, `error` or `unknown`.
    #[schemars(with = "String")]
    result: projections::CallResult,
    /// `app`, `persona` or `infra`, when it failed.
    #[schemars(with = "Option<String>")]
    cause: Option<events::Cause>,
    /// The failed call it tried again.
    retry_of: Option<String>,
    latency_ms: Option<u64>,
    #[schemars(with = "String")]
    created_at: Timestamp,
    /// Place of its commit in the log.
    stream_seq: u64,
}

/// Answer of `personas.list`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PersonasList {
    personas: Vec<PersonaSeen>,
    /// Ask with this as `after` for more; absent at the end.
    next: Option<String>,
    as_of_seq: u64,
}

/// Answer of `personas.get`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PersonaShown {
    persona: PersonaSeen,
    /// The latest calls, newest first.
    recent_actions: Vec<ActionSeen>,
    feedback: Vec<ModuleStars>,
    as_of_seq: u64,
}

/// How one persona rates a module.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ModuleStars {
    module: String,
    /// Mean stars, 1 to 5.
    avg_rating: f64,
    count: u64,
}

/// Answer of `feedback.summary`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FeedbackSummary {
    modules: Vec<ModuleSummary>,
    as_of_seq: u64,
}

/// How a module is used and rated.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ModuleSummary {
    module: String,
    calls: u64,
    errors: u64,
    /// Ratings; failed ones are not counted.
    ratings: u64,
    stars_mean: Option<f64>,
    friction_mean: Option<f64>,
}

/// Answer of `actions.recent`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ActionsRecent {
    /// Newest first.
    actions: Vec<ActionSeen>,
    as_of_seq: u64,
}

/// Answer of `tools.stats`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ToolsStats {
    tools: Vec<ToolNumbers>,
    as_of_seq: u64,
}

/// How one tool did.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ToolNumbers {
    tool: String,
    module: String,
    calls: u64,
    errors: u64,
    /// Errors that are the app's own fault.
    errors_app: u64,
    /// Errors the persona made.
    errors_persona: u64,
    /// Calls that did not reach the app, or whose answer did not come back.
    errors_infra: u64,
    /// Calls whose outcome nobody knows.
    unknown: u64,
    /// Share of calls that were wrong in a way a person can be.
    confusion: f64,
    /// Personas that met an error.
    personas_affected: u64,
    p50_ms: Option<u64>,
    p95_ms: Option<u64>,
}

/// Answer of `projections.status`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ProjectionsStatus {
    /// `starting`, `running`, `standby` or `halted`.
    #[schemars(with = "String")]
    state: projections::ProjectorState,
    /// Why it halted, in a word.
    halted_by: Option<Value>,
    /// Commits that could not be folded.
    parked: u64,
    log_last_seq: u64,
    lag_events: u64,
    as_of_seq: u64,
}

/// Answer of `feed.since`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FeedSince {
    /// Oldest first, as they were on the live feed.
    messages: Vec<FeedMessage>,
    /// Ask with this as `after` for what follows.
    next_after: u64,
    /// Whether the log has nothing more.
    at_end: bool,
    as_of_seq: u64,
}

/// Answer of `alarms.list`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AlarmsList {
    alarms: Vec<Alarm>,
    as_of_seq: u64,
}

/// Answer of `runner.pause` and `runner.resume`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunnerState {
    ok: bool,
    paused: bool,
    as_of_seq: u64,
}

/// Answer of `runner.tick`: as over HTTP.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Ticked {
    #[serde(flatten)]
    report: ActReport,
    as_of_seq: u64,
}

/// Answers one question.
pub(super) async fn answer(
    surface: &Surface,
    endpoint: &Endpoint,
    question: &[u8],
) -> Result<Value, Refusal> {
    let app = &surface.app;
    match endpoint.name {
        "personas.list" => written(personas_list(app, &read(question)?).await?),
        "personas.get" => written(personas_get(app, &read(question)?).await?),
        "feedback.summary" => {
            read::<Nothing>(question)?;
            written(feedback_summary(app).await?)
        }
        "actions.recent" => written(actions_recent(app, &read(question)?).await?),
        "tools.stats" => {
            read::<Nothing>(question)?;
            written(tools_stats(app).await?)
        }
        "projections.status" => {
            read::<Nothing>(question)?;
            written(projections_status(app).await?)
        }
        "feed.since" => written(feed_since(app, &read(question)?).await?),
        "alarms.list" => {
            read::<Nothing>(question)?;
            let alarms = surface.alarms.standing();
            written(AlarmsList {
                alarms,
                as_of_seq: as_of(app).await?,
            })
        }
        "runner.pause" | "runner.resume" => {
            read::<Nothing>(question)?;
            let paused = endpoint.name == "runner.pause";
            hold_back(app, paused).await?;
            written(RunnerState {
                ok: true,
                paused,
                as_of_seq: as_of(app).await?,
            })
        }
        "runner.tick" => written(runner_tick(app, read(question)?).await?),
        other => Err(Refusal::new(
            404,
            "NOT_FOUND",
            format!("nothing answers at {other}"),
        )),
    }
}

fn written(answer: impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(answer).map_err(|error| Refusal::new(500, "INTERNAL", error.to_string()))
}

/// Read before the rows are, so that those are at least as new.
async fn as_of(app: &App) -> Result<u64, Refusal> {
    let checkpoint = app.tables.checkpoint().await?;
    Ok(checkpoint.map_or(0, |checkpoint| checkpoint.seq.0))
}

async fn personas_list(app: &App, page: &Page) -> Result<PersonasList, Refusal> {
    let limit = limit(page.limit, 100, 500)? as usize;
    let as_of_seq = as_of(app).await?;
    let rows = app.tables.personas().await?;
    let begin = match &page.after {
        None => 0,
        Some(after) => rows
            .iter()
            .position(|row| row.persona_id.as_str() == after)
            .map(|index| index + 1)
            .ok_or_else(|| Refusal::bad_request("after is not the next of an answer"))?,
    };
    let mut rest = rows.into_iter().skip(begin);
    let personas: Vec<PersonaSeen> = rest.by_ref().take(limit).map(PersonaSeen::from).collect();
    let next = rest
        .next()
        .and(personas.last())
        .map(|last| last.persona_id.clone());
    Ok(PersonasList {
        personas,
        next,
        as_of_seq,
    })
}

fn persona_id(text: &str) -> Result<PersonaId, Refusal> {
    PersonaId::try_new(text).map_err(|error| Refusal::bad_request(format!("persona: {error}")))
}

async fn personas_get(app: &App, about: &AboutPersona) -> Result<PersonaShown, Refusal> {
    let id = persona_id(&about.persona)?;
    let as_of_seq = as_of(app).await?;
    let row = app.tables.persona(&id).await?;
    let row = row.ok_or_else(|| Refusal::new(404, "PERSONA_NOT_FOUND", "there is no persona of that id"))?;
    let actions = app.tables.recent_actions(&id, CALLS_WITH_PERSONA).await?;
    let feedback = app.tables.feedback_by_module(&id).await?;
    Ok(PersonaShown {
        persona: row.into(),
        recent_actions: actions.into_iter().map(ActionSeen::from).collect(),
        feedback: feedback
            .into_iter()
            .map(|module| ModuleStars {
                module: module.module,
                avg_rating: module.avg_rating,
                count: module.count,
            })
            .collect(),
        as_of_seq,
    })
}

async fn feedback_summary(app: &App) -> Result<FeedbackSummary, Refusal> {
    let report = app.tables.report(StreamSeq::ZERO).await?;
    let modules = report.modules.into_iter().map(|module| ModuleSummary {
        module: module.module,
        calls: module.calls,
        errors: module.errors,
        ratings: module.ratings,
        stars_mean: module.stars_mean,
        friction_mean: module.friction_mean,
    });
    Ok(FeedbackSummary {
        modules: modules.collect(),
        as_of_seq: report.as_of_seq.0,
    })
}

async fn actions_recent(app: &App, asked: &ActionsOf) -> Result<ActionsRecent, Refusal> {
    let limit = limit(asked.limit, 50, 200)?;
    let as_of_seq = as_of(app).await?;
    let rows = match &asked.persona {
        Some(persona) => app.tables.recent_actions(&persona_id(persona)?, limit).await?,
        None => app.tables.latest_actions(limit).await?,
    };
    Ok(ActionsRecent {
        actions: rows.into_iter().map(ActionSeen::from).collect(),
        as_of_seq,
    })
}

async fn tools_stats(app: &App) -> Result<ToolsStats, Refusal> {
    let report = app.tables.tool_stats(Timestamp::UNIX_EPOCH).await?;
    let tools = report.tools.into_iter().map(|tool| ToolNumbers {
        tool: tool.tool,
        module: tool.module,
        calls: tool.calls,
        errors: tool.errors,
        errors_app: tool.errors_app,
        errors_persona: tool.errors_persona,
        errors_infra: tool.errors_infra,
        unknown: tool.unknown,
        confusion: tool.confusion,
        personas_affected: tool.personas_affected,
        p50_ms: tool.p50_ms,
        p95_ms: tool.p95_ms,
    });
    Ok(ToolsStats {
        tools: tools.collect(),
        as_of_seq: report.as_of_seq.0,
    })
}

async fn projections_status(app: &App) -> Result<ProjectionsStatus, Refusal> {
    let status = app.projector.status();
    let end = app.log.state().await?.last_seq;
    Ok(ProjectionsStatus {
        state: status.state,
        halted_by: status
            .halted_by
            .and_then(|cause| serde_json::to_value(cause).ok()),
        parked: status.parked,
        log_last_seq: end.0,
        lag_events: end.0.saturating_sub(status.seq.0),
        as_of_seq: status.seq.0,
    })
}

async fn feed_since(app: &App, since: &Since) -> Result<FeedSince, Refusal> {
    let limit = limit(since.limit, 100, 200)? as usize;
    // Nothing that is not in the tables yet: what is told here can be asked about.
    let end = app.projector.seq();
    let (mut messages, mut bytes) = (Vec::new(), 0);
    let (mut at, mut looked) = (StreamSeq(since.after), 0);
    while at < end && messages.len() < limit && bytes < FEED_BYTES_MAX && looked < LOOKED_AT_MAX {
        looked += 1;
        let next = app.log.next_after(at).await?.filter(|next| next.seq() <= end);
        let Some(next) = next else {
            at = end;
            break;
        };
        at = next.seq();
        if let Delivery::Commit(recorded) = &next
            && let Some(message) = seen_by_others(recorded, None)
        {
            bytes += message.bytes();
            messages.push(message);
        }
    }
    Ok(FeedSince {
        messages,
        next_after: at.0.max(since.after),
        at_end: at >= end,
        as_of_seq: end.0,
    })
}

async fn runner_tick(app: &App, who: WhoTicks) -> Result<Ticked, Refusal> {
    let as_of_seq = as_of(app).await?;
    let report = let_act(app, parameters::tick_body(who)).await?.0;
    Ok(Ticked { report, as_of_seq })
}

impl From<PersonaRow> for PersonaSeen {
    fn from(row: PersonaRow) -> Self {
        Self {
            persona_id: row.persona_id.to_string(),
            name: row.name,
            archetype: row.archetype,
            cadence: row.cadence,
            time_zone: row.time_zone,
            module_mix: row.module_mix,
            ticks: row.ticks,
            last_active_at: row.last_active_at,
            created_at: row.created_at,
            halted: row.halted.is_some(),
        }
    }
}

impl From<ActionRow> for ActionSeen {
    fn from(row: ActionRow) -> Self {
        Self {
            id: row.id,
            persona_id: row.persona_id.to_string(),
            tick_id: row.tick_id.to_string(),
            call_id: row.call_id.to_string(),
            tool_name: row.tool_name,
            module: row.module,
            intent: row.intent,
            result: row.result,
            cause: row.cause,
            retry_of: row.retry_of.map(|call| call.to_string()),
            latency_ms: row.latency_ms,
            created_at: row.created_at,
            stream_seq: row.stream_seq.0,
        }
    }
}
