//! Reads the fields of a JSON object and reports everything wrong with it at once.
//!
//! A reader gives a stand-in value for a field that is missing or mistyped and notes the fault, so that the
//! caller writes one straight line of reads and then asks [`Faults::finish`]: after it said `Ok`, no value is
//! a stand-in. Unknown members are ignored, because older clients send more than we need.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::body::kind_of;
use super::problem::Problem;

/// Faults named in one answer; a list of 500 bad items needs no 500 explanations.
const FAULTS_MAX: usize = 20;

/// One thing wrong with a body.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FieldFault")]
pub(crate) struct Fault {
    field: String,
    reason: String,
}

/// What is wrong with a body so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// Notes one.
    pub(crate) fn add(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Fault {
            field: field.into(),
            reason: reason.into(),
        });
    }

    /// `Ok` when there is none, else 400 naming them.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let Some(first) = self.0.first() else {
            return Ok(());
        };
        let more = self.0.len() - 1;
        let detail = match more {
            0 => format!("{}: {}", first.field, first.reason),
            _ => format!("{}: {} (and {more} more)", first.field, first.reason),
        };
        let faults: Vec<Value> = self.0.iter().take(FAULTS_MAX).map(|fault| json!(fault)).collect();
        Err(Problem::bad_request("INVALID_FIELDS", detail).with("faults", faults.into()))
    }
}

/// An object being read.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    object: Map<String, Value>,
    prefix: String,
    faults: &'a mut Faults,
}

impl<'a> Fields<'a> {
    /// Reads `object`, noting faults in `faults`.
    pub(crate) fn new(object: Map<String, Value>, faults: &'a mut Faults) -> Self {
        Self {
            object,
            prefix: String::new(),
            faults,
        }
    }

    /// Reads item `index` of the list `list`; an item that is not an object is a fault of its own.
    pub(crate) fn item(list: &str, index: usize, item: Value, faults: &'a mut Faults) -> Option<Self> {
        match item {
            Value::Object(object) => Some(Self {
                object,
                prefix: format!("{list}[{index}]."),
                faults,
            }),
            other => {
                faults.add(
                    format!("{list}[{index}]"),
                    format!("must be an object, not {}", kind_of(&other)),
                );
                None
            }
        }
    }

    /// Reads item `index` of this object's list `list`, noting faults where this object's go.
    pub(crate) fn item_of<'b>(&'b mut self, list: &str, index: usize, item: Value) -> Option<Fields<'b>> {
        let list = format!("{}{list}", self.prefix);
        Fields::item(&list, index, item, self.faults)
    }

    /// Notes a fault of the field `name`.
    pub(crate) fn fault(&mut self, name: &str, reason: impl Into<String>) {
        self.faults.add(format!("{}{name}", self.prefix), reason);
    }

    /// A member that must be there.
    fn required(&mut self, name: &str) -> Option<Value> {
        let value = self.optional(name);
        if value.is_none() {
            self.fault(name, "is required");
        }
        value
    }

    /// A member that may be missing or null.
    pub(crate) fn optional(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// Text of a length in characters.
    pub(crate) fn text(&mut self, name: &str, chars: RangeInclusive<usize>) -> String {
        let value = self.required(name);
        value
            .and_then(|value| self.text_of(name, value, &chars))
            .unwrap_or_default()
    }

    /// As [`Fields::text`], where it may be missing.
    pub(crate) fn optional_text(&mut self, name: &str, chars: RangeInclusive<usize>) -> Option<String> {
        let value = self.optional(name)?;
        self.text_of(name, value, &chars)
    }

    /// Text that must not be printed.
    pub(crate) fn secret(&mut self, name: &str, chars: RangeInclusive<usize>) -> SecretString {
        SecretString::from(self.text(name, chars))
    }

    fn text_of(&mut self, name: &str, value: Value, chars: &RangeInclusive<usize>) -> Option<String> {
        let Value::String(text) = value else {
            self.fault(name, format!("must be text, not {}", kind_of(&value)));
            return None;
        };
        let count = text.chars().count();
        if !chars.contains(&count) {
            let (min, max) = (chars.start(), chars.end());
            self.fault(name, format!("must have {min} to {max} characters, has {count}"));
            return None;
        }
        Some(text)
    }

    /// A whole number within bounds.
    pub(crate) fn integer(&mut self, name: &str, bounds: RangeInclusive<u64>) -> u64 {
        let value = self.required(name);
        value
            .and_then(|value| self.integer_of(name, &value, &bounds))
            .unwrap_or_default()
    }

    /// As [`Fields::integer`], where it may be missing.
    pub(crate) fn optional_integer(&mut self, name: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let value = self.optional(name)?;
        self.integer_of(name, &value, &bounds)
    }

    fn integer_of(&mut self, name: &str, value: &Value, bounds: &RangeInclusive<u64>) -> Option<u64> {
        let number = value.as_u64().filter(|number| bounds.contains(number));
        if number.is_none() {
            let (min, max) = (bounds.start(), bounds.end());
            self.fault(name, format!("must be a whole number from {min} to {max}"));
        }
        number
    }

    /// Yes or no; missing is no.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        match self.optional(name) {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(other) => {
                self.fault(name, format!("must be true or false, not {}", kind_of(&other)));
                false
            }
        }
    }

    /// An object that must be there.
    pub(crate) fn object(&mut self, name: &str) -> Map<String, Value> {
        match self.required(name) {
            None => Map::new(),
            Some(Value::Object(object)) => object,
            Some(other) => {
                self.fault(name, format!("must be an object, not {}", kind_of(&other)));
                Map::new()
            }
        }
    }

    /// A list that must be there, of at most `items_max` items.
    pub(crate) fn list(&mut self, name: &str, items_max: usize) -> Vec<Value> {
        self.required(name)
            .map(|value| self.list_of(name, value, items_max))
            .unwrap_or_default()
    }

    /// As [`Fields::list`], where it may be missing.
    pub(crate) fn optional_list(&mut self, name: &str, items_max: usize) -> Option<Vec<Value>> {
        self.optional(name)
            .map(|value| self.list_of(name, value, items_max))
    }

    fn list_of(&mut self, name: &str, value: Value, items_max: usize) -> Vec<Value> {
        match value {
            Value::Array(items) if items.len() <= items_max => items,
            Value::Array(items) => {
                self.fault(
                    name,
                    format!("may have {items_max} items at most, has {}", items.len()),
                );
                Vec::new()
            }
            other => {
                self.fault(name, format!("must be a list, not {}", kind_of(&other)));
                Vec::new()
            }
        }
    }

    /// One of a few words.
    pub(crate) fn optional_word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let value = self.optional(name)?;
        let word = words.iter().find(|(word, _)| value.as_str() == Some(word));
        if word.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(name, format!("must be one of {}", known.join(", ")));
        }
        word.map(|(_, meaning)| *meaning)
    }

    /// As [`Fields::optional_word`], where it must be there.
    pub(crate) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)], stand_in: T) -> T {
        if self.object.get(name).is_none_or(Value::is_null) {
            self.fault(name, "is required");
            return stand_in;
        }
        self.optional_word(name, words).unwrap_or(stand_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_body_is_reported_together() {
        let Value::Object(object) = json!({ "rating": 9, "notes": 3, "list": [1, 2] }) else {
            panic!("an object")
        };
        let mut faults = Faults::default();
        let mut fields = Fields::new(object, &mut faults);
        fields.text("name", 1..=5);
        fields.integer("rating", 1..=5);
        fields.optional_text("notes", 0..=5);
        fields.list("list", 1);
        let named: Vec<&str> = faults.0.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(named, ["name", "rating", "notes", "list"]);
        assert_eq!(faults.finish().unwrap_err().code(), "INVALID_FIELDS");
    }

    #[test]
    fn a_fraction_is_not_a_whole_number_even_when_it_lies_within_the_bounds() {
        for rating in [json!(3.5), json!(3.0), json!("3"), json!(0), json!(6), json!(-1)] {
            let mut faults = Faults::default();
            let object = Map::from_iter([("rating".to_owned(), rating.clone())]);
            Fields::new(object, &mut faults).integer("rating", 1..=5);
            assert!(faults.finish().is_err(), "{rating}");
        }
    }

    #[test]
    fn unknown_members_are_no_fault() {
        let mut faults = Faults::default();
        let object = Map::from_iter([("name".to_owned(), json!("A")), ("extra".to_owned(), json!({}))]);
        assert_eq!(Fields::new(object, &mut faults).text("name", 1..=5), "A");
        assert!(faults.finish().is_ok());
    }
}
