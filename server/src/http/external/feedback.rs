//! How a persona rated what it used in ticks run elsewhere.

use axum::Json;
use axum::extract::{Path, State};
use events::{
    Clock as _, Event, NOTES_CHARS_MAX, PersonaId, Rated, RatingFailed, RatingSource, TickId, capped,
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

/// Ratings of one report. The worst of them take 7 kB each, so one tick's are one commit.
const FEEDBACK_MAX: usize = 100;
/// The module under which the older runner reports an answer it could not read, with a made-up rating of 3.
const UNREADABLE_MODULE: &str = "__parse";
/// Our rubric did not give these stars.
const RUBRIC_VERSION: u32 = 0;

#[derive(Debug)]
struct Feedback {
    tick_id: TickId,
    module: String,
    /// `None` where the runner made the number up.
    rating: Option<u8>,
    notes: String,
}

pub(super) async fn report(
    _: ExternalRunner,
    State(app): State<App>,
    Path(id): Path<String>,
    JsonObject(body): JsonObject,
) -> Result<Json<Written>, Problem> {
    let persona = persona_id(id)?;
    must_be_persona(&app, &persona).await?;
    let feedback = read(body)?;
    refuse_others_rows(&app, &persona, &feedback).await?;
    let now = app.clock.now();
    let written = write(&app, &persona, |history| {
        decide(history, &persona, &feedback, now)
    })
    .await?;
    Ok(Json(Written::new(written.rows)))
}

fn read(body: Map<String, Value>) -> Result<Vec<Feedback>, Problem> {
    let mut faults = Faults::default();
    let items = Fields::new(body, &mut faults).list("feedback", FEEDBACK_MAX);
    let mut feedback: Vec<Feedback> = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let fields = Fields::item("feedback", index, item, &mut faults);
        let Some(one) = fields.and_then(read_feedback) else {
            continue;
        };
        // One row per tick and module; what is said first stands, as it does across two reports.
        if !feedback
            .iter()
            .any(|earlier| earlier.tick_id == one.tick_id && earlier.module == one.module)
        {
            feedback.push(one);
        }
    }
    faults.finish()?;
    Ok(feedback)
}

/// `None` after a fault.
fn read_feedback(mut fields: Fields<'_>) -> Option<Feedback> {
    let tick = fields.text("tickId", 1..=100);
    let module = fields.text("module", 1..=80);
    let stars = fields.integer("rating", 1..=5);
    let notes = fields.optional_text("notes", 0..=1_000_000).unwrap_or_default();
    let Ok(tick_id) = TickId::try_new(tick) else {
        fields.fault("tickId", "must be an id without control characters");
        return None;
    };
    let rating = u8::try_from(stars).ok().filter(|_| module != UNREADABLE_MODULE);
    Some(Feedback {
        tick_id,
        module,
        rating,
        notes: capped(&notes, NOTES_CHARS_MAX),
    })
}

/// Row ids are of the tick and not of the persona; a tick of somebody else must not be written into.
async fn refuse_others_rows(app: &App, persona: &PersonaId, feedback: &[Feedback]) -> Result<(), Problem> {
    let ids: Vec<String> = feedback.iter().map(row_id).collect();
    let existing = app.tables.existing_feedback_ids(&ids).await?;
    if existing.is_empty() {
        return Ok(());
    }
    let own = app
        .log
        .read_subject(&events::Subject::Persona(persona.clone()))
        .await?;
    let own = History::of(&own);
    let is_own = |one: &Feedback| own.rated.contains(&(one.tick_id.clone(), one.module.clone()));
    if feedback
        .iter()
        .filter(|one| existing.contains(&row_id(one)))
        .all(is_own)
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

fn row_id(feedback: &Feedback) -> String {
    format!("{}-{}", feedback.tick_id, feedback.module)
}

/// The rows that are not there yet, one commit for each tick.
fn decide(
    history: &History,
    persona: &PersonaId,
    feedback: &[Feedback],
    now: Timestamp,
) -> Result<Vec<Draft>, Problem> {
    if history.description.is_none() {
        return Err(unknown_persona());
    }
    let is_new = |one: &&Feedback| !history.rated.contains(&(one.tick_id.clone(), one.module.clone()));
    let new: Vec<&Feedback> = feedback.iter().filter(is_new).collect();
    let mut drafts = Vec::new();
    let mut begun = 0;
    for (tick_id, feedback) in tick::by_tick(new, |one| &one.tick_id) {
        // The older runner reports no actions for a tick without any, and rates all the same.
        let started = tick::started(history, &tick_id, now, begun, persona);
        begun += u64::from(started.is_some());
        let finished = started
            .as_ref()
            .and_then(|_| tick::finished(history, &tick_id, now, 0, 0));
        let draft = Draft {
            what: "external-feedback",
            key: feedback.iter().map(|one| row_id(one)).collect(),
            tick: Some(tick_id),
            events: feedback.iter().map(|one| event(one)).collect(),
            rows: feedback.len() as u64,
        };
        drafts.extend(tick::enclose(vec![draft], started, finished));
    }
    Ok(drafts)
}

/// A rating, or that there is none: a number nobody gave is never written down.
fn event(feedback: &Feedback) -> Event {
    let (tick_id, module) = (feedback.tick_id.clone(), feedback.module.clone());
    let Some(rating) = feedback.rating else {
        let said = if feedback.notes.is_empty() {
            "no text was reported"
        } else {
            &feedback.notes
        };
        let reason = format!("the external runner could not read the rating: {said}");
        return RatingFailed {
            tick_id,
            module,
            reason: capped(&reason, NOTES_CHARS_MAX),
        }
        .into();
    };
    let rated = Rated {
        tick_id,
        module,
        rating,
        notes: feedback.notes.clone(),
        evidence: Vec::new(),
        source: RatingSource::External,
        friction: None,
        rubric_version: RUBRIC_VERSION,
        unsupported: None,
        brain: None,
        model: None,
        prompt_version: None,
        answers: None,
    };
    rated.into()
}

/// The same as JSON Schema, for `/openapi.json`.
pub(super) fn schema() -> Value {
    let feedback = json!({
        "type": "object",
        "required": ["tickId", "module", "rating"],
        "properties": {
            "tickId": { "type": "string", "maxLength": 100 },
            "module": { "type": "string", "maxLength": 80 },
            "rating": { "type": "integer", "minimum": 1, "maximum": 5 },
            "notes": { "type": "string" },
        },
    });
    json!({
        "type": "object",
        "required": ["feedback"],
        "properties": { "feedback": { "type": "array", "maxItems": FEEDBACK_MAX, "items": feedback } },
    })
}
