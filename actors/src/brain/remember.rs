//! What of a tick is worth remembering: the things that were made, and those that were seen to.

use events::{DiaryWritten, KnownObject, TickId};
use serde_json::Value;

use super::arguments::is_id;
use super::habits::{Act, act_of};
use super::harvest::Harvest;
use super::{CallOutcome, PastCall, ToolInfo};

/// Things kept of one tick.
const OBJECTS_MAX: usize = 20;
/// The longest id that is one.
const ID_CHARS_MAX: usize = 100;

/// What the diary keeps of a tick; `None` when nothing was made or seen to. Ids alone, no text.
pub fn remember(tick_id: &TickId, tools: &[ToolInfo], past: &[PastCall]) -> Option<DiaryWritten> {
    let (mut harvest, mut closed) = (Harvest::default(), Vec::new());
    for call in past {
        let CallOutcome::Ok { structured, .. } = &call.outcome else {
            continue;
        };
        let Some(tool) = tools.iter().find(|tool| tool.name == call.tool) else {
            continue;
        };
        match act_of(tool) {
            Act::Create => harvest.take(&call.module, structured, true),
            Act::Change | Act::CleanUp => {
                let arguments = call.arguments.as_object().into_iter().flatten();
                let ids = arguments
                    .filter(|(field, _)| is_id(field))
                    .filter_map(|(_, id)| id.as_str());
                closed.extend(ids.filter(|id| is_sound(id)).map(str::to_owned));
            }
            Act::Browse | Act::Look => {}
        }
    }
    closed.sort();
    closed.dedup();
    let mut made: Vec<KnownObject> = harvest.own().filter(|known| is_sound(&known.id)).collect();
    made.retain(|known| !closed.contains(&known.id));
    made.drain(..made.len().saturating_sub(OBJECTS_MAX));
    closed.truncate(OBJECTS_MAX);
    let tick_id = tick_id.clone();
    (!made.is_empty() || !closed.is_empty()).then_some(DiaryWritten {
        tick_id,
        made,
        closed,
    })
}

/// Whether `tool` changes a thing that an id names.
pub(super) fn takes_an_id(tool: &ToolInfo) -> bool {
    let properties = tool.input_schema.get("properties").and_then(Value::as_object);
    properties.is_some_and(|properties| properties.contains_key("id"))
}

fn is_sound(id: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&id.chars().count())
        && !id.chars().any(|c| c.is_control() || c.is_whitespace())
}
