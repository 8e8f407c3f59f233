//! Where a persona first saw an id in a tick: what makes two runs comparable whose app made up different ids.

use std::collections::HashMap;

use serde_json::Value;

use crate::brain::is_id;

/// Ids with the order they came into sight.
#[derive(Debug, Default)]
pub(crate) struct Sights(HashMap<String, usize>);

impl Sights {
    /// Beginning with ids that were known before, in their order.
    pub(crate) fn of(known: &[String]) -> Self {
        let mut sights = Self::default();
        for id in known {
            sights.note(id);
        }
        sights
    }

    /// Takes in a result: the ids in it, in the order they stand there.
    pub(crate) fn see(&mut self, result: &Value) {
        match result {
            Value::Object(members) => {
                for (name, member) in members {
                    match member.as_str() {
                        Some(id) if is_id(name) => self.note(id),
                        _ => self.see(member),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.see(item)),
            _ => {}
        }
    }

    fn note(&mut self, id: &str) {
        let next = self.0.len();
        self.0.entry(id.to_owned()).or_insert(next);
    }

    /// `arguments` with each id that was seen replaced by when.
    pub(crate) fn without_ids(&self, arguments: &Value) -> Value {
        match arguments {
            Value::String(text) => match self.0.get(text) {
                Some(at) => Value::String(format!("id {at}")),
                None => arguments.clone(),
            },
            Value::Array(items) => items.iter().map(|item| self.without_ids(item)).collect(),
            Value::Object(members) => {
                let members = members.iter();
                let members = members.map(|(name, member)| (name.clone(), self.without_ids(member)));
                Value::Object(members.collect())
            }
            _ => arguments.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sights(ids: [&str; 3]) -> Sights {
        let mut sights = Sights::of(&[ids[0].to_owned()]);
        sights.see(&json!({"tasks": [{"id": ids[1], "title": "a"}, {"id": ids[2], "listId": ids[1]}]}));
        sights
    }

    #[test]
    fn the_same_act_is_the_same_whatever_the_ids_and_another_one_is_not() {
        let (one, other) = (sights(["a", "b", "c"]), sights(["x", "y", "z"]));
        let act = |sights: &Sights, id: &str| sights.without_ids(&json!({"id": id, "title": "Milch"}));
        assert_eq!(act(&one, "c"), act(&other, "z"));
        assert_ne!(act(&one, "c"), act(&other, "y"));
        assert_ne!(act(&one, "a"), act(&other, "y"));
    }

    #[test]
    fn what_was_never_seen_stays_as_it_is() {
        let sights = sights(["a", "b", "c"]);
        let arguments = json!({"id": "nobody's", "tags": ["b", 1, null]});
        assert_eq!(
            sights.without_ids(&arguments),
            json!({"id": "nobody's", "tags": ["id 1", 1, null]})
        );
    }
}
