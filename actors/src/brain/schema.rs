//! What a JSON Schema says, with references and combinations taken apart.

use serde_json::{Map, Value};

/// References followed before a schema counts as endless.
const REFERENCES_MAX: u32 = 32;

/// Combinations inside combinations before a schema counts as endless.
const NESTING_MAX: u32 = 6;

/// One schema object inside a document that its references point into.
#[derive(Debug, Clone)]
pub(super) struct Schema<'d> {
    document: &'d Value,
    keywords: Map<String, Value>,
}

impl<'d> Schema<'d> {
    /// The document's own schema.
    pub(super) fn root(document: &'d Value) -> Option<Self> {
        Self::of(document, document)
    }

    /// `schema` with `$ref` and `allOf` folded in; `None` for `false` and for a reference that leads nowhere.
    fn of(document: &'d Value, schema: &Value) -> Option<Self> {
        let keywords = flatten(document, schema, REFERENCES_MAX)?;
        Some(Self { document, keywords })
    }

    pub(super) fn get(&self, keyword: &str) -> Option<&Value> {
        self.keywords.get(keyword)
    }

    pub(super) fn text(&self, keyword: &str) -> Option<&str> {
        self.get(keyword)?.as_str()
    }

    pub(super) fn number(&self, keyword: &str) -> Option<f64> {
        self.get(keyword)?.as_f64()
    }

    /// A count such as `minLength`.
    pub(super) fn count(&self, keyword: &str) -> Option<usize> {
        self.get(keyword)?
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
    }

    /// The values of `enum` or the one of `const`; empty when anything goes.
    pub(super) fn choices(&self) -> Vec<Value> {
        match (self.get("const"), self.get("enum").and_then(Value::as_array)) {
            (Some(only), _) => vec![only.clone()],
            (None, Some(values)) => values.clone(),
            (None, None) => Vec::new(),
        }
    }

    /// Each way to satisfy `anyOf` or `oneOf`, with what stands beside it; the schema itself when there is none.
    pub(super) fn branches(&self) -> Vec<Self> {
        self.branches_within(NESTING_MAX)
    }

    fn branches_within(&self, nesting_left: u32) -> Vec<Self> {
        let Some((keyword, options)) = ["anyOf", "oneOf"]
            .into_iter()
            .find_map(|keyword| Some((keyword, self.get(keyword)?.as_array()?.clone())))
        else {
            return vec![self.clone()];
        };
        let Some(nesting_left) = nesting_left.checked_sub(1) else {
            return Vec::new();
        };
        let mut beside = self.keywords.clone();
        beside.remove(keyword);
        options
            .iter()
            .filter_map(|option| {
                let mut keywords = flatten(self.document, option, REFERENCES_MAX)?;
                merge(&mut keywords, &beside);
                Some(Self {
                    document: self.document,
                    keywords,
                })
            })
            .flat_map(|branch| branch.branches_within(nesting_left))
            .collect()
    }

    /// The types named, or, where none is, those the keywords speak of; empty when anything goes.
    pub(super) fn types(&self) -> Vec<String> {
        match self.get("type") {
            Some(Value::String(name)) => vec![name.clone()],
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(|name| Some(name.as_str()?.to_owned()))
                .collect(),
            _ if self.get("properties").is_some() => vec!["object".to_owned()],
            _ if self.get("items").is_some() => vec!["array".to_owned()],
            _ if ["pattern", "format", "minLength", "maxLength"]
                .iter()
                .any(|key| self.get(key).is_some()) =>
            {
                vec!["string".to_owned()]
            }
            _ if self.get("minimum").is_some() || self.get("maximum").is_some() => vec!["number".to_owned()],
            _ => Vec::new(),
        }
    }

    /// The properties in the schema's order; one whose schema allows nothing is left out.
    pub(super) fn properties(&self) -> Vec<(String, Self)> {
        let properties = self.get("properties").and_then(Value::as_object);
        properties
            .into_iter()
            .flatten()
            .filter_map(|(name, schema)| Some((name.clone(), Self::of(self.document, schema)?)))
            .collect()
    }

    pub(super) fn property(&self, name: &str) -> Option<Self> {
        Self::of(self.document, self.get("properties")?.get(name)?)
    }

    pub(super) fn required(&self) -> Vec<String> {
        let names = self.get("required").and_then(Value::as_array);
        names
            .into_iter()
            .flatten()
            .filter_map(|name| Some(name.as_str()?.to_owned()))
            .collect()
    }

    /// The schema of an array's entry at `at`.
    pub(super) fn item(&self, at: usize) -> Option<Self> {
        let tuple = self
            .get("prefixItems")
            .and_then(Value::as_array)
            .and_then(|items| items.get(at));
        match tuple.or_else(|| self.get("items")) {
            Some(schema) => Self::of(self.document, schema),
            None => Some(Self {
                document: self.document,
                keywords: Map::new(),
            }),
        }
    }

    /// Every JSON type a value may have under this schema, by name; `None` when no type is shut out.
    pub(super) fn accepted_types(&self) -> Option<Vec<String>> {
        let mut accepted = Vec::new();
        for branch in self.branches() {
            let choices = branch.choices();
            if choices.is_empty() {
                let types = branch.types();
                if types.is_empty() || branch.get("type").is_none() {
                    return None;
                }
                accepted.extend(types);
            } else {
                accepted.extend(choices.iter().map(|choice| type_name(choice).to_owned()));
            }
        }
        Some(accepted)
    }
}

/// The JSON Schema name of a value's type; whole numbers are `integer`.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn flatten(document: &Value, schema: &Value, references_left: u32) -> Option<Map<String, Value>> {
    let object = match schema {
        Value::Bool(true) => return Some(Map::new()),
        Value::Object(object) => object,
        _ => return None,
    };
    let mut keywords = object.clone();
    if let Some(reference) = keywords.remove("$ref") {
        let pointer = reference.as_str()?.strip_prefix('#')?;
        let target = document.pointer(pointer)?;
        merge(
            &mut keywords,
            &flatten(document, target, references_left.checked_sub(1)?)?,
        );
    }
    if let Some(Value::Array(parts)) = keywords.remove("allOf") {
        for part in &parts {
            merge(
                &mut keywords,
                &flatten(document, part, references_left.checked_sub(1)?)?,
            );
        }
    }
    Some(keywords)
}

/// Adds the keywords of `other`: properties and required names are joined, the tighter bound wins, for the rest
/// what is already there stays.
fn merge(keywords: &mut Map<String, Value>, other: &Map<String, Value>) {
    for (keyword, theirs) in other {
        let Some(ours) = keywords.get_mut(keyword) else {
            keywords.insert(keyword.clone(), theirs.clone());
            continue;
        };
        match (keyword.as_str(), ours, theirs) {
            ("properties", Value::Object(ours), Value::Object(theirs)) => {
                for (name, schema) in theirs {
                    ours.entry(name.clone()).or_insert_with(|| schema.clone());
                }
            }
            ("required", Value::Array(ours), Value::Array(theirs)) => {
                let missing: Vec<Value> = theirs
                    .iter()
                    .filter(|name| !ours.contains(name))
                    .cloned()
                    .collect();
                ours.extend(missing);
            }
            ("minimum" | "exclusiveMinimum" | "minLength" | "minItems", ours, theirs)
                if theirs.as_f64() > ours.as_f64() =>
            {
                *ours = theirs.clone();
            }
            ("maximum" | "exclusiveMaximum" | "maxLength" | "maxItems", ours, theirs)
                if theirs.as_f64() < ours.as_f64() =>
            {
                *ours = theirs.clone();
            }
            _ => {}
        }
    }
}
