//! One persona's object, read key by key, so that every wrong type is reported and not only the first.

use std::collections::BTreeMap;

use events::Cadence;
use serde_json::{Map, Value};

use crate::faults::Faults;
use crate::persona::Persona;

/// The keys a persona may have; all but `partners` and `enabled` are required.
const KEYS: [&str; 10] = [
    "email",
    "name",
    "archetype",
    "language",
    "timeZone",
    "tickCadence",
    "moduleMix",
    "partners",
    "systemPrompt",
    "enabled",
];

/// A persona as far as its types were right. `None` where a fault was noted instead.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) email: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) archetype: Option<String>,
    pub(crate) language: Option<String>,
    pub(crate) time_zone: Option<String>,
    pub(crate) cadence: Option<Cadence>,
    pub(crate) module_mix: Option<BTreeMap<String, f64>>,
    /// Positions are those of the file; `None` for an entry that is no text.
    pub(crate) partners: Vec<Option<String>>,
    pub(crate) system_prompt: Option<String>,
    pub(crate) is_enabled: Option<bool>,
}

impl Draft {
    /// Reads the persona at `index`, noting what has the wrong type, is missing or is not known.
    pub(crate) fn read(index: usize, value: &Value, faults: &mut Faults<'_>) -> Self {
        let Some(object) = value.as_object() else {
            faults.persona(index, "", format!("must be an object, not {}", kind(value)));
            return Self::default();
        };
        for key in object.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            faults.persona(
                index,
                &member(key),
                format!("unknown key; known are {}", KEYS.join(", ")),
            );
        }
        let mut keys = Keys {
            index,
            object,
            faults,
        };
        Self {
            email: keys.text("email"),
            name: keys.text("name"),
            archetype: keys.text("archetype"),
            language: keys.text("language"),
            time_zone: keys.text("timeZone"),
            cadence: keys.cadence(),
            module_mix: keys.module_mix(),
            partners: keys.partners(),
            system_prompt: keys.text("systemPrompt"),
            is_enabled: keys.enabled(),
        }
    }

    /// The persona, when every key was right.
    pub(crate) fn complete(self) -> Option<Persona> {
        Some(Persona {
            email: self.email?,
            name: self.name?,
            archetype: self.archetype?,
            language: self.language?,
            time_zone: self.time_zone?,
            cadence: self.cadence?,
            module_mix: self.module_mix?,
            partners: self.partners.into_iter().collect::<Option<_>>()?,
            system_prompt: self.system_prompt?,
            is_enabled: self.is_enabled?,
        })
    }
}

/// The keys of one persona's object.
struct Keys<'a, 'f> {
    index: usize,
    object: &'a Map<String, Value>,
    faults: &'a mut Faults<'f>,
}

impl<'a> Keys<'a, '_> {
    fn required(&mut self, key: &str) -> Option<&'a Value> {
        let value = self.object.get(key);
        if value.is_none() {
            self.fault(&member(key), "is missing");
        }
        value
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let value = self.required(key)?;
        self.string(&member(key), value)
    }

    fn enabled(&mut self) -> Option<bool> {
        let Some(value) = self.object.get("enabled") else {
            return Some(true);
        };
        if value.as_bool().is_none() {
            self.fault(".enabled", format!("must be true or false, not {}", kind(value)));
        }
        value.as_bool()
    }

    fn cadence(&mut self) -> Option<Cadence> {
        let value = self.required("tickCadence")?;
        let word = self.string(".tickCadence", value)?;
        let cadence = serde_json::from_value(value.clone()).ok();
        if cadence.is_none() {
            self.fault(
                ".tickCadence",
                format!("{word:?} is not one of daily, weekdays, hourly"),
            );
        }
        cadence
    }

    fn module_mix(&mut self) -> Option<BTreeMap<String, f64>> {
        let value = self.required("moduleMix")?;
        let Some(object) = value.as_object() else {
            self.fault(
                ".moduleMix",
                format!("must be an object of module and weight, not {}", kind(value)),
            );
            return None;
        };
        let mut mix = BTreeMap::new();
        for (module, weight) in object {
            if let Some(weight) = weight.as_f64() {
                mix.insert(module.clone(), weight);
            } else {
                let path = format!(".moduleMix{}", member(module));
                self.fault(&path, format!("must be a number, not {}", kind(weight)));
            }
        }
        (mix.len() == object.len()).then_some(mix)
    }

    fn partners(&mut self) -> Vec<Option<String>> {
        match self.object.get("partners") {
            None => Vec::new(),
            Some(Value::Array(entries)) => entries
                .iter()
                .enumerate()
                .map(|(at, entry)| self.string(&format!(".partners[{at}]"), entry))
                .collect(),
            Some(other) => {
                self.fault(
                    ".partners",
                    format!("must be an array of emails, not {}", kind(other)),
                );
                Vec::new()
            }
        }
    }

    fn string(&mut self, path: &str, value: &Value) -> Option<String> {
        let text = value.as_str().map(str::to_owned);
        if text.is_none() {
            self.fault(path, format!("must be text, not {}", kind(value)));
        }
        text
    }

    fn fault(&mut self, path: &str, reason: impl Into<String>) {
        self.faults.persona(self.index, path, reason);
    }
}

/// `.key`, or `["a key"]` where a dot would mislead.
pub(crate) fn member(key: &str) -> String {
    if !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '-' || c == '$')
    {
        format!(".{key}")
    } else {
        format!("[{key:?}]")
    }
}

/// The JSON type of a value, with its article.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
