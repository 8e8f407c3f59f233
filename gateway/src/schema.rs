//! JSON Schemas of tools, made from their types, and what is said about input that does not fit.

use std::fmt::Write as _;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{PatternOptions, ValidationError, Validator};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Map, Value};

/// Faults named in one answer; a caller who made more mends these first.
const FAULTS_MAX: usize = 10;
/// Characters of an unknown field's name that are repeated to the caller.
const NAME_CHARS_MAX: usize = 40;

/// Characters kept of what is wrong with somebody else's schema.
const REASON_CHARS_MAX: usize = 200;

/// The schema of what a tool takes.
pub(crate) fn input<T: JsonSchema>() -> Map<String, Value> {
    generate::<T>(SchemaSettings::draft2020_12())
}

/// The schema of what a tool answers.
pub(crate) fn output<T: JsonSchema>() -> Map<String, Value> {
    generate::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn generate<T: JsonSchema>(settings: SchemaSettings) -> Map<String, Value> {
    // Clients differ in how well they follow `$ref`, and none of ours is recursive.
    let settings = settings
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(Plain);
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    // Some clients refuse an object schema that does not say its properties, even when it has none.
    schema
        .ensure_object()
        .entry("properties")
        .or_insert_with(|| Value::Object(Map::new()));
    schema.as_object().cloned().unwrap_or_default()
}

/// Drops what describes the Rust type rather than the JSON: `uint32` and the like are no formats of the standard.
#[derive(Debug, Clone)]
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut schemars::Schema) {
        let is_rust_format = schema
            .get("format")
            .and_then(Value::as_str)
            .is_some_and(|format| {
                format.starts_with("uint")
                    || format.starts_with("int")
                    || matches!(format, "float" | "double")
            });
        if is_rust_format {
            schema.remove("format");
        }
        transform_subschemas(self, schema);
    }
}

fn property_names(schema: &Map<String, Value>) -> Vec<String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
}

/// Whether a schema somebody else wrote is one, in the dialect it names, 2020-12 when it names none. Nothing is fetched.
/// A pattern that only an engine without a bound on its time could run makes no schema: our clients have such engines.
pub(crate) fn compiles(schema: &Map<String, Value>) -> Result<(), String> {
    let compiled = jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .build(&Value::Object(schema.clone()));
    compiled
        .map(drop)
        .map_err(|error| events::capped(&error.to_string(), REASON_CHARS_MAX))
}

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Check {
    validator: Validator,
    fields: Vec<String>,
}

impl Check {
    /// Compiles `schema`; nothing outside it is ever fetched.
    pub(crate) fn new(schema: &Map<String, Value>) -> Result<Self, String> {
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&Value::Object(schema.clone()))
            .map_err(|error| error.to_string())?;
        Ok(Self {
            validator,
            fields: property_names(schema),
        })
    }

    /// Whether `value` fits.
    pub(crate) fn fits(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }

    /// What is wrong with `value`, one line a field; empty when it fits. No line holds a value.
    pub(crate) fn faults(&self, value: &Value) -> Vec<String> {
        let mut faults: Vec<String> = self
            .validator
            .iter_errors(value)
            .flat_map(|error| self.describe(&error))
            .take(FAULTS_MAX)
            .collect();
        faults.dedup();
        faults
    }

    fn describe(&self, error: &ValidationError<'_>) -> Vec<String> {
        let at = field_name(error.instance_path().as_str());
        match error.kind() {
            ValidationErrorKind::Required { property } => {
                vec![format!(
                    "{}: required",
                    join(&at, property.as_str().unwrap_or_default())
                )]
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
                .iter()
                .map(|name| {
                    let name = join(&at, &events::capped(name, NAME_CHARS_MAX));
                    if self.fields.is_empty() {
                        format!("{name}: unknown field, this tool takes none")
                    } else {
                        format!("{name}: unknown field, known are {}", self.fields.join(", "))
                    }
                })
                .collect(),
            kind => vec![format!(
                "{}: {}",
                if at.is_empty() { "arguments" } else { &at },
                expectation(kind)
            )],
        }
    }
}

/// `/tags/0` as a person writes it: `tags[0]`.
fn field_name(pointer: &str) -> String {
    let mut name = String::new();
    for segment in pointer.split('/').skip(1) {
        if segment.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() {
            // Unwrap-free by type: writing to a String cannot fail.
            let _ = write!(name, "[{segment}]");
        } else {
            name = join(&name, segment);
        }
    }
    events::capped(&name, NAME_CHARS_MAX * 2)
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    }
}

/// What a keyword asks for, in words.
fn expectation(kind: &ValidationErrorKind) -> String {
    match kind {
        ValidationErrorKind::Enum { options } => format!("must be one of {}", listed(options)),
        ValidationErrorKind::Constant { expected_value } => format!("must be {}", shown(expected_value)),
        ValidationErrorKind::Type { kind } => format!("must be {}", types(kind)),
        ValidationErrorKind::MinLength { limit: 1 } => "must not be empty".to_owned(),
        ValidationErrorKind::MinLength { limit } => format!("must have at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("must have at most {limit} characters"),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        ValidationErrorKind::MinItems { limit } => format!("must have at least {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} items"),
        ValidationErrorKind::Format { format } => format!("must be {}", format_in_words(format)),
        ValidationErrorKind::Pattern { pattern } if pattern == crate::tools::COLOR_PATTERN => {
            "must be a color such as #6366f1".to_owned()
        }
        ValidationErrorKind::Pattern { pattern } => format!("must match {pattern}"),
        // A nullable value with constraints: say what the branch that is not null wants.
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let wants: Vec<String> = context
                .iter()
                .filter_map(|branch| branch.first())
                .map(|error| {
                    expectation(error.kind())
                        .trim_start_matches("must be ")
                        .to_owned()
                })
                .collect();
            format!("must be {}", wants.join(" or "))
        }
        other => format!("does not satisfy `{}`", other.keyword()),
    }
}

fn format_in_words(format: &str) -> String {
    match format {
        "date-time" => "a date and time such as 2026-01-31T09:00:00Z".to_owned(),
        "date" => "a date such as 2026-01-31".to_owned(),
        "uuid" => "an id as the list and create tools give it, such as 3f2b8c1e-5a4d-4e6f-8a7b-9c0d1e2f3a4b"
            .to_owned(),
        other => format!("a valid {other}"),
    }
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => a(&one.to_string()),
        TypeKind::Multiple(set) => {
            let mut names: Vec<_> = set.iter().map(|one| one.to_string()).collect();
            // What is wanted comes first, that it may be left out last.
            names.sort_by_key(|name| name == "null");
            names.iter().map(|name| a(name)).collect::<Vec<_>>().join(" or ")
        }
    }
}

fn a(json_type: &str) -> String {
    match json_type {
        "null" => "null".to_owned(),
        "integer" => "a whole number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "array" => "a list".to_owned(),
        "object" => "an object".to_owned(),
        other => format!("a {other}"),
    }
}

fn listed(options: &Value) -> String {
    options
        .as_array()
        .map(|options| options.iter().map(shown).collect::<Vec<_>>().join(", "))
        .unwrap_or_default()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
