//! What a persona did in ticks run elsewhere.

use axum::Json;
use axum::extract::{Path, State};
use events::{
    CallId, Cause, Clock as _, ERROR_CHARS_MAX, Event, Intent, PersonaId, TickId, ToolCalled, ToolFailed,
    ToolReturned, capped,
};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Written, must_be_persona, tick};
use crate::http::App;
use crate::http::body::JsonObject;
use crate::http::caller::ExternalRunner;
use crate::http::fields::{Faults, Fields};
use crate::http::persona_log::{Draft, History, write};
use crate::http::personas::{persona_id, unknown_persona};
use crate::http::problem::Problem;

/// Actions of one report.
const ACTIONS_MAX: usize = 500;
/// Bytes of one report: as many actions as may come, with long errors.
pub(super) const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Actions of one commit. The worst of them take 4 kB each, and a message of the log holds 1 MB.
const ACTIONS_PER_COMMIT: usize = 100;
/// A day in milliseconds: no call takes longer.
const LATENCY_MS_MAX: u64 = 86_400_000;

/// One reported action. Its call id is its row id, so that a report sent twice names the same calls.
#[derive(Debug)]
struct Action {
    tick_id: TickId,
    call_id: CallId,
    index: u32,
    tool: String,
    input_hash: String,
    /// The error, when it failed.
    error: Option<String>,
    latency_ms: Option<u64>,
}

pub(super) async fn report(
    _: ExternalRunner,
    State(app): State<App>,
    Path(id): Path<String>,
    JsonObject(body): JsonObject,
) -> Result<Json<Written>, Problem> {
    let persona = persona_id(id)?;
    must_be_persona(&app, &persona).await?;
    let actions = read(body)?;
    refuse_others_rows(&app, &persona, &actions).await?;
    let now = app.clock.now();
    let written = write(&app, &persona, |history| decide(history, &persona, &actions, now)).await?;
    Ok(Json(Written::new(written.rows)))
}

fn read(body: Map<String, Value>) -> Result<Vec<Action>, Problem> {
    let mut faults = Faults::default();
    let items = Fields::new(body, &mut faults).list("actions", ACTIONS_MAX);
    let mut actions = Vec::with_capacity(items.len());
    for (index, item) in (0u32..).zip(items) {
        if let Some(fields) = Fields::item("actions", index as usize, item, &mut faults) {
            actions.extend(read_action(fields, index));
        }
    }
    faults.finish()?;
    Ok(actions)
}

/// `None` after a fault.
fn read_action(mut fields: Fields<'_>, index: u32) -> Option<Action> {
    let tick = fields.text("tickId", 1..=100);
    let tool = fields.text("toolName", 1..=80);
    let input_hash = fields.optional_text("inputHash", 0..=128).unwrap_or_default();
    let is_error = fields.word("result", &[("ok", false), ("error", true)], false);
    // Longer texts are kept as far as the log keeps any.
    let message = fields.optional_text("errorMessage", 0..=1_000_000);
    let latency_ms = fields.optional_integer("latencyMs", 0..=LATENCY_MS_MAX);
    let call = format!("{tick}-{index}-{tool}");
    let (Ok(tick_id), Ok(call_id)) = (TickId::try_new(tick), CallId::try_new(call)) else {
        fields.fault(
            "tickId",
            "must make an id of at most 200 bytes without control characters with toolName",
        );
        return None;
    };
    let error = is_error.then(|| message.filter(|text| !text.is_empty()));
    let error = error.map(|text| text.unwrap_or_else(|| "no text was reported".to_owned()));
    Some(Action {
        tick_id,
        call_id,
        index,
        tool,
        input_hash,
        error,
        latency_ms,
    })
}

/// Row ids are of the tick and not of the persona; a tick of somebody else must not be written into.
async fn refuse_others_rows(app: &App, persona: &PersonaId, actions: &[Action]) -> Result<(), Problem> {
    let ids: Vec<String> = actions.iter().map(|action| action.call_id.to_string()).collect();
    let existing = app.tables.existing_action_ids(&ids).await?;
    if existing.is_empty() {
        return Ok(());
    }
    let own = app
        .log
        .read_subject(&events::Subject::Persona(persona.clone()))
        .await?;
    let own = History::of(&own);
    if existing
        .iter()
        .all(|id| own.calls.iter().any(|call| call.as_str() == id))
    {
        return Ok(());
    }
    let detail = "some of these rows are another persona's; tick ids must be unique across personas";
    Err(Problem::new(
        StatusCode::CONFLICT,
        "TICK_OF_ANOTHER_PERSONA",
        detail,
    ))
}

/// The rows that are not there yet, as one tick after the other.
fn decide(
    history: &History,
    persona: &PersonaId,
    actions: &[Action],
    now: Timestamp,
) -> Result<Vec<Draft>, Problem> {
    if history.description.is_none() {
        return Err(unknown_persona());
    }
    let new: Vec<&Action> = actions
        .iter()
        .filter(|action| !history.calls.contains(&action.call_id))
        .collect();
    let mut drafts = Vec::new();
    let mut begun = 0;
    for (tick_id, actions) in tick::by_tick(new, |action| &action.tick_id) {
        let started = tick::started(history, &tick_id, now, begun, persona);
        begun += u64::from(started.is_some());
        let errors = actions.iter().filter(|action| action.error.is_some()).count();
        let finished = tick::finished(history, &tick_id, now, count(actions.len()), count(errors));
        let chunks = actions
            .chunks(ACTIONS_PER_COMMIT)
            .map(|chunk| draft(&tick_id, chunk, now))
            .collect();
        drafts.extend(tick::enclose(chunks, started, finished));
    }
    Ok(drafts)
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

fn draft(tick_id: &TickId, actions: &[&Action], now: Timestamp) -> Draft {
    Draft {
        what: "external-actions",
        key: actions.iter().map(|action| action.call_id.to_string()).collect(),
        tick: Some(tick_id.clone()),
        events: actions
            .iter()
            .flat_map(|action| [called(action, now), outcome(action)])
            .collect(),
        rows: actions.len() as u64,
    }
}

fn called(action: &Action, now: Timestamp) -> Event {
    let called = ToolCalled {
        tick_id: action.tick_id.clone(),
        call_id: action.call_id.clone(),
        index: action.index,
        tool: action.tool.clone(),
        module: module_of(&action.tool).to_owned(),
        input_hash: action.input_hash.clone(),
        act_hash: None,
        intent: Intent::Valid,
        mistake: None,
        retry_of: None,
        called_at: now,
    };
    called.into()
}

fn outcome(action: &Action) -> Event {
    let (tick_id, call_id, latency_ms) = (action.tick_id.clone(), action.call_id.clone(), action.latency_ms);
    match &action.error {
        None => ToolReturned {
            tick_id,
            call_id,
            latency_ms,
            result_bytes: 0,
        }
        .into(),
        Some(error) => {
            // Whose fault it was is not reported; an ordinary call that failed is the app's until shown otherwise.
            let error = capped(error, ERROR_CHARS_MAX);
            ToolFailed {
                tick_id,
                call_id,
                error,
                latency_ms,
                cause: Cause::App,
            }
            .into()
        }
    }
}

/// The module of a tool as a runner names it: `todo.create`, or in an API's spelling `mcp__mana__todo_create`.
fn module_of(tool: &str) -> &str {
    let name = tool.rsplit("__").next().unwrap_or(tool);
    name.split(['.', '_'])
        .next()
        .filter(|module| !module.is_empty())
        .unwrap_or(tool)
}

/// The same as JSON Schema, for `/openapi.json`.
pub(super) fn schema() -> Value {
    let action = json!({
        "type": "object",
        "required": ["tickId", "toolName", "result"],
        "properties": {
            "tickId": { "type": "string", "maxLength": 100 },
            "toolName": { "type": "string", "maxLength": 80 },
            "inputHash": { "type": "string", "maxLength": 128 },
            "result": { "enum": ["ok", "error"] },
            "errorMessage": { "type": "string" },
            "latencyMs": { "type": "integer", "minimum": 0, "maximum": LATENCY_MS_MAX },
        },
    });
    json!({
        "type": "object",
        "required": ["actions"],
        "properties": { "actions": { "type": "array", "maxItems": ACTIONS_MAX, "items": action } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_in_either_spelling_of_a_tool() {
        for (tool, module) in [
            ("todo.create", "todo"),
            ("todo_create", "todo"),
            ("mcp__mana__todo_create", "todo"),
            ("mcp__mana__todo.create", "todo"),
            ("ping", "ping"),
            ("_", "_"),
        ] {
            assert_eq!(module_of(tool), module, "{tool}");
        }
    }

    #[test]
    fn the_worst_chunk_fits_in_a_message_of_the_log() {
        let text = |chars: usize| "\u{1}".repeat(chars);
        let action = Action {
            tick_id: TickId::try_new("t".repeat(100)).unwrap(),
            call_id: CallId::try_new("c".repeat(200)).unwrap(),
            index: u32::MAX,
            tool: text(80),
            input_hash: text(128),
            error: Some(text(5_000)),
            latency_ms: Some(LATENCY_MS_MAX),
        };
        let now = Timestamp::UNIX_EPOCH;
        let values = [called(&action, now), outcome(&action)];
        let Event::ToolFailed(failed) = &values[1] else {
            panic!("an error is a failure")
        };
        let Event::ToolCalled(called) = &values[0] else {
            panic!("a call comes first")
        };
        let bytes =
            serde_json::to_vec(called).unwrap().len() + serde_json::to_vec(failed).unwrap().len() + 200;
        assert!(bytes * ACTIONS_PER_COMMIT < 900_000, "{bytes} bytes each");
    }
}
