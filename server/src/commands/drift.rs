//! Where the live personas and the catalog differ: a pure comparison that `seed` and `cleanup` share.

use std::collections::BTreeSet;
use std::path::Path;

use catalog::{Catalog, Persona};

use crate::api_client::PersonaDescribed;
use crate::exit::CommandError;

/// Weights that differ by less are the same; JSON and databases round.
const WEIGHT_TOLERANCE: f64 = 1e-9;

/// The catalog in `file`, or the built-in one; its mixes name `modules`.
///
/// # Errors
/// [`CommandError::Usage`] with every fault of the file, one per line.
pub(super) fn load_catalog(file: Option<&Path>, modules: &[String]) -> Result<Catalog, CommandError> {
    let modules: Vec<&str> = modules.iter().map(String::as_str).collect();
    let loaded = match file {
        Some(file) => Catalog::load(file, &modules),
        None => Catalog::parse("the built-in catalog", Catalog::embedded_text(), &modules),
    };
    loaded.map_err(|error| CommandError::Usage(error.to_string()))
}

/// Names of the fields in which `live` is not what the catalog says, as they are spelled on the wire. A field
/// that the server does not tell is not compared; neither is the password, which no server tells.
pub(super) fn differing_fields(persona: &Persona, live: &PersonaDescribed) -> Vec<&'static str> {
    let cadence = serde_json::to_value(persona.cadence).ok();
    let same_cadence = cadence.as_ref().and_then(|word| word.as_str()) == Some(live.tick_cadence.as_str());
    let same_mix = live.module_mix.as_ref().is_none_or(|mix| {
        mix.len() == persona.module_mix.len()
            && mix.iter().all(|(module, weight)| {
                persona
                    .module_mix
                    .get(module)
                    .is_some_and(|ours| (ours - weight).abs() < WEIGHT_TOLERANCE)
            })
    });
    let same_partners = live.partners.as_ref().is_none_or(|partners| {
        partners.iter().collect::<BTreeSet<_>>() == persona.partners.iter().collect::<BTreeSet<_>>()
    });
    [
        (
            "name",
            live.name.as_ref().is_none_or(|name| *name == persona.name),
        ),
        ("archetype", live.archetype == persona.archetype),
        (
            "systemPrompt",
            live.system_prompt
                .as_ref()
                .is_none_or(|prompt| *prompt == persona.system_prompt),
        ),
        ("moduleMix", same_mix),
        ("tickCadence", same_cadence),
        (
            "timeZone",
            live.time_zone
                .as_ref()
                .is_none_or(|zone| *zone == persona.time_zone),
        ),
        ("partners", same_partners),
    ]
    .into_iter()
    .filter_map(|(field, same)| (!same).then_some(field))
    .collect()
}

/// Whether two emails name the same account; servers keep them in lower case.
pub(super) fn same_email(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// The modules of a house that mounts nothing.
#[cfg(test)]
pub(super) fn own_modules() -> Vec<String> {
    gateway::module_names().into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn first() -> Persona {
        load_catalog(None, &own_modules())
            .expect("the built-in catalog is sound")
            .personas
            .remove(0)
    }

    fn live(persona: &Persona) -> Value {
        json!({
            "userId": "u1",
            "email": persona.email,
            "name": persona.name,
            "archetype": persona.archetype,
            "systemPrompt": persona.system_prompt,
            "moduleMix": persona.module_mix,
            "tickCadence": persona.cadence,
            "timeZone": persona.time_zone,
            "partners": persona.partners,
        })
    }

    fn compare(persona: &Persona, live: Value) -> Vec<&'static str> {
        differing_fields(persona, &serde_json::from_value(live).expect("a persona"))
    }

    #[test]
    fn a_persona_as_the_catalog_has_it_does_not_differ() {
        let persona = first();
        assert!(compare(&persona, live(&persona)).is_empty());
    }

    #[test]
    fn each_changed_field_is_named_as_on_the_wire() {
        let persona = first();
        let cases = [
            ("name", json!("Somebody Else")),
            ("archetype", json!("pirate")),
            ("systemPrompt", json!("Arr.")),
            ("moduleMix", json!({"todo": 0.123})),
            ("tickCadence", json!("fortnightly")),
            ("timeZone", json!("Pacific/Chatham")),
            ("partners", json!(["nobody@mana.test"])),
        ];
        for (field, value) in cases {
            let mut changed = live(&persona);
            changed[field] = value;
            assert_eq!(compare(&persona, changed), [field]);
        }
    }

    #[test]
    fn what_an_older_server_does_not_tell_is_not_a_difference() {
        let persona = first();
        let told = json!({
            "userId": "u1",
            "email": persona.email,
            "archetype": persona.archetype,
            "tickCadence": persona.cadence,
        });
        assert!(compare(&persona, told).is_empty());
    }

    #[test]
    fn a_catalog_that_is_not_there_is_a_usage_error_naming_the_file() {
        let error =
            load_catalog(Some(Path::new("no-such-catalog.json")), &own_modules()).expect_err("no such file");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("no-such-catalog.json"), "{error}");
    }
}
