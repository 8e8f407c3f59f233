//! Arguments made from a tool's JSON Schema, in the persona's words.

mod numbers;
mod text;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::dice::Dice;
use super::schema::Schema;
use super::words::Words;

/// Objects inside objects before optional fields are left out, and before a schema counts as endless.
const DEPTH_PLAIN: u32 = 3;
const DEPTH_MAX: u32 = 12;
/// Entries an array gets beyond its minimum, at most.
const EXTRA_ITEMS_MAX: i64 = 2;
/// How often an example or a default is taken where there is one, and null where it is allowed.
const EXAMPLE_CHANCE: f64 = 0.25;
const DEFAULT_CHANCE: f64 = 0.3;
const NULL_CHANCE: f64 = 0.2;
/// Entries tried for a list that wants each to differ.
const UNIQUE_TRIES: u32 = 20;

/// Where ids come from. Arguments never make one up.
pub(super) trait IdSource {
    /// An id for the property `field`, or `None` when no result has shown one.
    fn id_for(&self, field: &str, dice: &mut Dice) -> Option<String>;
}

/// What arguments are written from.
#[derive(Debug)]
pub(super) struct Writer<'a, I> {
    /// The module of the tool.
    pub(super) module: &'a str,
    pub(super) words: &'a Words,
    /// The tick's start; dates are near it.
    pub(super) now: Timestamp,
    pub(super) ids: &'a I,
    /// What a search looks for, when the persona has something in mind.
    pub(super) looking_for: Option<&'a str>,
    /// How often an optional field is filled.
    pub(super) optional_chance: f64,
}

impl<I: IdSource> Writer<'_, I> {
    /// Arguments that satisfy `input_schema`; `None` when it wants an id nobody has shown or cannot be satisfied.
    pub(super) fn arguments(&self, input_schema: &Value, dice: &mut Dice) -> Option<Map<String, Value>> {
        let schema = Schema::root(input_schema)?;
        let branches = schema.branches();
        let branch = dice.pick(&branches)?;
        self.object(branch, 0, dice)
    }

    /// A value for the property `field` of `input_schema`.
    pub(super) fn property(&self, input_schema: &Value, field: &str, dice: &mut Dice) -> Option<Value> {
        let schema = Schema::root(input_schema)?
            .branches()
            .into_iter()
            .find_map(|branch| branch.property(field))?;
        self.value(&schema, field, 1, dice)
    }

    fn object(&self, schema: &Schema<'_>, depth: u32, dice: &mut Dice) -> Option<Map<String, Value>> {
        let required = schema.required();
        let mut object = Map::new();
        let mut left_out = Vec::new();
        for (name, property) in schema.properties() {
            let is_required = required.contains(&name);
            let is_wanted = depth < DEPTH_PLAIN && dice.chance(self.optional_chance);
            if !is_required && !is_wanted {
                left_out.push((name, property));
                continue;
            }
            match self.value(&property, &name, depth + 1, dice) {
                Some(value) => {
                    object.insert(name, value);
                }
                None if is_required => return None,
                None => {}
            }
        }
        for name in required.iter().filter(|name| schema.property(name).is_none()) {
            // Required without a schema of its own: anything goes, so it is told by its name.
            object.insert(
                name.clone(),
                Value::String(self.words.text(self.module, name, dice)),
            );
        }
        let wanted = schema.count("minProperties").unwrap_or(0);
        for (name, property) in left_out {
            if object.len() >= wanted {
                break;
            }
            if let Some(value) = self.value(&property, &name, depth + 1, dice) {
                object.insert(name, value);
            }
        }
        (object.len() >= wanted).then_some(object)
    }

    fn value(&self, schema: &Schema<'_>, field: &str, depth: u32, dice: &mut Dice) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        let branches = schema.branches();
        let (nulls, others): (Vec<_>, Vec<_>) = branches
            .into_iter()
            .partition(|branch| branch.types() == ["null"] || branch.choices() == [Value::Null]);
        if others.is_empty() || (!nulls.is_empty() && dice.chance(NULL_CHANCE)) {
            return (!nulls.is_empty()).then_some(Value::Null);
        }
        // From the first choice on, whichever can be written.
        let first = dice.index(others.len());
        let (before, from) = others.split_at(first);
        let written = from
            .iter()
            .chain(before)
            .find_map(|branch| self.plain(branch, field, depth, dice));
        written.or_else(|| (!nulls.is_empty()).then_some(Value::Null))
    }

    /// A value for a schema without alternatives.
    fn plain(&self, schema: &Schema<'_>, field: &str, depth: u32, dice: &mut Dice) -> Option<Value> {
        let choices = schema.choices();
        if !choices.is_empty() {
            return dice.pick(&choices).cloned();
        }
        let types = schema.types();
        let is_text = types.is_empty() || types.iter().any(|name| name == "string");
        if is_text && is_id(field) {
            return self.ids.id_for(field, dice).map(Value::String);
        }
        if let Some(default) = schema.get("default").filter(|default| !default.is_null())
            && dice.chance(DEFAULT_CHANCE)
        {
            return Some(default.clone());
        }
        let examples = schema.get("examples").and_then(Value::as_array);
        if let Some(examples) = examples.filter(|examples| !examples.is_empty())
            && dice.chance(EXAMPLE_CHANCE)
        {
            return dice.pick(examples).cloned();
        }
        let others: Vec<&str> = types
            .iter()
            .map(String::as_str)
            .filter(|name| *name != "null")
            .collect();
        if !types.is_empty()
            && (others.is_empty() || (others.len() < types.len() && dice.chance(NULL_CHANCE)))
        {
            return Some(Value::Null);
        }
        match dice.pick(&others).copied().unwrap_or("string") {
            "boolean" => Some(Value::Bool(dice.chance(0.5))),
            "integer" => numbers::integer(schema, dice),
            "number" => numbers::number(schema, dice),
            "array" => self.array(schema, field, depth, dice),
            "object" => self.object(schema, depth, dice).map(Value::Object),
            "string" => self.string(schema, field, dice).map(Value::String),
            _ => None,
        }
    }

    fn string(&self, schema: &Schema<'_>, field: &str, dice: &mut Dice) -> Option<String> {
        if let Some(format) = schema.text("format")
            && let Some(text) = text::of_format(format, self.now, dice)
        {
            return Some(text);
        }
        if let Some(pattern) = schema.text("pattern") {
            // A pattern for days cannot say which days exist, so a day is written by the calendar.
            return if text::is_day(field, pattern) {
                text::of_format("date", self.now, dice)
            } else {
                text::of_pattern(pattern, schema, dice)
            };
        }
        let wanted = self.looking_for.filter(|_| is_search(field));
        let text = wanted.map_or_else(|| self.words.text(self.module, field, dice), str::to_owned);
        text::fit(&text, schema)
    }

    fn array(&self, schema: &Schema<'_>, field: &str, depth: u32, dice: &mut Dice) -> Option<Value> {
        let least = schema.count("minItems").unwrap_or(0);
        let extra = usize::try_from(dice.between(0, EXTRA_ITEMS_MAX)).unwrap_or(0);
        let wanted = (least + extra).min(schema.count("maxItems").unwrap_or(usize::MAX));
        let is_set = schema.get("uniqueItems") == Some(&Value::Bool(true));
        let mut items: Vec<Value> = Vec::new();
        let mut tries = 0;
        while items.len() < wanted && tries < UNIQUE_TRIES {
            tries += 1;
            let Some(item) = schema.item(items.len()) else {
                break;
            };
            // `tagIds` holds what `tagId` would.
            let Some(item) = self.value(&item, field.strip_suffix('s').unwrap_or(field), depth + 1, dice)
            else {
                break;
            };
            if !is_set || !items.contains(&item) {
                items.push(item);
            }
        }
        (items.len() >= least).then_some(Value::Array(items))
    }
}

/// Whether a property names an object by id: `id`, `habitId`, `habit_id`.
pub(crate) fn is_id(field: &str) -> bool {
    field == "id" || field.ends_with("Id") || field.ends_with("_id")
}

/// Whether a property is what a search looks for.
pub(super) fn is_search(field: &str) -> bool {
    matches!(field, "query" | "q" | "search" | "term")
}

#[cfg(test)]
mod tests;
