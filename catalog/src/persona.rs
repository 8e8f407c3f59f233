//! A persona as the catalog describes it, and the catalog of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use events::Cadence;
use serde::Serialize;
use serde_json::Value;

use crate::draft::{Draft, kind, member};
use crate::faults::{CatalogError, Faults};
use crate::rules;

/// What every persona's email ends in. The domain is reserved for tests and can belong to nobody.
pub const EMAIL_DOMAIN: &str = "@mana.test";

/// Characters a system prompt may have at most.
pub const PROMPT_CHARS_MAX: usize = 8_000;

/// Characters a name may have at most.
pub(crate) const NAME_CHARS_MAX: usize = 100;

/// The kinds of user a persona can be.
pub const ARCHETYPES: [&str; 8] = [
    "adhd-student",
    "ceo-busy",
    "creative-parent",
    "solo-dev",
    "researcher",
    "freelancer",
    "overwhelmed-newbie",
    "chaos",
];

/// One persona, as the catalog describes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Persona {
    /// The email of its account; ends in [`EMAIL_DOMAIN`], lower case.
    pub email: String,
    /// Its name, unique in the catalog.
    pub name: String,
    /// One of [`ARCHETYPES`].
    pub archetype: String,
    /// The language it speaks, as a language tag such as `de` or `pt-BR`.
    pub language: String,
    /// IANA time zone its days are counted in.
    pub time_zone: String,
    /// How often it acts.
    #[serde(rename = "tickCadence")]
    pub cadence: Cadence,
    /// Module name to weight; weights are finite, non-negative and not all zero.
    pub module_mix: BTreeMap<String, f64>,
    /// Emails of the personas it shares a space with; they name it back.
    pub partners: Vec<String>,
    /// What a model is told to be, in the persona's own language; 1 to [`PROMPT_CHARS_MAX`] characters.
    pub system_prompt: String,
    /// Whether it is one of the cast unless somebody asks for more.
    #[serde(skip)]
    pub is_enabled: bool,
}

/// Every persona that ought to exist, in the file's order, and those who come when they are asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Catalog {
    /// The personas; at least one.
    pub personas: Vec<Persona>,
    /// Those with `"enabled": false`, which are off until somebody switches them on.
    #[serde(skip)]
    pub resting: Vec<Persona>,
}

impl Catalog {
    /// The catalog shipped inside this binary, as text for [`Catalog::parse`].
    pub fn embedded_text() -> &'static str {
        include_str!("../personas.json")
    }

    /// Reads a catalog from `text`. `file` is what faults call it.
    ///
    /// # Errors
    /// [`CatalogError::Faults`] with every fault there is, not only the first.
    pub fn parse(file: &str, text: &str, known_modules: &[&str]) -> Result<Self, CatalogError> {
        let mut faults = Faults::new(file);
        let drafts: Vec<Draft> = entries(text, &mut faults)
            .iter()
            .enumerate()
            .map(|(index, value)| Draft::read(index, value, &mut faults))
            .collect();
        rules::check(&drafts, known_modules, &mut faults);
        faults.into_result()?;
        let all = drafts.into_iter().filter_map(Draft::complete);
        let (personas, resting) = all.partition(|persona: &Persona| persona.is_enabled);
        Ok(Self { personas, resting })
    }

    /// The catalog with those switched on that are off.
    #[must_use]
    pub fn with_resting(mut self) -> Self {
        self.personas.append(&mut self.resting);
        self
    }

    /// Reads the catalog at `path`.
    ///
    /// # Errors
    /// [`CatalogError::Unreadable`], or as [`Catalog::parse`].
    pub fn load(path: &Path, known_modules: &[&str]) -> Result<Self, CatalogError> {
        let text = fs::read_to_string(path).map_err(|source| CatalogError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&path.display().to_string(), &text, known_modules)
    }
}

/// The personas' objects, or none and the faults of the file's outer shape.
fn entries(text: &str, faults: &mut Faults<'_>) -> Vec<Value> {
    let value = match serde_json::from_str::<Value>(text) {
        Ok(value) => value,
        Err(error) => {
            // The position is the key here, so the text of the error is given without it.
            let at = format!("line {} column {}", error.line(), error.column());
            let reason = error.to_string();
            faults.file(
                at.as_str(),
                format!("not JSON: {}", reason.trim_end_matches(&format!(" at {at}"))),
            );
            return Vec::new();
        }
    };
    let Value::Object(mut object) = value else {
        faults.file(
            "$",
            format!("must be an object with the key personas, not {}", kind(&value)),
        );
        return Vec::new();
    };
    let personas = object.remove("personas");
    for key in object.keys() {
        faults.file(
            member(key).trim_start_matches('.'),
            "unknown key; known is personas",
        );
    }
    match personas {
        Some(Value::Array(personas)) if !personas.is_empty() => return personas,
        Some(Value::Array(_)) => faults.file("personas", "must hold at least one persona"),
        Some(other) => faults.file("personas", format!("must be an array, not {}", kind(&other))),
        None => faults.file("personas", "is missing"),
    }
    Vec::new()
}
