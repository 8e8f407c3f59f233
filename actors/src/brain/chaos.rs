//! Edge input: what every tool field is given once in a while to see whether it stands it.
//!
//! All pairs of a field and an edge class that fits it are laid out in an order that follows from seed and persona, and
//! each tick tries the next few: so the whole of it comes round, and no brain has a say in it.

mod classes;

use events::Intent;
use serde_json::{Map, Value, json};

use super::arguments::{IdSource, Writer, is_id};
use super::dice::{Dice, Origin};
use super::habits::{Act, act_of};
use super::harvest::Harvest;
use super::schema::Schema;
use super::words::Words;
use super::{CallOutcome, PlannedCall, TickView, ToolInfo};
pub(crate) use classes::EdgeClass;

/// Archetypes that bring edge input.
const ARCHETYPE: &str = "chaos";
/// Edge calls of one tick.
const CALLS_MAX: usize = 8;
/// The field of classes that concern a call as a whole.
pub(crate) const WHOLE_CALL: &str = "*";

/// One edge call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EdgeCall {
    pub(crate) call: PlannedCall,
    /// The field that is given the edge, or [`WHOLE_CALL`].
    pub(crate) field: String,
    pub(crate) class: EdgeClass,
    /// The arguments as they go out where JSON values cannot say them.
    pub(crate) raw: Option<String>,
}

/// Whether the persona brings edge input.
pub(crate) fn is_chaotic(archetype: &str) -> bool {
    archetype == ARCHETYPE
}

/// The edge calls of this tick, after what the brain did in it.
pub(crate) fn edges(tick: &TickView<'_>) -> Vec<EdgeCall> {
    let mut pairs = pairs(tick.tools);
    if pairs.is_empty() {
        return Vec::new();
    }
    shuffle(&mut pairs, tick);
    let from = usize::try_from(tick.tick_number.saturating_sub(1)).unwrap_or(0) * CALLS_MAX;
    let objects = Objects::of(tick);
    let origin = Origin::of(tick);
    let calls_max = CALLS_MAX.min(tick.calls_left as usize);
    let in_turn = pairs
        .iter()
        .cycle()
        .skip(from % pairs.len())
        .take(pairs.len().min(CALLS_MAX));
    let mut calls = Vec::new();
    for (number, (tool, field, class)) in in_turn.enumerate() {
        let mut dice = origin.dice(&format!("edge {number}"));
        calls.extend(edge(tick, &objects, tool, field, *class, &mut dice));
    }
    calls.truncate(calls_max);
    calls
}

/// Every pair of a field and a class that fits it, tool by tool.
fn pairs(tools: &[ToolInfo]) -> Vec<(&ToolInfo, String, EdgeClass)> {
    let mut pairs = Vec::new();
    // What destroys is left to those who know what they do.
    for tool in tools.iter().filter(|tool| act_of(tool) != Act::CleanUp) {
        let Some(schema) = Schema::root(&tool.input_schema) else {
            continue;
        };
        for (field, property) in schema.properties() {
            let classes = EdgeClass::of_field(&field, &property);
            pairs.extend(classes.into_iter().map(|class| (tool, field.clone(), class)));
        }
        let whole = EdgeClass::of_call(act_of(tool) == Act::Create);
        pairs.extend(
            whole
                .into_iter()
                .map(|class| (tool, WHOLE_CALL.to_owned(), class)),
        );
    }
    pairs
}

/// In an order that is the persona's own for as long as the tools stay the same.
fn shuffle<T>(items: &mut [T], tick: &TickView<'_>) {
    let first = TickView {
        tick_number: 0,
        ..*tick
    };
    let mut dice = Origin::of(&first).dice("edges");
    for at in (1..items.len()).rev() {
        items.swap(at, dice.index(at + 1));
    }
}

/// The call that gives `field` of `tool` an edge of `class`, or calls that belong together; none where the tool wants an
/// id that nobody has seen.
fn edge(
    tick: &TickView<'_>,
    objects: &Objects,
    tool: &ToolInfo,
    field: &str,
    class: EdgeClass,
    dice: &mut Dice,
) -> Vec<EdgeCall> {
    let writer = Writer {
        module: &tool.module,
        words: Words::of(&tick.persona.archetype),
        now: tick.started_at,
        ids: &objects.of_tool(tool, field),
        looking_for: None,
        optional_chance: 0.0,
    };
    let Some(mut arguments) = writer.arguments(&tool.input_schema, dice) else {
        return Vec::new();
    };
    let raw = match class.value() {
        Some(value) if field == WHOLE_CALL => {
            arguments.insert(classes::UNKNOWN_PROPERTY.to_owned(), value);
            None
        }
        Some(value) => {
            arguments.insert(field.to_owned(), value);
            None
        }
        None => class.raw(field, &arguments),
    };
    let call = EdgeCall {
        call: PlannedCall {
            tool: tool.name.clone(),
            arguments: Value::Object(arguments),
            intent: Intent::Chaos,
            mistake: Some(class.name().to_owned()),
            retry_of: None,
            unsent: None,
        },
        field: field.to_owned(),
        class,
        raw,
    };
    match class {
        EdgeClass::Replayed => vec![call.clone(), call],
        _ => vec![call],
    }
}

/// Things the persona made, now and before: edge input is tried on nobody else's.
#[derive(Debug)]
struct Objects(Harvest);

impl Objects {
    fn of(tick: &TickView<'_>) -> Self {
        let mut harvest = Harvest::default();
        for known in tick.diary.open() {
            harvest.remember(known);
        }
        for call in tick.past {
            let made = tick
                .tools
                .iter()
                .any(|tool| tool.name == call.tool && act_of(tool) == Act::Create);
            if let (true, CallOutcome::Ok { structured, .. }) = (made, &call.outcome) {
                harvest.take(&call.module, structured, true);
            }
        }
        Self(harvest)
    }

    fn of_tool<'w>(&'w self, tool: &'w ToolInfo, field: &'w str) -> Own<'w> {
        Own {
            harvest: &self.0,
            module: &tool.module,
            edge_field: field,
        }
    }
}

#[derive(Debug)]
struct Own<'w> {
    harvest: &'w Harvest,
    module: &'w str,
    edge_field: &'w str,
}

impl IdSource for Own<'_> {
    fn id_for(&self, field: &str, dice: &mut Dice) -> Option<String> {
        if field == self.edge_field && is_id(field) {
            // It is about to be given something else.
            return Some(dice.uuid().to_string());
        }
        let own = self.harvest.candidates(self.module, field);
        let own: Vec<_> = own
            .into_iter()
            .filter(|object| object.is_own || object.is_from_before)
            .collect();
        dice.pick(&own).map(|object| object.id.clone())
    }
}

/// `arguments` as text, with `value` written as it stands in the place of `field`.
fn with_raw(arguments: &Map<String, Value>, field: &str, value: &str) -> String {
    let mut others = arguments.clone();
    others.shift_remove(field);
    let mut text = json!(others).to_string();
    text.pop();
    let comma = if others.is_empty() { "" } else { "," };
    format!("{text}{comma}{}:{value}}}", json!(field))
}

#[cfg(test)]
mod tests;
