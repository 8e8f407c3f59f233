//! What a persona's description must be when it comes over HTTP.

use std::collections::BTreeMap;

use events::Cadence;
use jiff::tz::TimeZone;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use crate::http::auth::{EMAIL_CHARS, PASSWORD_CHARS};
use crate::http::fields::{Faults, Fields};
use crate::http::problem::Problem;

/// Modules a mix may weigh.
const MODULES_MAX: usize = 64;
/// Personas one may share a space with.
const PARTNERS_MAX: usize = 16;
/// Characters of a system prompt; far below what one message of the log holds.
const PROMPT_CHARS_MAX: usize = 20_000;

const CADENCES: [(&str, Cadence); 3] = [
    ("daily", Cadence::Daily),
    ("weekdays", Cadence::Weekdays),
    ("hourly", Cadence::Hourly),
];

/// A request to create or update a persona. `None` is what an older client does not send.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) email: String,
    pub(super) password: SecretString,
    pub(super) name: Option<String>,
    pub(super) archetype: String,
    pub(super) system_prompt: String,
    pub(super) module_mix: BTreeMap<String, f64>,
    pub(super) cadence: Cadence,
    pub(super) time_zone: Option<String>,
    pub(super) partners: Option<Vec<String>>,
}

impl Described {
    /// Reads a body, naming everything wrong with it at once.
    pub(super) fn read(body: Map<String, Value>) -> Result<Self, Problem> {
        let mut faults = Faults::default();
        let mut fields = Fields::new(body, &mut faults);
        let described = Self {
            email: persona_email(&mut fields),
            password: fields.secret("password", PASSWORD_CHARS),
            name: fields.optional_text("name", 1..=120),
            archetype: fields.text("archetype", 1..=80),
            system_prompt: fields.text("systemPrompt", 1..=PROMPT_CHARS_MAX),
            module_mix: module_mix(&mut fields),
            cadence: fields
                .optional_word("tickCadence", &CADENCES)
                .unwrap_or(Cadence::Daily),
            time_zone: time_zone(&mut fields),
            partners: partners(&mut fields),
        };
        faults.finish()?;
        Ok(described)
    }
}

/// Lower case, as accounts have it. The reserved domain keeps a persona from ever being a person.
fn persona_email(fields: &mut Fields<'_>) -> String {
    let email = fields.text("email", EMAIL_CHARS).to_lowercase();
    if !email.is_empty() && !is_persona_email(&email) {
        fields.fault(
            "email",
            format!("must be a name in the reserved domain {}", catalog::EMAIL_DOMAIN),
        );
    }
    email
}

fn is_persona_email(email: &str) -> bool {
    let local = email.strip_suffix(catalog::EMAIL_DOMAIN).unwrap_or_default();
    !local.is_empty() && !local.contains('@') && !local.contains(char::is_whitespace)
}

fn module_mix(fields: &mut Fields<'_>) -> BTreeMap<String, f64> {
    let given = fields.object("moduleMix");
    if given.len() > MODULES_MAX {
        fields.fault(
            "moduleMix",
            format!("may have {MODULES_MAX} modules at most, has {}", given.len()),
        );
        return BTreeMap::new();
    }
    let mut mix = BTreeMap::new();
    let mut is_sound = true;
    for (module, weight) in given {
        match weight
            .as_f64()
            .filter(|weight| weight.is_finite() && *weight >= 0.0)
        {
            Some(weight) if (1..=80).contains(&module.chars().count()) => {
                mix.insert(module, weight);
            }
            _ => {
                is_sound = false;
                let module = events::capped(&module, 80);
                fields.fault(
                    &format!("moduleMix.{module}"),
                    "must be a module's name with a weight of 0 or more",
                );
            }
        }
    }
    if is_sound && !mix.is_empty() && mix.values().all(|weight| *weight == 0.0) {
        fields.fault("moduleMix", "must not be all zero");
    }
    if is_sound && mix.is_empty() {
        fields.fault("moduleMix", "must name a module");
    }
    mix
}

fn time_zone(fields: &mut Fields<'_>) -> Option<String> {
    let zone = fields.optional_text("timeZone", 1..=64)?;
    if TimeZone::get(&zone).is_err() {
        fields.fault("timeZone", "must be an IANA time zone such as Europe/Berlin");
    }
    Some(zone)
}

fn partners(fields: &mut Fields<'_>) -> Option<Vec<String>> {
    let given = fields.optional_list("partners", PARTNERS_MAX)?;
    let mut emails = Vec::new();
    for (index, partner) in given.iter().enumerate() {
        match partner
            .as_str()
            .map(str::to_lowercase)
            .filter(|email| is_persona_email(email))
        {
            Some(email) => emails.push(email),
            None => fields.fault(&format!("partners[{index}]"), "must be a persona's email"),
        }
    }
    Some(emails)
}

/// The same as JSON Schema, for `/openapi.json`.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["email", "password", "archetype", "systemPrompt", "moduleMix"],
        "properties": {
            "email": { "type": "string", "format": "email", "pattern": "@mana\\.test$" },
            "password": { "type": "string", "minLength": 8, "maxLength": 256 },
            "name": { "type": "string", "minLength": 1, "maxLength": 120 },
            "archetype": { "type": "string", "minLength": 1, "maxLength": 80 },
            "systemPrompt": { "type": "string", "minLength": 1, "maxLength": PROMPT_CHARS_MAX },
            "moduleMix": {
                "type": "object",
                "description": "module name to weight, not all zero",
                "minProperties": 1,
                "maxProperties": MODULES_MAX,
                "additionalProperties": { "type": "number", "minimum": 0 },
            },
            "tickCadence": { "enum": ["daily", "weekdays", "hourly"], "default": "daily" },
            "timeZone": { "type": "string", "description": "IANA name" },
            "partners": { "type": "array", "maxItems": PARTNERS_MAX, "items": { "type": "string", "format": "email" } },
        },
    })
}
