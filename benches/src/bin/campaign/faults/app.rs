//! The app that is tried: an MCP server of four modules, with records that last, refusals that name the field, and faults
//! that can be planted.
//!
//! Everybody works on the same records. Of the calls of a sound app one in a hundred fails anyway, as on any bad day.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

/// How often a call of a sound app fails all the same, and what it says then.
const FAILS_ANYWAY: f64 = 0.01;
const ANYWAY: [&str; 2] = ["timed out after 5000 ms", "conflict: somebody else was faster"];
/// How often the broken tool's calls fail, and what it says then.
const BROKEN_RATE: f64 = 0.3;
const BROKEN_SAYS: &str = "upstream connect error 503";
/// What a module says whose refusals name no field any more.
const CURT: &str = "the request is invalid";
/// Records that one answer shows.
const SHOWN_MAX: usize = 20;

/// One part of the app.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: &'static str,
    /// What its records are.
    noun: &'static str,
    fields: &'static [Field],
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    kind: Kind,
    is_required: bool,
}

#[derive(Debug)]
enum Kind {
    Text,
    Choice(&'static [&'static str]),
    Day,
    Count,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        is_required: false,
    }
}

const fn required(name: &'static str) -> Field {
    Field {
        name,
        kind: Kind::Text,
        is_required: true,
    }
}

pub(super) static MODULES: [Module; 4] = [
    Module {
        name: "chores",
        noun: "chore",
        fields: &[
            required("title"),
            field("priority", Kind::Choice(&["low", "medium", "high"])),
            field("dueOn", Kind::Day),
        ],
    },
    Module {
        name: "recipes",
        noun: "recipe",
        fields: &[
            required("name"),
            field("servings", Kind::Count),
            field("course", Kind::Choice(&["starter", "main", "dessert"])),
        ],
    },
    Module {
        name: "expenses",
        noun: "expense",
        fields: &[
            required("label"),
            field("cents", Kind::Count),
            field("spentOn", Kind::Day),
        ],
    },
    Module {
        name: "plants",
        noun: "plant",
        fields: &[
            required("name"),
            field("light", Kind::Choice(&["sun", "shade"])),
            field("waterEveryDays", Kind::Count),
        ],
    },
];

/// What each module can do, as a verb, and whether that only reads.
pub(super) const TOOLS: [(&str, bool); 6] = [
    ("list", true),
    ("search", true),
    ("create", false),
    ("update", false),
    ("finish", false),
    ("archive", false),
];

impl Module {
    /// The JSON Schema of a tool's input.
    pub(super) fn schema(&self, verb: &str) -> Map<String, Value> {
        let mut properties = Map::new();
        for field in self.takes(verb) {
            properties.insert(field.name.to_owned(), field.schema());
        }
        let required: Vec<&str> = self
            .takes(verb)
            .filter(|field| is_required(field, verb))
            .map(|field| field.name)
            .collect();
        let schema = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        schema.as_object().cloned().unwrap_or_default()
    }

    fn takes(&self, verb: &str) -> impl Iterator<Item = &Field> {
        const ID: Field = required("id");
        const QUERY: Field = required("query");
        const LIMIT: Field = field("limit", Kind::Count);
        let (first, own): (&[Field], &[Field]) = match verb {
            "list" => (&[LIMIT], &[]),
            "search" => (&[QUERY], &[]),
            "create" => (&[], self.fields),
            "update" => (&[ID], self.fields),
            _ => (&[ID], &[]),
        };
        first.iter().chain(own)
    }

    /// The fields of `arguments` that may not stand, each with why.
    fn faults(&self, verb: &str, arguments: &Map<String, Value>) -> Vec<String> {
        let missing = self
            .takes(verb)
            .filter(|field| is_required(field, verb) && !arguments.contains_key(field.name))
            .map(|field| format!("{}: is required", field.name));
        let wrong = arguments.iter().filter_map(|(name, value)| {
            match self.takes(verb).find(|field| field.name == name) {
                None => Some(format!("{name}: is not known here")),
                Some(field) => Some(format!("{name}: {}", field.kind.fault(value)?)),
            }
        });
        missing.chain(wrong).collect()
    }
}

/// Only a new record needs its words; a change may leave them.
fn is_required(field: &Field, verb: &str) -> bool {
    field.is_required && (verb != "update" || field.name == "id")
}

impl Field {
    fn schema(&self) -> Value {
        match self.kind {
            Kind::Text => json!({"type": "string", "minLength": 1, "maxLength": 200}),
            Kind::Choice(choices) => json!({"type": "string", "enum": choices}),
            Kind::Day => json!({"type": "string", "format": "date"}),
            Kind::Count => json!({"type": "integer", "minimum": 1, "maximum": 100}),
        }
    }
}

impl Kind {
    /// What is wrong with `value`, if anything is.
    fn fault(&self, value: &Value) -> Option<String> {
        let is_day = |text: &str| {
            let is_place = |(at, c): (usize, char)| match at {
                4 | 7 => c == '-',
                _ => c.is_ascii_digit(),
            };
            text.len() == 10 && text.chars().enumerate().all(is_place)
        };
        match (self, value.as_str(), value.as_i64()) {
            (Self::Text, Some(text), _) if (1..=200).contains(&text.chars().count()) => None,
            (Self::Choice(choices), Some(text), _) if choices.contains(&text) => None,
            (Self::Day, Some(text), _) if is_day(text) => None,
            (Self::Count, _, Some(1..=100)) => None,
            (Self::Text, ..) => Some("must be 1 to 200 characters".to_owned()),
            (Self::Choice(choices), ..) => Some(format!("must be one of {}", choices.join(", "))),
            (Self::Day, ..) => Some("must be a day such as 2026-01-31".to_owned()),
            (Self::Count, ..) => Some("must be a whole number from 1 to 100".to_owned()),
        }
    }
}

/// What is wrong with the app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Planted {
    /// The tool that fails, by module and verb.
    pub(super) fails: Option<(&'static str, &'static str)>,
    /// The module whose refusals name no field.
    pub(super) is_curt: Option<&'static str>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct App {
    chance: ChaCha8Rng,
    pub(super) planted: Planted,
    /// By module, the newest last.
    records: BTreeMap<&'static str, Vec<Map<String, Value>>>,
    made: u64,
    /// Calls that were answered.
    pub(super) calls: u64,
}

impl App {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            chance: ChaCha8Rng::seed_from_u64(seed),
            planted: Planted::default(),
            records: BTreeMap::new(),
            made: 0,
            calls: 0,
        }
    }

    /// Carries out one call; an error is the tool's refusal.
    pub(super) fn call(
        &mut self,
        module: &'static Module,
        verb: &str,
        arguments: &Map<String, Value>,
    ) -> Result<Value, String> {
        self.calls += 1;
        let faults = module.faults(verb, arguments);
        if !faults.is_empty() {
            return Err(self.refused(module, faults.join("; ")));
        }
        let is_broken = self.planted.fails == Some((module.name, verb_of(verb)));
        if is_broken && self.chance.random_bool(BROKEN_RATE) {
            return Err(BROKEN_SAYS.to_owned());
        }
        if self.chance.random_bool(FAILS_ANYWAY) {
            return Err(ANYWAY[self.chance.random_range(0..ANYWAY.len())].to_owned());
        }
        self.done(module, verb, arguments)
    }

    fn refused(&self, module: &Module, told: String) -> String {
        if self.planted.is_curt == Some(module.name) {
            CURT.to_owned()
        } else {
            told
        }
    }

    fn done(
        &mut self,
        module: &'static Module,
        verb: &str,
        arguments: &Map<String, Value>,
    ) -> Result<Value, String> {
        let text = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default();
        let records = self.records.entry(module.name).or_default();
        let title = module.fields.first().map_or("", |field| field.name);
        match verb {
            "list" => {
                let limit = arguments.get("limit").and_then(Value::as_u64);
                let limit = limit.and_then(|limit| usize::try_from(limit).ok());
                let shown = records
                    .iter()
                    .rev()
                    .take(limit.map_or(SHOWN_MAX, |limit| limit.min(SHOWN_MAX)));
                Ok(shown_as(module, shown))
            }
            "search" => {
                let wanted = text("query").to_lowercase();
                let holds = |record: &&Map<String, Value>| {
                    let title = record.get(title).and_then(Value::as_str).unwrap_or_default();
                    title.to_lowercase().contains(&wanted)
                };
                Ok(shown_as(
                    module,
                    records.iter().rev().filter(holds).take(SHOWN_MAX),
                ))
            }
            "create" => {
                self.made += 1;
                let mut record = arguments.clone();
                record.insert("id".to_owned(), json!(format!("{}-{}", module.noun, self.made)));
                records.push(record.clone());
                Ok(json!({ module.noun: record }))
            }
            _ => {
                let Some(at) = records.iter().position(|record| record["id"] == text("id")) else {
                    return Err(self.refused(module, format!("id: there is no such {}", module.noun)));
                };
                match verb {
                    "archive" => drop(records.remove(at)),
                    "finish" => drop(records[at].insert("finished".to_owned(), json!(true))),
                    _ => records[at].extend(arguments.clone()),
                }
                Ok(json!({ "done": true }))
            }
        }
    }
}

/// The verb as it is written in [`TOOLS`].
fn verb_of(verb: &str) -> &'static str {
    TOOLS
        .iter()
        .find(|(known, _)| *known == verb)
        .map_or("", |(known, _)| known)
}

fn shown_as<'a>(module: &Module, records: impl Iterator<Item = &'a Map<String, Value>>) -> Value {
    json!({ format!("{}s", module.noun): records.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_refusal_names_the_field_until_the_module_is_made_curt() {
        let mut app = App::new(1);
        let chores = &MODULES[0];
        let wrong = object(&json!({"priority": "whatever", "color": 1}));
        let told = app.call(chores, "create", &wrong).unwrap_err();
        for field in ["title", "priority", "color"] {
            assert!(told.contains(&format!("{field}: ")), "{told}");
        }
        app.planted.is_curt = Some("chores");
        assert_eq!(app.call(chores, "create", &wrong).unwrap_err(), CURT);
        let told = app.call(&MODULES[1], "create", &wrong).unwrap_err();
        assert!(told.contains("name: is required"), "{told}");
    }

    #[test]
    fn a_planted_tool_fails_three_times_in_ten_and_its_neighbours_as_ever() {
        let mut app = App::new(2);
        app.planted.fails = Some(("plants", "list"));
        let mut failed = |verb| {
            let arguments = if verb == "search" {
                json!({"query": "x"})
            } else {
                json!({})
            };
            (0..1_000)
                .filter(|_| app.call(&MODULES[3], verb, &object(&arguments)).is_err())
                .count()
        };
        let (planted, sound) = (failed("list"), failed("search"));
        assert!((250..350).contains(&planted), "{planted}");
        assert!(sound < 30, "{sound}");
    }

    #[test]
    fn what_was_made_is_shown_changed_and_gone_when_it_is_archived() {
        let mut app = App::new(3);
        let recipes = &MODULES[1];
        // One in a hundred fails anyway.
        let mut call = |verb: &str, arguments: Value| {
            (0..10)
                .find_map(|_| app.call(recipes, verb, &object(&arguments)).ok())
                .unwrap()
        };
        let made = call("create", json!({"name": "Soup", "servings": 4}));
        let id = made["recipe"]["id"].as_str().unwrap().to_owned();
        call("update", json!({"id": id, "servings": 6}));
        let shown = call("search", json!({"query": "soup"}));
        assert_eq!(shown["recipes"][0]["servings"], 6, "{shown}");
        call("archive", json!({"id": id}));
        assert_eq!(call("list", json!({}))["recipes"], json!([]));
    }
}
