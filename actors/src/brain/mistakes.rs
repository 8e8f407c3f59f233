//! A newcomer's mistakes: a fixed list, each made on purpose and marked as such before it is sent.

use serde_json::{Map, Value, json};

use super::ToolInfo;
use super::arguments::is_id;
use super::dice::Dice;
use super::habits::{Act, act_of};
use super::schema::Schema;

/// What a date is called by somebody who was never told how to write one.
const SPOKEN_DATES: [&str; 5] = [
    "next Tuesday",
    "tomorrow evening",
    "martedì prossimo",
    "yarın akşam",
    "soon",
];
/// Words for a choice that is not offered.
const NO_CHOICES: [&str; 4] = ["very important", "whatever", "così così", "a little"];

/// The kinds of mistake, under the names the log has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    /// A required field is left empty.
    MissingRequired,
    /// A field holds a value of a type it does not take.
    WrongType,
    /// A choice that is not offered.
    InvalidEnum,
    /// A date as one says it.
    NaturalLanguageDate,
    /// An id that names nothing.
    StaleId,
    /// The right words to the wrong tool.
    WrongTool,
    /// The same thing sent twice, to be sure.
    DoubleSubmit,
}

impl Mistake {
    pub(super) const ALL: [Self; 7] = [
        Self::MissingRequired,
        Self::WrongType,
        Self::InvalidEnum,
        Self::NaturalLanguageDate,
        Self::StaleId,
        Self::WrongTool,
        Self::DoubleSubmit,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MissingRequired => "missing-required",
            Self::WrongType => "wrong-type",
            Self::InvalidEnum => "invalid-enum",
            Self::NaturalLanguageDate => "natural-language-date",
            Self::StaleId => "stale-id",
            Self::WrongTool => "wrong-tool",
            Self::DoubleSubmit => "double-submit",
        }
    }
}

/// A call that went wrong on its way from the head to the hand.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slip {
    pub(super) mistake: Mistake,
    pub(super) tool: String,
    pub(super) arguments: Map<String, Value>,
    /// The fields a helpful refusal would name.
    pub(super) fields: Vec<String>,
}

/// One of the mistakes that this call leaves room for; `None` when there is none.
pub(super) fn slip(
    tool: &ToolInfo,
    arguments: &Map<String, Value>,
    tools: &[ToolInfo],
    dice: &mut Dice,
) -> Option<Slip> {
    let mut left = Mistake::ALL.to_vec();
    while !left.is_empty() {
        let mistake = left.remove(dice.index(left.len()));
        if let Some(slip) = make(mistake, tool, arguments, tools, dice) {
            return Some(slip);
        }
    }
    None
}

/// `mistake` made in this call, when the call leaves room for it.
pub(super) fn make(
    mistake: Mistake,
    tool: &ToolInfo,
    arguments: &Map<String, Value>,
    tools: &[ToolInfo],
    dice: &mut Dice,
) -> Option<Slip> {
    let schema = Schema::root(&tool.input_schema)?;
    let with = |field: String, value: Option<Value>| {
        let mut changed = arguments.clone();
        match value {
            Some(value) => changed.insert(field.clone(), value),
            None => changed.shift_remove(&field),
        };
        Slip {
            mistake,
            tool: tool.name.clone(),
            arguments: changed,
            fields: vec![field],
        }
    };
    match mistake {
        Mistake::MissingRequired => {
            let present: Vec<String> = schema
                .required()
                .into_iter()
                .filter(|field| arguments.contains_key(field))
                .collect();
            Some(with(dice.pick(&present)?.clone(), None))
        }
        Mistake::WrongType => {
            let wrong = |(field, property): (String, Schema<'_>)| {
                (!is_id(&field)).then_some(())?;
                Some((field, value_of_no_accepted_type(&property)?))
            };
            let options: Vec<(String, Value)> = schema.properties().into_iter().filter_map(wrong).collect();
            let (field, value) = dice.pick(&options)?.clone();
            Some(with(field, Some(value)))
        }
        Mistake::InvalidEnum => {
            let fields = fields_where(&schema, |branch| !branch.choices().is_empty());
            let field = dice.pick(&fields)?.clone();
            Some(with(field, Some(json!(dice.pick(&NO_CHOICES)?))))
        }
        Mistake::NaturalLanguageDate => {
            let is_date = |branch: &Schema<'_>| matches!(branch.text("format"), Some("date" | "date-time"));
            let fields = fields_where(&schema, is_date);
            let field = dice.pick(&fields)?.clone();
            Some(with(field, Some(json!(dice.pick(&SPOKEN_DATES)?))))
        }
        Mistake::StaleId => {
            let field = arguments.keys().find(|field| is_id(field))?.clone();
            Some(with(field, Some(json!(dice.uuid()))))
        }
        Mistake::WrongTool => {
            let others: Vec<(&ToolInfo, Vec<String>)> = tools
                .iter()
                .filter(|other| other.name != tool.name && act_of(other) != Act::CleanUp)
                .filter(|other| !missing(other, arguments).is_empty())
                .map(|other| (other, misplaced(other, arguments)))
                .collect();
            let near: Vec<_> = others
                .iter()
                .filter(|(other, _)| other.module == tool.module)
                .cloned()
                .collect();
            let (other, fields) = dice.pick(if near.is_empty() { &others } else { &near })?.clone();
            Some(Slip {
                mistake,
                tool: other.name.clone(),
                arguments: arguments.clone(),
                fields,
            })
        }
        Mistake::DoubleSubmit => (act_of(tool) == Act::Create).then(|| Slip {
            mistake,
            tool: tool.name.clone(),
            arguments: arguments.clone(),
            fields: Vec::new(),
        }),
    }
}

/// Properties that take text, and only text for which `holds` is true.
fn fields_where(schema: &Schema<'_>, holds: fn(&Schema<'_>) -> bool) -> Vec<String> {
    let takes_text = |branch: &Schema<'_>| match branch.choices().as_slice() {
        [] => branch.types().is_empty() || branch.types().iter().any(|name| name == "string"),
        choices => choices.iter().any(Value::is_string),
    };
    let fits = |property: &Schema<'_>| {
        let texts: Vec<_> = property
            .branches()
            .into_iter()
            .filter(|branch| takes_text(branch))
            .collect();
        !texts.is_empty() && texts.iter().all(holds)
    };
    schema
        .properties()
        .into_iter()
        .filter(|(_, property)| fits(property))
        .map(|(name, _)| name)
        .collect()
}

/// What somebody might type into a field that wants something else.
fn value_of_no_accepted_type(property: &Schema<'_>) -> Option<Value> {
    let accepted = property.accepted_types()?;
    let takes = |names: &[&str]| accepted.iter().any(|accepted| names.contains(&accepted.as_str()));
    if !takes(&["string"]) {
        Some(json!("a few"))
    } else if !takes(&["integer", "number"]) {
        Some(json!(7))
    } else if !takes(&["boolean"]) {
        Some(json!(true))
    } else {
        None
    }
}

/// What a refusal of `tool` would name: fields it lacks in `arguments` and fields it does not know.
fn misplaced(tool: &ToolInfo, arguments: &Map<String, Value>) -> Vec<String> {
    let schema = Schema::root(&tool.input_schema);
    let is_unknown = |field: &&String| {
        schema
            .as_ref()
            .is_some_and(|schema| schema.property(field).is_none())
    };
    let unknown = arguments.keys().filter(is_unknown).cloned();
    missing(tool, arguments).into_iter().chain(unknown).collect()
}

/// Required fields of `tool` that `arguments` lacks.
fn missing(tool: &ToolInfo, arguments: &Map<String, Value>) -> Vec<String> {
    let required = Schema::root(&tool.input_schema)
        .map(|schema| schema.required())
        .unwrap_or_default();
    required
        .into_iter()
        .filter(|field| !arguments.contains_key(field))
        .collect()
}

/// Whether an error's text names `field` as a word of its own.
pub(super) fn names_field(message: &str, field: &str) -> bool {
    let is_word_char = |c: char| c.is_alphanumeric() || c == '_';
    message
        .split(|c| !is_word_char(c))
        .any(|word| word.eq_ignore_ascii_case(field))
}

#[cfg(test)]
mod tests;
