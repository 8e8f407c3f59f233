//! A request without what differs from run to run: ids by the order they appear in, no days, no times.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Letters of a UUID.
const UUID_CHARS: usize = 36;

/// A request in a form that compares.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Canonical {
    /// With `<id:1>`, `<date>` and `<time>` in it.
    pub(super) value: Value,
    /// What stood for `<id:1>`, `<id:2>`, …
    pub(super) ids: Vec<String>,
}

impl Canonical {
    pub(super) fn of(request: &Value) -> Self {
        let mut ids = Vec::new();
        let value = changed(request, &mut |text| without_volatile(text, &mut ids));
        Self { value, ids }
    }

    /// The hash of it.
    pub(super) fn key(&self) -> String {
        events::input_hash(&self.value)
    }

    /// How many leaves agree before the first that does not.
    pub(super) fn agreement(&self, other: &Value) -> usize {
        let (mine, theirs) = (leaves(&self.value), leaves(other));
        mine.iter()
            .zip(&theirs)
            .take_while(|(one, other)| one == other)
            .count()
    }
}

/// Every text in `value` as `change` makes it, members' names as they are.
fn changed(value: &Value, change: &mut impl FnMut(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(items) => items.iter().map(|item| changed(item, change)).collect(),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (name.clone(), changed(value, change)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

/// A text cut into what could be an id, a date or a time, and what is between.
fn without_volatile(text: &str, ids: &mut Vec<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '+' | '_');
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !is_part(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        out.push_str(before);
        if word.chars().all(|c| c.is_ascii_digit()) && after.starts_with(" ms") {
            out.push_str("<time>");
        } else {
            push_word(&mut out, word, ids);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn push_word(out: &mut String, word: &str, ids: &mut Vec<String>) {
    let bare = word.trim_end_matches(['.', ':', '-']);
    let tail = &word[bare.len()..];
    if is_uuid(bare) {
        let place = ids.iter().position(|known| known == bare).unwrap_or_else(|| {
            ids.push(bare.to_owned());
            ids.len() - 1
        });
        out.push_str("<id:");
        out.push_str(&(place + 1).to_string());
        out.push('>');
    } else if bare.parse::<Date>().is_ok() {
        out.push_str("<date>");
    } else if bare.parse::<Timestamp>().is_ok() {
        out.push_str("<time>");
    } else {
        out.push_str(bare);
    }
    out.push_str(tail);
}

fn is_uuid(word: &str) -> bool {
    word.len() == UUID_CHARS && Uuid::try_parse(word).is_ok()
}

/// `answer` with today's ids in the place of the recorded ones. An id that only the recording knows stays.
pub(super) fn rebound(answer: &Value, recorded: &[String], live: &[String]) -> Value {
    changed(answer, &mut |text| {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        // Texts are looked through once, so that an id that was put in is not taken for a recorded one.
        'text: while !rest.is_empty() {
            for (old, new) in recorded.iter().zip(live) {
                if let Some(after) = rest.strip_prefix(old.as_str()) {
                    out.push_str(new);
                    rest = after;
                    continue 'text;
                }
            }
            let mut chars = rest.chars();
            out.extend(chars.next());
            rest = chars.as_str();
        }
        out
    })
}

/// Paths and values of everything that is neither list nor object, in order.
fn leaves(value: &Value) -> Vec<(String, &Value)> {
    fn walk<'a>(value: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
        match value {
            Value::Array(items) if !items.is_empty() => {
                for (at, item) in items.iter().enumerate() {
                    walk(item, &format!("{path}/{at}"), found);
                }
            }
            Value::Object(members) if !members.is_empty() => {
                for (name, value) in members {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    walk(value, &format!("{path}/{name}"), found);
                }
            }
            leaf => found.push((path.to_owned(), leaf)),
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

/// The JSON pointer of the first place where two requests differ, whatever the order of members.
pub(super) fn first_difference(one: &Value, other: &Value) -> Option<String> {
    fn walk(one: &Value, other: &Value, path: &str) -> Option<String> {
        match (one, other) {
            (Value::Object(ones), Value::Object(others)) => {
                let names = ones
                    .keys()
                    .chain(others.keys().filter(|name| !ones.contains_key(*name)));
                names.into_iter().find_map(|name| {
                    let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                    match (ones.get(name), others.get(name)) {
                        (Some(one), Some(other)) => walk(one, other, &path),
                        _ => Some(path),
                    }
                })
            }
            (Value::Array(ones), Value::Array(others)) => {
                let shorter = ones.len().min(others.len());
                let within =
                    (0..shorter).find_map(|at| walk(&ones[at], &others[at], &format!("{path}/{at}")));
                within.or_else(|| (ones.len() != others.len()).then(|| format!("{path}/{shorter}")))
            }
            _ => (one != other).then(|| {
                if path.is_empty() {
                    "/".to_owned()
                } else {
                    path.to_owned()
                }
            }),
        }
    }
    walk(one, other, "")
}

/// Whose conversation it is: the hash of what the model is told to be, without days and ids.
pub(super) fn who(request: &Value) -> String {
    let told = request
        .get("system")
        .or_else(|| request.pointer("/messages/0"))
        .unwrap_or(&Value::Null);
    events::input_hash(&Canonical::of(told).value)
}

/// How often the model has spoken in it.
pub(super) fn turns(request: &Value) -> u64 {
    let messages = request.get("messages").and_then(Value::as_array);
    messages
        .into_iter()
        .flatten()
        .filter(|message| message.get("role").and_then(Value::as_str) == Some("assistant"))
        .count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ONE: &str = "018f0000-0000-7000-8000-000000000001";
    const TWO: &str = "018f0000-0000-7000-8000-000000000002";

    #[test]
    fn requests_that_differ_in_ids_and_days_alone_are_the_same() {
        let of = |one: &str, two: &str, day: &str| {
            let ms = day.len() + usize::from(day.ends_with('5'));
            Canonical::of(&json!({"messages": [
                {"content": format!("It is {day}. Tasks: {one}, {two} (again {one}), {ms} ms.")},
                {"content": {"id": one, "at": format!("{day}T08:00:00Z")}},
            ]}))
        };
        let (first, later) = (of(ONE, TWO, "2026-01-05"), of(TWO, ONE, "2026-03-01"));
        assert_eq!(first.key(), later.key());
        assert_eq!(first.ids, [ONE, TWO]);
        assert_eq!(
            first.value["messages"][0]["content"],
            "It is <date>. Tasks: <id:1>, <id:2> (again <id:1>), <time> ms."
        );
        assert_eq!(
            first.value["messages"][1],
            json!({"content": {"id": "<id:1>", "at": "<time>"}})
        );
        // Which of them is named twice does matter.
        let swapped = Canonical::of(&json!({"messages": [
            {"content": format!("It is 2026-01-05. Tasks: {ONE}, {TWO} (again {TWO}), 10 ms.")},
            {"content": {"id": ONE, "at": "2026-01-05T08:00:00Z"}},
        ]}));
        assert_ne!(first.key(), swapped.key());
    }

    #[test]
    fn answers_get_today_s_ids_in_the_place_of_the_recorded_ones_even_when_they_are_swapped() {
        let answer = json!({"input": {"id": ONE, "text": format!("{TWO}{ONE} über")}, "n": 1});
        let recorded = [ONE.to_owned(), TWO.to_owned()];
        let live = [TWO.to_owned(), ONE.to_owned()];
        assert_eq!(
            rebound(&answer, &recorded, &live),
            json!({"input": {"id": TWO, "text": format!("{ONE}{TWO} über")}, "n": 1})
        );
        assert_eq!(rebound(&answer, &recorded, &[]), answer);
    }

    #[test]
    fn the_first_difference_is_named_by_its_pointer() {
        let one = json!({"a": [1, {"b/c": 2}], "d": 3});
        assert_eq!(
            first_difference(&one, &json!({"d": 3, "a": [1, {"b/c": 2}]})),
            None
        );
        let cases = [
            (json!({"a": [1, {"b/c": 3}], "d": 3}), "/a/1/b~1c"),
            (json!({"a": [1], "d": 3}), "/a/1"),
            (json!({"a": [1, {"b/c": 2}]}), "/d"),
            (json!(7), "/"),
        ];
        for (other, pointer) in cases {
            assert_eq!(first_difference(&one, &other).as_deref(), Some(pointer));
        }
    }
}
