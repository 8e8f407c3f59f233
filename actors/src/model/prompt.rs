//! What a model is told. A change to any of it raises [`PROMPT_VERSION`]: results of two versions share no trend.

use serde_json::Value;

use crate::brain::{CallOutcome, SpaceView, TickView};
use crate::digest::ModuleDigest;
use crate::friction::friction;

/// Version of the words below.
pub(super) const PROMPT_VERSION: u32 = 2;
/// Characters of one result shown to a model; what one tool says must not fill the conversation.
const RESULT_CHARS_MAX: usize = 12_000;

/// What stays the same over a tick, and between ticks: no date, so that it can be read from a cache.
pub(super) fn system(tick: &TickView<'_>) -> String {
    let persona = tick.persona;
    let mix: Vec<String> = persona
        .module_mix
        .iter()
        .filter(|(_, weight)| **weight > 0.0)
        .map(|(module, weight)| format!("{module} ({weight})"))
        .collect();
    format!(
        "{}\n\nYou are {} and use an app through its tools, for a few minutes, as you would on an ordinary day. What \
         you do is real: it is your own account. Do what suits you, in the parts of the app you care for; by weight, \
         these are {}. Write in your own language. Use the ids that the tools have shown you and make none up. When \
         something fails, react as you would: read what it says, try again, or leave it. When you have done what you \
         came for, say so in one sentence without calling a tool.",
        persona.system_prompt.trim(),
        persona.name,
        mix.join(", "),
    )
}

/// What the day begins with.
pub(super) fn opening(tick: &TickView<'_>) -> String {
    let today = tick.started_at.strftime("%A, %Y-%m-%d, %H:%M UTC");
    let diary = if tick.diary.is_empty() {
        "You have not used this app before.".to_owned()
    } else {
        format!("From your diary:\n{}", tick.diary)
    };
    format!(
        "It is {today}. This is visit {} to the app.{}\n\n{diary}\n\nGo ahead.",
        tick.tick_number,
        tick.space.map(shared).unwrap_or_default()
    )
}

/// Where a visit to a shared space takes place.
fn shared(space: &SpaceView) -> String {
    format!(
        " Today you are in the {} space {:?}, which you share with {}: what you do here they see, and what they put here \
         is here for you.",
        space.space_type,
        space.name,
        space.others.join(", ")
    )
}

/// A call's outcome as the model reads it, and whether it is an error.
pub(super) fn result(outcome: &CallOutcome) -> (String, bool) {
    let (text, is_error) = match outcome {
        CallOutcome::Ok { structured, .. } => (text_of(structured), false),
        CallOutcome::Error { message, .. } => (message.clone(), true),
    };
    let text = if text.is_empty() {
        "(empty)".to_owned()
    } else {
        text
    };
    (events::capped(&text, RESULT_CHARS_MAX), is_error)
}

fn text_of(structured: &Value) -> String {
    structured
        .as_str()
        .map_or_else(|| structured.to_string(), str::to_owned)
}

/// Asks for ratings, after what happened has been put together.
pub(super) fn questionnaire(tick: &TickView<'_>, used: &[ModuleDigest]) -> String {
    let modules: Vec<String> = used.iter().map(|digest| summary(tick, digest)).collect();
    format!(
        "The visit is over; call no more tools. This is what happened, call by call:\n\n{}\n\nRate each of these \
         modules, as yourself and honestly; nobody is hurt by a low rating. First say what went well and what was in \
         the way, each with the call it happened in (c1, c2, …), and whether the app or your own mistake caused it. \
         Then answer whether you could finish what you came for, whether you would come back, and how it was compared \
         with last time. Only then give stars:\n\
         5: it did what I wanted, nothing to improve, I would tell a friend\n\
         4: it did what I wanted, with one small annoyance\n\
         3: it did what I wanted, but I had to guess or repeat; a normal day\n\
         2: partly done, or an error misled me\n\
         1: I could not do it, lost something, or gave up\n\
         Answer with JSON only.",
        modules.join("\n\n")
    )
}

/// Asks again, after an answer that was of no use.
pub(super) fn once_more(fault: &str) -> String {
    format!("That cannot be used: {fault}. Answer with the JSON alone, in the form that was asked for.")
}

fn summary(tick: &TickView<'_>, digest: &ModuleDigest) -> String {
    let calls = tick
        .past
        .iter()
        .enumerate()
        .filter(|(_, call)| digest.call_ids.contains(&call.call_id))
        .map(|(at, call)| {
            let outcome = match &call.outcome {
                CallOutcome::Ok { .. } => "ok".to_owned(),
                CallOutcome::Error { message, .. } => format!("failed: {}", events::capped(message, 200)),
            };
            format!(
                "  c{} {} {outcome}, {} ms",
                at + 1,
                call.tool,
                call.outcome.latency_ms()
            )
        });
    format!(
        "{}: {} calls, {} failed, {} tried again, {} unchanged; friction {}\n{}",
        digest.module,
        digest.calls,
        digest.errors,
        digest.retries,
        digest.repeats,
        friction(digest),
        calls.collect::<Vec<_>>().join("\n")
    )
}
