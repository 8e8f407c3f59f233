//! Objects the persona has seen in this tick's results, by id.

use events::KnownObject;
use serde_json::Value;

/// One id a result has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenObject {
    /// The id.
    pub(super) id: String,
    /// What it names, from where it stood: `task` for `/tasks/0/id`, `space` for `/activeSpaceId`.
    kind: String,
    /// The module whose tool showed it.
    module: String,
    /// It is a thing of its own and not a part of one, as a subtask is.
    is_whole: bool,
    /// The persona made it in this tick.
    pub(super) is_own: bool,
    /// The persona made it in an earlier tick, and left it open.
    pub(super) is_from_before: bool,
}

/// Every object seen so far, in the order of first sight.
#[derive(Debug, Default)]
pub(super) struct Harvest {
    seen: Vec<SeenObject>,
}

impl Harvest {
    /// Takes in the result of a tool of `module`; with `is_own`, the whole objects in it were just created.
    pub(super) fn take(&mut self, module: &str, result: &Value, is_own: bool) {
        self.walk(module, result, "", true, is_own);
    }

    /// Takes in what the persona remembers to have left open.
    pub(super) fn remember(&mut self, known: &KnownObject) {
        self.note(SeenObject {
            id: known.id.clone(),
            kind: known.kind.clone(),
            module: known.module.clone(),
            is_whole: true,
            is_own: false,
            is_from_before: true,
        });
    }

    /// What the persona made.
    pub(super) fn own(&self) -> impl Iterator<Item = KnownObject> {
        self.seen
            .iter()
            .filter(|object| object.is_own)
            .map(|object| KnownObject {
                module: object.module.clone(),
                kind: object.kind.clone(),
                id: object.id.clone(),
            })
    }

    /// Drops an object that is gone.
    pub(super) fn forget(&mut self, id: &str) {
        self.seen.retain(|object| object.id != id);
    }

    /// What the property `field` of a tool of `module` can name: for `id` a whole object of the module, for
    /// `spaceId` a space of any module.
    pub(super) fn candidates(&self, module: &str, field: &str) -> Vec<&SeenObject> {
        let kind = kind_of_field(field);
        self.seen
            .iter()
            .filter(|object| match &kind {
                None => object.is_whole && object.module == module,
                Some(kind) => object.kind == *kind,
            })
            .collect()
    }

    fn walk(&mut self, module: &str, value: &Value, key: &str, is_whole: bool, is_own: bool) {
        match value {
            Value::Object(object) => {
                for (name, member) in object {
                    if let Some(id) = member.as_str().filter(|_| super::arguments::is_id(name)) {
                        let kind = kind_of_field(name).unwrap_or_else(|| singular(key));
                        // A reference such as `spaceId` names a thing, but not one that was just made.
                        let is_itself = name == "id" && is_whole;
                        self.note(SeenObject {
                            id: id.to_owned(),
                            kind,
                            module: module.to_owned(),
                            is_whole: is_itself,
                            is_own: is_itself && is_own,
                            is_from_before: false,
                        });
                    }
                }
                let is_whole_inside = is_whole && !object.contains_key("id");
                for (name, member) in object {
                    self.walk(module, member, name, is_whole_inside, is_own);
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.walk(module, item, key, is_whole, is_own);
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, object: SeenObject) {
        match self
            .seen
            .iter_mut()
            .find(|known| known.id == object.id && known.kind == object.kind)
        {
            Some(known) => {
                known.is_whole |= object.is_whole;
                known.is_own |= object.is_own;
            }
            None => self.seen.push(object),
        }
    }
}

/// `space` for `spaceId`, `space_id` and `activeSpaceId`; `None` for `id` itself.
fn kind_of_field(field: &str) -> Option<String> {
    let stem = field.strip_suffix("_id").or_else(|| field.strip_suffix("Id"))?;
    let start = stem.rfind(|c: char| c.is_uppercase() || c == '_').unwrap_or(0);
    Some(stem.get(start..)?.trim_start_matches('_').to_lowercase())
}

/// `task` for `tasks`, `entry` for `entries`.
fn singular(plural: &str) -> String {
    let lower = plural.to_lowercase();
    match lower.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => lower.strip_suffix('s').unwrap_or(&lower).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ids(harvest: &Harvest, module: &str, field: &str) -> Vec<String> {
        harvest
            .candidates(module, field)
            .into_iter()
            .map(|object| object.id.clone())
            .collect()
    }

    #[test]
    fn ids_are_found_in_single_results_and_in_lists_and_counted_once() {
        let mut harvest = Harvest::default();
        harvest.take("todo", &json!({"task": {"id": "t1", "title": "x"}}), true);
        harvest.take("todo", &json!({"tasks": [{"id": "t1"}, {"id": "t2"}]}), false);
        assert_eq!(ids(&harvest, "todo", "id"), ["t1", "t2"]);
        assert_eq!(ids(&harvest, "notes", "id"), Vec::<String>::new());
        let own: Vec<bool> = harvest
            .candidates("todo", "id")
            .iter()
            .map(|object| object.is_own)
            .collect();
        assert_eq!(own, [true, false]);
    }

    #[test]
    fn parts_of_a_thing_are_not_taken_for_the_thing() {
        let mut harvest = Harvest::default();
        harvest.take(
            "todo",
            &json!({"tasks": [{"id": "t1", "subtasks": [{"id": "s1"}]}]}),
            false,
        );
        assert_eq!(ids(&harvest, "todo", "id"), ["t1"]);
        assert_eq!(ids(&harvest, "todo", "subtaskId"), ["s1"]);
    }

    #[test]
    fn references_are_found_by_what_they_name() {
        let mut harvest = Harvest::default();
        harvest.take(
            "spaces",
            &json!({"spaces": [{"id": "a"}], "activeSpaceId": "b"}),
            false,
        );
        assert_eq!(ids(&harvest, "todo", "spaceId"), ["b", "a"]);
        assert_eq!(ids(&harvest, "todo", "space_id"), ["b", "a"]);
    }

    #[test]
    fn what_was_destroyed_is_forgotten() {
        let mut harvest = Harvest::default();
        harvest.take("todo", &json!({"task": {"id": "t1"}}), true);
        harvest.forget("t1");
        assert_eq!(ids(&harvest, "todo", "id"), Vec::<String>::new());
    }
}
