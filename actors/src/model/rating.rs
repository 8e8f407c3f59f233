//! The questionnaire: its form, and what a model's answer to it says.

use events::{CallId, RatingAnswers};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::brain::{Claims, PastCall, RatingDraft, Stars};
use crate::digest::ModuleDigest;

/// The form of the answer. Evidence stands before the stars, so that a model that writes in order thinks in order.
/// Written for the strictest reader: no ranges, every member required, nothing else allowed.
pub(super) fn schema(used: &[ModuleDigest]) -> Value {
    let modules: Vec<&str> = used.iter().map(|digest| digest.module.as_str()).collect();
    let object = |properties: Value| {
        let required: Vec<String> = properties
            .as_object()
            .map(|members| members.keys().cloned().collect())
            .unwrap_or_default();
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    };
    let text = json!({"type": "string"});
    let choice = |words: &[&str]| json!({"type": "string", "enum": words});
    let rating = object(json!({
        "module": choice(&modules),
        "went_well": {"type": "array", "items": object(json!({"event": text, "what": text}))},
        "friction": {"type": "array", "items": object(json!({
            "event": text,
            "what": text,
            "cause": choice(&["app", "my_mistake", "unclear"]),
        }))},
        "could_finish": choice(&["yes", "partly", "no"]),
        "would_return": choice(&["yes", "maybe", "no"]),
        "vs_last_time": choice(&["better", "same", "worse", "first"]),
        "stars": {"type": "integer", "enum": [1, 2, 3, 4, 5]},
        "note": text,
    }));
    object(json!({"ratings": {"type": "array", "items": rating}}))
}

#[derive(Deserialize)]
struct Answer {
    ratings: Vec<Value>,
}

#[derive(Deserialize)]
struct Rating {
    went_well: Vec<Evidence>,
    friction: Vec<Evidence>,
    could_finish: String,
    would_return: String,
    vs_last_time: String,
    stars: i64,
    note: String,
}

#[derive(Deserialize)]
struct Evidence {
    event: String,
}

/// What `text` says of each module, in its order; `Err` when it is not the JSON that was asked for.
pub(super) fn drafts(text: &str, past: &[PastCall]) -> Result<Vec<RatingDraft>, String> {
    // The place of a fault and not its text, which can quote what the model wrote.
    let place = |error: &serde_json::Error| format!("line {} column {}", error.line(), error.column());
    let answer: Answer = serde_json::from_str(unfenced(text))
        .map_err(|error| format!("it is not the JSON that was asked for ({})", place(&error)))?;
    let drafts = answer.ratings.into_iter().map(|rating| {
        let module = rating
            .get("module")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let read = serde_json::from_value::<Rating>(rating);
        let verdict = match read {
            Err(_) => Err("the rating lacks an answer, or has one of the wrong type".to_owned()),
            Ok(rating) => stars(rating, past),
        };
        RatingDraft { module, verdict }
    });
    Ok(drafts.collect())
}

/// JSON in a code fence is still JSON.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```json").or_else(|| text.strip_prefix("```"));
    inner
        .and_then(|inner| inner.strip_suffix("```"))
        .unwrap_or(text)
        .trim()
}

fn stars(rating: Rating, past: &[PastCall]) -> Result<Stars, String> {
    let number =
        u8::try_from(rating.stars).map_err(|_| format!("{} is not a rating from 1 to 5", rating.stars))?;
    let answers = RatingAnswers {
        could_finish: one_of(rating.could_finish, &["yes", "partly", "no"])?,
        would_return: one_of(rating.would_return, &["yes", "maybe", "no"])?,
        vs_last_time: one_of(rating.vs_last_time, &["better", "same", "worse", "first"])?,
    };
    let mut unknown = Vec::new();
    let mut named = |evidence: Vec<Evidence>| {
        let mut found: Vec<CallId> = Vec::new();
        for Evidence { event } in evidence {
            match call_named(&event, past) {
                Some(call_id) if found.contains(&call_id) => {}
                Some(call_id) => found.push(call_id),
                None => unknown.push(events::capped(&event, 40)),
            }
        }
        found
    };
    let (went_well, friction) = (named(rating.went_well), named(rating.friction));
    let mut evidence = went_well.clone();
    evidence.extend(
        friction
            .iter()
            .filter(|call_id| !went_well.contains(call_id))
            .cloned(),
    );
    Ok(Stars {
        rating: number,
        notes: rating.note,
        evidence,
        claims: Some(Claims {
            went_well,
            friction,
            unknown,
            answers,
        }),
    })
}

fn one_of(word: String, words: &[&str]) -> Result<String, String> {
    if words.contains(&word.as_str()) {
        Ok(word)
    } else {
        Err(format!("an answer is none of {}", words.join(", ")))
    }
}

/// `c3` is the tick's third call; the call's own id is understood too.
fn call_named(name: &str, past: &[PastCall]) -> Option<CallId> {
    let at = name
        .trim()
        .strip_prefix('c')
        .and_then(|number| number.parse::<usize>().ok());
    let by_number = at.and_then(|at| past.get(at.checked_sub(1)?));
    let call = by_number.or_else(|| past.iter().find(|call| call.call_id.as_str() == name.trim()))?;
    Some(call.call_id.clone())
}
