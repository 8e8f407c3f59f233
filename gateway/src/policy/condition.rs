//! What a rule asks of a call's arguments.

use serde::Deserialize;
use serde_json::Value;

/// A claim about one argument, which exactly one test makes. An argument that is not there meets `present = false` and
/// no other.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition {
    /// The argument's name; dots lead into objects.
    argument: String,
    /// It is one of these.
    one_of: Option<Vec<Value>>,
    /// It is a number up to this.
    at_most: Option<f64>,
    /// It is a number from this on.
    at_least: Option<f64>,
    /// It is a text of so many characters, or a list of so many items, at most.
    length_at_most: Option<u64>,
    /// It is there, or it is not. `null` is there.
    present: Option<bool>,
}

impl Condition {
    /// Why it cannot be meant; `None` when it can.
    pub(super) fn fault(&self) -> Option<String> {
        let tests = [
            self.one_of.is_some(),
            self.at_most.is_some(),
            self.at_least.is_some(),
            self.length_at_most.is_some(),
            self.present.is_some(),
        ];
        let argument = &self.argument;
        if argument.is_empty() || argument.split('.').any(str::is_empty) {
            return Some("a condition names no argument".to_owned());
        }
        (tests.into_iter().filter(|is| *is).count() != 1).then(|| {
            format!(
                "the condition on {argument} must have exactly one of one_of, at_most, at_least, length_at_most and present"
            )
        })
    }

    fn holds(&self, arguments: &Value) -> bool {
        let found = self
            .argument
            .split('.')
            .try_fold(arguments, |value, name| value.get(name));
        if let Some(present) = self.present {
            return found.is_some() == present;
        }
        let Some(found) = found else { return false };
        if let Some(values) = &self.one_of {
            return values.iter().any(|value| is_same(value, found));
        }
        if let Some(most) = self.at_most {
            return found.as_f64().is_some_and(|number| number <= most);
        }
        if let Some(least) = self.at_least {
            return found.as_f64().is_some_and(|number| number >= least);
        }
        let length = match found {
            Value::String(text) => Some(text.chars().count()),
            Value::Array(items) => Some(items.len()),
            _ => None,
        };
        let most = self.length_at_most.unwrap_or_default();
        length.is_some_and(|length| length as u64 <= most)
    }

    fn spelled(&self) -> String {
        let argument = &self.argument;
        match self {
            Self {
                one_of: Some(values), ..
            } => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                format!("{argument} one of {}", values.join(", "))
            }
            Self {
                at_most: Some(most), ..
            } => format!("{argument} at most {most}"),
            Self {
                at_least: Some(least),
                ..
            } => format!("{argument} at least {least}"),
            Self {
                length_at_most: Some(most),
                ..
            } => format!("{argument} of length at most {most}"),
            Self {
                present: Some(true), ..
            } => format!("with {argument}"),
            _ => format!("without {argument}"),
        }
    }
}

/// `1` and `1.0` are the same number.
fn is_same(one: &Value, other: &Value) -> bool {
    one == other || (one.is_number() && other.is_number() && one.as_f64() == other.as_f64())
}

/// Whether `arguments` meet every one of `conditions`.
pub(super) fn all_hold(conditions: &[Condition], arguments: &Value) -> bool {
    conditions.iter().all(|condition| condition.holds(arguments))
}

/// The conditions in words.
pub(super) fn spelled(conditions: &[Condition]) -> String {
    let spelled: Vec<String> = conditions.iter().map(Condition::spelled).collect();
    if spelled.is_empty() {
        return "anything".to_owned();
    }
    spelled.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn condition(value: Value) -> Condition {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn each_test_asks_what_it_says() {
        let arguments = json!({"limit": 50, "status": "open", "tags": ["a", "b"], "title": "Möhre", "deep": {"n": 1.0}, "none": null});
        for (test, expected) in [
            (json!({"argument": "limit", "at_most": 50}), true),
            (json!({"argument": "limit", "at_most": 49.5}), false),
            (json!({"argument": "limit", "at_least": 51}), false),
            (json!({"argument": "status", "at_most": 3}), false),
            (json!({"argument": "status", "one_of": ["open", "done"]}), true),
            (json!({"argument": "deep.n", "one_of": [1]}), true),
            (json!({"argument": "title", "length_at_most": 5}), true),
            (json!({"argument": "title", "length_at_most": 4}), false),
            (json!({"argument": "tags", "length_at_most": 1}), false),
            (json!({"argument": "limit", "length_at_most": 100}), false),
            (json!({"argument": "none", "present": true}), true),
            (json!({"argument": "missing", "present": false}), true),
            (json!({"argument": "missing", "at_most": 5}), false),
            (json!({"argument": "deep.missing.more", "one_of": [1]}), false),
        ] {
            assert_eq!(condition(test.clone()).holds(&arguments), expected, "{test}");
        }
    }

    #[test]
    fn a_condition_with_no_test_or_two_cannot_be_meant() {
        for faulty in [
            json!({"argument": "limit"}),
            json!({"argument": "limit", "at_most": 1, "at_least": 0}),
            json!({"argument": "", "present": true}),
            json!({"argument": "a..b", "present": true}),
        ] {
            assert!(condition(faulty.clone()).fault().is_some(), "{faulty}");
        }
        assert_eq!(
            condition(json!({"argument": "limit", "at_most": 1})).fault(),
            None
        );
    }
}
